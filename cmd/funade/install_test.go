package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestInstallIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	first, err := openInstall(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	again, err := openInstall(dir, time.Now().Add(time.Hour))
	if err != nil || again != first {
		t.Errorf("the second start read %+v (%v), want %+v", again, err, first)
	}
	if !netip.MustParsePrefix("100.64.0.0/10").Contains(first.Managed.Addr()) || !netip.MustParsePrefix("100.127.0.0/16").Contains(first.Transit.Addr()) ||
		first.Managed.Overlaps(netip.MustParsePrefix("100.127.0.0/16")) || first.UIDBase < uidFirst || first.UIDBase%uidRange != 0 {
		t.Errorf("numbers out of their ranges: %+v", first)
	}
	if err := os.WriteFile(filepath.Join(dir, installFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openInstall(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file gave %v", err)
	}
}

func TestUsedTransitLinks(t *testing.T) {
	addrs := []net.Addr{&net.IPNet{IP: net.IPv4(100, 127, 0, 5), Mask: net.CIDRMask(30, 32)}}
	if p := slice(transitFirst, transitBits, 1); !used(p, addrs) {
		t.Errorf("%v counts as free beside %v", p, addrs)
	}
	if p := slice(transitFirst, transitBits, 2); used(p, addrs) {
		t.Errorf("%v counts as used beside %v", p, addrs)
	}
}

func TestOneServerPerDataDirectory(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lockData(dir); err == nil || !strings.Contains(err.Error(), "another funade server") {
		t.Errorf("a second lock gave %v", err)
	}
}
