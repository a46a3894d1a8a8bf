package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// HostFile is where the host says whom it asks.
const HostFile = "/etc/resolv.conf"

const (
	maxFileSize  = 64 << 10 // bytes of a resolv.conf that are read
	maxUpstreams = 3        // as resolv.conf(5) says
	checkEvery   = time.Second
)

// Upstreams returns the servers to ask, in order.
type Upstreams func() []netip.AddrPort

// Fixed always returns the same servers.
func Fixed(list []netip.AddrPort) Upstreams {
	list = slices.Clone(list)
	return func() []netip.AddrPort { return list }
}

// Host follows a file in the form of resolv.conf(5): it looks for a change at most once a second. A stub on a loopback
// address, such as systemd-resolved's with its split DNS, is as good as any, as the questions leave from the host.
func Host(path string) Upstreams {
	h := &hostFile{path: path, now: time.Now}
	return h.servers
}

type hostFile struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	checked time.Time
	info    os.FileInfo
	list    []netip.AddrPort
}

func (h *hostFile) servers() []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if h.list != nil && now.Sub(h.checked) < checkEvery {
		return h.list
	}
	h.checked = now
	info, err := os.Stat(h.path)
	if err == nil && h.info != nil && os.SameFile(info, h.info) && info.ModTime().Equal(h.info.ModTime()) && info.Size() == h.info.Size() {
		return h.list
	}
	if f, openErr := os.Open(h.path); err == nil && openErr == nil {
		defer f.Close()
		h.list, h.info = parse(io.LimitReader(f, maxFileSize)), info
		return h.list
	}
	if h.list == nil { // no file: resolv.conf(5) says the local machine
		h.list = parse(strings.NewReader(""))
	}
	return h.list
}

// parse returns the name servers of a resolv.conf; never none.
func parse(r io.Reader) []netip.AddrPort {
	var list []netip.AddrPort
	for lines := bufio.NewScanner(r); lines.Scan() && len(list) < maxUpstreams; {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil {
			list = append(list, netip.AddrPortFrom(a, 53))
		}
	}
	if len(list) == 0 {
		list = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return list
}
