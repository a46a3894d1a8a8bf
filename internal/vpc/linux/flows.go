package linux

import (
	"context"
	"time"

	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux/flowlog"
)

// flowWatch records the traffic of one router while it has flow logs.
type flowWatch struct {
	recorder *flowlog.Recorder
	stop     context.CancelFunc
}

// programFlowLogs starts, changes or stops recording.
func (d *Dataplane) programFlowLogs(r *router, n *vpc.Network) error {
	if d.flowRecords == nil {
		return nil
	}
	if len(n.FlowLogs) == 0 {
		r.stopFlowLogs()
		return nil
	}
	if r.flows != nil {
		r.flows.recorder.SetNetwork(time.Now(), n)
		return nil
	}
	if err := inNamespace(r.ns, func() error { return setSysctl("netfilter/nf_conntrack_acct", "1") }); err != nil {
		return err
	}
	w := &flowWatch{recorder: flowlog.NewRecorder(d.flowRecords)}
	w.recorder.SetNetwork(time.Now(), n)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	if err := flowlog.Watch(ctx, r.ns, w.recorder, d.log); err != nil {
		w.stop()
		return err
	}
	r.flows = w
	return nil
}

func (r *router) stopFlowLogs() {
	if r.flows != nil {
		r.flows.stop()
		r.flows = nil
	}
}
