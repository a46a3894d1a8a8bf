package ec2

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// RuleInput is one rule as a caller writes it; exactly one of CIDR, PrefixList, Peer and PeerName is set.
type RuleInput struct {
	// Protocol is a name or a number; From and To are nil when absent.
	Protocol string
	From, To *int
	CIDR     string
	// Family is what CIDR has to be, IPv4 or IPv6; "" = either.
	Family      string
	PrefixList  app.PrefixListID
	Peer        app.GroupID
	PeerName    string
	PeerAccount app.AccountID
	// Peering is the id of the connection to Peer's VPC; there are none here.
	Peering     string
	Description string
}

// maxRulesPerCall bounds the rules that one call adds, removes or changes.
const maxRulesPerCall = 1000

// checkCall refuses calls without rules and with more than a group can ever have.
func checkCall(n int) error {
	switch {
	case n == 0:
		return fail(app.KindInvalidRequest, "MissingParameter", "Either 'ipPermissions', the parameters of one rule, or 'securityGroupRuleIds' should be provided.")
	case n > maxRulesPerCall:
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "The request has %d rules: give at most %d in a call", n, maxRulesPerCall)
	}
	return nil
}

var ruleText = regexp.MustCompile(`^[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}$`)

func checkRuleText(text string) error {
	if !ruleText.MatchString(text) {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid rule description '%s'. Valid descriptions are strings less than 256 characters from the following set: a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*", text)
	}
	return nil
}

var protocolNumbers = map[string]int{"all": app.AllProtocols, "icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}

// ParseProtocol reads a protocol's name or number; -1 is everything.
func ParseProtocol(text string) (int, error) {
	if n, ok := protocolNumbers[strings.ToLower(text)]; ok {
		return n, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < app.AllProtocols || n > 255 {
		return 0, fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid value '%s' for IP protocol. Unknown protocol: give tcp, udp, icmp, icmpv6, a number from 0 to 255, or -1", text)
	}
	return n, nil
}

// rule turns what a caller wrote into a rule of the group, without an id.
func (in RuleInput) rule(tx *store.Tx, g app.SecurityGroup, egress bool) (app.SecurityGroupRule, error) {
	r := app.SecurityGroupRule{Scope: g.Scope, Group: g.ID, Egress: egress, Description: in.Description}
	if in.Protocol == "" {
		return r, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter ipProtocol")
	}
	err := checkRuleText(in.Description)
	if err != nil {
		return r, err
	}
	if r.Protocol, err = ParseProtocol(in.Protocol); err != nil {
		return r, err
	}
	if r.FromPort, r.ToPort, err = in.ports(r.Protocol); err != nil {
		return r, err
	}
	err = in.peer(tx, g, &r)
	return r, err
}

// ports checks the ports of a rule; protocols without ports have -1 and -1.
func (in RuleInput) ports(protocol int) (from, to int, err error) {
	switch protocol {
	case 6, 17:
		if in.From == nil || in.To == nil {
			return 0, 0, fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		}
		from, to = *in.From, *in.To
		if from == -1 && to == -1 {
			return 0, 65535, nil
		}
		if from < 0 || from > to || to > 65535 {
			return 0, 0, fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d): give ports from 0 to 65535, the lower one first", from, to)
		}
		return from, to, nil
	case 1, 58:
		from, to = -1, -1
		if in.From != nil {
			from = *in.From
		}
		if in.To != nil {
			to = *in.To
		}
		if from < -1 || from > 255 || to < -1 || to > 255 || from == -1 && to != -1 {
			return 0, 0, fail(app.KindInvalidRequest, "InvalidParameterValue", "ICMP code (%d) or type (%d) is invalid: each is from 0 to 255, or -1 for any", to, from)
		}
		return from, to, nil
	}
	return allPorts, allPorts, nil
}

func (in RuleInput) peer(tx *store.Tx, g app.SecurityGroup, r *app.SecurityGroupRule) error {
	switch given(in.CIDR != "", in.PrefixList != "", in.Peer != "" || in.PeerName != "") {
	case 0:
		return fail(app.KindInvalidRequest, "InvalidPermission.Malformed", "A rule has no peer: give a CIDR block, a prefix list or a security group")
	case 1:
	default:
		return fail(app.KindInvalidRequest, "InvalidPermission.Malformed", "A rule has several peers: give a CIDR block, a prefix list or a security group, and one rule for each")
	}
	switch {
	case in.CIDR != "":
		p, err := netip.ParsePrefix(in.CIDR)
		if err != nil || in.Family != "" && (in.Family == "IPv4") != p.Addr().Is4() {
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "CIDR block %s is malformed: give %s", in.CIDR, blockExample(in.Family))
		}
		r.CIDR = p.Masked()
		return nil
	case in.PrefixList != "":
		l, err := findPrefixList(tx, g.Scope, in.PrefixList)
		r.PrefixList = l.ID
		return err
	}
	return in.group(tx, g, r)
}

func blockExample(family string) string {
	switch family {
	case "IPv4":
		return "an IPv4 address and a length, such as 10.0.0.0/8"
	case "IPv6":
		return "an IPv6 address and a length, such as 2001:db8::/32"
	}
	return "an address and a length, such as 10.0.0.0/8 or 2001:db8::/32"
}

func (in RuleInput) group(tx *store.Tx, g app.SecurityGroup, r *app.SecurityGroupRule) error {
	if in.Peering != "" {
		return notFound("InvalidVpcPeeringConnectionID.NotFound", "vpcPeeringConnection ID", in.Peering)
	}
	peer, ok := store.SecurityGroups.Get(tx, in.Peer)
	if in.Peer == "" {
		peer, ok = groupNamed(tx, g.VPC, in.PeerName)
	}
	if in.PeerAccount != "" && in.PeerAccount != g.Scope.Account || !ok || peer.Scope != g.Scope {
		if in.Peer != "" {
			return notFound("InvalidGroup.NotFound", "security group", string(in.Peer))
		}
		return fail(app.KindNotFound, "InvalidGroup.NotFound", "The security group '%s' does not exist", in.PeerName)
	}
	if peer.VPC != g.VPC {
		return fail(app.KindNotFound, "InvalidGroup.NotFound", "You have specified two resources that belong to different networks: %s is of %s and %s of %s", g.ID, g.VPC, peer.ID, peer.VPC)
	}
	r.Peer, r.PeerAccount = peer.ID, in.PeerAccount
	return nil
}

// ruleSet holds the rules of a group by what they allow: keys have no id, description, time and account of the peer.
type ruleSet map[app.SecurityGroupRule]app.SecurityGroupRule

func allowed(r app.SecurityGroupRule) app.SecurityGroupRule {
	r.ID, r.PeerAccount, r.Description, r.CreatedAt = "", "", "", time.Time{}
	return r
}

func rulesOf(tx *store.Tx, g app.GroupID) ruleSet {
	set := ruleSet{}
	for r := range store.RulesByGroup.Each(tx, g) {
		set[allowed(r)] = r
	}
	return set
}

// add takes a rule in, unless one is there that allows the same.
func (s ruleSet) add(r app.SecurityGroupRule) error {
	if _, exists := s[allowed(r)]; exists {
		return fail(app.KindExists, "InvalidPermission.Duplicate", "the specified rule \"%s\" already exists", ruleWords(r))
	}
	s[allowed(r)] = r
	return nil
}

// ruleWords is a rule as EC2's errors show it.
func ruleWords(r app.SecurityGroupRule) string {
	peer := string(r.Peer) + string(r.PrefixList)
	if r.CIDR.IsValid() {
		peer = r.CIDR.String()
	}
	words := "peer: " + peer + ", "
	switch r.Protocol {
	case app.AllProtocols:
		words += "ALL, "
	case 6, 17:
		words += strings.ToUpper(app.ProtocolName(r.Protocol)) + ", from port: " + strconv.Itoa(r.FromPort) + ", to port: " + strconv.Itoa(r.ToPort) + ", "
	case 1, 58:
		words += strings.ToUpper(app.ProtocolName(r.Protocol)) + ", type: " + strconv.Itoa(r.FromPort) + ", code: " + strconv.Itoa(r.ToPort) + ", "
	default:
		words += "protocol: " + strconv.Itoa(r.Protocol) + ", "
	}
	return words + "ALLOW"
}

// AuthorizeRules adds rules to a group, all or none.
func (c *EC2) AuthorizeRules(ctx context.Context, scope app.Scope, ref GroupRef, egress bool, rules []RuleInput, tags app.Tags) ([]RuleDetail, error) {
	if err := cmp.Or(checkTags(tags), checkCall(len(rules))); err != nil {
		return nil, err
	}
	var out []RuleDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := ref.find(tx, scope)
		if err != nil {
			return err
		}
		added, err := distinct(tx, g, egress, rules)
		if err != nil {
			return err
		}
		set := rulesOf(tx, g.ID)
		for _, r := range added {
			r.ID, r.CreatedAt = app.RuleID(c.cfg.IDs.Prefixed("sgr")), c.now()
			if err := set.add(r); err != nil {
				return err
			}
			store.Control.SecurityGroupRules.Put(tx, r)
			putTags(tx, string(r.ID), tags)
			out = append(out, ruleDetail(tx, g, r))
		}
		return c.rulesFit(tx, g)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// distinct turns what a caller wrote into rules of the group without ids; no two may allow the same.
func distinct(tx *store.Tx, g app.SecurityGroup, egress bool, rules []RuleInput) ([]app.SecurityGroupRule, error) {
	seen := ruleSet{}
	out := make([]app.SecurityGroupRule, 0, len(rules))
	for _, in := range rules {
		r, err := in.rule(tx, g, egress)
		if err != nil {
			return nil, err
		}
		if seen.add(r) != nil {
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "The same permission must not appear multiple times: \"%s\". Blocks count without their host bits", ruleWords(r))
		}
		out = append(out, r)
	}
	return out, nil
}

// rulesFit checks a group's quotas of each direction and family (VPC guide, "Amazon VPC quotas"): a rule that names a group
// weighs one in both families, one that names a prefix list weighs its MaxEntries.
func (c *EC2) rulesFit(tx *store.Tx, g app.SecurityGroup) error {
	limit := c.cfg.Quotas.RulesPerGroup
	for _, d := range []struct {
		egress bool
		word   string
	}{{false, "inbound"}, {true, "outbound"}} {
		v4, v6 := weigh(tx, g.ID, d.egress)
		if max(v4, v6) > limit {
			return fail(app.KindQuota, "RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached: %s would have %d %s rules, and %d are allowed. A prefix list weighs its MaxEntries", g.ID, max(v4, v6), d.word, limit)
		}
	}
	return nil
}

func weigh(tx *store.Tx, g app.GroupID, egress bool) (v4, v6 int) {
	for r := range store.RulesByGroup.Each(tx, g) {
		if r.Egress != egress {
			continue
		}
		switch l, _ := store.PrefixLists.Get(tx, r.PrefixList); {
		case r.Peer != "":
			v4, v6 = v4+1, v6+1
		case r.PrefixList != "" && l.Family == "IPv6":
			v6 += max(l.MaxEntries, 1)
		case r.PrefixList != "":
			v4 += max(l.MaxEntries, 1)
		case r.CIDR.Addr().Is4():
			v4++
		default:
			v6++
		}
	}
	return v4, v6
}

// RevokeRules removes rules that look like these. Of rules that are not there: in the default VPC they are returned and the
// others are removed; elsewhere it is an error and nothing is removed.
func (c *EC2) RevokeRules(ctx context.Context, scope app.Scope, ref GroupRef, egress bool, rules []RuleInput) (unknown []RuleInput, err error) {
	if err := checkCall(len(rules)); err != nil {
		return nil, err
	}
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := ref.find(tx, scope)
		if err != nil {
			return err
		}
		v, err := findVPC(tx, scope, g.VPC)
		if err != nil {
			return err
		}
		set := rulesOf(tx, g.ID)
		for _, in := range rules {
			r, err := in.rule(tx, g, egress)
			if err != nil {
				return err
			}
			have, ok := set[allowed(r)]
			switch {
			case ok:
				dropRule(tx, have.ID)
				delete(set, allowed(r))
			case v.Default:
				unknown = append(unknown, in)
			default:
				return noSuchRule(r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return unknown, nil
}

func noSuchRule(r app.SecurityGroupRule) error {
	return fail(app.KindNotFound, "InvalidPermission.NotFound", "The specified rule does not exist in this security group: %s", ruleWords(r))
}

// RevokeRulesByID removes rules by their ids, all or none.
func (c *EC2) RevokeRulesByID(ctx context.Context, scope app.Scope, ref GroupRef, egress bool, ids []app.RuleID) error {
	if err := checkCall(len(ids)); err != nil {
		return err
	}
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := ref.find(tx, scope)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := findRule(tx, g, id)
			if err != nil {
				return err
			}
			if err := inDirection(r, egress, "RevokeSecurityGroup"); err != nil {
				return err
			}
			dropRule(tx, id)
		}
		return nil
	})
}

// inDirection refuses a rule of the other direction than a call is about; operation is its name without Ingress or Egress.
func inDirection(r app.SecurityGroupRule, egress bool, operation string) error {
	if r.Egress == egress {
		return nil
	}
	return fail(app.KindNotFound, "InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' is of the other direction: use %s%s", r.ID, operation, map[bool]string{true: "Egress", false: "Ingress"}[r.Egress])
}

func dropRule(tx *store.Tx, id app.RuleID) {
	store.Control.SecurityGroupRules.Delete(tx, id)
	deleteTags(tx, string(id))
}

func findRule(tx *store.Tx, g app.SecurityGroup, id app.RuleID) (app.SecurityGroupRule, error) {
	r, ok := store.SecurityGroupRules.Get(tx, id)
	switch {
	case !ok:
		return r, notFound("InvalidSecurityGroupRuleId.NotFound", "security group rule ID", string(id))
	case r.Group != g.ID:
		return r, fail(app.KindNotFound, "InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist in %s", id, g.ID)
	}
	return r, nil
}

// ModifyRules replaces rules, all or none; they keep their ids, directions and tags, and may swap what they allow.
func (c *EC2) ModifyRules(ctx context.Context, scope app.Scope, group app.GroupID, rules map[app.RuleID]RuleInput) error {
	if err := checkCall(len(rules)); err != nil {
		return err
	}
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := findGroup(tx, scope, group)
		if err != nil {
			return err
		}
		set := rulesOf(tx, g.ID)
		var changed []app.SecurityGroupRule
		for _, id := range slices.Sorted(maps.Keys(rules)) {
			old, err := findRule(tx, g, id)
			if err != nil {
				return err
			}
			r, err := rules[id].rule(tx, g, old.Egress)
			if err != nil {
				return err
			}
			r.ID, r.CreatedAt = id, old.CreatedAt
			delete(set, allowed(old))
			changed = append(changed, r)
		}
		for _, r := range changed {
			if err := set.add(r); err != nil {
				return err
			}
			store.Control.SecurityGroupRules.Put(tx, r)
		}
		return c.rulesFit(tx, g)
	})
}

// DescribeRulesAs sets the descriptions of rules that look like these.
func (c *EC2) DescribeRulesAs(ctx context.Context, scope app.Scope, ref GroupRef, egress bool, rules []RuleInput) error {
	if err := checkCall(len(rules)); err != nil {
		return err
	}
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := ref.find(tx, scope)
		if err != nil {
			return err
		}
		set := rulesOf(tx, g.ID)
		for _, in := range rules {
			r, err := in.rule(tx, g, egress)
			if err != nil {
				return err
			}
			have, ok := set[allowed(r)]
			if !ok {
				return noSuchRule(r)
			}
			have.Description = in.Description
			store.Control.SecurityGroupRules.Put(tx, have)
		}
		return nil
	})
}

// DescribeRulesByID sets the descriptions of rules by their ids.
func (c *EC2) DescribeRulesByID(ctx context.Context, scope app.Scope, ref GroupRef, egress bool, texts map[app.RuleID]string) error {
	if err := checkCall(len(texts)); err != nil {
		return err
	}
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := ref.find(tx, scope)
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(texts)) {
			r, err := findRule(tx, g, id)
			if err == nil {
				err = inDirection(r, egress, "UpdateSecurityGroupRuleDescriptions")
			}
			if err == nil {
				err = checkRuleText(texts[id])
			}
			if err != nil {
				return err
			}
			r.Description = texts[id]
			store.Control.SecurityGroupRules.Put(tx, r)
		}
		return nil
	})
}
