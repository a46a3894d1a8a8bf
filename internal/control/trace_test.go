package control

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// A trace tells one service's story, a line at a time; the runner and the keeper look after each line.
//
//	call OPERATION [error TEXT]   create, update, deploy, pause, resume, delete, cancel or rollback; error: it is refused
//	call connect                  create, going out through a VPC connector whose subnet has 11 addresses
//	addresses N                   others leave N of the subnet's addresses
//	push TAG                      an image is pushed to that tag of the service's repository
//	image ready | lost TEXT | retry TEXT
//	                              what becomes of the images asked for: there, never there, not there yet
//	app starts | healthy | ill TEXT | exits CODE | fails TEXT | port N
//	                              what becomes of the instances of the newest revision that are to run
//	all ill TEXT                  every instance that is to run fails its health check
//	routes [busy]                 the front door takes over; busy: draining instances still answer requests
//	stopped                       instances that are to stop are gone
//	wait DURATION
//	expect WORD=VALUE …           status, op (TYPE/STATUS of the newest), step, routed, run, drain, stop
//	said TEXT                     the events hold TEXT
//
// Empty lines and lines that begin with # are comments. _ stands for a blank in expect's values.
type trace struct {
	*bench
	arn    string
	pushes int
}

func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/*.trace")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".trace"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tr := &trace{bench: newBench(t), arn: scope.ARN("apprunner", "service/hello")}
			if _, err := tr.CreateRepository(ctx, app.RepositoryKey{Scope: scope, Name: "hello"}, CreateRepositoryInput{}); err != nil {
				t.Fatal(err)
			}
			for n, line := range strings.Split(string(text), "\n") {
				if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
					continue
				}
				if err := tr.line(line); err != nil {
					t.Fatalf("%s:%d: %s: %v", file, n+1, line, err)
				}
			}
		})
	}
}

func (tr *trace) line(line string) error {
	tr.now = tr.now.Add(10 * time.Millisecond)
	verb, rest, _ := strings.Cut(line, " ")
	err := tr.do(verb, rest)
	keeper := tr.Keeper()
	for range 3 {
		if _, e := tr.runner.Pass(ctx); e != nil {
			return e
		}
		if _, e := keeper.Pass(ctx); e != nil {
			return e
		}
	}
	return err
}

func (tr *trace) do(verb, rest string) error {
	what, text, _ := strings.Cut(rest, " ")
	switch verb {
	case "call":
		return tr.call(what, text)
	case "addresses":
		n, err := strconv.Atoi(what)
		tr.network("x", "10.0.1.0/28")
		tr.full(n)
		return err
	case "push":
		tr.pushes++
		return tr.Catalog().PutManifest(ctx, manifest(app.RepositoryKey{Scope: scope, Name: "hello"}, tr.pushes, what))
	case "image":
		return tr.write(func(tx *store.Tx) error { return tr.image(tx, what, text) })
	case "app":
		return tr.write(func(tx *store.Tx) error { return tr.app(tx, what, text) })
	case "all":
		return tr.write(func(tx *store.Tx) error {
			for i := range store.Instances.All(tx) {
				store.Observed.InstanceHealths.Put(tx, app.InstanceHealth{ID: i.ID, EverHealthy: true, Answer: text})
			}
			return nil
		})
	case "routes":
		return tr.write(func(tx *store.Tx) error { return tr.routes(tx, what == "busy") })
	case "stopped":
		return tr.write(func(tx *store.Tx) error {
			for i := range store.Instances.All(tx) {
				if i.Goal == app.GoalStop {
					store.Observed.InstanceStatuses.Put(tx, app.InstanceStatus{ID: i.ID, Phase: app.PhaseGone})
				}
			}
			return nil
		})
	case "wait":
		d, err := time.ParseDuration(rest)
		// In steps, as a server that is awake would see the time pass.
		for ; d > 0 && err == nil; d -= 10 * time.Second {
			tr.now = tr.now.Add(min(d, 10*time.Second))
			_, err = tr.runner.Pass(ctx)
		}
		return err
	case "expect":
		return tr.expect(strings.Fields(rest))
	case "said":
		return tr.said(rest)
	}
	return fmt.Errorf("no verb %q", verb)
}

func (tr *trace) call(operation, expected string) (err error) {
	switch operation {
	case "create":
		_, _, err = tr.CreateService(ctx, scope, CreateServiceInput{Name: "hello", Source: imageSource(hello)})
	case "connect":
		_, err = tr.CreateVPCConnector(ctx, scope, CreateVPCConnectorInput{Name: "shop", Subnets: []app.SubnetID{"subnet-xa"}})
		if err == nil {
			_, _, err = tr.CreateService(ctx, scope, CreateServiceInput{
				Name: "hello", Source: imageSource(hello), Network: through(scope.ARN("apprunner", "vpcconnector/shop")),
			})
		}
	case "update":
		_, _, err = tr.UpdateService(ctx, scope, tr.arn, UpdateServiceInput{HealthCheck: &HealthCheckInput{Protocol: ptr("HTTP"), Path: ptr("/ok")}})
	case "deploy":
		_, err = tr.StartDeployment(ctx, scope, tr.arn)
	case "pause":
		_, _, err = tr.PauseService(ctx, scope, tr.arn)
	case "resume":
		_, _, err = tr.ResumeService(ctx, scope, tr.arn)
	case "delete":
		_, _, err = tr.DeleteService(ctx, scope, tr.arn)
	case "cancel":
		_, err = tr.CancelOperation(ctx, scope, tr.arn, "")
	case "rollback":
		_, err = tr.RollbackService(ctx, scope, tr.arn, 0)
	default:
		return fmt.Errorf("no operation %q", operation)
	}
	if want, ok := strings.CutPrefix(expected, "error "); ok {
		if err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("got %v, want an error with %q", err, want)
		}
		return nil
	}
	return err
}

func (tr *trace) write(fn func(tx *store.Tx) error) error { return tr.store.Update(ctx, fn) }

func (tr *trace) image(tx *store.Tx, what, text string) error {
	for r := range store.ImageRequests.All(tx) {
		status, _ := store.ImageStatuses.Get(tx, app.RevisionKey{Service: r.Service, Number: r.Revision})
		if status.Ready || status.Permanent {
			continue
		}
		status = app.ImageStatus{Service: r.Service, Revision: r.Revision, Error: text, Ready: what == "ready", Permanent: what == "lost"}
		if status.Ready {
			status.Digest = digest
		}
		store.Observed.ImageStatuses.Put(tx, status)
	}
	return nil
}

func (tr *trace) app(tx *store.Tx, what, text string) error {
	newest := app.RevisionNumber(0)
	for i := range store.Instances.All(tx) {
		newest = max(newest, i.Revision)
	}
	for i := range store.Instances.All(tx) {
		if i.Revision != newest || i.Goal != app.GoalRun {
			continue
		}
		status, _ := store.InstanceStatuses.Get(tx, i.ID)
		health, _ := store.InstanceHealths.Get(tx, i.ID)
		status.ID, health.ID, health.Healthy = i.ID, i.ID, false
		switch what {
		case "starts", "healthy", "ill", "port":
			status.Phase, status.StartedAt = app.PhaseRunning, tr.now
			health.Healthy = what == "healthy"
			health.EverHealthy = health.EverHealthy || health.Healthy
			if health.Answer = text; what == "port" {
				n, err := strconv.Atoi(text)
				if err != nil {
					return err
				}
				health.OtherPorts, health.OtherPortsSince = []int{n}, tr.now
			}
		case "exits":
			code, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			status.Phase, status.ExitCode, status.LastLines = app.PhaseExited, code, []string{"panic: boom"}
			status.Exits++
		case "fails":
			status.Phase, status.Reason = app.PhaseFailed, text
		default:
			return fmt.Errorf("no fate %q", what)
		}
		store.Observed.InstanceStatuses.Put(tx, status)
		store.Observed.InstanceHealths.Put(tx, health)
	}
	return nil
}

func (tr *trace) routes(tx *store.Tx, busy bool) error {
	for svc := range store.Services.All(tx) {
		r := app.RouteStatus{Service: svc.ID, Revision: svc.Routed}
		for i := range store.InstancesByService.Each(tx, svc.ID) {
			h, _ := store.InstanceHealths.Get(tx, i.ID)
			switch {
			case i.Goal == app.GoalRun && i.Revision == svc.Routed && h.Healthy:
				r.Targets = append(r.Targets, i.ID)
			case i.Goal == app.GoalDrain && busy:
				r.Busy = append(r.Busy, i.ID)
			}
		}
		store.Observed.RouteStatuses.Put(tx, r)
	}
	return nil
}

func (tr *trace) expect(words []string) error {
	have := map[string]string{"op": "none", "step": "none"}
	counts := map[app.InstanceGoal]int{}
	err := tr.store.View(ctx, func(tx *store.Tx) error {
		for svc := range store.Services.All(tx) {
			have["status"], have["routed"] = string(svc.Status), fmt.Sprint(svc.Routed)
			if op, ok := store.OperationsByService.First(tx, svc.ID); ok {
				have["op"], have["step"] = string(op.Type)+"/"+string(op.Status), op.Step
			}
		}
		for i := range store.Instances.All(tx) {
			counts[i.Goal]++
		}
		return nil
	})
	have["run"], have["drain"], have["stop"] = fmt.Sprint(counts[app.GoalRun]), fmt.Sprint(counts[app.GoalDrain]), fmt.Sprint(counts[app.GoalStop])
	for _, word := range words {
		key, want, _ := strings.Cut(word, "=")
		if got, ok := have[key]; !ok || strings.ReplaceAll(got, " ", "_") != want {
			return fmt.Errorf("%s is %q", key, got)
		}
	}
	return err
}

func (tr *trace) said(text string) error {
	var all []string
	err := tr.store.View(ctx, func(tx *store.Tx) error {
		for e := range store.Events.All(tx) {
			all = append(all, e.Message)
		}
		return nil
	})
	if err == nil && !strings.Contains(strings.Join(all, "\n"), text) {
		err = fmt.Errorf("the events are:\n%s", strings.Join(all, "\n"))
	}
	return err
}
