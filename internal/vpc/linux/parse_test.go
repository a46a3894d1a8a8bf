package linux

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 10014064:1F90 01014064:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
`

const tcp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4 1 0 100 0 0 10 0
`

func TestAppendListening(t *testing.T) {
	ports, err := appendListening(nil, strings.NewReader(tcpTable))
	if err == nil {
		ports, err = appendListening(ports, strings.NewReader(tcp6Table))
	}
	if want := []int{8080, 80, 443}; err != nil || !slices.Equal(ports, want) {
		t.Errorf("ports %v, %v; want %v", ports, err, want)
	}
	if ports, err := appendListening(nil, strings.NewReader("0: nonsense 0:0 0A\n")); err == nil {
		t.Errorf("nonsense gave %v", ports)
	}
}

func FuzzAppendListening(f *testing.F) {
	f.Add(tcpTable)
	f.Add(tcp6Table)
	f.Add("0: :0 : 0A")
	f.Fuzz(func(t *testing.T, s string) {
		ports, _ := appendListening(nil, strings.NewReader(s))
		for _, p := range ports {
			if p < 1 || p > 65535 {
				t.Fatalf("port %d", p)
			}
		}
	})
}

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
