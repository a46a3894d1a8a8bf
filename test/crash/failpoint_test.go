package crash

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
)

// TestFailpoints kills the server once at each named place and looks how the next start goes on. The work is done
// while the failpoint is enabled; the server must die of it.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	steady := w.running("steady")
	arn := aws.ToString(steady.ServiceArn)
	before := w.pids(arn)
	creating := []string{
		"store/before-commit", "store/before-commit@3", "store/before-commit@6", "store/after-commit", "store/after-commit@3", "store/after-commit@6",
		"vpc/attach/namespaces", "vpc/attach/link", "vpc/attach/rules", "vpc/attach/configured",
		"engine/created", "engine/task-created", "engine/started", "logs/write", "logs/synced",
	}
	if len(names(w.runDir()+"/userns")) > 0 { // else this machine has no user namespaces to make
		creating = append(creating, "vpc/attach/userns")
	}
	cases := []struct {
		work   func(*testing.T, *world, string)
		points []string
	}{
		{killedCreating, creating},
		{killedDeleting, []string{"engine/removing", "vpc/detach/link", "vpc/detach/rules", "vpc/detach/netns"}},
		{killedPushing, []string{"registry/link", "registry/put-manifest"}},
		{killedStopping, []string{"logs/flush", "logs/checkpoint", "logs/meta", "logs/checkpoint@2", "logs/meta@2"}},
	}
	for _, c := range cases {
		for _, point := range c.points {
			t.Run(point, func(t *testing.T) {
				w := *w
				w.t = t
				c.work(t, &w, point)
				w.answers(arn, 20*time.Second)
				if now := w.pids(arn); !slices.Equal(now, before) {
					t.Errorf("the processes of the untouched service were %v and are %v", before, now)
				}
				w.eventually(20*time.Second, "nothing is left that no row claims", w.unclaimed)
			})
		}
	}
	w.layers(maxLayers)
}

// maxLayers is how many layers the images of these tests have together.
const maxLayers = 3

// arm starts the server with a failpoint that kills it.
func (w *world) arm(point string) {
	w.t.Helper()
	name, count, counted := strings.Cut(point, "@")
	if !counted {
		count = "1"
	}
	check(w.t, w.server.Kill())
	w.server.Setenv("FUNADE_FAILPOINTS", name+"=kill@"+count)
	check(w.t, w.server.Launch())
	// One that is hit during the start ends the wait at once, which is as good a place to die.
	if err := w.server.AwaitHealthy(w.ctx); err != nil && w.server.Running() {
		w.t.Fatal(err)
	}
}

// died waits until the failpoint has killed the server and starts it without.
func (w *world) died() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	if ended, _ := w.server.AwaitEnd(ctx); !ended {
		w.t.Fatal("the failpoint was never reached")
	}
	w.restart("")
}

func killedCreating(t *testing.T, w *world, point string) {
	w.arm(point)
	name := "created"
	out, err := w.create(name)
	w.died()
	svc, findErr := w.find(name)
	check(t, findErr)
	if err == nil && (svc == nil || aws.ToString(svc.ServiceArn) != aws.ToString(out.Service.ServiceArn)) {
		t.Fatal("the server acknowledged a service and has forgotten it")
	}
	if svc == nil { // it died before the commit: nobody was promised anything
		out, err := w.create(name)
		check(t, err)
		svc = &types.ServiceSummary{ServiceArn: out.Service.ServiceArn}
	}
	created := aws.ToString(svc.ServiceArn)
	w.answers(created, 60*time.Second)
	w.eventually(20*time.Second, "nothing is left that no row claims", w.unclaimed)
	w.succeeded(created, types.OperationTypeCreateService)
	w.remove(created)
}

func killedDeleting(t *testing.T, w *world, point string) {
	created := aws.ToString(w.running("deleted").ServiceArn)
	w.arm(point)
	if _, err := w.api.AppRunner.DeleteService(w.ctx, &apprunner.DeleteServiceInput{ServiceArn: &created}); err != nil && refused(err) {
		t.Fatal(err)
	}
	w.died()
	svc, err := w.find("deleted")
	check(t, err)
	if svc != nil && svc.Status == types.ServiceStatusRunning {
		w.remove(created) // it died before the commit
	}
	w.deleted(created)
	w.succeeded(created, types.OperationTypeDeleteService)
}

func killedPushing(t *testing.T, w *world, point string) {
	w.arm(point)
	tag := "killed"
	if err := w.push(tag, int64(len(point))); err == nil {
		t.Error("the push was acknowledged though the server died of it")
	}
	w.died()
	check(t, w.push(tag, int64(len(point)))) // the client's second try goes on from what is there
	original := w.image
	w.image = original[:len(original)-len("v1")] + tag
	w.remove(aws.ToString(w.running("pushed").ServiceArn))
	w.image = original
}

// killedStopping: the log store's checkpoint is made when a server starts and when it ends.
func killedStopping(t *testing.T, w *world, point string) {
	w.arm(point)
	if w.server.Running() {
		svc, err := w.find("steady")
		check(t, err)
		full, err := w.describe(aws.ToString(svc.ServiceArn))
		check(t, err)
		check(t, w.get(aws.ToString(full.ServiceUrl)+"/log?text=before"))
		if err := w.server.Stop(); err == nil {
			t.Error("the server ended well though it should have died")
		}
	}
	w.died()
}

// succeeded checks that a service's operation of that type ended well, and that none is under way.
func (w *world) succeeded(arn string, kind types.OperationType) {
	w.t.Helper()
	out, err := w.api.AppRunner.ListOperations(w.ctx, &apprunner.ListOperationsInput{ServiceArn: &arn})
	check(w.t, err)
	found := false
	for _, op := range out.OperationSummaryList {
		if op.Status != types.OperationStatusSucceeded {
			w.t.Errorf("operation %s is %s", op.Type, op.Status)
		}
		found = found || op.Type == kind
	}
	if !found {
		w.t.Errorf("no operation %s is there", kind)
	}
}
