package ec2

import (
	"slices"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

func TestACLs(t *testing.T) {
	b := newBench(t, Quotas{ACLsPerVPC: 3})
	vpc, away := b.vpc("10.0.0.0/16"), b.vpc("10.1.0.0/16")
	subnet := b.subnet(vpc, "10.0.1.0/24")
	a, err := b.CreateACL(ctx, scope, vpc, "t", app.Tags{"Name": "n"})
	if err != nil || a.Default || len(a.Entries) != 2 || a.Entries[0].Number != finalRule || a.Entries[0].Allow || a.Entries[0].Egress || !a.Entries[1].Egress || a.Tags["Name"] != "n" {
		t.Fatalf("got %+v, %v", a, err)
	}
	if again, err := b.CreateACL(ctx, scope, vpc, "t", nil); err != nil || again.ID != a.ID || again.Tags["Name"] != "n" {
		t.Errorf("the same token made %+v, %v", again, err)
	}
	_, err = b.CreateACL(ctx, scope, away, "t", nil)
	fails(t, err, "IdempotentParameterMismatch", "t")
	_, err = b.CreateACL(ctx, scope, "vpc-x", "", nil)
	fails(t, err, "InvalidVpcID.NotFound", "vpc-x")
	second, err := b.CreateACL(ctx, scope, vpc, "", nil)
	b.must(err)
	_, err = b.CreateACL(ctx, scope, vpc, "", nil)
	fails(t, err, "NetworkAclLimitExceeded", "3")

	var standard, theirs app.NetworkACL
	b.read(func(tx *store.Tx) { standard, theirs = defaultACL(tx, vpc), defaultACL(tx, away) })
	guard := standard.Associations[0].ID
	_, err = b.ReplaceACLAssociation(ctx, scope, guard, "acl-x")
	fails(t, err, "InvalidNetworkAclID.NotFound", "The networkAcl ID 'acl-x' does not exist")
	_, err = b.ReplaceACLAssociation(ctx, scope, guard, theirs.ID)
	fails(t, err, "InvalidParameterValue", "different networks")
	moved, err := b.ReplaceACLAssociation(ctx, scope, guard, a.ID)
	b.must(err)
	_, err = b.ReplaceACLAssociation(ctx, scope, guard, a.ID)
	fails(t, err, "InvalidAssociationID.NotFound", string(guard))
	moved, err = b.ReplaceACLAssociation(ctx, scope, moved, a.ID) // the same one
	b.must(err)
	b.read(func(tx *store.Tx) {
		row, _ := store.NetworkACLs.Get(tx, a.ID)
		if len(row.Associations) != 1 || row.Associations[0] != (app.ACLAssociation{ID: moved, Subnet: subnet}) || len(defaultACL(tx, vpc).Associations) != 0 {
			t.Errorf("got %+v", row)
		}
	})
	fails(t, b.DeleteACL(ctx, scope, a.ID), "DependencyViolation", string(subnet))
	fails(t, b.DeleteACL(ctx, scope, standard.ID), "InvalidParameterValue", "cannot delete default network ACL")
	b.must(b.DeleteACL(ctx, scope, second.ID))
	fails(t, b.DeleteACL(ctx, scope, second.ID), "InvalidNetworkAclID.NotFound", string(second.ID))
	_, err = b.ReplaceACLAssociation(ctx, scope, moved, standard.ID)
	b.must(err)
	b.must(b.DeleteACL(ctx, scope, a.ID))
	if all, err := b.DescribeACLs(ctx, scope); err != nil || len(all) != 3 || b.rowsOf()["tags"] != 0 {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestACLEntries(t *testing.T) {
	b := newBench(t, Quotas{EntriesPerACL: 4})
	a, err := b.CreateACL(ctx, scope, b.vpc("10.0.0.0/16"), "", nil)
	b.must(err)
	for _, in := range []ACLEntryInput{
		{Number: 200, Allow: true, Protocol: "tcp", CIDR: "10.1.2.3/16", From: new(443), To: new(444)},
		{Number: 100, Protocol: "17", CIDR: "0.0.0.0/0", From: new(0), To: new(65535)},
		{Number: 150, Allow: true, Protocol: "icmp", CIDR: "0.0.0.0/0", Type: new(-1)},
		{Number: 101, Allow: true, Protocol: "-1", CIDR: "::/0", From: new(0), To: new(0)},
		{Number: 100, Egress: true, Allow: true, Protocol: "47", CIDR: "0.0.0.0/0"},
	} {
		b.must(b.CreateACLEntry(ctx, scope, a.ID, in))
		fails(t, b.CreateACLEntry(ctx, scope, a.ID, in), "NetworkAclEntryAlreadyExists", "already exists")
	}
	all, err := b.DescribeACLs(ctx, scope)
	b.must(err)
	n := slices.IndexFunc(all, func(x ACLDetail) bool { return x.ID == a.ID })
	want := []app.ACLEntry{
		{Number: 100, Protocol: 17, CIDR: anywhere, FromPort: 0, ToPort: 65535},
		{Number: 101, Allow: true, Protocol: -1, CIDR: all[n].Entries[1].CIDR, FromPort: -1, ToPort: -1},
		{Number: 150, Allow: true, Protocol: 1, CIDR: anywhere, FromPort: -1, ToPort: -1},
		{Number: 200, Allow: true, Protocol: 6, CIDR: all[n].Entries[3].CIDR, FromPort: 443, ToPort: 444},
		{Number: finalRule, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1},
		{Number: 100, Egress: true, Allow: true, Protocol: 47, CIDR: anywhere, FromPort: -1, ToPort: -1},
		{Number: finalRule, Egress: true, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1},
	}
	if !slices.Equal(all[n].Entries, want) || want[1].CIDR.String() != "::/0" || want[3].CIDR.String() != "10.1.0.0/16" {
		t.Errorf("got %+v", all[n].Entries)
	}
	ok := ACLEntryInput{Number: 300, Protocol: "tcp", CIDR: "0.0.0.0/0", From: new(1), To: new(2)}
	fails(t, b.CreateACLEntry(ctx, scope, a.ID, ok), "NetworkAclEntryLimitExceeded", "4")
	for words, change := range map[string]func(*ACLEntryInput){
		"ruleNumber":                func(in *ACLEntryInput) { in.Number = 0 },
		"to 32766":                  func(in *ACLEntryInput) { in.Number = finalRule },
		"CidrBlock":                 func(in *ACLEntryInput) { in.CIDR = "" },
		"not a valid CIDR":          func(in *ACLEntryInput) { in.CIDR = "10.0.0.0" },
		"Unknown protocol":          func(in *ACLEntryInput) { in.Protocol = "carrier-pigeon" },
		"PortRange":                 func(in *ACLEntryInput) { in.To = nil },
		"port range (3:2)":          func(in *ACLEntryInput) { in.From = new(3) },
		"port range (1:65536)":      func(in *ACLEntryInput) { in.To = new(65536) },
		"IcmpTypeCode":              func(in *ACLEntryInput) { in.Protocol = "1" },
		"type and code (256:-1)":    func(in *ACLEntryInput) { in.Protocol, in.Type = "1", new(256) },
		"all types have all codes":  func(in *ACLEntryInput) { in.Protocol, in.Type, in.Code = "58", new(-1), new(0) },
		"networkAcl ID 'acl-other'": nil,
	} {
		in, id, code := ok, a.ID, "InvalidParameterValue"
		switch words {
		case "CidrBlock", "PortRange", "IcmpTypeCode":
			code = "MissingParameter"
		case "networkAcl ID 'acl-other'":
			id, code = "acl-other", "InvalidNetworkAclID.NotFound"
		}
		if change != nil {
			change(&in)
		}
		fails(t, b.CreateACLEntry(ctx, scope, id, in), code, words)
	}
	fails(t, b.ReplaceACLEntry(ctx, scope, a.ID, ok), "InvalidNetworkAclEntry.NotFound", "The network acl entry identified by 300 does not exist")
	ok.Number = 200
	b.must(b.ReplaceACLEntry(ctx, scope, a.ID, ok))
	ok.Egress = true
	fails(t, b.ReplaceACLEntry(ctx, scope, a.ID, ok), "InvalidNetworkAclEntry.NotFound", "200")
	fails(t, b.DeleteACLEntry(ctx, scope, a.ID, finalRule, false), "InvalidParameterValue", "ruleNumber")
	fails(t, b.DeleteACLEntry(ctx, scope, a.ID, 7, false), "InvalidNetworkAclEntry.NotFound", "7")
	b.must(b.DeleteACLEntry(ctx, scope, a.ID, 100, false))
	b.read(func(tx *store.Tx) {
		row, _ := store.NetworkACLs.Get(tx, a.ID)
		if len(row.Entries) != 6 || row.Entries[2].ToPort != 2 || row.Entries[2].Allow {
			t.Errorf("got %+v", row.Entries)
		}
	})
}
