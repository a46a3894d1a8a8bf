package bench

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"golang.org/x/sys/unix"

	api "github.com/funade/funade/internal/aws/api/apprunner"
)

// ship measures what shipping an image costs.
func ship(t *testing.T, r *report) {
	t.Run("start", func(t *testing.T) { starts(t, r) })
	t.Run("create", func(t *testing.T) { creates(t, r) })
	t.Run("memory", func(t *testing.T) { memory(t, r) })
	t.Run("calls", func(t *testing.T) { calls(t, r) })
	t.Run("push", func(t *testing.T) { pushes(t, r) })
}

// create makes a service whose instances cost little.
func (s *subject) create(name string, scaling *string) *types.Service {
	s.t.Helper()
	return s.createIn(name, scaling, nil)
}

// createIn makes one with a network configuration.
func (s *subject) createIn(name string, scaling *string, network *types.NetworkConfiguration) *types.Service {
	s.t.Helper()
	out, err := s.api.AppRunner.CreateService(s.ctx, &apprunner.CreateServiceInput{
		ServiceName: &name, AutoScalingConfigurationArn: scaling, NetworkConfiguration: network,
		SourceConfiguration: &types.SourceConfiguration{
			AutoDeploymentsEnabled: aws.Bool(false),
			ImageRepository: &types.ImageRepository{
				ImageIdentifier: &s.image, ImageRepositoryType: types.ImageRepositoryTypeEcr,
				ImageConfiguration: &types.ImageConfiguration{Port: aws.String("8080")},
			},
		},
	})
	check(s.t, err)
	return out.Service
}

// status waits until a service has a status.
func (s *subject) status(svc *types.Service, want types.ServiceStatus) {
	s.t.Helper()
	s.eventually(2*time.Minute, "service is "+string(want), func() bool {
		out, err := s.api.AppRunner.DescribeService(s.ctx, &apprunner.DescribeServiceInput{ServiceArn: svc.ServiceArn})
		return err == nil && out.Service.Status == want
	})
}

func (s *subject) remove(svc *types.Service) {
	s.t.Helper()
	_, err := s.api.AppRunner.DeleteService(s.ctx, &apprunner.DeleteServiceInput{ServiceArn: svc.ServiceArn})
	check(s.t, err)
	s.status(svc, types.ServiceStatusDeleted)
}

// creates measures from the call of CreateService to the first 200 at the front door, beside runc with the same bundle.
func creates(t *testing.T, r *report) {
	s := newSubject(t)
	s.push()
	client, err := s.Client()
	check(t, err)
	model := s.create("model", nil) // the image is unpacked now
	s.status(model, types.ServiceStatusRunning)
	peer := newRunc(s)
	var ours, theirs []time.Duration
	for n := range 20 {
		began := time.Now()
		svc := s.create(fmt.Sprintf("service-%d", n), nil)
		url := s.URL(aws.ToString(svc.ServiceUrl))
		s.eventually(time.Minute, "the service answers", func() bool {
			resp, err := client.Get(url)
			return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
		})
		ours = append(ours, time.Since(began))
		s.status(svc, types.ServiceStatusRunning)
		s.remove(svc)
		theirs = append(theirs, peer.run(n))
	}
	a, b := milliseconds(median(ours)), milliseconds(median(theirs))
	r.add("create-service with a cached image to the first 200, median of 20", "%.0f ms", a, fmt.Sprintf("runc run -d: %.0f ms", b), 600)
	r.add("  as a multiple of runc run -d", "%.1f x", a/b, "", 8)
}

// starts measures the server's start to healthy, with no service and with 1,000 paused ones.
func starts(t *testing.T, r *report) {
	s := newSubject(t)
	check(t, s.Stop())
	r.add("server start to healthy, empty, median of 5", "%.0f ms", milliseconds(s.startTimes()), "", 500)
	fill(t, s.Data, 1000)
	r.add("server start to healthy, 1,000 stopped services, median of 5", "%.0f ms", milliseconds(s.startTimes()), "", 1000)
}

func (s *subject) startTimes() time.Duration {
	s.t.Helper()
	var all []time.Duration
	client := &http.Client{Timeout: 5 * time.Second}
	for range 5 {
		began := time.Now()
		check(s.t, s.Launch())
		s.eventually(time.Minute, "server is healthy", func() bool {
			resp, err := client.Get(s.API() + "/_funade/health")
			return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
		})
		all = append(all, time.Since(began))
		check(s.t, s.Stop())
	}
	return median(all)
}

// memory measures the idle server, and what ten instances take beside the application.
func memory(t *testing.T, r *report) {
	s := newSubject(t)
	s.push()
	s.settle()
	idle, err := kibibytes(s.PID(), "status", "RssAnon")
	check(t, err)
	r.add("memory of the idle server (RssAnon)", "%.1f MB", idle/1024, "", 60)

	warm := s.create("warm", nil)
	s.status(warm, types.ServiceStatusRunning)
	s.remove(warm)
	const instances = 10
	before := s.overhead()
	var many []*types.Service
	for n := range instances {
		many = append(many, s.create(fmt.Sprintf("many-%d", n), nil))
	}
	for _, svc := range many {
		s.status(svc, types.ServiceStatusRunning)
	}
	s.settle()
	r.add("memory per running instance beside the app (PSS), 10 services", "%.1f MB", (s.overhead()-before)/instances/1024, "", 10)
	for _, svc := range many {
		s.remove(svc)
	}
	scaling, err := s.api.AppRunner.CreateAutoScalingConfiguration(s.ctx, &apprunner.CreateAutoScalingConfigurationInput{
		AutoScalingConfigurationName: aws.String("ten-instances"), MinSize: aws.Int32(instances), MaxSize: aws.Int32(instances),
	})
	check(t, err)
	s.settle()
	before = s.overhead()
	one := s.create("one-service", scaling.AutoScalingConfiguration.AutoScalingConfigurationArn)
	s.status(one, types.ServiceStatusRunning)
	s.settle()
	r.add("memory per running instance beside the app (PSS), 10 of one service", "%.1f MB", (s.overhead()-before)/instances/1024, "", 10)
}

// settle waits until the server has used no processor time worth telling for two seconds.
func (s *subject) settle() {
	s.t.Helper()
	last, since := cpu(s.t, s.PID()), time.Now()
	s.eventually(time.Minute, "server is quiet", func() bool {
		if now := cpu(s.t, s.PID()); now > last+50*time.Millisecond {
			last, since = now, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
}

// overhead is the proportional set size of the server and all its shims, in KiB.
func (s *subject) overhead() float64 {
	s.t.Helper()
	info, err := s.Info()
	check(s.t, err)
	sum, err := kibibytes(s.PID(), "smaps_rollup", "Pss")
	check(s.t, err)
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(s.t, err)
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), "-namespace\x00"+info.InstallID) {
			continue // it has ended, or is no shim
		}
		var pid int
		_, err = fmt.Sscanf(path, "/proc/%d/", &pid)
		check(s.t, err)
		pss, err := kibibytes(pid, "smaps_rollup", "Pss")
		check(s.t, err)
		sum += pss
	}
	return sum
}

// calls measures the server's processor time per signed call with 1,000 and 10,000 services.
func calls(t *testing.T, r *report) {
	s := newSubject(t)
	var describe, list, page [2]float64
	for i, n := range []int{1_000, 10_000} {
		check(t, s.Stop())
		arns := fill(t, s.Data, n)
		check(t, s.Start(s.ctx))
		s.settle()
		describe[i] = s.perCall(4000, func(k int) error {
			return s.api.Plain.Call(s.ctx, "DescribeService", &api.DescribeServiceInput{ServiceArn: &arns[k*7919%n]}, new(api.DescribeServiceOutput))
		})
		list[i] = s.perCall(300, func(int) error {
			return s.api.Plain.Call(s.ctx, "ListServices", &api.ListServicesInput{}, new(api.ListServicesOutput))
		})
		page[i] = s.perCall(2000, func(int) error {
			return s.api.Plain.Call(s.ctx, "ListServices", &api.ListServicesInput{MaxResults: aws.Int32(20)}, new(api.ListServicesOutput))
		})
	}
	growth := math.Log(10_000) / math.Log(1_000)
	r.add("DescribeService, processor time per call at 1,000 services", "%.3f ms", describe[0], "", 0.3)
	r.add("  at 10,000 as a multiple", "%.2f x", describe[1]/describe[0], "log n", growth)
	r.add("ListServices, processor time per call at 1,000 services", "%.3f ms", list[0], "", 10)
	r.add("  at 10,000 as a multiple, per service listed", "%.2f x", list[1]/list[0]/10, "log n", growth)
	r.add("  a page of 20 at 10,000 as a multiple of one at 1,000", "%.2f x", page[1]/page[0], "log n", growth)
}

// perCall returns the server's processor time per call in milliseconds.
func (s *subject) perCall(n int, call func(k int) error) float64 {
	s.t.Helper()
	for k := range n / 10 { // connections, caches
		check(s.t, call(k))
	}
	before := cpu(s.t, s.PID())
	for k := range n {
		check(s.t, call(k))
	}
	return milliseconds(cpu(s.t, s.PID())-before) / float64(n)
}

const layerBytes = 100 << 20

// pushes measures the push of a layer beside writing, syncing and hashing the same bytes.
func pushes(t *testing.T, r *report) {
	s := newSubject(t)
	_, err := s.api.CreateRepository(s.ctx, "app")
	check(t, err)
	token, err := s.api.ECR.GetAuthorizationToken(s.ctx, &ecr.GetAuthorizationTokenInput{})
	check(t, err)
	auth := "Basic " + aws.ToString(token.AuthorizationData[0].AuthorizationToken)
	layer := make([]byte, layerBytes)
	_, err = rand.Read(layer)
	check(t, err)
	var ours, theirs []time.Duration
	for n := range 12 {
		layer[0] = byte(n) // another blob
		sum := sha256.Sum256(layer)
		push := func() { ours = append(ours, s.pushLayer(auth, layer, "sha256:"+hex.EncodeToString(sum[:]))) }
		write := func() { theirs = append(theirs, writeAndHash(t, filepath.Join(s.Data, "..", "peer"), layer)) }
		if n%2 == 1 { // the disk is slower for whoever comes second
			push, write = write, push
		}
		unix.Sync() // nothing is under way from before
		push()
		unix.Sync()
		write()
	}
	var ratios []float64
	for n := range ours { // by pairs, as the disk's speed changes from one to the next
		ratios = append(ratios, float64(ours[n])/float64(theirs[n]))
	}
	peer := fmt.Sprintf("%.0f ms to %.0f ms at best", milliseconds(slices.Min(ours)), milliseconds(slices.Min(theirs)))
	r.add("push of a 100 MB layer beside writing and hashing it, median of 12", "%.2f x", median(ratios), peer, 1.5)
}
