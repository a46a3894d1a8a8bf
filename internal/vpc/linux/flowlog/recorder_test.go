package flowlog

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

var start = time.Unix(1_800_000_000, 0)

func network(logs ...app.FlowLog) *vpc.Network {
	n := &vpc.Network{
		VPC: "vpc-1", FlowLogs: map[app.FlowLogID]*app.FlowLog{},
		Ports: map[app.InterfaceID]*vpc.Port{
			"eni-a": {ID: "eni-a", Subnet: "subnet-a", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}},
			"eni-b": {ID: "eni-b", Subnet: "subnet-b", Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.4")}},
		},
	}
	for i := range logs {
		n.FlowLogs[logs[i].ID] = &logs[i]
	}
	return n
}

func flow(resource, traffic, format string) app.FlowLog {
	return app.FlowLog{ID: "fl-1", Resource: resource, Traffic: traffic, Format: format, Interval: 60, Scope: app.Scope{Account: "123456789012", Region: "us-east-1"}}
}

var query = Tuple{netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("10.0.1.4"), 40000, 5432, 6}

// record collects what a recorder writes as "stream: record".
func record(log app.FlowLog, use func(r *Recorder)) []string {
	var out []string
	r := NewRecorder(func(_ app.FlowLog, stream string, _ time.Time, text string) { out = append(out, stream+": "+text) })
	r.SetNetwork(start, network(log))
	use(r)
	r.Flush(start.Add(9 * time.Second))
	if len(out) != 0 {
		panic("a window of 10 s ended after 9 s")
	}
	r.Flush(start.Add(10 * time.Second))
	return out
}

func TestRecords(t *testing.T) {
	accepted := func(r *Recorder) {
		r.Accepted(start.Add(time.Second), query, Count{3, 300}, Count{2, 2000})
		r.Accepted(start.Add(4*time.Second), query, Count{1, 100}, Count{})
	}
	refused := func(at Stage) func(*Recorder) {
		return func(r *Recorder) { r.Refused(start.Add(2*time.Second), query, 60, at) }
	}
	for name, c := range map[string]struct {
		log  app.FlowLog
		use  func(*Recorder)
		want []string
	}{
		"both directions at one interface": {flow("eni-a", "ALL", ""), accepted, []string{
			"eni-a-all: 2 123456789012 eni-a 10.0.0.4 10.0.1.4 40000 5432 6 4 400 1800000001 1800000004 ACCEPT OK",
			"eni-a-all: 2 123456789012 eni-a 10.0.1.4 10.0.0.4 5432 40000 6 2 2000 1800000001 1800000001 ACCEPT OK",
		}},
		"a subnet and a format of one's own": {flow("subnet-b", "ACCEPT", "${action} ${srcaddr} ${unknown}"), accepted, []string{
			"eni-b-accept: ACCEPT 10.0.0.4 -", "eni-b-accept: ACCEPT 10.0.1.4 -",
		}},
		"refused by the sender's rules": {flow("vpc-1", "REJECT", "${interface-id} ${action} ${log-status}"), refused(Egress), []string{
			"eni-a-reject: eni-a REJECT OK", "eni-b-reject: eni-b - NODATA",
		}},
		"refused by the receiver's rules": {flow("vpc-1", "ALL", "${interface-id} ${action} ${packets} ${bytes}"), refused(Ingress), []string{
			"eni-a-all: eni-a ACCEPT 1 60", "eni-b-all: eni-b REJECT 1 60",
		}},
		"nothing": {flow("eni-b", "ALL", ""), func(*Recorder) {}, []string{
			"eni-b-all: 2 123456789012 eni-b - - - - - - - 1800000000 1800000010 - NODATA",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := record(c.log, c.use); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestTooManyFlowsAreTold(t *testing.T) {
	got := record(flow("eni-a", "ALL", "${log-status}"), func(r *Recorder) {
		for n := range maxTallies + 5 {
			tuple := query
			tuple.SourcePort, tuple.DestinationPort = uint16(n), uint16(n>>16)
			r.Accepted(start, tuple, Count{1, 1}, Count{})
		}
	})
	if len(got) != maxTallies+1 || got[len(got)-1] != "eni-a-all: SKIPDATA" {
		t.Errorf("%d records, the last is %s; want %d and SKIPDATA", len(got), got[len(got)-1], maxTallies+1)
	}
}

func TestWindowsFollowTheLogs(t *testing.T) {
	var out []string
	r := NewRecorder(func(l app.FlowLog, _ string, _ time.Time, _ string) { out = append(out, string(l.ID)) })
	r.Flush(start) // without a network there is nothing to do
	r.SetNetwork(start, network(flow("eni-a", "ALL", "")))
	r.SetNetwork(start.Add(5*time.Second), network())
	if r.Due(start.Add(time.Hour)) {
		t.Error("a deleted flow log is due")
	}
	r.Accepted(start.Add(6*time.Second), query, Count{1, 1}, Count{1, 1})
	r.Flush(start.Add(time.Hour))
	if len(out) != 0 {
		t.Errorf("records of a deleted flow log: %v", out)
	}
}

func FuzzParse(f *testing.F) {
	packet := make([]byte, 24)
	packet[0], packet[9] = 0x45, 6
	f.Add(packet)
	f.Add([]byte{0x4f})
	f.Fuzz(func(t *testing.T, b []byte) {
		if tuple, size, ok := parse(b); ok && (size < 0 || !tuple.Source.Is4() || !tuple.Destination.Is4()) {
			t.Errorf("parse(%x) = %s, %d", b, fmt.Sprint(tuple), size)
		}
	})
}
