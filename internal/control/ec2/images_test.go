package ec2

import (
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// push puts an image of a tag into a repository, as the catalog does.
func (b *bench) push(s app.Scope, repository, tag string, change func(*app.Manifest)) app.Manifest {
	b.t.Helper()
	key := app.RepositoryKey{Scope: s, Name: repository}
	m := app.Manifest{
		Repository: key, Digest: app.Digest("sha256:" + sixtyFour(tag)), Tags: []string{tag}, ConfigMediaType: "application/vnd.oci.image.config.v1+json", PushedAt: b.now,
	}
	change(&m)
	b.write(func(tx *store.Tx) {
		store.Control.Repositories.Put(tx, app.Repository{Key: key})
		store.Control.Manifests.Put(tx, m)
	})
	return m
}

func sixtyFour(seed string) string {
	out := ""
	for len(out) < 64 {
		for _, r := range seed {
			out += string("0123456789abcdef"[int(r)%16])
		}
	}
	return out[:64]
}

func plain(*app.Manifest) {}

func TestImages(t *testing.T) {
	b := newBench(t)
	m := b.push(scope, "team/db", "v1", plain)
	b.push(scope, "app", "v2", plain)
	b.push(other, "app", "v3", plain)
	b.push(scope, "chart", "v1", func(m *app.Manifest) { m.ConfigMediaType = "application/vnd.cncf.helm.config.v1+json" })
	all, err := b.DescribeImages(ctx, scope, nil)
	if err != nil || len(all) != 2 || all[0].ID > all[1].ID {
		t.Fatalf("got %+v, %v", all, err)
	}
	db := all[0]
	if db.Name != "team/db:v1" {
		db = all[1]
	}
	uri := "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/db"
	if db.Name != "team/db:v1" || !amiID.MatchString(db.ID) || db.Reference != uri+":v1" || !db.PushedAt.Equal(b.now) {
		t.Errorf("got %+v", db)
	}
	for id, want := range map[string]string{
		db.ID: uri + ":v1", "team/db:v1": uri + ":v1", uri + ":v1": uri + ":v1", uri + "@" + string(m.Digest): uri + "@" + string(m.Digest),
		"redis:7": "docker.io/library/redis:7", "docker.io/library/app:v2": "docker.io/library/app:v2", "quay.io/x/y": "quay.io/x/y:latest",
	} {
		got, err := b.DescribeImages(ctx, scope, []string{id, id})
		if err != nil || len(got) != 1 || got[0].ID != id || got[0].Reference != want {
			t.Errorf("%s: got %+v, %v; want %s", id, got, err, want)
		}
	}
	for id, c := range map[string][2]string{
		"ami-0123456789abcdef0": {"InvalidAMIID.NotFound", "describe-images"}, "ami-what": {"InvalidAMIID.Malformed", "17 hexadecimal"},
		"app:v1": {"InvalidAMIID.NotFound", "push it to the repository app"}, uri + ":no": {"InvalidAMIID.NotFound", "team/db"},
		"No Image": {"InvalidAMIID.Malformed", "No Image"},
	} {
		_, err := b.DescribeImages(ctx, scope, []string{id})
		fails(t, err, c[0], c[1])
		in := run(b.defaultSubnet())
		in.Host.Image = id
		_, err = b.RunHosts(ctx, scope, in)
		fails(t, err, c[0], c[1])
	}
}

// defaultSubnet is one of the default VPC's.
func (b *bench) defaultSubnet() (id app.SubnetID) {
	b.t.Helper()
	if _, err := b.DescribeVPCs(ctx, scope); err != nil {
		b.t.Fatal(err)
	}
	b.read(func(tx *store.Tx) { id, _ = defaultSubnet(tx, scope) })
	return id
}

func TestRegistryHosts(t *testing.T) {
	b := newBench(t)
	b.cfg.RegistryHosts = []string{"localhost:4566"}
	b.push(scope, "app", "v1", plain)
	got, err := b.DescribeImages(ctx, scope, []string{"localhost:4566/app:v1"})
	if err != nil || got[0].Reference != "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:v1" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = b.DescribeImages(ctx, scope, []string{"localhost:4566/app:v2"})
	fails(t, err, "InvalidAMIID.NotFound", "app")
}

// What a host is made of is asked for under the reference that its image means; after a failure it is asked for anew.
func TestHostAsksForItsImage(t *testing.T) {
	b := newBench(t)
	b.push(scope, "app", "v1", plain)
	sub := b.defaultSubnet()
	in := run("")
	in.Host.Image = "app:v1"
	d := b.host(in)
	if d.NICs[0].Subnet != sub || d.Image != "app:v1" {
		t.Errorf("got %+v", d)
	}
	request := func(n app.RevisionNumber) (r app.ImageRequest, ok bool) {
		b.read(func(tx *store.Tx) {
			r, ok = store.ImageRequests.Get(tx, app.RevisionKey{Service: app.ServiceID(d.ID), Number: n})
		})
		return r, ok
	}
	if r, ok := request(1); !ok || r.Image != "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:v1" || r.Type != app.ImageRepositoryECR {
		t.Errorf("got %+v, %v", r, ok)
	}
	if h := b.observe(d.ID, app.PhasePending, "", app.ImageStatus{Error: "the network is down"}); h.State != app.HostPending || h.StateReason != "pending: The image cannot be had yet: the network is down" {
		t.Errorf("it is %s: %s", h.State, h.StateReason)
	}
	if h := b.observe(d.ID, app.PhasePending, "the disk is full", present); h.StateCode != "pending" || h.StateReason != "pending: the disk is full" {
		t.Errorf("it is %s: %s", h.State, h.StateReason)
	}
	if h := b.observe(d.ID, app.PhasePending, "", app.ImageStatus{}); h.StateReason != "" {
		t.Errorf("it still says %s", h.StateReason)
	}
	b.observe(d.ID, app.PhasePending, "", app.ImageStatus{Permanent: true, Error: "broken"})
	b.observe(d.ID, app.PhaseGone, "", app.ImageStatus{Permanent: true, Error: "broken"})
	if _, ok := request(1); ok {
		t.Error("the failed request is still there")
	}
	if _, err := b.StartHosts(ctx, scope, []app.HostID{d.ID}); err != nil {
		t.Fatal(err)
	}
	if _, ok := request(2); !ok {
		t.Error("it is not asked for again")
	}
	b.keep()
	var h app.Host
	if b.read(func(tx *store.Tx) { h, _ = store.Hosts.Get(tx, d.ID) }); h.State != app.HostPending {
		t.Errorf("the failure before counts again: it is %s", h.State)
	}
}
