package ec2

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// What a caller writes and the rule that it becomes.
func TestRulesAreNormalised(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	list, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "l", Family: "IPv6", MaxEntries: 3})
	if err != nil {
		t.Fatal(err)
	}
	peer := b.group(v, "peer")
	for n, c := range []struct {
		in   RuleInput
		want string // protocol from to peer
	}{
		{RuleInput{Protocol: "TCP", From: new(80), To: new(443), CIDR: "10.1.2.3/8"}, "6 80 443 10.0.0.0/8"},
		{RuleInput{Protocol: "6", From: new(0), To: new(0), CIDR: "0.0.0.0/0", Family: "IPv4"}, "6 0 0 0.0.0.0/0"},
		{RuleInput{Protocol: "17", From: new(53), To: new(53), CIDR: "2001:DB8:0::1/32", Family: "IPv6"}, "17 53 53 2001:db8::/32"},
		{RuleInput{Protocol: "icmp", From: new(8), To: new(-1), CIDR: "10.0.0.1/32"}, "1 8 -1 10.0.0.1/32"},
		{RuleInput{Protocol: "icmp", From: new(3), To: new(4), CIDR: "10.0.0.1/32"}, "1 3 4 10.0.0.1/32"},
		{RuleInput{Protocol: "icmpv6", From: new(128), To: new(0), CIDR: "::/0"}, "58 128 0 ::/0"},
		{RuleInput{Protocol: "58", CIDR: "::/0"}, "58 -1 -1 ::/0"},
		{RuleInput{Protocol: "-1", From: new(22), To: new(22), Peer: peer, PeerAccount: scope.Account}, "-1 -1 -1 " + string(peer)},
		{RuleInput{Protocol: "all", PeerName: "peer"}, "-1 -1 -1 " + string(peer)},
		{RuleInput{Protocol: "50", From: new(1), To: new(2), PrefixList: list.ID}, "50 -1 -1 " + string(list.ID)},
		{RuleInput{Protocol: "0", CIDR: "10.0.0.0/8"}, "0 -1 -1 10.0.0.0/8"},
		{RuleInput{Protocol: "255", CIDR: "10.0.0.0/8"}, "255 -1 -1 10.0.0.0/8"},
	} {
		g := b.group(v, "g"+strconv.Itoa(n))
		made, err := b.AuthorizeRules(ctx, scope, ref(g), true, []RuleInput{c.in}, nil)
		if err != nil || len(made) != 1 {
			t.Errorf("%+v: %+v, %v", c.in, made, err)
			continue
		}
		r := made[0]
		text := string(r.Peer) + string(r.PrefixList)
		if r.CIDR.IsValid() {
			text = r.CIDR.String()
		}
		if got := fmt.Sprint(r.Protocol, r.FromPort, r.ToPort, " ", text); strings.ReplaceAll(got, "  ", " ") != c.want {
			t.Errorf("%+v became %q, want %q", c.in, got, c.want)
		}
		if r.Peer != "" && r.PeerName != "peer" {
			t.Errorf("the peer is called %q", r.PeerName)
		}
	}
}

func TestRulesAreRefused(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	g := b.group(v, "g")
	many := make([]RuleInput, maxRulesPerCall+1)
	for n := range many {
		many[n] = tcp(n, n, "10.0.0.0/8")
	}
	before := b.rowsOf()
	for name, c := range map[string]struct {
		in          []RuleInput
		code, words string
	}{
		"none":                {nil, "MissingParameter", "ipPermissions"},
		"too many":            {many, "InvalidParameterValue", "at most 1000"},
		"beyond the quota":    {many[:61], "RulesPerSecurityGroupLimitExceeded", "61 inbound rules, and 60 are allowed"},
		"twice":               {[]RuleInput{tcp(1, 2, "10.0.0.0/8"), tcp(1, 2, "10.9.9.9/8")}, "InvalidParameterValue", `The same permission must not appear multiple times: "peer: 10.0.0.0/8, TCP, from port: 1, to port: 2, ALLOW"`},
		"twice, everything":   {[]RuleInput{{Protocol: "-1", CIDR: "::/0"}, {Protocol: "all", From: new(1), CIDR: "::/0"}}, "InvalidParameterValue", `"peer: ::/0, ALL, ALLOW"`},
		"twice, icmp":         {[]RuleInput{{Protocol: "1", CIDR: "10.0.0.0/8"}, {Protocol: "icmp", From: new(-1), To: new(-1), CIDR: "10.0.0.0/8"}}, "InvalidParameterValue", "ICMP, type: -1, code: -1"},
		"twice, a number":     {[]RuleInput{{Protocol: "50", CIDR: "10.0.0.0/8"}, {Protocol: "50", CIDR: "10.0.0.0/8"}}, "InvalidParameterValue", "protocol: 50"},
		"two peers":           {[]RuleInput{{Protocol: "-1", CIDR: "10.0.0.0/8", Peer: g}}, "InvalidPermission.Malformed", "several peers"},
		"IPv6 for IPv4":       {[]RuleInput{{Protocol: "-1", CIDR: "::/0", Family: "IPv4"}}, "InvalidParameterValue", "CIDR block ::/0 is malformed: give an IPv4 address"},
		"IPv4 for IPv6":       {[]RuleInput{{Protocol: "-1", CIDR: "10.0.0.0/8", Family: "IPv6"}}, "InvalidParameterValue", "give an IPv6 address"},
		"one port":            {[]RuleInput{{Protocol: "udp", From: new(1), CIDR: "10.0.0.0/8"}}, "InvalidParameterValue", "both from and to ports"},
		"negative port":       {[]RuleInput{{Protocol: "udp", From: new(-2), To: new(1), CIDR: "10.0.0.0/8"}}, "InvalidParameterValue", "(-2:1)"},
		"half any":            {[]RuleInput{{Protocol: "udp", From: new(-1), To: new(1), CIDR: "10.0.0.0/8"}}, "InvalidParameterValue", "(-1:1)"},
		"type":                {[]RuleInput{{Protocol: "icmp", From: new(256), To: new(-1), CIDR: "10.0.0.0/8"}}, "InvalidParameterValue", "type (256)"},
		"code":                {[]RuleInput{{Protocol: "icmpv6", From: new(1), To: new(300), CIDR: "::/0"}}, "InvalidParameterValue", "code (300)"},
		"protocol":            {[]RuleInput{{Protocol: "sctp", CIDR: "10.0.0.0/8"}}, "InvalidParameterValue", "'sctp'"},
		"protocol below":      {[]RuleInput{{Protocol: "-2", CIDR: "10.0.0.0/8"}}, "InvalidParameterValue", "'-2'"},
		"long description":    {[]RuleInput{{Protocol: "-1", CIDR: "10.0.0.0/8", Description: strings.Repeat("a", 256)}}, "InvalidParameterValue", "less than 256"},
		"zone in the address": {[]RuleInput{{Protocol: "-1", CIDR: "fe80::1%eth0/64"}}, "InvalidParameterValue", "fe80::1%eth0/64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.AuthorizeRules(ctx, scope, ref(g), false, c.in, nil)
			fails(t, err, c.code, c.words)
		})
	}
	if !maps.Equal(before, b.rowsOf()) {
		t.Errorf("refused calls left rows: %v, then %v", before, b.rowsOf())
	}
	_, err := b.RevokeRules(ctx, scope, ref(g), false, nil)
	fails(t, err, "MissingParameter", "securityGroupRuleIds")
	fails(t, b.RevokeRulesByID(ctx, scope, ref(g), false, nil), "MissingParameter", "securityGroupRuleIds")
	fails(t, b.ModifyRules(ctx, scope, g, nil), "MissingParameter", "securityGroupRuleIds")
	fails(t, b.DescribeRulesAs(ctx, scope, ref(g), false, nil), "MissingParameter", "ipPermissions")
	fails(t, b.DescribeRulesByID(ctx, scope, ref(g), false, nil), "MissingParameter", "securityGroupRuleIds")
	_, err = b.AuthorizeRules(ctx, scope, GroupRef{}, false, many[:1], nil)
	fails(t, err, "MissingParameter", "groupId")
	egress := b.rules(g)[0].ID
	fails(t, b.DescribeRulesByID(ctx, scope, ref(g), false, map[app.RuleID]string{egress: "x"}), "InvalidSecurityGroupRuleId.NotFound", "UpdateSecurityGroupRuleDescriptionsEgress")
	fails(t, b.DescribeRulesByID(ctx, scope, ref(g), true, map[app.RuleID]string{egress: "<"}), "InvalidParameterValue", "'<'")
}

// IPv4 and IPv6 have quotas of their own, and a group as peer weighs in both.
func TestRuleQuotasByFamily(t *testing.T) {
	b := newBench(t, Quotas{RulesPerGroup: 2})
	v := b.vpc("10.0.0.0/16")
	g, peer := b.group(v, "g"), b.group(v, "peer")
	add := func(in ...RuleInput) error {
		_, err := b.AuthorizeRules(ctx, scope, ref(g), false, in, nil)
		return err
	}
	if err := add(tcp(1, 1, "10.0.0.0/8"), tcp(1, 1, "::/0"), tcp(2, 2, "::/0")); err != nil {
		t.Fatal(err)
	}
	fails(t, add(RuleInput{Protocol: "-1", Peer: peer}), "RulesPerSecurityGroupLimitExceeded", "3 inbound")
	six, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "six", Family: "IPv6", MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	fails(t, add(RuleInput{Protocol: "-1", PrefixList: six.ID}), "RulesPerSecurityGroupLimitExceeded", "3 inbound")
	if err := add(tcp(2, 2, "10.0.0.0/8")); err != nil {
		t.Error(err)
	}
	if got := New(b.store, Config{Quotas: Quotas{RulesPerGroup: 500, GroupsPerInterface: 10}}).Quotas().RulesPerGroup; got != 100 {
		t.Errorf("ten groups of %d rules fit on an interface, want of 100", got)
	}
}

// Two rules may swap what they allow in one call, and keep ids, times and tags.
func TestRulesSwap(t *testing.T) {
	b := newBench(t)
	g := b.group(b.vpc("10.0.0.0/16"), "g")
	one, two := tcp(1, 1, "10.0.0.0/8"), tcp(2, 2, "10.0.0.0/8")
	made, err := b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{one, two}, app.Tags{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ModifyRules(ctx, scope, g, map[app.RuleID]RuleInput{made[0].ID: two, made[1].ID: one}); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.rules(g) {
		if r.ID == made[0].ID && (r.FromPort != 2 || r.Tags["a"] != "b" || !r.CreatedAt.Equal(made[0].CreatedAt)) {
			t.Errorf("got %+v", r)
		}
	}
	same := tcp(3, 3, "10.0.0.0/8")
	fails(t, b.ModifyRules(ctx, scope, g, map[app.RuleID]RuleInput{made[0].ID: same, made[1].ID: same}), "InvalidPermission.Duplicate", "from port: 3")
}

func TestDeleteGroupThatAConnectorNames(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	g := b.group(v, "g")
	connector := app.VPCConnector{ID: "c", Scope: scope, Name: "private", VPC: v, Groups: []app.GroupID{g}, CreatedAt: b.now}
	b.write(func(tx *store.Tx) { store.Control.VPCConnectors.Put(tx, connector) })
	fails(t, b.DeleteGroup(ctx, scope, ref(g)), "DependencyViolation", "private")
	connector.DeletedAt = b.now
	b.write(func(tx *store.Tx) { store.Control.VPCConnectors.Put(tx, connector) })
	if err := b.DeleteGroup(ctx, scope, ref(g)); err != nil {
		t.Error(err)
	}
}

// An AWS list weighs its size in a group's quota, is seen in every account of its region, and nobody else's list is.
func TestPrefixListsOfAWS(t *testing.T) {
	b := newBench(t)
	all, err := b.DescribePrefixLists(ctx, scope)
	if err != nil {
		t.Fatal(err)
	}
	n := slices.IndexFunc(all, func(l PrefixListDetail) bool { return strings.HasSuffix(l.Name, "origin-facing") })
	g := b.group(b.vpc("10.0.0.0/16"), "g")
	in := []RuleInput{{Protocol: "-1", PrefixList: all[n].ID}}
	for port := range 5 {
		in = append(in, tcp(port, port, "10.0.0.0/8"))
	}
	if _, err := b.AuthorizeRules(ctx, scope, ref(g), false, in, nil); err != nil {
		t.Fatal(err)
	}
	_, err = b.AuthorizeRules(ctx, scope, ref(g), false, []RuleInput{tcp(9, 9, "10.0.0.0/8")}, nil)
	fails(t, err, "RulesPerSecurityGroupLimitExceeded", "61 inbound")
	_, err = b.ModifyPrefixList(ctx, scope, all[n].ID, ModifyPrefixListInput{Name: "mine"})
	fails(t, err, "UnauthorizedOperation", "AWS's")
	neighbour := app.Scope{Account: "111111111111", Region: scope.Region}
	if _, err := b.PrefixListEntries(ctx, neighbour, all[n].ID, 0); err != nil {
		t.Error(err)
	}
	mine, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "mine", Family: "IPv4", MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []app.Scope{neighbour, other} {
		_, err = b.PrefixListEntries(ctx, s, mine.ID, 0)
		fails(t, err, "InvalidPrefixListID.NotFound", string(mine.ID))
	}
}

func TestPrefixListErrors(t *testing.T) {
	b := newBench(t, Quotas{PrefixLists: 1, EntriesPerPrefixList: 500})
	long := make([]PrefixEntryInput, entriesPerCall+1)
	for n := range long {
		long[n] = PrefixEntryInput{CIDR: netip.AddrFrom4([4]byte{10, 0, byte(n), 0}).String() + "/24"}
	}
	good := CreatePrefixListInput{Name: "l", Family: "IPv4", MaxEntries: 200, ClientToken: "t"}
	for name, c := range map[string]struct {
		change      func(*CreatePrefixListInput)
		code, words string
	}{
		"no name":    {func(in *CreatePrefixListInput) { in.Name = "" }, "InvalidParameterValue", "PrefixListName"},
		"long name":  {func(in *CreatePrefixListInput) { in.Name = strings.Repeat("n", 256) }, "InvalidParameterValue", "PrefixListName"},
		"AWS's name": {func(in *CreatePrefixListInput) { in.Name = "com.amazonaws.x" }, "InvalidParameterValue", "com.amazonaws.x"},
		"family":     {func(in *CreatePrefixListInput) { in.Family = "IPv5" }, "InvalidParameterValue", "IPv5"},
		"size":       {func(in *CreatePrefixListInput) { in.MaxEntries = 501 }, "InvalidParameterValue", "1 to 500"},
		"too long":   {func(in *CreatePrefixListInput) { in.Entries = long }, "InvalidParameterValue", "at most 100"},
		"twice": {func(in *CreatePrefixListInput) {
			in.Entries = []PrefixEntryInput{{"10.0.0.1/8", ""}, {"10.0.0.0/8", ""}}
		}, "InvalidParameterValue", "twice"},
		"malformed": {func(in *CreatePrefixListInput) { in.Entries = []PrefixEntryInput{{"10.0.0.0", ""}} }, "InvalidParameterValue", "10.0.0.0"},
		"description": {func(in *CreatePrefixListInput) {
			in.Entries = []PrefixEntryInput{{"10.0.0.0/8", strings.Repeat("d", 256)}}
		}, "InvalidParameterValue", "255"},
		"tags": {func(in *CreatePrefixListInput) { in.Tags = app.Tags{"": ""} }, "InvalidParameterValue", "Tag key"},
	} {
		t.Run(name, func(t *testing.T) {
			in := good
			c.change(&in)
			_, err := b.CreatePrefixList(ctx, scope, in)
			fails(t, err, c.code, c.words)
		})
	}
	good.Entries = []PrefixEntryInput{{"192.0.2.0/24", "a"}}
	l, err := b.CreatePrefixList(ctx, scope, good)
	if err != nil {
		t.Fatal(err)
	}
	in := good
	for _, change := range []func(*CreatePrefixListInput){
		func(in *CreatePrefixListInput) { in.Entries = long[:1] },
		func(in *CreatePrefixListInput) { in.Name = "other" },
		func(in *CreatePrefixListInput) { in.MaxEntries++ },
	} {
		in := good
		change(&in)
		_, err = b.CreatePrefixList(ctx, scope, in)
		fails(t, err, "IdempotentParameterMismatch", "t")
	}
	in.ClientToken = ""
	_, err = b.CreatePrefixList(ctx, scope, in)
	fails(t, err, "PrefixListLimitExceeded", "1")
	for name, c := range map[string]struct {
		in          ModifyPrefixListInput
		code, words string
	}{
		"size and entries": {ModifyPrefixListInput{MaxEntries: new(3), Add: long[:1]}, "InvalidParameterCombination", "MaxEntries alone"},
		"too many":         {ModifyPrefixListInput{Add: long}, "InvalidParameterValue", "at most 100"},
		"too many removed": {ModifyPrefixListInput{Remove: make([]string, 101)}, "InvalidParameterValue", "RemoveEntries"},
		"AWS's name":       {ModifyPrefixListInput{Name: "com.amazonaws.x"}, "InvalidParameterValue", "com.amazonaws.x"},
		"both":             {ModifyPrefixListInput{Add: []PrefixEntryInput{{"192.0.2.0/24", "b"}}, Remove: []string{"192.0.2.1/24"}}, "InvalidParameterValue", "in both"},
		"malformed":        {ModifyPrefixListInput{Remove: []string{"x"}}, "InvalidParameterValue", "Value (x)"},
		"absent":           {ModifyPrefixListInput{Remove: []string{"10.9.0.0/16"}}, "InvalidPrefixListModification", "An entry with the CIDR (10.9.0.0/16) does not exist."},
		"same again":       {ModifyPrefixListInput{Add: []PrefixEntryInput{{"192.0.2.9/24", "a"}}}, "InvalidPrefixListModification", "(192.0.2.0/24) and description (a) already exists."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.ModifyPrefixList(ctx, scope, l.ID, c.in)
			fails(t, err, c.code, c.words)
		})
	}
	_, err = b.RestorePrefixList(ctx, scope, l.ID, 1, 1)
	fails(t, err, "InvalidParameterValue", "PreviousVersion")
	_, err = b.PrefixListEntries(ctx, scope, l.ID, 9)
	fails(t, err, "InvalidPrefixListVersion.NotFound", "no version 9")
}

// A list cannot grow beyond what the route tables that name it may hold.
func TestPrefixListSizeInRoutes(t *testing.T) {
	b := newBench(t, Quotas{RoutesPerTable: 4})
	l, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "l", Family: "IPv4", MaxEntries: 3})
	if err != nil {
		t.Fatal(err)
	}
	v := b.vpc("10.0.0.0/16")
	b.write(func(tx *store.Tx) {
		table := mainTable(tx, v)
		table.Routes = append(table.Routes, app.Route{PrefixList: l.ID, Kind: app.TargetNAT, Target: "nat-1", Origin: originRoute})
		store.Control.RouteTables.Put(tx, table)
	})
	if _, err := b.ModifyPrefixList(ctx, scope, l.ID, ModifyPrefixListInput{MaxEntries: new(4)}); err != nil {
		t.Error(err)
	}
	_, err = b.ModifyPrefixList(ctx, scope, l.ID, ModifyPrefixListInput{MaxEntries: new(5)})
	fails(t, err, "RouteLimitExceeded", "5")
	_, err = b.DeletePrefixList(ctx, scope, l.ID)
	fails(t, err, "DependencyViolation", "rtb-")
}

// The last versions can be read and restored, older ones are forgotten, and the numbers go on.
func TestPrefixListVersions(t *testing.T) {
	b := newBench(t)
	l, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "l", Family: "IPv4", MaxEntries: 2, Entries: []PrefixEntryInput{{"10.0.0.0/8", "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for l.Version < keptVersions+3 {
		next := strconv.FormatInt(l.Version+1, 10)
		if l, err = b.ModifyPrefixList(ctx, scope, l.ID, ModifyPrefixListInput{Version: &l.Version, Add: []PrefixEntryInput{{"10.0.0.0/8", next}}}); err != nil {
			t.Fatal(err)
		}
	}
	for version := int64(3); version <= l.Version; version++ {
		got, err := b.PrefixListEntries(ctx, scope, l.ID, version)
		if err != nil || len(got) != 1 || got[0].Description != strconv.FormatInt(version, 10) {
			t.Fatalf("version %d: %+v, %v", version, got, err)
		}
	}
	for version := int64(1); version <= 2; version++ {
		_, err := b.PrefixListEntries(ctx, scope, l.ID, version)
		fails(t, err, "InvalidPrefixListVersion.NotFound", "not kept any more")
	}
	_, err = b.RestorePrefixList(ctx, scope, l.ID, 2, l.Version)
	fails(t, err, "InvalidPrefixListVersion.NotFound", "not kept any more")
	if l, err = b.RestorePrefixList(ctx, scope, l.ID, 3, l.Version); err != nil || l.Entries[0].Description != "3" || l.Version != keptVersions+4 {
		t.Errorf("got %+v, %v", l, err)
	}
}

// Versions with many entries are forgotten earlier, and one without entries is not taken for forgotten.
func TestPrefixListHistoryIsBounded(t *testing.T) {
	l := app.PrefixList{Version: 1}
	renew(&l, make([]app.PrefixEntry, keptEntries/2))
	if got, err := versionOf(l, 1); err != nil || got == nil || len(got) != 0 {
		t.Errorf("the empty version is %v, %v", got, err)
	}
	before := l.History
	for range 3 {
		renew(&l, make([]app.PrefixEntry, keptEntries/2))
	}
	if len(before) != 1 || before[0] == nil {
		t.Error("a history that others hold was changed")
	}
	for version, kept := range map[int64]bool{1: false, 2: false, 3: true, 4: true, 5: true} {
		if _, err := versionOf(l, version); (err == nil) != kept {
			t.Errorf("version %d of %d: %v", version, l.Version, err)
		}
	}
}

// FuzzRule: a rule is refused with EC2's code or normal: authorising what it says again is a duplicate, and revoking finds it.
func FuzzRule(f *testing.F) {
	f.Add("tcp", 1, 2, true, true, "10.0.0.1/8", "text")
	f.Add("-1", 0, 0, false, false, "::/0", "")
	f.Add("icmp", -1, -1, true, true, "0.0.0.0/0", "a")
	g := app.SecurityGroup{ID: "sg-1", Scope: scope, VPC: "vpc-1"}
	f.Fuzz(func(t *testing.T, protocol string, from, to int, hasFrom, hasTo bool, cidr, text string) {
		in := RuleInput{Protocol: protocol, CIDR: cidr, Description: text}
		if hasFrom {
			in.From = &from
		}
		if hasTo {
			in.To = &to
		}
		r, err := in.rule(nil, g, false) // rows are looked up for lists and groups only
		if err != nil {
			var e *app.Error
			if !errors.As(err, &e) || e.Code == "" || e.Kind != app.KindInvalidRequest {
				t.Fatalf("%+v: %#v", in, err)
			}
			return
		}
		if r.CIDR != r.CIDR.Masked() || r.FromPort < -1 || r.FromPort > 65535 || r.ToPort < -1 || r.ToPort > 65535 || r.Protocol < -1 || r.Protocol > 255 {
			t.Fatalf("%+v became %+v", in, r)
		}
		again, err := RuleInput{Protocol: strconv.Itoa(r.Protocol), From: &r.FromPort, To: &r.ToPort, CIDR: r.CIDR.String()}.rule(nil, g, false)
		if err != nil || allowed(again) != allowed(r) {
			t.Fatalf("%+v became %+v and then %+v, %v", in, r, again, err)
		}
	})
}

// Rules added and removed at random in every form stay unique, and both views are those of a model.
func TestViewsAgree(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	g, peer := b.group(v, "g"), b.group(v, "peer")
	random := rand.New(rand.NewPCG(3, 4))
	forms := func() RuleInput {
		protocol := [][]string{{"tcp", "6", "TCP"}, {"-1", "all"}, {"icmp", "1"}}[random.IntN(3)]
		in := RuleInput{Protocol: protocol[random.IntN(len(protocol))], From: new(random.IntN(2)), To: new(1)}
		switch random.IntN(3) {
		case 0:
			in.Peer = peer
		case 1:
			in.PeerName = "peer"
		default:
			in.CIDR = []string{"10.0.0.0/8", "10.9.9.9/8", "::/0"}[random.IntN(3)]
		}
		return in
	}
	model := map[app.SecurityGroupRule]app.RuleID{}
	for n := range 400 {
		egress, in := random.IntN(2) == 0, []RuleInput{forms(), forms()}
		keys := b.keys(g, egress, in)
		_, first := model[keys[0]]
		_, second := model[keys[1]]
		switch random.IntN(3) {
		case 0:
			made, err := b.AuthorizeRules(ctx, scope, ref(g), egress, in, nil)
			if ok := !first && !second && keys[0] != keys[1]; (err == nil) != ok {
				t.Fatalf("step %d: authorising gave %v", n, err)
			}
			for m, r := range made {
				model[keys[m]] = r.ID
			}
		case 1:
			_, err := b.RevokeRules(ctx, scope, ref(g), egress, in)
			if ok := first && second && keys[0] != keys[1]; (err == nil) != ok {
				t.Fatalf("step %d: revoking gave %v", n, err)
			} else if ok {
				delete(model, keys[0])
				delete(model, keys[1])
			}
		case 2:
			if err := b.RevokeRulesByID(ctx, scope, ref(g), egress, []app.RuleID{model[keys[0]]}); (err == nil) != first {
				t.Fatalf("step %d: revoking by id gave %v", n, err)
			}
			delete(model, keys[0])
		}
		have := map[app.SecurityGroupRule]app.RuleID{}
		for _, r := range b.rules(g) {
			if !r.Egress || r.CIDR != anywhere {
				have[allowed(r.SecurityGroupRule)] = r.ID
			}
		}
		if !maps.Equal(have, model) {
			t.Fatalf("step %d: the rules are %v, want %v", n, have, model)
		}
	}
}

// keys are what inputs allow.
func (b *bench) keys(g app.GroupID, egress bool, in []RuleInput) (out []app.SecurityGroupRule) {
	b.read(func(tx *store.Tx) {
		row, _ := store.SecurityGroups.Get(tx, g)
		for _, x := range in {
			r, err := x.rule(tx, row, egress)
			if err != nil {
				b.t.Fatal(err)
			}
			out = append(out, allowed(r))
		}
	})
	return out
}
