package flowlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/florianl/go-nflog/v2"
	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"
)

// Group is the nflog group into which a router's rules log what they refuse; the prefixes say where.
const (
	Group         = 1
	EgressPrefix  = "e"
	IngressPrefix = "i"
)

const (
	tick         = time.Second
	pendingEnds  = 4096
	headerLength = 64 // bytes of a refused packet that are looked at
	socketBuffer = 4 << 20
)

// Watcher feeds a Recorder from one router namespace, whose nf_conntrack_acct must be on.
type Watcher struct {
	recorder *Recorder
	log      *slog.Logger
	table    *conntrack.Conn
	ends     *conntrack.Conn
	refused  *nflog.Nflog
	// known are the counters of flows when they were last added, by the kernel's id.
	known map[uint32]counters
}

type counters struct{ forth, back Count }

// Watch starts feeding until ctx ends. What flows that stand already carried before is not recorded.
func Watch(ctx context.Context, ns *os.File, r *Recorder, log *slog.Logger) error {
	w := &Watcher{recorder: r, log: log}
	config := func() *netlink.Config { return &netlink.Config{NetNS: int(ns.Fd())} }
	var err error
	if w.table, err = conntrack.Dial(config()); err != nil {
		return fmt.Errorf("cannot open conntrack: %w", err)
	}
	if w.ends, err = conntrack.Dial(config()); err != nil {
		w.close()
		return fmt.Errorf("cannot open conntrack: %w", err)
	}
	if err := w.ends.SetReadBuffer(socketBuffer); err != nil {
		w.log.Debug("small conntrack buffer", "error", err)
	}
	events := make(chan conntrack.Event, pendingEnds)
	failed, err := w.ends.Listen(events, 1, []netfilter.NetlinkGroup{netfilter.GroupCTDestroy})
	if err != nil {
		w.close()
		return fmt.Errorf("cannot listen to conntrack: %w", err)
	}
	if err := w.listenRefused(ctx, ns); err != nil {
		w.close()
		return err
	}
	if err := w.read(time.Time{}); err != nil {
		w.close()
		return err
	}
	go w.run(ctx, events, failed)
	return nil
}

func (w *Watcher) close() {
	for _, c := range []*conntrack.Conn{w.table, w.ends} {
		if c != nil {
			_ = c.Close()
		}
	}
	if w.refused != nil {
		_ = w.refused.Close()
	}
}

func (w *Watcher) listenRefused(ctx context.Context, ns *os.File) error {
	var err error
	w.refused, err = nflog.Open(&nflog.Config{NetNS: int(ns.Fd()), Group: Group, Copymode: nflog.CopyPacket, Bufsize: headerLength})
	if err != nil {
		return fmt.Errorf("cannot open nflog: %w", err)
	}
	if err := w.refused.Con.SetReadBuffer(socketBuffer); err != nil {
		w.log.Debug("small nflog buffer", "error", err)
	}
	err = w.refused.RegisterWithErrorFunc(ctx, func(a nflog.Attribute) int {
		if a.Payload == nil || a.Prefix == nil {
			return 0
		}
		if t, size, ok := parse(*a.Payload); ok {
			stage := Ingress
			if *a.Prefix == EgressPrefix {
				stage = Egress
			}
			w.recorder.Refused(time.Now(), t, size, stage)
		}
		return 0
	}, func(err error) int {
		if ctx.Err() != nil {
			return 1
		}
		w.log.Debug("refused packets were missed", "error", err) // a full buffer: the count is too small
		return 0
	})
	if err != nil {
		return fmt.Errorf("cannot listen to nflog: %w", err)
	}
	return nil
}

func (w *Watcher) run(ctx context.Context, events <-chan conntrack.Event, failed <-chan error) {
	defer w.close()
	for t := time.NewTicker(tick); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case e := <-events:
			if e.Type == conntrack.EventDestroy && e.Flow != nil {
				w.add(time.Now(), *e.Flow)
				delete(w.known, e.Flow.ID)
			}
		case err := <-failed:
			w.log.Warn("ended connections are no longer recorded by flow logs", "error", err)
			failed = nil
		case now := <-t.C:
			if !w.recorder.Due(now) {
				continue
			}
			if err := w.read(now); err != nil {
				w.log.Warn("cannot read connections for flow logs", "error", err)
			}
			w.recorder.Flush(now)
		}
	}
}

// read adds every flow that stands and forgets those that ended unseen; the zero time only remembers counters.
func (w *Watcher) read(now time.Time) error {
	flows, err := w.table.Dump(nil)
	if err != nil {
		return fmt.Errorf("cannot list connections: %w", err)
	}
	before := w.known
	w.known = make(map[uint32]counters, len(flows))
	for _, f := range flows {
		if c, ok := before[f.ID]; ok {
			w.known[f.ID] = c
		}
		if now.IsZero() {
			w.known[f.ID] = countersOf(f)
			continue
		}
		w.add(now, f)
	}
	return nil
}

// add records what a flow carried since the last time.
func (w *Watcher) add(now time.Time, f conntrack.Flow) {
	t := Tuple{
		Source: f.TupleOrig.IP.SourceAddress, Destination: f.TupleOrig.IP.DestinationAddress,
		SourcePort: f.TupleOrig.Proto.SourcePort, DestinationPort: f.TupleOrig.Proto.DestinationPort, Protocol: f.TupleOrig.Proto.Protocol,
	}
	have, old := countersOf(f), w.known[f.ID]
	w.known[f.ID] = have
	w.recorder.Accepted(now, t, since(have.forth, old.forth), since(have.back, old.back))
}

func countersOf(f conntrack.Flow) counters {
	return counters{
		Count{f.CountersOrig.Packets, f.CountersOrig.Bytes}, Count{f.CountersReply.Packets, f.CountersReply.Bytes},
	}
}

// since is the difference; an id that the kernel used again begins at zero.
func since(have, old Count) Count {
	if have.Packets < old.Packets || have.Bytes < old.Bytes {
		return have
	}
	return Count{have.Packets - old.Packets, have.Bytes - old.Bytes}
}

// parse reads the beginning of an IPv4 packet.
func parse(b []byte) (t Tuple, size int, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return t, 0, false
	}
	header := int(b[0]&15) * 4
	t.Protocol = b[9]
	t.Source, t.Destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	first := binary.BigEndian.Uint16(b[6:])&0x1fff == 0 // not a later fragment
	if (t.Protocol == unix.IPPROTO_TCP || t.Protocol == unix.IPPROTO_UDP) && first && header >= 20 && len(b) >= header+4 {
		t.SourcePort, t.DestinationPort = binary.BigEndian.Uint16(b[header:]), binary.BigEndian.Uint16(b[header+2:])
	}
	return t, int(binary.BigEndian.Uint16(b[2:])), true
}
