package vpc

import (
	"net/netip"
	"testing"
)

func TestLayoutPlacesInstancesAfterTheReservedAddresses(t *testing.T) {
	l, err := NewLayout(netip.MustParsePrefix("100.64.16.0/20"))
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Slots(); got != 4080 {
		t.Errorf("Slots = %d, want 4080", got)
	}
	for index, want := range map[int]string{0: "100.64.16.16", 240: "100.64.17.0", 4079: "100.64.31.255"} {
		a, err := l.Address(index)
		if err != nil || a.String() != want {
			t.Errorf("Address(%d) = %v, %v; want %s", index, a, err, want)
		}
		if !l.Holds(a) {
			t.Errorf("Holds(%v) = false", a)
		}
	}
	for _, index := range []int{-1, 4080} {
		if a, err := l.Address(index); err == nil {
			t.Errorf("Address(%d) = %v, want an error", index, a)
		}
	}
	seen := map[netip.Addr]bool{}
	for _, a := range []netip.Addr{l.Gateway(), l.Resolver(), l.Door(), l.DoorCaller()} {
		if seen[a] || l.Holds(a) || !l.Prefix().Contains(a) {
			t.Errorf("reserved address %v is used twice or by an instance", a)
		}
		seen[a] = true
	}
}

func TestLayoutRefusesOtherPrefixes(t *testing.T) {
	for _, s := range []string{"10.0.0.0/20", "100.64.0.1/20", "100.64.0.0/28", "100.64.0.0/10", "fd00::/20"} {
		if _, err := NewLayout(netip.MustParsePrefix(s)); err == nil {
			t.Errorf("NewLayout(%s) succeeded, want an error", s)
		}
	}
	if _, err := NewLayout(netip.Prefix{}); err == nil {
		t.Error("NewLayout of the zero prefix succeeded, want an error")
	}
}
