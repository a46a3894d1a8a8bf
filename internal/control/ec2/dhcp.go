package ec2

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// AmazonDNS is the name server by which DHCP options mean the VPC's own resolver.
const AmazonDNS = "AmazonProvidedDNS"

// noDHCPOptions is what a VPC without DHCP options names.
const noDHCPOptions app.DHCPOptionsID = "default"

// dhcpKeys are the options that instances can learn, and how many values each may have (VPC guide, "DHCP option sets").
var dhcpKeys = map[string]int{
	"domain-name": 1, "domain-name-servers": 4, "ntp-servers": 4, "netbios-name-servers": 4, "netbios-node-type": 1,
	"ipv6-address-preferred-lease-time": 1,
}

// DHCPOptionsDetail is a set of DHCP options with its tags.
type DHCPOptionsDetail struct {
	app.DHCPOptions
	Tags app.Tags
}

// defaultDHCPOptions returns the set that new VPCs get, and makes it when it is not there.
func (c *EC2) defaultDHCPOptions(tx *store.Tx, scope app.Scope) app.DHCPOptions {
	for o := range store.DHCPOptionSetsByScope.Each(tx, scope) {
		if o.Default {
			return o
		}
	}
	_, domain, _ := strings.Cut(app.PrivateNames(netip.IPv4Unspecified(), scope.Region)[0], ".")
	o := app.DHCPOptions{
		ID: app.DHCPOptionsID(c.cfg.IDs.Prefixed("dopt")), Scope: scope, Default: true, CreatedAt: c.now(),
		Values: map[string][]string{"domain-name": {domain}, "domain-name-servers": {AmazonDNS}},
	}
	store.Control.DHCPOptionSets.Put(tx, o)
	return o
}

// DescribeDHCPOptions returns all sets, by id.
func (c *EC2) DescribeDHCPOptions(ctx context.Context, scope app.Scope) (out []DHCPOptionsDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for o := range store.DHCPOptionSetsByScope.Each(tx, scope) {
			out = append(out, DHCPOptionsDetail{o, Tags(tx, string(o.ID))})
		}
		return nil
	})
	return out, err
}

// CreateDHCPOptions makes a set. Keys are lower case.
func (c *EC2) CreateDHCPOptions(ctx context.Context, scope app.Scope, values map[string][]string, tags app.Tags) (DHCPOptionsDetail, error) {
	if err := checkDHCP(values); err != nil {
		return DHCPOptionsDetail{}, err
	}
	if err := checkTags(tags); err != nil {
		return DHCPOptionsDetail{}, err
	}
	o := app.DHCPOptions{Scope: scope, Values: values, CreatedAt: c.now()}
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if n := count(store.DHCPOptionSetsByScope.Each(tx, scope)); n >= c.cfg.Quotas.DHCPOptionSets {
			return fail(app.KindQuota, "DhcpOptionsLimitExceeded", "The maximum number of DHCP options has been reached: there are %d. Delete some first", n)
		}
		o.ID = app.DHCPOptionsID(c.cfg.IDs.Prefixed("dopt"))
		store.Control.DHCPOptionSets.Put(tx, o)
		putTags(tx, string(o.ID), tags)
		return nil
	})
	return DHCPOptionsDetail{o, tags}, err
}

func checkDHCP(values map[string][]string) error {
	refuse := func(format string, args ...any) error {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", format, args...)
	}
	if len(values) == 0 {
		return fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter DhcpConfiguration")
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		limit, known := dhcpKeys[key]
		if !known {
			return refuse("Value (%s) for parameter DhcpConfiguration.Key is invalid. Known keys are %s", key, strings.Join(slices.Sorted(maps.Keys(dhcpKeys)), ", "))
		}
		if n := len(values[key]); n == 0 || n > limit {
			return refuse("The DHCP option %s has %d values: give 1 to %d", key, n, limit)
		}
		for _, value := range values[key] {
			if err := checkDHCPValue(key, value); err != "" {
				return refuse("Value (%s) for the DHCP option %s is invalid. %s", value, key, err)
			}
		}
	}
	return nil
}

// checkDHCPValue says what is wrong with a value, "" if nothing is.
func checkDHCPValue(key, value string) string {
	address, err := netip.ParseAddr(value)
	switch key {
	case "domain-name":
		if value == "" || len(value) > 253 || strings.ContainsAny(value, "\x00\n\t") {
			return "Give a domain name of 1 to 253 characters"
		}
	case "netbios-node-type":
		if !slices.Contains([]string{"1", "2", "4", "8"}, value) {
			return "Give 1, 2, 4 or 8"
		}
	case "ipv6-address-preferred-lease-time":
		if n, err := strconv.Atoi(value); err != nil || n < 140 || n > 2147483647 {
			return "Give a number of seconds from 140 to 2147483647"
		}
	default:
		if key == "domain-name-servers" && value == AmazonDNS {
			return ""
		}
		if err != nil || !address.Is4() {
			return "Give an IPv4 address"
		}
	}
	return ""
}

func findDHCPOptions(tx *store.Tx, scope app.Scope, id app.DHCPOptionsID) (app.DHCPOptions, error) {
	o, ok := store.DHCPOptionSets.Get(tx, id)
	if !ok || o.Scope != scope {
		return app.DHCPOptions{}, notFound("InvalidDhcpOptionID.NotFound", "dhcpOption ID", string(id))
	}
	return o, nil
}

// AssociateDHCPOptions gives a VPC a set of options; the id "default" takes its set away.
func (c *EC2) AssociateDHCPOptions(ctx context.Context, scope app.Scope, vpc app.VPCID, id app.DHCPOptionsID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, vpc)
		if err != nil {
			return err
		}
		if id != noDHCPOptions {
			if _, err := findDHCPOptions(tx, scope, id); err != nil {
				return err
			}
		}
		v.DHCPOptions = id
		store.Control.VPCs.Put(tx, v)
		return nil
	})
}

// DeleteDHCPOptions removes a set that no VPC has.
func (c *EC2) DeleteDHCPOptions(ctx context.Context, scope app.Scope, id app.DHCPOptionsID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		if _, err := findDHCPOptions(tx, scope, id); err != nil {
			return err
		}
		for v := range store.VPCsByScope.Each(tx, scope) {
			if v.DHCPOptions == id {
				return dependency("dhcpOptions", string(id), "%s uses it: associate other options with it first", v.ID)
			}
		}
		store.Control.DHCPOptionSets.Delete(tx, id)
		deleteTags(tx, string(id))
		return nil
	})
}
