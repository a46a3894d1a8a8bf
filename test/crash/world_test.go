package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/smithy-go"

	"github.com/funade/funade/build/ociimage"
	"github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const repository = "app"

// world is one server with an image in its registry.
type world struct {
	t       *testing.T
	ctx     context.Context // goes on in the test's clean-up
	server  *harness.Server
	api     *harness.API
	install string
	image   string // ImageIdentifier
	tmp     string // the server's TMPDIR
}

// newWorld starts a server in dir; the test's end purges it and looks whether anything of it is left.
func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	server, err := harness.NewServer(dir)
	check(t, err)
	w := &world{t: t, ctx: context.WithoutCancel(t.Context()), server: server, tmp: filepath.Join(dir, "tmp")}
	check(t, os.MkdirAll(w.tmp, 0o700))
	server.Setenv("TMPDIR", w.tmp)
	t.Cleanup(w.end)
	check(t, server.Start(t.Context()))
	info, err := server.Info()
	check(t, err)
	w.install = info.InstallID
	w.api, err = server.Clients()
	check(t, err)
	uri, err := w.api.CreateRepository(t.Context(), repository)
	check(t, err)
	w.image = uri + ":v1"
	check(t, w.push("v1", 0))
	return w
}

func (w *world) end() {
	if w.t.Failed() {
		w.t.Logf("%s\nend of the server's log:\n%s", w.diagnosis(), w.server.LogTail())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := w.server.Purge(ctx); err != nil {
		w.t.Error(err)
		return
	}
	if w.install != "" {
		w.eventually(10*time.Second, "purge leaves nothing", func() error { return list(w.traces()) })
	}
}

// diagnosis is what the server says about its services.
func (w *world) diagnosis() string {
	bin, err := harness.Funade()
	if err != nil || w.api == nil {
		return ""
	}
	out, _ := exec.Command(bin, "services", "--data", w.server.Data).CombinedOutput() // as good as it gets
	all, err := w.services()
	if err != nil {
		return err.Error()
	}
	for _, s := range all {
		for _, verb := range [][]string{{"status"}, {"operations"}, {"logs", "--events"}} {
			more, _ := exec.Command(bin, append(verb, aws.ToString(s.ServiceName), "--data", w.server.Data)...).CombinedOutput()
			out = append(out, more...)
		}
	}
	return string(out)
}

func (w *world) push(tag string, padding int64) error {
	program, err := harness.TestApp()
	if err != nil {
		return err
	}
	img, err := ociimage.Build(ociimage.Options{Program: program, Port: 8080, Padding: padding})
	if err != nil {
		return err
	}
	return w.api.Push(w.ctx, img, repository, tag)
}

// source is the configuration of a service from the image, with an environment of NAME, value pairs.
func (w *world) source(env ...string) *types.SourceConfiguration {
	vars := map[string]string{}
	for pair := range slices.Chunk(env, 2) {
		vars[pair[0]] = pair[1]
	}
	return &types.SourceConfiguration{
		AutoDeploymentsEnabled: aws.Bool(false),
		ImageRepository: &types.ImageRepository{
			ImageIdentifier: &w.image, ImageRepositoryType: types.ImageRepositoryTypeEcr,
			ImageConfiguration: &types.ImageConfiguration{Port: aws.String("8080"), RuntimeEnvironmentVariables: vars},
		},
	}
}

func (w *world) create(name string, env ...string) (*apprunner.CreateServiceOutput, error) {
	return w.api.AppRunner.CreateService(w.ctx, &apprunner.CreateServiceInput{ServiceName: &name, SourceConfiguration: w.source(env...)})
}

// running creates a service and waits until it runs and answers.
func (w *world) running(name string, env ...string) *types.Service {
	w.t.Helper()
	out, err := w.create(name, env...)
	check(w.t, err)
	return w.answers(aws.ToString(out.Service.ServiceArn), 60*time.Second)
}

// answers waits until a service is RUNNING and its URL answers.
func (w *world) answers(arn string, limit time.Duration) *types.Service {
	w.t.Helper()
	var svc *types.Service
	w.eventually(limit, "service runs and answers", func() error {
		var err error
		if svc, err = w.describe(arn); err != nil {
			return err
		}
		if svc.Status != types.ServiceStatusRunning {
			return fmt.Errorf("%s is %s", aws.ToString(svc.ServiceName), svc.Status)
		}
		return w.get(aws.ToString(svc.ServiceUrl))
	})
	return svc
}

func (w *world) get(url string) error {
	status, _, body, err := w.server.Get(w.ctx, url)
	if err == nil && status != 200 {
		err = fmt.Errorf("GET %s: status %d: %s", url, status, body)
	}
	return err
}

// remove deletes a service and waits until it is DELETED.
func (w *world) remove(arn string) {
	w.t.Helper()
	_, err := w.api.AppRunner.DeleteService(w.ctx, &apprunner.DeleteServiceInput{ServiceArn: &arn})
	check(w.t, err)
	w.deleted(arn)
}

// pause pauses a service and waits until it is.
func (w *world) pause(arn string) {
	w.t.Helper()
	_, err := w.api.AppRunner.PauseService(w.ctx, &apprunner.PauseServiceInput{ServiceArn: &arn})
	check(w.t, err)
	w.status(arn, types.ServiceStatusPaused)
}

// deleted waits until a service is DELETED.
func (w *world) deleted(arn string) {
	w.t.Helper()
	w.status(arn, types.ServiceStatusDeleted)
}

// status waits until a service has a status.
func (w *world) status(arn string, want types.ServiceStatus) {
	w.t.Helper()
	w.eventually(60*time.Second, "service is "+string(want), func() error {
		svc, err := w.describe(arn)
		if err == nil && svc.Status != want {
			err = fmt.Errorf("status %s", svc.Status)
		}
		return err
	})
}

func (w *world) describe(arn string) (*types.Service, error) {
	out, err := w.api.AppRunner.DescribeService(w.ctx, &apprunner.DescribeServiceInput{ServiceArn: &arn})
	if err != nil {
		return nil, err
	}
	return out.Service, nil
}

// services lists the services that are not DELETED.
func (w *world) services() ([]types.ServiceSummary, error) {
	out, err := w.api.AppRunner.ListServices(w.ctx, &apprunner.ListServicesInput{})
	if err != nil {
		return nil, err
	}
	if out.NextToken != nil {
		return nil, errors.New("more services than one page holds; the test makes a few only")
	}
	return out.ServiceSummaryList, nil
}

// find returns a service by its name, nil when there is none.
func (w *world) find(name string) (*types.ServiceSummary, error) {
	all, err := w.services()
	for i := range all {
		if aws.ToString(all[i].ServiceName) == name {
			return &all[i], err
		}
	}
	return nil, err
}

// instances returns the ids of a service's instances.
func (w *world) instances(arn string) ([]string, error) {
	out, err := w.api.Funade.ListInstances(w.ctx, &funade.ListInstancesInput{ServiceArn: &arn})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, aws.ToString(i.InstanceId))
	}
	return ids, nil
}

// restart ends the server by SIGKILL when it still runs and starts it again with failpoints, "" for none.
func (w *world) restart(failpoints string) {
	w.t.Helper()
	check(w.t, w.server.Kill())
	w.server.Setenv("FUNADE_FAILPOINTS", failpoints)
	check(w.t, w.server.Start(w.ctx))
}

// eventually polls until ok answers nil.
func (w *world) eventually(limit time.Duration, what string, ok func() error) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		<-tick.C
	}
}

// refused reports whether the server answered with an error that a caller can cause; anything else than that and a
// lost connection is a fault of the server.
func refused(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorFault() == smithy.FaultClient
}

// list turns a list of faults into an error.
func list(faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "\n"))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
