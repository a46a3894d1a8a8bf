package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/atomicfile"
	"github.com/funade/funade/internal/base/id"
)

// install is what makes this install's host-visible names and numbers its own; made at first start and kept.
type install struct {
	ID app.InstallID `json:"id"`
	// Managed is the slice of 100.64.0.0/10 that instances get their managed addresses from.
	Managed netip.Prefix `json:"managed"`
	// Transit is the /30 of 100.127.0.0/16 between the host and the management namespace.
	Transit netip.Prefix `json:"transit"`
	// UIDBase is the first host uid of the install's user namespaces.
	UIDBase   uint32    `json:"uidBase"`
	CreatedAt time.Time `json:"createdAt"`
}

// The ranges that installs take their numbers from. Transit links alone are visible in the host's namespace, so
// only they are checked against what is there.
const (
	managedSlices  = 63 * 16    // /20s of 100.64.0.0/10 below 100.127.0.0/16
	transitSlices  = 1 << 14    // /30s of 100.127.0.0/16
	uidRange       = 1 << 16    // uids of one user namespace
	uidSlices      = 4096       // ranges above uidFirst
	uidFirst       = 0x70000000 // systemd's table of uids leaves 0x70000000 to 0x7fffffff unused
	managedBits    = 20
	transitBits    = 30
	managedFirst   = 0x64400000 // 100.64.0.0
	transitFirst   = 0x647f0000 // 100.127.0.0
	installFile    = "install.json"
	installIDChars = 8
)

// openInstall reads the install's identity, or makes one.
func openInstall(dir string, now time.Time) (install, error) {
	path := filepath.Join(dir, installFile)
	data, err := os.ReadFile(path)
	var in install
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if in, err = newInstall(now); err != nil {
			return in, err
		}
		data, err := json.MarshalIndent(in, "", "  ")
		if err != nil {
			return in, err
		}
		return in, atomicfile.Write(path, append(data, '\n'), 0o600)
	case err != nil:
		return in, fmt.Errorf("cannot read the install's identity: %w", err)
	}
	if err := json.Unmarshal(data, &in); err != nil || in.ID == "" {
		return in, fmt.Errorf("cannot read the install's identity: %s is damaged; restore it from a backup: %w", path, err)
	}
	return in, nil
}

func newInstall(now time.Time) (install, error) {
	name := id.Source{}.Hex(installIDChars)
	n, err := strconv.ParseUint(name, 16, 32)
	if err != nil {
		return install{}, err
	}
	transit, err := freeTransit(uint32(n))
	return install{
		ID:        app.InstallID(name),
		Managed:   slice(managedFirst, managedBits, uint32(n)%managedSlices),
		Transit:   transit,
		UIDBase:   uidFirst + uint32(n)%uidSlices*uidRange,
		CreatedAt: now.UTC().Truncate(time.Second),
	}, err
}

func slice(first uint32, bits int, n uint32) netip.Prefix {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], first+n<<(32-bits))
	return netip.PrefixFrom(netip.AddrFrom4(b), bits)
}

// freeTransit returns a transit link that no interface of this machine uses, from n on.
func freeTransit(n uint32) (netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("cannot list the machine's addresses: %w", err)
	}
	for i := range uint32(transitSlices) {
		p := slice(transitFirst, transitBits, (n+i)%transitSlices)
		if !used(p, addrs) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("cannot choose a transit link: all of 100.127.0.0/16 is in use")
}

func used(p netip.Prefix, addrs []net.Addr) bool {
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Overlaps(p) {
			return true
		}
	}
	return false
}

// ownAddresses lists the addresses of this machine; one that cannot be read is left out.
func ownAddresses() (out []netip.Addr) {
	addrs, _ := net.InterfaceAddrs() // who explains says less then
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out
}

// runDir is where an install keeps what a reboot may take: sockets, bundles, pinned namespaces.
func (in install) runDir() string { return filepath.Join("/run/funade", string(in.ID)) }

// lockData makes this process the only server of a data directory until it ends.
func lockData(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: another funade server uses this data directory; stop it, or give --data", dir)
	}
	return f, nil
}
