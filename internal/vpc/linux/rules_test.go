package linux

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestRangesAreMergedAndReadBack(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "[]",
		"10.0.0.0/8":                        "[10.0.0.0/8]",
		"10.0.0.0/9 10.128.0.0/9":           "[10.0.0.0/8]",
		"10.0.0.0/8 10.1.0.0/16":            "[10.0.0.0/8]",
		"192.168.0.0/24 192.168.2.0/23":     "[192.168.0.0/24 192.168.2.0/23]",
		"10.0.0.1/32 10.0.0.2/31":           "[10.0.0.1/32 10.0.0.2/31]",
		"0.0.0.0/0":                         "[0.0.0.0/0]",
		"224.0.0.0/4 240.0.0.0/4 1.1.1.1/8": "[1.0.0.0/8 224.0.0.0/3]",
	} {
		var list []netip.Prefix
		for _, s := range strings.Fields(in) {
			list = append(list, netip.MustParsePrefix(s))
		}
		if got := fmt.Sprint(fromRanges(ranges(list))); got != want {
			t.Errorf("%q became %s, want %s", in, got, want)
		}
	}
}

func TestPingGroups(t *testing.T) {
	for gidMap, want := range map[string]string{
		"         0          0 4294967295\n": "0 2147483647",
		"0 1000 1\n":                         "0 0",
		"0 1000 1\n1 100000 65536\n":         "0 65536",
		"0 100000 65536\n70000 300000 10\n":  "0 65535",
		"":                                   "0 0",
	} {
		if got := pingGroups(gidMap); got != want {
			t.Errorf("%q: %q, want %q", gidMap, got, want)
		}
	}
}
