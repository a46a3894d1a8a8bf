package linux

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

func TestFlowLogsTellWhatPassedAndWhatDidNot(t *testing.T) {
	c := freshConfig(t)
	records := make(chan string, 1000)
	c.FlowRecords = func(_ app.FlowLog, _ string, _ time.Time, record string) {
		select {
		case records <- record:
		default: // more than the test looks at
		}
	}
	d := openPlane(t, c)
	p := newPlan(1)
	p.group('c', nothing(), everything())
	p.group('h', tcpFrom("192.168.1.0/24", 80, 80), everything())
	p.n.FlowLogs = map[app.FlowLogID]*app.FlowLog{"fl-1": {ID: "fl-1", Resource: string(p.n.VPC), Traffic: "ALL", Interval: 6}}
	i, j := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.10", 'h')
	program(t, d, p)
	a, b := attach(t, d, i), attach(t, d, j)
	serveIn(t, b, ":80", func(l net.Listener) { dataplanetest.Greet(l, "x") })
	if got, err := callFrom(t, a, "192.168.3.10:80", time.Second); got != "x" {
		t.Fatalf("call: %q, %v", got, err)
	}
	expectPing(t, "the client", a, "192.168.3.10", silence)
	wanted := map[string]bool{
		string(i.ENIs[0].ID) + " 192.168.1.50 192.168.3.10 * 80 6 ACCEPT": true,
		string(j.ENIs[0].ID) + " 192.168.3.10 192.168.1.50 80 * 6 ACCEPT": true,
		string(j.ENIs[0].ID) + " 192.168.1.50 192.168.3.10 0 0 1 REJECT":  true,
	}
	for deadline := time.After(10 * time.Second); len(wanted) > 0; {
		select {
		case r := <-records:
			f := strings.Fields(r)
			if len(f) != 14 {
				t.Fatalf("record %q", r)
			}
			for _, port := range []int{5, 6} {
				if len(f[port]) > 3 {
					f[port] = "*"
				}
			}
			delete(wanted, strings.Join(append(f[2:8:8], f[12]), " "))
		case <-deadline:
			t.Fatalf("no records like %v", wanted)
		}
	}
	p.change()
	p.n.FlowLogs = nil
	program(t, d, p)
	if d.routers[p.n.VPC].flows != nil {
		t.Error("recording goes on without a flow log")
	}
}
