package sim

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
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
		_, _, err = s.control.CreateService(ctx, scope, control.CreateServiceInput{Name: service, Source: *source, ScalingARN: s.scaling(), Network: s.egress()})
		name = "create " + service + " " + image
	case n < 40:
		in := control.UpdateServiceInput{ScalingARN: s.scaling(), Network: s.egress()}
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

// egress picks a way out: the host's, a VPC connector of two subnets or one of a single subnet, or says nothing of it.
func (s *server) egress() *control.NetworkInput {
	if !s.w.connectors || s.w.chance(40) {
		return nil
	}
	if n := s.w.rnd.IntN(4); n > 0 {
		return &control.NetworkInput{Egress: &control.EgressInput{
			Type: ptr(app.EgressVPC), VpcConnectorARN: ptr(scope.ARN("apprunner", fmt.Sprintf("vpcconnector/connector-%d", 1+n%2))),
		}}
	}
	return &control.NetworkInput{Egress: &control.EgressInput{Type: ptr(app.EgressDefault)}}
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
	if s.w.connectors {
		s.furnishVPC()
	}
}

// furnishVPC makes connectors, and a VPC with two subnets of 11 addresses, most of one taken, so that services run out of them.
func (s *server) furnishVPC() {
	s.update(func(tx *store.Tx) {
		store.Control.VPCs.Put(tx, app.VPC{ID: "vpc-1", Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16"), DNSSupport: true})
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: "sg-1", Scope: scope, VPC: "vpc-1", Name: "default", Default: true})
		for n, zone := range []string{"us-east-1a", "us-east-1b"} {
			store.Control.Subnets.Put(tx, app.Subnet{
				ID: app.SubnetID(fmt.Sprintf("subnet-%d", n+1)), Scope: scope, VPC: "vpc-1", Zone: zone, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n), 0}), 28),
			})
		}
		taken := app.NetworkInterface{ID: "eni-00000000000000bad", Scope: scope, Kind: app.InterfaceOfUser, VPC: "vpc-1", Subnet: "subnet-2", Zone: "us-east-1b"}
		for n := range 8 {
			taken.Addresses = append(taken.Addresses, netip.AddrFrom4([4]byte{10, 0, 1, byte(14 - n)}))
		}
		store.Control.NetworkInterfaces.Put(tx, taken)
	})
	for n, subnets := range [][]app.SubnetID{{"subnet-1", "subnet-2"}, {"subnet-2"}} {
		name := fmt.Sprintf("connector-%d", n+1)
		page, err := s.control.ListVPCConnectors(context.Background(), scope, control.PageRequest{})
		if err != nil {
			panic(err)
		}
		if slices.ContainsFunc(page.Items, func(c app.VPCConnector) bool { return c.Name == name }) {
			continue
		}
		if _, err := s.control.CreateVPCConnector(context.Background(), scope, control.CreateVPCConnectorInput{Name: name, Subnets: subnets}); err != nil {
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
