package ec2

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

var (
	ctx   = context.Background()
	scope = app.Scope{Account: "000000000000", Region: "us-east-1"}
	other = app.Scope{Account: "000000000000", Region: "eu-west-1"}
)

// bench is the use cases over a store of their own, with a clock that stands.
type bench struct {
	*EC2
	t     *testing.T
	store *store.Store
	now   time.Time
}

func newBench(t *testing.T, quotas ...Quotas) *bench {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "funade.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(st.Verify(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	b := &bench{t: t, store: st, now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	cfg := Config{Now: func() time.Time { return b.now }}
	if len(quotas) > 0 {
		cfg.Quotas = quotas[0]
	}
	b.EC2 = New(st, cfg)
	return b
}

// vpc makes a VPC.
func (b *bench) vpc(cidr string) app.VPCID {
	b.t.Helper()
	v, err := b.CreateVPC(ctx, scope, CreateVPCInput{CIDR: cidr})
	if err != nil {
		b.t.Fatal(err)
	}
	return v.ID
}

// subnet makes a subnet in zone a.
func (b *bench) subnet(vpc app.VPCID, cidr string) app.SubnetID {
	b.t.Helper()
	s, err := b.CreateSubnet(ctx, scope, CreateSubnetInput{VPC: vpc, CIDR: cidr, Zone: "us-east-1a"})
	if err != nil {
		b.t.Fatal(err)
	}
	return s.ID
}

// read runs fn in a transaction.
func (b *bench) read(fn func(tx *store.Tx)) {
	b.t.Helper()
	if err := b.store.View(ctx, func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		b.t.Fatal(err)
	}
}

// write changes rows behind the use cases' back.
func (b *bench) write(fn func(tx *store.Tx)) {
	b.t.Helper()
	if err := b.store.Update(ctx, func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		b.t.Fatal(err)
	}
}

// rowsOf counts the rows of every table that use cases write, so that a test can say that nothing was left.
func (b *bench) rowsOf() map[string]int {
	out := map[string]int{}
	b.read(func(tx *store.Tx) {
		out["vpcs"], out["subnets"] = store.VPCs.Len(tx), store.Subnets.Len(tx)
		out["tables"], out["acls"] = store.RouteTables.Len(tx), store.NetworkACLs.Len(tx)
		out["groups"], out["rules"] = store.SecurityGroups.Len(tx), store.SecurityGroupRules.Len(tx)
		out["gateways"], out["options"] = store.InternetGateways.Len(tx), store.DHCPOptionSets.Len(tx)
		out["hosts"], out["volumes"], out["instances"] = store.Hosts.Len(tx), store.Volumes.Len(tx), store.Instances.Len(tx)
		out["interfaces"], out["requests"] = store.NetworkInterfaces.Len(tx), store.ImageRequests.Len(tx)
		out["lists"], out["tags"], out["logs"] = store.PrefixLists.Len(tx), store.TagSets.Len(tx), store.FlowLogs.Len(tx)
	})
	return out
}

// fails checks the code of an error and a part of its message.
func fails(t *testing.T, err error, code, words string) {
	t.Helper()
	var e *app.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, words) {
		t.Errorf("got %#v, want %s with %q", err, code, words)
	}
}
