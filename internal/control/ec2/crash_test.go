package ec2

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/store"
)

// What fails at its commit has left nothing, and succeeds when it is tried again; the seed too.
func TestFailedCommitsLeaveNothing(t *testing.T) {
	b := newBench(t)
	lost := errors.New("the disk is gone")
	var vpc app.VPCID
	var subnet app.SubnetID
	var block app.AssociationID
	var options app.DHCPOptionsID
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"seed", func() error { _, err := b.DescribeVPCs(ctx, scope); return err }},
		{"CreateVPC", func() error {
			v, err := b.CreateVPC(ctx, scope, CreateVPCInput{CIDR: "10.0.0.0/16", Tags: app.Tags{"a": "b"}})
			vpc = v.ID
			return err
		}},
		{"AssociateVPCBlock", func() error {
			a, err := b.AssociateVPCBlock(ctx, scope, vpc, "10.1.0.0/16")
			block = a.ID
			return err
		}},
		{"CreateSubnet", func() error {
			s, err := b.CreateSubnet(ctx, scope, CreateSubnetInput{VPC: vpc, CIDR: "10.1.0.0/24", Tags: app.Tags{"a": "b"}})
			subnet = s.ID
			return err
		}},
		{"CreateDHCPOptions", func() error {
			o, err := b.CreateDHCPOptions(ctx, scope, map[string][]string{"domain-name": {"x"}}, app.Tags{"a": "b"})
			options = o.ID
			return err
		}},
		{"CreateTags", func() error {
			return b.CreateTags(ctx, scope, []string{string(vpc), string(subnet)}, app.Tags{"c": "d"})
		}},
		{"DeleteSubnet", func() error { return b.DeleteSubnet(ctx, scope, subnet) }},
		{"DisassociateVPCBlock", func() error { _, _, err := b.DisassociateVPCBlock(ctx, scope, block); return err }},
		{"DeleteVPC", func() error { return b.DeleteVPC(ctx, scope, vpc) }},
		{"DeleteDHCPOptions", func() error { return b.DeleteDHCPOptions(ctx, scope, options) }},
	} {
		before := b.rowsOf()
		off := failpoint.Enable("store/before-commit", func() error { return lost })
		if err := step.do(); !errors.Is(err, lost) {
			t.Errorf("%s: got %v", step.name, err)
		}
		off()
		if after := b.rowsOf(); !maps.Equal(before, after) {
			t.Errorf("%s left rows: %v then %v", step.name, before, after)
		}
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
	if rows := b.rowsOf(); rows["vpcs"] != 1 || rows["tags"] != 0 || rows["options"] != 1 {
		t.Errorf("left behind %v", rows)
	}
}

// Rows that other transactions hold are never changed in place.
func TestRowsAreValues(t *testing.T) {
	b := newBench(t)
	vpc := b.vpc("10.0.0.0/16")
	b.subnet(vpc, "10.0.0.0/24")
	if err := b.CreateTags(ctx, scope, []string{string(vpc)}, app.Tags{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	err := b.store.View(ctx, func(tx *store.Tx) error {
		tags, acl, table := Tags(tx, string(vpc)), defaultACL(tx, vpc), mainTable(tx, vpc)
		keptTags, keptACL, keptRoutes := maps.Clone(tags), slices.Clone(acl.Associations), slices.Clone(table.Routes)
		second := b.subnet(vpc, "10.0.1.0/24")
		a, err := b.AssociateVPCBlock(ctx, scope, vpc, "10.1.0.0/16")
		if err := errors.Join(err, b.CreateTags(ctx, scope, []string{string(vpc)}, app.Tags{"a": "c", "d": "e"}), b.DeleteSubnet(ctx, scope, second)); err != nil {
			return err
		}
		if _, _, err := b.DisassociateVPCBlock(ctx, scope, a.ID); err != nil {
			return err
		}
		if !maps.Equal(tags, keptTags) || !slices.Equal(acl.Associations, keptACL) || !slices.Equal(table.Routes, keptRoutes) {
			t.Errorf("an older snapshot changed: %v %v %v", tags, acl.Associations, table.Routes)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
