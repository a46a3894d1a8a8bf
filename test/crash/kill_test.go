package crash

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	check(t, err)
	return n
}

// TestKills kills the server again and again while services are created, changed, deleted and called.
func TestKills(t *testing.T) {
	t.Parallel()
	seed := number(t, "FUNADE_CRASH_SEED", uint64(time.Now().UnixNano()))
	kills := number(t, "FUNADE_CRASH_KILLS", 24)
	t.Logf("FUNADE_CRASH_SEED=%d repeats the moments", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, t.TempDir())
	steady := w.running("steady", "TICK", "3ms")
	arn := aws.ToString(steady.ServiceArn)
	before := w.pids(arn)

	up := new(phase)
	calls := w.call(up, aws.ToString(steady.ServiceUrl))
	work := w.work(up, seed, 2)
	up.begin()
	for n := range kills {
		<-time.After(100*time.Millisecond + time.Duration(rng.Int64N(int64(1600*time.Millisecond))))
		up.end()
		check(t, w.server.Kill())
		if n%4 == 3 { // in the middle of its start too
			check(t, w.server.Launch())
			<-time.After(time.Duration(rng.Int64N(int64(400 * time.Millisecond))))
			check(t, w.server.Kill())
		}
		check(t, w.server.Start(t.Context()))
		up.begin()
		if now := w.pids(arn); !slices.Equal(now, before) {
			t.Fatalf("kill %d: the processes of the untouched service were %v and are %v", n+1, before, now)
		}
	}
	acknowledged := work.stop()
	if good := calls.stop(); good == 0 {
		t.Error("no call was answered, so nothing is shown")
	}
	w.settled(acknowledged, 5)
	w.eventually(30*time.Second, "nothing is left that no row claims", w.unclaimed)
	w.everyLine(steady)
	if now := w.pids(arn); !slices.Equal(now, before) {
		t.Errorf("the processes of the untouched service were %v and are %v", before, now)
	}
	all, err := w.services()
	check(t, err)
	for _, s := range all {
		w.remove(aws.ToString(s.ServiceArn))
	}
	w.eventually(30*time.Second, "nothing is left of deleted services", w.unclaimed)
	w.layers(1)
}

// phase tells when the server is known to be up: its number is odd then.
type phase struct{ n atomic.Int64 }

func (p *phase) begin() { p.n.Add(1) }
func (p *phase) end()   { p.n.Add(1) }

// now returns the phase and whether the server is up in it.
func (p *phase) now() (int64, bool) {
	n := p.n.Load()
	return n, n%2 == 1
}

// loop runs step until stop, with pauses; steps go on while the server is down only if they look for themselves.
type loop struct {
	quit chan struct{}
	wg   sync.WaitGroup
}

func (l *loop) run(every time.Duration, step func()) {
	l.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-l.quit:
				return
			case <-tick.C:
				step()
			}
		}
	})
}

func (l *loop) stop() {
	close(l.quit)
	l.wg.Wait()
}

// calls counts the answers of a service that nobody touches.
type calls struct {
	loop
	good int
}

func (w *world) call(up *phase, url string) *calls {
	client, err := w.server.Client()
	check(w.t, err)
	c := &calls{loop: loop{quit: make(chan struct{})}}
	c.run(10*time.Millisecond, func() {
		before, ok := up.now()
		if !ok {
			return
		}
		status := 0
		resp, err := client.Get(w.server.URL(url))
		if err == nil {
			status = resp.StatusCode
			err = resp.Body.Close()
		}
		if status == http.StatusOK {
			c.good++
		} else if after, _ := up.now(); after == before {
			w.t.Errorf("a call of the untouched service failed while the server was up: status %d, %v", status, err)
		}
	})
	return c
}

func (c *calls) stop() int {
	c.loop.stop()
	return c.good
}

// ack is an operation that the server has promised.
type ack struct{ what, arn, operation string }

// worker creates, changes and deletes one service after the other.
type worker struct {
	w    *world
	up   *phase
	name string
	rng  *rand.Rand
	acks []ack
	// network is that of the services, nil = DEFAULT egress.
	network *types.NetworkConfiguration
}

type work struct {
	loop
	workers []*worker
}

func (w *world) work(up *phase, seed uint64, n int) *work {
	all := &work{loop: loop{quit: make(chan struct{})}}
	for i := range n {
		k := &worker{w: w, up: up, name: fmt.Sprintf("worker-%d", i), rng: rand.New(rand.NewPCG(seed, uint64(i+2)))}
		all.workers = append(all.workers, k)
		all.run(50*time.Millisecond, k.step)
	}
	return all
}

func (w *work) stop() (acks []ack) {
	w.loop.stop()
	for _, k := range w.workers {
		acks = append(acks, k.acks...)
	}
	return acks
}

// step begins the next operation if the last one has ended.
func (k *worker) step() {
	before, ok := k.up.now()
	if !ok {
		return
	}
	if err := k.next(); err != nil && !refused(err) {
		if after, _ := k.up.now(); after == before {
			k.w.t.Errorf("%s: %v", k.name, err)
		}
	}
}

func (k *worker) next() error {
	svc, err := k.w.find(k.name)
	if err != nil {
		return err
	}
	if svc == nil {
		out, err := k.w.api.AppRunner.CreateService(k.w.ctx, &apprunner.CreateServiceInput{
			ServiceName: &k.name, SourceConfiguration: k.w.source("N", strconv.Itoa(len(k.acks))), NetworkConfiguration: k.network,
		})
		if err == nil {
			k.acks = append(k.acks, ack{"create", aws.ToString(out.Service.ServiceArn), aws.ToString(out.OperationId)})
		}
		return err
	}
	switch svc.Status {
	case types.ServiceStatusOperationInProgress:
		return nil
	case types.ServiceStatusRunning, types.ServiceStatusPaused:
		what, operation, err := k.change(svc)
		if err == nil {
			k.acks = append(k.acks, ack{what, aws.ToString(svc.ServiceArn), aws.ToString(operation)})
		}
		return err
	}
	return fmt.Errorf("unexpected status %s", svc.Status)
}

func (k *worker) change(svc *types.ServiceSummary) (what string, operation *string, err error) {
	ctx, api := k.w.ctx, k.w.api.AppRunner
	choice := k.rng.IntN(5)
	switch {
	case choice == 0:
		out, err := api.DeleteService(ctx, &apprunner.DeleteServiceInput{ServiceArn: svc.ServiceArn})
		if err != nil {
			return "", nil, err
		}
		return "delete", out.OperationId, nil
	case svc.Status == types.ServiceStatusPaused:
		out, err := api.ResumeService(ctx, &apprunner.ResumeServiceInput{ServiceArn: svc.ServiceArn})
		if err != nil {
			return "", nil, err
		}
		return "resume", out.OperationId, nil
	case choice == 1:
		out, err := api.PauseService(ctx, &apprunner.PauseServiceInput{ServiceArn: svc.ServiceArn})
		if err != nil {
			return "", nil, err
		}
		return "pause", out.OperationId, nil
	case choice == 2:
		out, err := api.StartDeployment(ctx, &apprunner.StartDeploymentInput{ServiceArn: svc.ServiceArn})
		if err != nil {
			return "", nil, err
		}
		return "deployment", out.OperationId, nil
	}
	out, err := api.UpdateService(ctx, &apprunner.UpdateServiceInput{ServiceArn: svc.ServiceArn, SourceConfiguration: k.w.source("N", strconv.Itoa(len(k.acks)))})
	if err != nil {
		return "", nil, err
	}
	return "update", out.OperationId, nil
}

// settled waits until no operation is under way and checks that each that was acknowledged has succeeded: nothing
// but the server ever failed. Fewer than least show little.
func (w *world) settled(acks []ack, least int) {
	w.t.Helper()
	if len(acks) < least {
		w.t.Errorf("only %d operations were acknowledged, so little is shown", len(acks))
	}
	w.eventually(60*time.Second, "no operation is under way", func() error {
		all, err := w.services()
		for _, s := range all {
			if s.Status == types.ServiceStatusOperationInProgress {
				return fmt.Errorf("%s is %s", aws.ToString(s.ServiceName), s.Status)
			}
		}
		return err
	})
	ended := map[string]types.OperationStatus{}
	kinds := map[string]int{}
	for _, a := range acks {
		kinds[a.what]++
		if _, known := ended[a.operation]; known {
			continue
		}
		pages := apprunner.NewListOperationsPaginator(w.api.AppRunner, &apprunner.ListOperationsInput{ServiceArn: &a.arn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(w.ctx)
			check(w.t, err)
			for _, op := range page.OperationSummaryList {
				ended[aws.ToString(op.Id)] = op.Status
			}
		}
	}
	for _, a := range acks {
		if got := ended[a.operation]; got != types.OperationStatusSucceeded {
			w.t.Errorf("operation %s (%s) was acknowledged and is %q now, want SUCCEEDED", a.operation, a.what, got)
		}
	}
	w.t.Logf("%d operations were acknowledged: %v", len(acks), kinds)
}

// everyLine checks that each numbered line of a service is in its log once, in order.
func (w *world) everyLine(svc *types.Service) {
	w.t.Helper()
	_, _, body, err := w.server.Get(w.ctx, aws.ToString(svc.ServiceUrl)+"/lines")
	check(w.t, err)
	printed, err := strconv.Atoi(body)
	check(w.t, err)
	ids, err := w.instances(aws.ToString(svc.ServiceArn))
	check(w.t, err)
	if len(ids) != 1 {
		w.t.Fatalf("the service has the instances %v, want one", ids)
	}
	group := fmt.Sprintf("/aws/apprunner/%s/%s/application", aws.ToString(svc.ServiceName), aws.ToString(svc.ServiceId))
	stream := "instance/" + ids[0]
	var got []string
	w.eventually(20*time.Second, "the last line is collected", func() error {
		if got, err = w.messages(group, stream); err == nil && (len(got) == 0 || lineNumber(got[len(got)-1]) < printed) {
			err = fmt.Errorf("%d lines are printed, %d collected", printed, len(got))
		}
		return err
	})
	want := 0
	for n, line := range got {
		switch at := lineNumber(line); {
		case at == 0: // the app's other words
		case at != want+1:
			w.t.Fatalf("event %d of %d is %q, after line %d", n, len(got), line, want)
		default:
			want = at
		}
	}
	w.t.Logf("%d lines, each once and in order", want)
}

// lineNumber returns n of "line n", 0 for other lines.
func lineNumber(line string) (n int) {
	if _, err := fmt.Sscanf(line, "line %d", &n); err != nil {
		return 0
	}
	return n
}

func (w *world) messages(group, stream string) ([]string, error) {
	var out []string
	in := &cloudwatchlogs.GetLogEventsInput{LogGroupName: &group, LogStreamName: &stream, StartFromHead: aws.Bool(true)}
	for {
		page, err := w.api.Logs.GetLogEvents(w.ctx, in)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			out = append(out, aws.ToString(e.Message))
		}
		if aws.ToString(page.NextForwardToken) == aws.ToString(in.NextToken) {
			return out, nil
		}
		in.NextToken = page.NextForwardToken
	}
}
