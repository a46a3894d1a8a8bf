package ec2

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

func (b *bench) group(vpc app.VPCID, name string) app.GroupID {
	b.t.Helper()
	g, err := b.CreateGroup(ctx, scope, CreateGroupInput{Name: name, Description: name, VPC: vpc})
	if err != nil {
		b.t.Fatal(err)
	}
	return g.ID
}

func (b *bench) rules(g app.GroupID) []RuleDetail {
	b.t.Helper()
	all, err := b.DescribeGroups(ctx, scope)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, x := range all {
		if x.ID == g {
			return x.Rules
		}
	}
	return nil
}

func tcp(from, to int, cidr string) RuleInput {
	return RuleInput{Protocol: "tcp", From: &from, To: &to, CIDR: cidr}
}

func ref(g app.GroupID) GroupRef { return GroupRef{ID: g} }

func TestNewGroup(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	g := b.group(v, "apps")
	if rules := b.rules(g); len(rules) != 1 || !rules[0].Egress || rules[0].Protocol != app.AllProtocols || rules[0].CIDR != anywhere {
		t.Errorf("a new group has %+v, want one egress rule for everything", rules)
	}
	for _, c := range []struct {
		in          CreateGroupInput
		code, words string
	}{
		{CreateGroupInput{Name: "apps", Description: "d", VPC: v}, "InvalidGroup.Duplicate", "apps"},
		{CreateGroupInput{Name: "default", Description: "d", VPC: v}, "InvalidParameterValue", "reserved"},
		{CreateGroupInput{Name: "sg-x", Description: "d", VPC: v}, "InvalidParameterValue", "sg-*"},
		{CreateGroupInput{Name: "a", Description: "ü", VPC: v}, "InvalidParameterValue", "GroupDescription"},
		{CreateGroupInput{Name: "a\n", Description: "d", VPC: v}, "InvalidParameterValue", "GroupName"},
		{CreateGroupInput{Name: "a", Description: "d", VPC: "vpc-no"}, "InvalidVpcID.NotFound", "vpc-no"},
		{CreateGroupInput{Name: "a", Description: "d", VPC: v, Tags: app.Tags{"aws:x": ""}}, "InvalidParameterValue", "aws:x"},
	} {
		_, err := b.CreateGroup(ctx, scope, c.in)
		fails(t, err, c.code, c.words)
	}
	second := b.vpc("10.0.0.0/16")
	b.group(second, "apps") // the same name in another VPC is another group
	_, err := newBench(t, Quotas{GroupsPerRegion: 1}).CreateGroup(ctx, scope, CreateGroupInput{Name: "a", Description: "d"})
	fails(t, err, "SecurityGroupLimitExceeded", "1")
}

func TestAuthorizeAndRevoke(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	g, peer, foreign := b.group(v, "g"), b.group(v, "peer"), b.group(b.vpc("10.0.0.0/16"), "foreign")
	made, err := b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{
		tcp(5432, 5432, "10.1.2.3/16"), {Protocol: "-1", Peer: peer}, {Protocol: "1", Peer: g}, {Protocol: "tcp", From: new(-1), To: new(-1), CIDR: "2001:db8::1/32"},
	}, app.Tags{"a": "b"})
	if err != nil || len(made) != 4 || made[0].CIDR.String() != "10.1.0.0/16" || made[2].FromPort != -1 || made[3].ToPort != 65535 || made[1].Tags["a"] != "b" {
		t.Fatalf("got %+v, %v", made, err)
	}
	before := b.rowsOf()
	for _, c := range []struct {
		in          RuleInput
		code, words string
	}{
		{tcp(5432, 5432, "10.1.0.0/16"), "InvalidPermission.Duplicate", "peer: 10.1.0.0/16, TCP, from port: 5432, to port: 5432, ALLOW"},
		{tcp(9, 8, "10.0.0.0/8"), "InvalidParameterValue", "(9:8)"},
		{tcp(0, 65536, "10.0.0.0/8"), "InvalidParameterValue", "65536"},
		{RuleInput{Protocol: "tcp", CIDR: "10.0.0.0/8"}, "InvalidParameterValue", "portRange"},
		{RuleInput{Protocol: "icmp", From: new(-1), To: new(3), CIDR: "10.0.0.0/8"}, "InvalidParameterValue", "type (-1)"},
		{RuleInput{Protocol: "300", CIDR: "10.0.0.0/8"}, "InvalidParameterValue", "300"},
		{RuleInput{Protocol: "-1", CIDR: "10.0.0.0"}, "InvalidParameterValue", "10.0.0.0"},
		{RuleInput{Protocol: "-1"}, "InvalidPermission.Malformed", "peer"},
		{RuleInput{CIDR: "10.0.0.0/8"}, "MissingParameter", "ipProtocol"},
		{RuleInput{Protocol: "-1", Peer: foreign}, "InvalidGroup.NotFound", string(foreign)},
		{RuleInput{Protocol: "-1", Peer: "sg-no"}, "InvalidGroup.NotFound", "sg-no"},
		{RuleInput{Protocol: "-1", Peer: peer, PeerAccount: "999999999999"}, "InvalidGroup.NotFound", string(peer)},
		{RuleInput{Protocol: "-1", PrefixList: "pl-no"}, "InvalidPrefixListID.NotFound", "pl-no"},
		{RuleInput{Protocol: "-1", CIDR: "10.0.0.0/8", Description: "<"}, "InvalidParameterValue", "<"},
	} {
		_, err := b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{tcp(1, 1, "10.9.0.0/16"), c.in}, nil)
		fails(t, err, c.code, c.words)
	}
	if !maps.Equal(before, b.rowsOf()) {
		t.Errorf("refused calls left rows: %v, then %v", before, b.rowsOf())
	}
	_, err = b.RevokeRules(ctx, scope, ref(g), false, []RuleInput{{Protocol: "-1", Peer: peer}, tcp(1, 1, "10.9.0.0/16")})
	fails(t, err, "InvalidPermission.NotFound", "10.9.0.0/16")
	if !maps.Equal(before, b.rowsOf()) {
		t.Error("a refused revocation removed something")
	}
	if unknown, err := b.RevokeRules(ctx, scope, ref(g), false, []RuleInput{{Protocol: "all", Peer: peer}}); err != nil || len(unknown) != 0 {
		t.Errorf("got %v, %v", unknown, err)
	}
	fails(t, b.RevokeRulesByID(ctx, scope, ref(g), true, []app.RuleID{made[0].ID}), "InvalidSecurityGroupRuleId.NotFound", "Ingress")
	fails(t, b.RevokeRulesByID(ctx, scope, ref(g), false, []app.RuleID{made[0].ID, "sgr-no"}), "InvalidSecurityGroupRuleId.NotFound", "sgr-no")
	if err := b.RevokeRulesByID(ctx, scope, ref(g), false, []app.RuleID{made[0].ID, made[2].ID, made[3].ID}); err != nil || len(b.rules(g)) != 1 {
		t.Errorf("got %+v, %v", b.rules(g), err)
	}
}

// In the default VPC a rule that is not there is returned, and the others are revoked.
func TestRevokeInTheDefaultVPC(t *testing.T) {
	b := newBench(t)
	g, err := b.CreateGroup(ctx, scope, CreateGroupInput{Name: "web", Description: "d"})
	if err != nil {
		t.Fatal(err)
	}
	name := GroupRef{Name: "web"}
	if _, err := b.AuthorizeRules(ctx, scope, name, false, []RuleInput{tcp(80, 80, "0.0.0.0/0")}, nil); err != nil {
		t.Fatal(err)
	}
	unknown, err := b.RevokeRules(ctx, scope, name, false, []RuleInput{tcp(81, 81, "0.0.0.0/0"), tcp(80, 80, "0.0.0.0/0")})
	if err != nil || len(unknown) != 1 || *unknown[0].From != 81 || len(b.rules(g.ID)) != 1 {
		t.Errorf("got %+v, %v; rules %+v", unknown, err, b.rules(g.ID))
	}
	_, err = b.GroupNamed(ctx, scope, "nobody")
	fails(t, err, "InvalidGroup.NotFound", "nobody")
}

func TestModifyAndDescribeRules(t *testing.T) {
	b := newBench(t)
	g := b.group(b.vpc("10.0.0.0/16"), "g")
	made, err := b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{tcp(1, 1, "10.0.0.0/8"), tcp(2, 2, "10.0.0.0/8")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	changed := tcp(3, 4, "10.0.0.0/8")
	changed.Description = "three"
	if err := b.ModifyRules(ctx, scope, g, map[app.RuleID]RuleInput{made[0].ID: changed}); err != nil {
		t.Fatal(err)
	}
	fails(t, b.ModifyRules(ctx, scope, g, map[app.RuleID]RuleInput{made[1].ID: changed}), "InvalidPermission.Duplicate", "3")
	fails(t, b.ModifyRules(ctx, scope, g, map[app.RuleID]RuleInput{"sgr-no": changed}), "InvalidSecurityGroupRuleId.NotFound", "sgr-no")
	described := tcp(2, 2, "10.0.0.0/8")
	described.Description = "two"
	if err := b.DescribeRulesAs(ctx, scope, ref(g), false, []RuleInput{described}); err != nil {
		t.Fatal(err)
	}
	fails(t, b.DescribeRulesAs(ctx, scope, ref(g), true, []RuleInput{described}), "InvalidPermission.NotFound", "10.0.0.0/8")
	if err := b.DescribeRulesByID(ctx, scope, ref(g), false, map[app.RuleID]string{made[0].ID: "again"}); err != nil {
		t.Fatal(err)
	}
	texts := map[app.RuleID]string{}
	for _, r := range b.rules(g) {
		texts[r.ID] = r.Description
	}
	if texts[made[0].ID] != "again" || texts[made[1].ID] != "two" {
		t.Errorf("descriptions %v", texts)
	}
}

func TestGroupQuotas(t *testing.T) {
	b := newBench(t, Quotas{RulesPerGroup: 5})
	g := b.group(b.vpc("10.0.0.0/16"), "g")
	list, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "l", Family: "IPv4", MaxEntries: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{{Protocol: "-1", PrefixList: list.ID}, tcp(1, 1, "10.0.0.0/8"), tcp(2, 2, "10.0.0.0/8"), tcp(1, 1, "::/0")}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{tcp(3, 3, "10.0.0.0/8")}, nil)
	fails(t, err, "RulesPerSecurityGroupLimitExceeded", "6 inbound")
	_, err = b.ModifyPrefixList(ctx, scope, list.ID, ModifyPrefixListInput{MaxEntries: new(4)})
	fails(t, err, "RulesPerSecurityGroupLimitExceeded", "6 inbound")
}

func TestDeleteGroup(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	sub := b.subnet(v, "10.0.0.0/24")
	before := b.rowsOf()
	g, user := b.group(v, "g"), b.group(v, "user")
	if _, err := b.AuthorizeRules(ctx, scope, ref(user), false, []RuleInput{{Protocol: "-1", Peer: g}}, app.Tags{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	fails(t, b.DeleteGroup(ctx, scope, ref(g)), "DependencyViolation", string(user))
	if err := b.DeleteGroup(ctx, scope, ref(user)); err != nil {
		t.Fatal(err)
	}
	var ni app.NetworkInterface
	b.write(func(tx *store.Tx) {
		var err error
		if ni, err = eni.Create(tx, b.cfg.IDs, b.now, eni.New{Scope: scope, Kind: app.InterfaceOfUser, Subnet: sub, Groups: []app.GroupID{g}}); err != nil {
			t.Fatal(err)
		}
	})
	fails(t, b.DeleteGroup(ctx, scope, ref(g)), "DependencyViolation", string(ni.ID))
	b.write(func(tx *store.Tx) { eni.Delete(tx, ni.ID) })
	if err := b.DeleteGroup(ctx, scope, ref(g)); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, b.rowsOf()) {
		t.Errorf("rows were left: %v, then %v", before, b.rowsOf())
	}
	all, _ := b.DescribeGroups(ctx, scope)
	for _, x := range all {
		if x.VPC == v {
			fails(t, b.DeleteGroup(ctx, scope, ref(x.ID)), "CannotDelete", "default")
		}
	}
	fails(t, b.DeleteGroup(ctx, scope, ref("sg-no")), "InvalidGroup.NotFound", "sg-no")
	fails(t, b.DeleteGroup(ctx, other, ref(g)), "InvalidGroup.NotFound", string(g))
}

// TestRulesStayUnique authorises and revokes at random, in rows and by id.
func TestRulesStayUnique(t *testing.T) {
	b := newBench(t, Quotas{RulesPerGroup: 1000})
	g := b.group(b.vpc("10.0.0.0/16"), "g")
	r := rand.New(rand.NewPCG(1, 2))
	model := map[string]bool{}
	for range 300 {
		in := tcp(1+r.IntN(4), 10+r.IntN(3), []string{"10.0.0.0/8", "10.1.0.0/16", "::/0"}[r.IntN(3)])
		key := in.CIDR + ruleKey(in)
		if r.IntN(2) == 0 {
			_, err := b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{in}, nil)
			if (err == nil) == model[key] {
				t.Fatalf("authorising %s: %v, and it is there: %v", key, err, model[key])
			}
			model[key] = true
			continue
		}
		_, err := b.RevokeRules(ctx, scope, ref(g), false, []RuleInput{in})
		if (err == nil) != model[key] {
			t.Fatalf("revoking %s: %v, and it is there: %v", key, err, model[key])
		}
		delete(model, key)
	}
	if have := len(b.rules(g)) - 1; have != len(model) {
		t.Errorf("%d rules, want %d", have, len(model))
	}
}

func ruleKey(in RuleInput) string {
	return " " + string(rune('0'+*in.From)) + " " + string(rune('0'+*in.To))
}

func TestPrefixLists(t *testing.T) {
	b := newBench(t)
	l, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "office", Family: "IPv4", MaxEntries: 2, ClientToken: "once", Entries: []PrefixEntryInput{{"192.0.2.1/24", "a"}}})
	if err != nil || l.Version != 1 || l.Entries[0].CIDR.String() != "192.0.2.0/24" {
		t.Fatalf("got %+v, %v", l, err)
	}
	if again, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "office", Family: "IPv4", MaxEntries: 2, ClientToken: "once", Entries: []PrefixEntryInput{{"192.0.2.1/24", "a"}}}); err != nil || again.ID != l.ID {
		t.Errorf("the same token made %s, %v", again.ID, err)
	}
	l, err = b.ModifyPrefixList(ctx, scope, l.ID, ModifyPrefixListInput{Version: new(int64(1)), Add: []PrefixEntryInput{{"198.51.100.0/24", "b"}}, Remove: []string{"192.0.2.0/24"}})
	if err != nil || l.Version != 2 || len(l.Entries) != 1 || l.Name != "office" || l.MaxEntries != 2 {
		t.Fatalf("got %+v, %v", l, err)
	}
	if l, err = b.ModifyPrefixList(ctx, scope, l.ID, ModifyPrefixListInput{Name: "home"}); err != nil || l.Version != 2 || l.Name != "home" {
		t.Errorf("a new name made %+v, %v", l, err)
	}
	first, err := b.PrefixListEntries(ctx, scope, l.ID, 1)
	if err != nil || len(first) != 1 || first[0].Description != "a" {
		t.Errorf("version 1 is %+v, %v", first, err)
	}
	if l, err = b.RestorePrefixList(ctx, scope, l.ID, 1, 2); err != nil || l.Version != 3 || l.Entries[0].Description != "a" || l.State != "restore-complete" {
		t.Errorf("restored %+v, %v", l, err)
	}
	for _, c := range []struct {
		in          ModifyPrefixListInput
		code, words string
	}{
		{ModifyPrefixListInput{Version: new(int64(1)), Name: "x"}, "PrefixListVersionMismatch", "version 3"},
		{ModifyPrefixListInput{Remove: []string{"10.0.0.0/8"}}, "InvalidPrefixListModification", "10.0.0.0/8"},
		{ModifyPrefixListInput{Add: []PrefixEntryInput{{"10.0.0.0/8", ""}, {"11.0.0.0/8", ""}}}, "PrefixListMaxEntriesExceeded", "room for 2"},
		{ModifyPrefixListInput{Add: []PrefixEntryInput{{"::/0", ""}}}, "InvalidParameterValue", "IPv4"},
		{ModifyPrefixListInput{MaxEntries: new(0)}, "InvalidParameterValue", "MaxEntries"},
	} {
		_, err := b.ModifyPrefixList(ctx, scope, l.ID, c.in)
		fails(t, err, c.code, c.words)
	}
	g := b.group(b.vpc("10.0.0.0/16"), "g")
	if _, err := b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{{Protocol: "-1", PrefixList: l.ID}}, nil); err != nil {
		t.Fatal(err)
	}
	if uses, err := b.PrefixListUses(ctx, scope, l.ID); err != nil || strings.Join(uses, " ") != string(g) {
		t.Errorf("used by %v, %v", uses, err)
	}
	_, err = b.DeletePrefixList(ctx, scope, l.ID)
	fails(t, err, "DependencyViolation", string(g))
	if err := b.DeleteGroup(ctx, scope, ref(g)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeletePrefixList(ctx, scope, l.ID); err != nil {
		t.Error(err)
	}
	all, _ := b.DescribePrefixLists(ctx, scope)
	if len(all) != 3 {
		t.Fatalf("got %d lists, want AWS's three", len(all))
	}
	_, err = b.DeletePrefixList(ctx, scope, all[0].ID)
	fails(t, err, "UnauthorizedOperation", "AWS's")
}
