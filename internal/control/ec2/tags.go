package ec2

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// VolumeTag is the tag that names the volume of a host, the only one of Funade's own in EC2.
const VolumeTag = ownTags + "volume"

// ownTags is the prefix of tags by which Funade is told what AWS has no word for.
const ownTags = "funade:"

// The limits of tags (EC2 guide, "Tag your Amazon EC2 resources").
const (
	maxTagKey   = 128
	maxTagValue = 256
)

// checkTags refuses tags that no object may have.
func checkTags(tags app.Tags) error {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		switch lower := strings.ToLower(key); {
		case key == "":
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Tag key cannot be null or empty: give each tag a key")
		case utf8.RuneCountInString(key) > maxTagKey:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Tag key exceeds the maximum length of %d characters: %.40s…", maxTagKey, key)
		case utf8.RuneCountInString(tags[key]) > maxTagValue:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Tag value exceeds the maximum length of %d characters: the value of %s", maxTagValue, key)
		case strings.HasPrefix(lower, "aws:"):
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use: %s", key)
		case key == VolumeTag && tags[key] == "":
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "The tag %s has no value: give the name of the volume", key)
		case strings.HasPrefix(lower, ownTags) && key != VolumeTag:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "The tag key %s is not known: of the keys with the prefix %s only %s has a meaning here", key, ownTags, VolumeTag)
		}
	}
	if len(tags) > app.MaxTags {
		return fail(app.KindQuota, "TagLimitExceeded", "More than %d tags specified: an object can have at most %d, and here are %d", app.MaxTags, app.MaxTags, len(tags))
	}
	return nil
}

// putTags writes all tags of an object.
func putTags(tx *store.Tx, id string, tags app.Tags) {
	if len(tags) == 0 {
		deleteTags(tx, id)
		return
	}
	store.Control.TagSets.Put(tx, app.TagSet{Resource: app.Resource(id), Tags: maps.Clone(tags)})
}

// deleteTags removes all tags of an object.
func deleteTags(tx *store.Tx, id string) {
	if _, ok := store.TagSets.Get(tx, app.Resource(id)); ok {
		store.Control.TagSets.Delete(tx, app.Resource(id))
	}
}

// kind is a kind of taggable object.
type kind struct {
	prefix string // of the ids, with the dash
	name   string // EC2's ResourceType
	code   string // of the error for an id that does not exist
	noun   string // in its message
	exists func(tx *store.Tx, scope app.Scope, id string) bool
	ids    func(tx *store.Tx, scope app.Scope) iter.Seq[string]
}

// rows is what makes a kind of a table.
func rows[K ~string, T any](prefix, name, code, noun string, table store.Table[K, T], index store.Index[app.Scope, T], key func(T) (K, app.Scope)) kind {
	return kind{
		prefix: prefix, name: name, code: code, noun: noun,
		exists: func(tx *store.Tx, scope app.Scope, id string) bool {
			row, ok := table.Get(tx, K(id))
			if !ok {
				return false
			}
			_, s := key(row)
			return s == scope
		},
		ids: func(tx *store.Tx, scope app.Scope) iter.Seq[string] {
			return func(yield func(string) bool) {
				for row := range index.Each(tx, scope) {
					if k, _ := key(row); !yield(string(k)) {
						return
					}
				}
			}
		},
	}
}

// kinds are all kinds of objects that can have tags, by the names of their types.
var kinds = []kind{
	rows("dopt-", "dhcp-options", "InvalidDhcpOptionID.NotFound", "dhcpOption ID", store.DHCPOptionSets, store.DHCPOptionSetsByScope, func(r app.DHCPOptions) (app.DHCPOptionsID, app.Scope) { return r.ID, r.Scope }),
	rows("eipalloc-", "elastic-ip", "InvalidAllocationID.NotFound", "allocation ID", store.ElasticIPs, store.ElasticIPsByScope, func(r app.ElasticIP) (app.AllocationID, app.Scope) { return r.ID, r.Scope }),
	rows("i-", "instance", "InvalidInstanceID.NotFound", "instance ID", store.Hosts, store.HostsByScope, func(r app.Host) (app.HostID, app.Scope) { return r.ID, r.Scope }),
	rows("igw-", "internet-gateway", "InvalidInternetGatewayID.NotFound", "internetGateway ID", store.InternetGateways, store.InternetGatewaysByScope, func(r app.InternetGateway) (app.IGWID, app.Scope) { return r.ID, r.Scope }),
	rows("key-", "key-pair", "InvalidKeyPair.NotFound", "key pair ID", store.KeyPairs, store.KeyPairsByScope, func(r app.KeyPair) (app.KeyPairID, app.Scope) { return r.ID, r.Scope }),
	rows("nat-", "natgateway", "NatGatewayNotFound", "NAT gateway ID", store.NATGateways, store.NATGatewaysByScope, func(r app.NATGateway) (app.NATGatewayID, app.Scope) { return r.ID, r.Scope }),
	rows("acl-", "network-acl", "InvalidNetworkAclID.NotFound", "networkAcl ID", store.NetworkACLs, store.NetworkACLsByScope, func(r app.NetworkACL) (app.NetworkACLID, app.Scope) { return r.ID, r.Scope }),
	rows("eni-", "network-interface", "InvalidNetworkInterfaceID.NotFound", "networkInterface ID", store.NetworkInterfaces, store.NetworkInterfacesByScope, func(r app.NetworkInterface) (app.InterfaceID, app.Scope) { return r.ID, r.Scope }),
	rows("pl-", "prefix-list", "InvalidPrefixListID.NotFound", "prefix list ID", store.PrefixLists, store.PrefixListsByScope, func(r app.PrefixList) (app.PrefixListID, app.Scope) { return r.ID, r.Scope }),
	rows("rtb-", "route-table", "InvalidRouteTableID.NotFound", "routeTable ID", store.RouteTables, store.RouteTablesByScope, func(r app.RouteTable) (app.RouteTableID, app.Scope) { return r.ID, r.Scope }),
	rows("sg-", "security-group", "InvalidGroup.NotFound", "security group", store.SecurityGroups, store.SecurityGroupsByScope, func(r app.SecurityGroup) (app.GroupID, app.Scope) { return r.ID, r.Scope }),
	rows("sgr-", "security-group-rule", "InvalidSecurityGroupRuleId.NotFound", "security group rule ID", store.SecurityGroupRules, store.SecurityGroupRulesByScope, func(r app.SecurityGroupRule) (app.RuleID, app.Scope) { return r.ID, r.Scope }),
	rows("subnet-", "subnet", "InvalidSubnetID.NotFound", "subnet ID", store.Subnets, store.SubnetsByScope, func(r app.Subnet) (app.SubnetID, app.Scope) { return r.ID, r.Scope }),
	rows("vol-", "volume", "InvalidVolume.NotFound", "volume", store.Volumes, store.VolumesByScope, func(r app.Volume) (app.VolumeID, app.Scope) { return r.ID, r.Scope }),
	rows("vpc-", "vpc", "InvalidVpcID.NotFound", "vpc ID", store.VPCs, store.VPCsByScope, func(r app.VPC) (app.VPCID, app.Scope) { return r.ID, r.Scope }),
	rows("vpce-", "vpc-endpoint", "InvalidVpcEndpointId.NotFound", "Vpc Endpoint Id", store.Endpoints, store.EndpointsByScope, func(r app.Endpoint) (app.EndpointID, app.Scope) { return r.ID, r.Scope }),
	rows("fl-", "vpc-flow-log", "InvalidFlowLogId.NotFound", "flow log ID", store.FlowLogs, store.FlowLogsByScope, func(r app.FlowLog) (app.FlowLogID, app.Scope) { return r.ID, r.Scope }),
}

// findObject finds the kind of an object that exists in the scope.
func findObject(tx *store.Tx, scope app.Scope, id string) (kind, error) {
	for _, k := range kinds {
		if !strings.HasPrefix(id, k.prefix) {
			continue
		}
		if !k.exists(tx, scope, id) {
			return kind{}, notFound(k.code, k.noun, id)
		}
		return k, nil
	}
	return kind{}, fail(app.KindInvalidRequest, "InvalidID", "The ID '%s' is not valid: give the id of an object, such as vpc-0123456789abcdef0", id)
}

// CreateTags sets tags of every object, or of none.
func (c *EC2) CreateTags(ctx context.Context, scope app.Scope, ids []string, tags app.Tags) error {
	return c.retag(ctx, scope, ids, func(id string, have app.Tags) (app.Tags, error) {
		if err := checkTags(tags); err != nil {
			return nil, err
		}
		if _, ok := tags[VolumeTag]; ok && !strings.HasPrefix(id, "i-") && !strings.HasPrefix(id, "vol-") {
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "The tag %s has a meaning for instances only, not for %s: remove it", VolumeTag, id)
		}
		maps.Copy(have, tags)
		if len(have) > app.MaxTags {
			return nil, fail(app.KindQuota, "TagLimitExceeded", "%s can have at most %d tags, and with these it would have %d", id, app.MaxTags, len(have))
		}
		return have, nil
	})
}

// DeletedTag names a tag to delete; Value nil = whatever its value is.
type DeletedTag struct {
	Key   string
	Value *string
}

// DeleteTags removes tags of every object; those that are not there are fine. No tags means all of them.
func (c *EC2) DeleteTags(ctx context.Context, scope app.Scope, ids []string, tags []DeletedTag) error {
	return c.retag(ctx, scope, ids, func(_ string, have app.Tags) (app.Tags, error) {
		for key, value := range have {
			asked := func(t DeletedTag) bool { return t.Key == key && (t.Value == nil || *t.Value == value) }
			if !strings.HasPrefix(key, "aws:") && (len(tags) == 0 || slices.ContainsFunc(tags, asked)) {
				delete(have, key)
			}
		}
		return have, nil
	})
}

func (c *EC2) retag(ctx context.Context, scope app.Scope, ids []string, change func(id string, have app.Tags) (app.Tags, error)) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		for _, id := range ids {
			if _, err := findObject(tx, scope, id); err != nil {
				return err
			}
			have := maps.Clone(Tags(tx, id))
			if have == nil {
				have = app.Tags{}
			}
			tags, err := change(id, have)
			if err != nil {
				return err
			}
			putTags(tx, id, tags)
			if err := nameVolumes(tx, scope, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Tag is one tag of one object.
type Tag struct {
	Resource, Type, Key, Value string
}

// DescribeTags returns every tag in the scope, by object and key.
func (c *EC2) DescribeTags(ctx context.Context, scope app.Scope) ([]Tag, error) {
	var out []Tag
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		for _, k := range kinds {
			for id := range k.ids(tx, scope) {
				tags := Tags(tx, id)
				for _, key := range slices.Sorted(maps.Keys(tags)) {
					out = append(out, Tag{id, k.name, key, tags[key]})
				}
			}
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b Tag) int { return strings.Compare(a.Resource, b.Resource) })
	return out, err
}

// Missing makes the error for ids that do not exist: those of the kind with that prefix, such as vpc-.
func Missing(prefix string) func(id string) error {
	for _, k := range kinds {
		if k.prefix == prefix {
			return func(id string) error { return notFound(k.code, k.noun, id) }
		}
	}
	panic("ec2: no kind has the prefix " + prefix)
}
