package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/store"
)

var scope = app.Scope{Account: "000000000000", Region: "us-east-1"}

// behaviours are what applications do; most do well.
var behaviours = []string{"good", "good", "good", "good", "fickle", "crash", "deaf", "port", "slow", "broken"}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func ptr[T any](v T) *T { return &v }

// call makes one random API call and returns its name and error.
func (s *server) call() (name string, err error) {
	ctx, w := context.Background(), s.w
	service := fmt.Sprintf("service-%d", w.rnd.IntN(3))
	arn := scope.ARN("apprunner", "service/"+service)
	image := fmt.Sprintf("%s/app:%s", scope.RegistryHost(), []string{"v1", "v1", "v1", "v2", "v2", "v3", "v3", "v3", "v3", "none"}[w.rnd.IntN(10)])
	source := &control.SourceInput{
		Image:           &control.ImageInput{Identifier: &image, Type: ptr(app.ImageRepositoryECR)},
		AutoDeployments: ptr(w.chance(70)),
	}
	switch n := w.rnd.IntN(100); {
	case n < 25:
		_, _, err = s.control.CreateService(ctx, scope, control.CreateServiceInput{Name: service, Source: *source, ScalingARN: s.scaling()})
		name = "create " + service + " " + image
	case n < 40:
		in := control.UpdateServiceInput{ScalingARN: s.scaling()}
		if w.chance(60) {
			in.Source = source
		}
		_, _, err = s.control.UpdateService(ctx, scope, arn, in)
		name = "update " + service + " " + image
	case n < 48:
		_, err = s.control.StartDeployment(ctx, scope, arn)
		name = "deploy " + service
	case n < 56:
		_, _, err = s.control.PauseService(ctx, scope, arn)
		name = "pause " + service
	case n < 66:
		_, _, err = s.control.ResumeService(ctx, scope, arn)
		name = "resume " + service
	case n < 74:
		_, _, err = s.control.DeleteService(ctx, scope, arn)
		name = "delete " + service
	case n < 88:
		name, err = s.push([]string{"v1", "v2", "v3"}[w.rnd.IntN(3)])
	case n < 92:
		_, err = s.control.CancelOperation(ctx, scope, arn, "")
		name = "cancel " + service
	case n < 96:
		_, err = s.control.RollbackService(ctx, scope, arn, 0)
		name = "rollback " + service
	default:
		_, err = s.control.PutServiceSettings(ctx, scope, arn, control.SettingsInput{RequestTimeout: ptr(time.Duration(w.rnd.IntN(60)) * time.Second)})
		name = "settings " + service
	}
	return name, err
}

// scaling picks an auto scaling configuration, or none.
func (s *server) scaling() *string {
	if s.w.chance(50) {
		return nil
	}
	return ptr(scope.ARN("apprunner", fmt.Sprintf("autoscalingconfiguration/size-%d", 1+s.w.rnd.IntN(3))))
}

// push puts an image whose application behaves at random under a tag.
func (s *server) push(tag string) (string, error) {
	behave := behaviours[s.w.rnd.IntN(len(behaviours))]
	if s.w.quiet {
		behave = "good"
	}
	digest := app.Digest(fmt.Sprintf("sha256:%016x%048x", s.w.rnd.Uint64(), len(s.behaviours)))
	s.behaviours[digest] = behave
	err := s.control.Catalog().PutManifest(context.Background(), app.Manifest{
		Repository: app.RepositoryKey{Scope: scope, Name: "app"}, Digest: digest, Tags: []string{tag},
		MediaType: "application/vnd.oci.image.manifest.v1+json", Annotations: map[string]string{"behave": behave},
	})
	return "push " + tag + " " + behave, err
}

// furnish makes what calls refer to; it may be repeated after a crash.
func (s *server) furnish() {
	ctx := context.Background()
	_, err := s.control.CreateRepository(ctx, app.RepositoryKey{Scope: scope, Name: "app"}, control.CreateRepositoryInput{})
	if err != nil && app.KindOf(err) != app.KindExists {
		panic(err)
	}
	for _, tag := range []string{"v1", "v2", "v3"} {
		if _, err := s.control.Catalog().Manifest(ctx, app.RepositoryKey{Scope: scope, Name: "app"}, tag); err == nil {
			continue
		}
		if _, err := s.push(tag); err != nil {
			panic(err)
		}
	}
	for size := 1; size <= 3; size++ {
		name := "size-" + strconv.Itoa(size)
		if _, err := s.control.DescribeAutoScalingConfiguration(ctx, scope, scope.ARN("apprunner", "autoscalingconfiguration/"+name)); err == nil {
			continue
		}
		if _, err := s.control.CreateAutoScalingConfiguration(ctx, scope, control.CreateAutoScalingInput{Name: name, MinSize: &size}); err != nil {
			panic(err)
		}
	}
}

// remember reads back which application each image holds.
func (s *server) remember() {
	s.view(func(tx *store.Tx) {
		for m := range store.Manifests.All(tx) {
			s.behaviours[m.Digest] = m.Annotations["behave"]
		}
	})
}
