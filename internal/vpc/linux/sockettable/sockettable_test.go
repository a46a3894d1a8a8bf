package sockettable

import (
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

func TestListening(t *testing.T) {
	for table, want := range map[string][]int{tcpTable: {8080, 80}, tcp6Table: {443}, "": nil} {
		if ports, err := Listening(strings.NewReader(table)); err != nil || !slices.Equal(ports, want) {
			t.Errorf("ports %v, %v; want %v", ports, err, want)
		}
	}
	if ports, err := Listening(strings.NewReader("0: nonsense 0:0 0A\n")); err == nil {
		t.Errorf("nonsense gave %v", ports)
	}
}

func FuzzListening(f *testing.F) {
	f.Add(tcpTable)
	f.Add(tcp6Table)
	f.Add("0: :0 : 0A")
	f.Fuzz(func(t *testing.T, s string) {
		ports, _ := Listening(strings.NewReader(s))
		for _, p := range ports {
			if p < 1 || p > 65535 {
				t.Fatalf("port %d", p)
			}
		}
	})
}
