package ec2

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

func TestTags(t *testing.T) {
	b := newBench(t)
	id := string(b.vpc("10.0.0.0/16"))
	sub := string(b.subnet(app.VPCID(id), "10.0.0.0/24"))
	if err := b.CreateTags(ctx, scope, []string{id, sub}, app.Tags{"a": "1", "b": ""}); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateTags(ctx, scope, []string{id}, app.Tags{"a": "2"}); err != nil {
		t.Fatal(err)
	}
	got, err := b.DescribeTags(ctx, scope)
	want := []Tag{{sub, "subnet", "a", "1"}, {sub, "subnet", "b", ""}, {id, "vpc", "a", "2"}, {id, "vpc", "b", ""}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := b.DeleteTags(ctx, scope, []string{id, sub}, []DeletedTag{{Key: "a", Value: new("1")}, {Key: "missing"}}); err != nil {
		t.Fatal(err)
	}
	got, _ = b.DescribeTags(ctx, scope)
	if want = []Tag{{sub, "subnet", "b", ""}, {id, "vpc", "a", "2"}, {id, "vpc", "b", ""}}; !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if err := b.DeleteTags(ctx, scope, []string{id}, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ = b.DescribeTags(ctx, scope); !slices.Equal(got, []Tag{{sub, "subnet", "b", ""}}) {
		t.Errorf("got %+v", got)
	}
	if got, _ = b.DescribeTags(ctx, other); len(got) != 0 {
		t.Errorf("another region sees %+v", got)
	}
}

func TestTagErrors(t *testing.T) {
	b := newBench(t)
	id := string(b.vpc("10.0.0.0/16"))
	full := app.Tags{}
	for n := range app.MaxTags {
		full[fmt.Sprint(n)] = "x"
	}
	for name, c := range map[string]struct {
		ids         []string
		tags        app.Tags
		code, words string
	}{
		"no id":         {[]string{"thing"}, app.Tags{"a": "b"}, "InvalidID", "thing"},
		"one missing":   {[]string{id, "subnet-x"}, app.Tags{"a": "b"}, "InvalidSubnetID.NotFound", "subnet-x"},
		"reserved":      {[]string{id}, app.Tags{"AWS:x": "b"}, "InvalidParameterValue", "reserved"},
		"own":           {[]string{id}, app.Tags{"funade:x": "b"}, "InvalidParameterValue", "funade:volume"},
		"volume of vpc": {[]string{id}, app.Tags{"funade:volume": "b"}, "InvalidParameterValue", "instances only"},
		"long key":      {[]string{id}, app.Tags{strings.Repeat("é", 129): "b"}, "InvalidParameterValue", "128"},
		"long value":    {[]string{id}, app.Tags{"a": strings.Repeat("é", 257)}, "InvalidParameterValue", "256"},
	} {
		t.Run(name, func(t *testing.T) {
			fails(t, b.CreateTags(ctx, scope, c.ids, c.tags), c.code, c.words)
		})
	}
	if got, _ := b.DescribeTags(ctx, scope); len(got) != 0 {
		t.Errorf("a refused call left %+v", got)
	}
	if err := b.CreateTags(ctx, scope, []string{id}, full); err != nil {
		t.Fatal(err)
	}
	fails(t, b.CreateTags(ctx, scope, []string{id}, app.Tags{"more": "x"}), "TagLimitExceeded", "51")
	if err := b.CreateTags(ctx, scope, []string{id}, app.Tags{"0": "other"}); err != nil {
		t.Errorf("an old key at the limit: %v", err)
	}
	more := maps.Clone(full)
	more["more"] = "x"
	_, err := b.CreateVPC(ctx, scope, CreateVPCInput{CIDR: "10.0.0.0/16", Tags: more})
	fails(t, err, "TagLimitExceeded", "50")
}

// Every kind of object can be tagged, is refused by its own code, and is found again.
func TestEveryKindHasTags(t *testing.T) {
	b := newBench(t)
	id := b.vpc("10.0.0.0/16")
	b.write(func(tx *store.Tx) {
		w := store.Control
		w.ElasticIPs.Put(tx, app.ElasticIP{ID: "eipalloc-1", Scope: scope})
		w.Hosts.Put(tx, app.Host{ID: "i-1", Scope: scope})
		w.KeyPairs.Put(tx, app.KeyPair{ID: "key-1", Scope: scope})
		w.NATGateways.Put(tx, app.NATGateway{ID: "nat-1", Scope: scope, VPC: id})
		w.NetworkInterfaces.Put(tx, app.NetworkInterface{ID: "eni-1", Scope: scope, VPC: id, Subnet: "subnet-1"})
		w.PrefixLists.Put(tx, app.PrefixList{ID: "pl-1", Scope: scope})
		w.Volumes.Put(tx, app.Volume{ID: "vol-1", Scope: scope})
		w.Endpoints.Put(tx, app.Endpoint{ID: "vpce-1", Scope: scope, VPC: id})
		w.FlowLogs.Put(tx, app.FlowLog{ID: "fl-1", Scope: scope})
	})
	b.subnet(id, "10.0.0.0/24")
	for _, k := range kinds {
		var any string
		b.read(func(tx *store.Tx) {
			for one := range k.ids(tx, scope) {
				any = one
			}
		})
		if !strings.HasPrefix(any, k.prefix) {
			t.Errorf("no %s was found, but %q", k.name, any)
			continue
		}
		if err := b.CreateTags(ctx, scope, []string{any}, app.Tags{"k": k.name}); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
		fails(t, b.CreateTags(ctx, scope, []string{k.prefix + "none"}, app.Tags{"k": "v"}), k.code, k.prefix+"none")
		fails(t, b.CreateTags(ctx, other, []string{any}, app.Tags{"k": "v"}), k.code, any)
		fails(t, Missing(k.prefix)(k.prefix+"x"), k.code, k.prefix+"x")
	}
	got, err := b.DescribeTags(ctx, scope)
	if err != nil || len(got) != len(kinds) {
		t.Fatalf("got %d tags, want %d, %v", len(got), len(kinds), err)
	}
	for _, tag := range got {
		if tag.Type != tag.Value {
			t.Errorf("got %+v", tag)
		}
	}
}
