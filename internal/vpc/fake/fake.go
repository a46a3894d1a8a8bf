// Package fake is a data plane in memory, for tests of what stands above. Instances' ports and the front door
// are ports on the loopback interface, so that real connections need no privileges.
package fake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/vpc"
)

// Kernel holds what outlives a data plane's process. The zero value is not usable: see NewKernel.
type Kernel struct {
	layout vpc.Layout

	mu         sync.Mutex
	attached   map[app.InterfaceID]vpc.Interface
	ports      map[app.InterfaceID]map[int]netip.AddrPort
	doors      map[int]netip.AddrPort
	rules      vpc.InstallRules
	counts     Counts
	programmed *vpc.Ruleset
}

// Counts says how often the kernel changed; calls that change nothing do not count.
type Counts struct{ Attached, Detached, Applied int }

// NewKernel returns an empty kernel whose managed range is 100.64.0.0/20.
func NewKernel() *Kernel {
	layout, err := vpc.NewLayout(netip.MustParsePrefix("100.64.0.0/20"))
	if err != nil {
		panic(err) // a constant
	}
	k := &Kernel{layout: layout}
	k.Reboot()
	return k
}

// Layout returns the division of the managed range.
func (k *Kernel) Layout() vpc.Layout { return k.layout }

// Reboot forgets everything but the counts.
func (k *Kernel) Reboot() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.attached = map[app.InterfaceID]vpc.Interface{}
	k.ports = map[app.InterfaceID]map[int]netip.AddrPort{}
	k.doors = map[int]netip.AddrPort{}
	k.rules = vpc.InstallRules{}
	k.programmed = nil
}

// Counts returns how often the kernel changed.
func (k *Kernel) Counts() Counts {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counts
}

// Rules returns what was applied last.
func (k *Kernel) Rules() vpc.InstallRules {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rules
}

// Leaks returns the attached interfaces that claimed does not name, sorted.
func (k *Kernel) Leaks(claimed ...app.InterfaceID) []app.InterfaceID {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []app.InterfaceID
	for id := range k.attached {
		if !slices.Contains(claimed, id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Listen registers a server on a port of an attached interface: the returned listener gets what Dial connects.
// Closing it frees the port.
func (k *Kernel) Listen(id app.InterfaceID, port int) (net.Listener, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.attached[id]; !ok {
		return nil, fmt.Errorf("cannot listen on port %d: interface %s is not attached", port, id)
	}
	if _, ok := k.ports[id][port]; ok {
		return nil, fmt.Errorf("cannot listen on port %d of %s: it is in use", port, id)
	}
	l, at, err := listenLoopback()
	if err != nil {
		return nil, err
	}
	k.setPort(id, port, at)
	return &listener{Listener: l, onClose: func() { k.unsetPort(id, port, at) }}, nil
}

// Map registers a server that listens already, on any address of this process's network.
func (k *Kernel) Map(id app.InterfaceID, port int, at netip.AddrPort) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.setPort(id, port, at)
}

func (k *Kernel) setPort(id app.InterfaceID, port int, at netip.AddrPort) {
	if k.ports[id] == nil {
		k.ports[id] = map[int]netip.AddrPort{}
	}
	k.ports[id][port] = at
}

func (k *Kernel) unsetPort(id app.InterfaceID, port int, at netip.AddrPort) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ports[id][port] == at {
		delete(k.ports[id], port)
	}
}

// DialDoor connects to the front door as the instance would.
func (k *Kernel) DialDoor(ctx context.Context, id app.InterfaceID, port int) (net.Conn, error) {
	k.mu.Lock()
	_, attached := k.attached[id]
	at, open := k.doors[port]
	k.mu.Unlock()
	if !attached || !open {
		return nil, fmt.Errorf("cannot dial the door's port %d from %s: attached %v, listening %v", port, id, attached, open)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
}

func listenLoopback() (net.Listener, netip.AddrPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("cannot listen on loopback: %w", err)
	}
	return l, l.Addr().(*net.TCPAddr).AddrPort(), nil
}

// Dataplane implements vpc.Dataplane and vpc.Sockets over a Kernel.
type Dataplane struct {
	k *Kernel

	mu     sync.Mutex
	doors  []net.Listener
	closed bool
	// ruleset is what this process programmed last; Apply restores it.
	ruleset *vpc.Ruleset
}

var (
	_ vpc.Dataplane = (*Dataplane)(nil)
	_ vpc.Sockets   = (*Dataplane)(nil)
)

// Open starts a data plane that adopts what the kernel holds.
func (k *Kernel) Open() *Dataplane { return &Dataplane{k: k} }

var interfaceForm = regexp.MustCompile(`^eni-[0-9a-f]{17}$`)

// Attach implements vpc.Dataplane. It passes the failpoints vpc/attach/namespaces and vpc/attach/configured, before
// and after the change, as the real one does.
func (d *Dataplane) Attach(ctx context.Context, i vpc.Interface) (vpc.Attachment, error) {
	if err := d.usable(ctx); err != nil {
		return vpc.Attachment{}, err
	}
	if !interfaceForm.MatchString(string(i.ID)) {
		return vpc.Attachment{}, fmt.Errorf("cannot attach interface %q: expected eni- and 17 hex digits", i.ID)
	}
	if _, err := d.k.layout.Address(i.Index); err != nil {
		return vpc.Attachment{}, fmt.Errorf("cannot attach interface %s: %w", i.ID, err)
	}
	if err := failpoint.Hit("vpc/attach/namespaces"); err != nil {
		return vpc.Attachment{}, err
	}
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	for _, e := range i.ENIs {
		if r := d.k.programmed; r == nil || r.Networks[e.VPC] == nil || r.Networks[e.VPC].Ports[e.ID] == nil {
			return vpc.Attachment{}, fmt.Errorf("cannot attach interface %s: %s is not programmed in VPC %q", i.ID, e.ID, e.VPC)
		}
	}
	for id, other := range d.k.attached {
		if other.Index == i.Index && id != i.ID {
			return vpc.Attachment{}, fmt.Errorf("cannot attach interface %s: index %d is in use by %s", i.ID, i.Index, id)
		}
	}
	if old, ok := d.k.attached[i.ID]; !ok || !reflect.DeepEqual(old, i) {
		d.k.counts.Attached++
	}
	d.k.attached[i.ID] = i
	if err := failpoint.Hit("vpc/attach/configured"); err != nil {
		return vpc.Attachment{}, err
	}
	return d.k.attachment(i), nil
}

func (k *Kernel) attachment(i vpc.Interface) vpc.Attachment {
	a, err := k.layout.Address(i.Index)
	if err != nil {
		panic(err) // Attach checked it
	}
	out := vpc.Attachment{ID: i.ID, NetnsPath: "/fake/netns/" + string(i.ID), Address: a, Resolvers: []netip.Addr{k.layout.Resolver()}}
	if len(i.ENIs) > 0 {
		out.Resolvers = slices.Clone(i.ENIs[0].Resolvers)
	}
	if i.UIDBase != 0 {
		out.UsernsPath = "/fake/userns/" + string(i.ID)
	}
	return out
}

func (d *Dataplane) usable(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.New("the data plane is closed")
	}
	return ctx.Err()
}

// Detach implements vpc.Dataplane; its failpoint is vpc/detach/link, before the change.
func (d *Dataplane) Detach(ctx context.Context, id app.InterfaceID) error {
	if err := d.usable(ctx); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/detach/link"); err != nil {
		return err
	}
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	if _, ok := d.k.attached[id]; ok {
		d.k.counts.Detached++
	}
	delete(d.k.attached, id)
	delete(d.k.ports, id)
	return nil
}

// List implements vpc.Dataplane.
func (d *Dataplane) List(ctx context.Context) ([]vpc.Attachment, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	out := []vpc.Attachment{}
	for _, i := range d.k.attached {
		out = append(out, d.k.attachment(i))
	}
	slices.SortFunc(out, func(a, b vpc.Attachment) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

// Apply implements vpc.Dataplane.
func (d *Dataplane) Apply(ctx context.Context, r vpc.InstallRules) error {
	if err := d.usable(ctx); err != nil {
		return err
	}
	if err := vpc.CheckEgressAllow(r.EgressAllow, d.k.layout); err != nil {
		return err
	}
	d.mu.Lock()
	ruleset := d.ruleset
	d.mu.Unlock()
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	if ruleset != nil {
		d.k.programmed = ruleset
	}
	if !slices.Equal(r.EgressAllow, d.k.rules.EgressAllow) {
		d.k.counts.Applied++
	}
	d.k.rules = r
	return nil
}

// Close implements vpc.Dataplane.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, l := range d.doors {
		l.Close()
	}
	return nil
}

// Dial implements vpc.Sockets.
func (d *Dataplane) Dial(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	d.k.mu.Lock()
	i, ok := d.k.attached[id]
	at, listening := d.k.ports[id][int(addr.Port())]
	d.k.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("cannot dial %v: interface %s is not attached", addr, id)
	}
	if have := d.k.attachment(i).Address; have != addr.Addr() {
		return nil, fmt.Errorf("cannot dial %v: interface %s has the address %v", addr, id, have)
	}
	if !listening {
		return nil, fmt.Errorf("cannot dial %v: connection refused", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
}

// ListenDoor implements vpc.Sockets.
func (d *Dataplane) ListenDoor(ctx context.Context, port int) (net.Listener, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	l, at, err := listenLoopback()
	if err != nil {
		return nil, err
	}
	d.k.mu.Lock()
	if _, ok := d.k.doors[port]; ok {
		d.k.mu.Unlock()
		l.Close()
		return nil, fmt.Errorf("cannot listen on door port %d: it is in use", port)
	}
	d.k.doors[port] = at
	d.k.mu.Unlock()
	door := &listener{Listener: l, caller: d.k.layout.DoorCaller(), onClose: func() {
		d.k.mu.Lock()
		defer d.k.mu.Unlock()
		delete(d.k.doors, port)
	}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doors = append(d.doors, door)
	return door, nil
}

// ListeningPorts implements vpc.Sockets.
func (d *Dataplane) ListeningPorts(ctx context.Context, id app.InterfaceID) ([]int, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	if _, ok := d.k.attached[id]; !ok {
		return nil, fmt.Errorf("cannot list listening ports: interface %s is not attached", id)
	}
	return slices.Sorted(maps.Keys(d.k.ports[id])), nil
}

// listener calls onClose once and, with a caller, shows every peer under that address.
type listener struct {
	net.Listener
	caller  netip.Addr
	once    sync.Once
	onClose func()
}

func (l *listener) Close() error {
	l.once.Do(l.onClose)
	return l.Listener.Close()
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || !l.caller.IsValid() {
		return c, err
	}
	tcp := c.(*net.TCPConn)
	return conn{tcp, &net.TCPAddr{IP: l.caller.AsSlice(), Port: tcp.RemoteAddr().(*net.TCPAddr).Port}}, nil
}

type conn struct {
	*net.TCPConn
	remote net.Addr
}

func (c conn) RemoteAddr() net.Addr { return c.remote }

// Program implements vpc.Dataplane.
func (d *Dataplane) Program(ctx context.Context, r *vpc.Ruleset) error {
	if err := d.usable(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	d.ruleset = r
	d.mu.Unlock()
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	d.k.programmed = r
	return nil
}

// Programmed returns the ruleset that holds, nil at first and after a reboot.
func (k *Kernel) Programmed() *vpc.Ruleset {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.programmed
}
