package ec2

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// GroupDetail is a security group with its rules, by id, and their tags.
type GroupDetail struct {
	app.SecurityGroup
	Rules []RuleDetail
	Tags  app.Tags
}

// RuleDetail is a rule with its tags, the VPC of its group and the name of the group that is its peer.
type RuleDetail struct {
	app.SecurityGroupRule
	VPC      app.VPCID
	PeerName string
	Tags     app.Tags
}

func ruleDetail(tx *store.Tx, g app.SecurityGroup, r app.SecurityGroupRule) RuleDetail {
	peer, _ := store.SecurityGroups.Get(tx, r.Peer)
	return RuleDetail{r, g.VPC, peer.Name, Tags(tx, string(r.ID))}
}

// groupText is what names and descriptions of groups may hold (ec2 API reference, CreateSecurityGroup).
var groupText = regexp.MustCompile(`^[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}$`)

// findGroup finds a security group of the scope.
func findGroup(tx *store.Tx, scope app.Scope, id app.GroupID) (app.SecurityGroup, error) {
	g, ok := store.SecurityGroups.Get(tx, id)
	if !ok || g.Scope != scope {
		return app.SecurityGroup{}, notFound("InvalidGroup.NotFound", "security group", string(id))
	}
	return g, nil
}

// GroupRef names a group by its id or, in the default VPC, by its name.
type GroupRef struct {
	ID   app.GroupID
	Name string
}

func (r GroupRef) find(tx *store.Tx, scope app.Scope) (app.SecurityGroup, error) {
	switch {
	case r.ID != "":
		return findGroup(tx, scope, r.ID)
	case r.Name == "":
		return app.SecurityGroup{}, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter groupName or groupId")
	}
	v, ok := defaultVPC(tx, scope)
	if !ok {
		return app.SecurityGroup{}, fail(app.KindNotFound, "InvalidGroup.NotFound", "The security group '%s' does not exist: there is no default VPC, so use the group's id", r.Name)
	}
	g, ok := groupNamed(tx, v.ID, r.Name)
	if !ok {
		return app.SecurityGroup{}, fail(app.KindNotFound, "InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", r.Name, v.ID)
	}
	return g, nil
}

// groupNamed finds a group of a VPC by its name, in which case does not count.
func groupNamed(tx *store.Tx, vpc app.VPCID, name string) (app.SecurityGroup, bool) {
	for g := range store.SecurityGroupsByVPC.Each(tx, vpc) {
		if strings.EqualFold(g.Name, name) {
			return g, true
		}
	}
	return app.SecurityGroup{}, false
}

// CreateGroupInput says what group to make; VPC "" is the default one.
type CreateGroupInput struct {
	Name, Description string
	VPC               app.VPCID
	Tags              app.Tags
}

// CreateGroup makes a group that lets everything out and nothing in. Spaces at the end of its name are dropped, as EC2 does.
func (c *EC2) CreateGroup(ctx context.Context, scope app.Scope, in CreateGroupInput) (GroupDetail, error) {
	in.Name = strings.TrimRight(in.Name, " ")
	switch {
	case !groupText.MatchString(in.Name):
		return GroupDetail{}, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Give 1 to 255 of the characters a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*", in.Name)
	case strings.HasPrefix(strings.ToLower(in.Name), "sg-"):
		return GroupDetail{}, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Group names may not be in the format sg-*.", in.Name)
	case strings.EqualFold(in.Name, defaultGroup):
		return GroupDetail{}, fail(app.KindInvalidRequest, "InvalidParameterValue", "Cannot use reserved security group name: %s", in.Name)
	case !groupText.MatchString(in.Description):
		return GroupDetail{}, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter GroupDescription is invalid. Character sets beyond ASCII are not supported. Give 1 to 255 of the characters a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*", in.Description)
	}
	if err := checkTags(in.Tags); err != nil {
		return GroupDetail{}, err
	}
	var out GroupDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if in.VPC == "" {
			v, ok := defaultVPC(tx, scope)
			if !ok {
				return fail(app.KindInvalidState, "VPCIdNotSpecified", "No default VPC for this user: give VpcId")
			}
			in.VPC = v.ID
		}
		v, err := findVPC(tx, scope, in.VPC)
		if err != nil {
			return err
		}
		if _, taken := groupNamed(tx, v.ID, in.Name); taken {
			return fail(app.KindExists, "InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.Name, v.ID)
		}
		if n := count(store.SecurityGroupsByScope.Each(tx, scope)); n >= c.cfg.Quotas.GroupsPerRegion {
			return fail(app.KindQuota, "SecurityGroupLimitExceeded", "The maximum number of security groups for the region has been reached: there are %d. Delete one first", n)
		}
		g := app.SecurityGroup{ID: app.GroupID(c.cfg.IDs.Prefixed("sg")), Scope: scope, VPC: v.ID, Name: in.Name, Description: in.Description, CreatedAt: c.now()}
		store.Control.SecurityGroups.Put(tx, g)
		store.Control.SecurityGroupRules.Put(tx, app.SecurityGroupRule{
			ID: app.RuleID(c.cfg.IDs.Prefixed("sgr")), Scope: scope, Group: g.ID, Egress: true, Protocol: app.AllProtocols,
			FromPort: allPorts, ToPort: allPorts, CIDR: anywhere, CreatedAt: c.now(),
		})
		putTags(tx, string(g.ID), in.Tags)
		out = groupDetail(tx, g)
		return nil
	})
	return out, err
}

func groupDetail(tx *store.Tx, g app.SecurityGroup) GroupDetail {
	out := GroupDetail{SecurityGroup: g, Tags: Tags(tx, string(g.ID))}
	for r := range store.RulesByGroup.Each(tx, g.ID) {
		out.Rules = append(out.Rules, ruleDetail(tx, g, r))
	}
	slices.SortFunc(out.Rules, func(a, b RuleDetail) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return out
}

// DescribeGroups returns all groups, by id.
func (c *EC2) DescribeGroups(ctx context.Context, scope app.Scope) (out []GroupDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for g := range store.SecurityGroupsByScope.Each(tx, scope) {
			out = append(out, groupDetail(tx, g))
		}
		return nil
	})
	return out, err
}

// DescribeRules returns all rules, by id.
func (c *EC2) DescribeRules(ctx context.Context, scope app.Scope) (out []RuleDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for r := range store.SecurityGroupRulesByScope.Each(tx, scope) {
			g, _ := store.SecurityGroups.Get(tx, r.Group)
			out = append(out, ruleDetail(tx, g, r))
		}
		return nil
	})
	return out, err
}

// DeleteGroup removes a group that no interface carries and that neither another group's rule nor a connector names.
func (c *EC2) DeleteGroup(ctx context.Context, scope app.Scope, ref GroupRef) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := ref.find(tx, scope)
		if err != nil {
			return err
		}
		if g.Default {
			return fail(app.KindInvalidState, "CannotDelete", "the specified group: \"%s\" name: \"%s\" cannot be deleted by a user", g.ID, g.Name)
		}
		for ni := range store.NetworkInterfacesByGroup.Each(tx, g.ID) {
			return fail(app.KindInvalidState, "DependencyViolation", "resource %s has a dependent object: interface %s carries it", g.ID, ni.ID)
		}
		for r := range store.RulesByPeer.Each(tx, g.ID) {
			if r.Group != g.ID {
				return fail(app.KindInvalidState, "DependencyViolation", "resource %s has a dependent object: rule %s of %s names it", g.ID, r.ID, r.Group)
			}
		}
		for connector := range store.VPCConnectorsByScope.Each(tx, scope) {
			if connector.DeletedAt.IsZero() && slices.Contains(connector.Groups, g.ID) {
				return fail(app.KindInvalidState, "DependencyViolation", "resource %s has a dependent object: the App Runner VPC connector %s names it", g.ID, connector.Name)
			}
		}
		for r := range store.RulesByGroup.Each(tx, g.ID) {
			store.Control.SecurityGroupRules.Delete(tx, r.ID)
			deleteTags(tx, string(r.ID))
		}
		store.Control.SecurityGroups.Delete(tx, g.ID)
		deleteTags(tx, string(g.ID))
		return nil
	})
}

// GroupNamed returns the id of a group of the default VPC.
func (c *EC2) GroupNamed(ctx context.Context, scope app.Scope, name string) (id app.GroupID, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		g, err := GroupRef{Name: name}.find(tx, scope)
		id = g.ID
		return err
	})
	return id, err
}
