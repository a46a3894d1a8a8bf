package eni

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/store"
)

var (
	scope = app.Scope{Account: "000000000000", Region: "us-east-1"}
	now   = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

// seeded is a source of ids that repeats.
func seeded(seed uint64) id.Source {
	return id.Source{Random: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})}
}

// world is a store with a VPC of two groups, a subnet for each block and a second VPC with a group.
func world(t *testing.T, blocks ...string) *store.Store {
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
	update(t, st, func(tx *store.Tx) error {
		for n, block := range blocks {
			store.Control.Subnets.Put(tx, app.Subnet{ID: app.SubnetID(fmt.Sprintf("subnet-%d", n)), Scope: scope, VPC: "vpc-1", Zone: "us-east-1a", CIDR: netip.MustParsePrefix(block)})
		}
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: "sg-default", Scope: scope, VPC: "vpc-1", Default: true})
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: "sg-a", Scope: scope, VPC: "vpc-1"})
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: "sg-other", Scope: scope, VPC: "vpc-2"})
		return nil
	})
	return st
}

func update(t *testing.T, st *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := st.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func fails(t *testing.T, err error, code, words string) {
	t.Helper()
	var e *app.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, words) {
		t.Errorf("got %#v, want %s with %q", err, code, words)
	}
}

func TestCreate(t *testing.T) {
	st := world(t, "10.0.0.0/24")
	update(t, st, func(tx *store.Tx) error {
		ids := seeded(1)
		want := []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.4")}
		ni, err := Create(tx, ids, now, New{Scope: scope, Kind: app.InterfaceOfUser, Subnet: "subnet-0", Addresses: want, Count: 3, Groups: []app.GroupID{"sg-a", "sg-a"}, Description: "d"})
		if err != nil {
			return err
		}
		if len(ni.Addresses) != 3 || !slices.Equal(ni.Addresses[:2], want) || !slices.Equal(ni.Groups, []app.GroupID{"sg-a"}) || !ni.SourceDestCheck || ni.Zone != "us-east-1a" || ni.VPC != "vpc-1" || !ni.CreatedAt.Equal(now) {
			t.Errorf("got %+v", ni)
		}
		if len(ni.MAC) != 17 || !strings.HasPrefix(ni.MAC, "02:") {
			t.Errorf("MAC %s is not locally administered", ni.MAC)
		}
		if row, ok := store.NetworkInterfaces.Get(tx, ni.ID); !ok || !slices.Equal(row.Addresses, ni.Addresses) {
			t.Errorf("the row is %+v", row)
		}
		plain, err := Create(tx, ids, now, New{Scope: scope, Subnet: "subnet-0"})
		if err != nil || !slices.Equal(plain.Groups, []app.GroupID{"sg-default"}) || len(plain.Addresses) != 1 || plain.MAC == ni.MAC {
			t.Errorf("got %+v, %v", plain, err)
		}
		nat, err := Create(tx, ids, now, New{Scope: scope, Kind: app.InterfaceOfNAT, Subnet: "subnet-0"})
		if err != nil || nat.Groups != nil || nat.SourceDestCheck {
			t.Errorf("got %+v, %v", nat, err)
		}
		for _, c := range []struct {
			n           New
			code, words string
		}{
			{New{Subnet: "subnet-x"}, "InvalidSubnetID.NotFound", "subnet-x"},
			{New{Subnet: "subnet-0", Groups: []app.GroupID{"sg-x"}}, "InvalidGroup.NotFound", "sg-x"},
			{New{Subnet: "subnet-0", Groups: []app.GroupID{"sg-other"}}, "InvalidParameterValue", "vpc-2"},
			{New{Subnet: "subnet-0", Addresses: want[:1]}, "InvalidIPAddress.InUse", "10.0.0.9"},
			{New{Subnet: "subnet-0", Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.9")}}, "InvalidParameterValue", "range of subnet"},
			{New{Subnet: "subnet-0", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.3")}}, "InvalidParameterValue", "reserved"},
			{New{Subnet: "subnet-0", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.255")}}, "InvalidParameterValue", "reserved"},
			{New{Subnet: "subnet-0", Addresses: []netip.Addr{netip.MustParseAddr("fd00::9")}}, "InvalidParameterValue", "fd00::9"},
			{New{Subnet: "subnet-0", Count: MaxAddresses + 1}, "PrivateIpAddressLimitExceeded", "50"},
		} {
			c.n.Scope = scope
			_, err := Create(tx, ids, now, c.n)
			fails(t, err, c.code, c.words)
		}
		_, err = Create(tx, ids, now, New{Scope: app.Scope{Account: scope.Account, Region: "eu-west-1"}, Subnet: "subnet-0"})
		fails(t, err, "InvalidSubnetID.NotFound", "subnet-0")
		if n := store.NetworkInterfaces.Len(tx); n != 3 {
			t.Errorf("failed calls left rows: %d", n)
		}
		return nil
	})
}

// Under random creation, assignment and deletion no address is given out twice, none is reserved, and the count is exact.
func TestAddressesProperty(t *testing.T) {
	for seed := range uint64(6) {
		block := netip.MustParsePrefix([]string{"10.0.0.0/28", "10.0.3.64/27", "10.0.1.0/26"}[seed%3])
		st := world(t, block.String())
		ids, random := seeded(seed), rand.New(rand.NewPCG(seed, 7))
		subnet := app.Subnet{ID: "subnet-0", CIDR: block}
		usable := size(block) - 5
		var have []app.InterfaceID
		for step := range 400 {
			update(t, st, func(tx *store.Tx) error {
				free, before := Free(tx, subnet), len(have)
				wanted := 1 + random.IntN(3)
				var err error
				switch {
				case random.IntN(3) == 0 && before > 0:
					n := random.IntN(before)
					Delete(tx, have[n])
					have = slices.Delete(have, n, n+1)
				case random.IntN(3) == 0 && before > 0:
					ni, _ := store.NetworkInterfaces.Get(tx, have[random.IntN(before)])
					if random.IntN(2) == 0 {
						_, err = Unassign(tx, ni, ni.Addresses[1:])
					} else if _, err = Assign(tx, ids, ni, nil, wanted); err != nil && wanted <= free {
						return fmt.Errorf("%d are free, and %d could not be had: %w", free, wanted, err)
					}
				default:
					var ni app.NetworkInterface
					if ni, err = Create(tx, ids, now, New{Scope: scope, Subnet: "subnet-0", Count: wanted}); err == nil {
						have = append(have, ni.ID)
					} else if wanted <= free {
						return fmt.Errorf("%d are free, and %d could not be had: %w", free, wanted, err)
					}
				}
				if err != nil {
					fails(t, err, "InsufficientFreeAddressesInSubnet", "subnet-0")
				}
				return checkAddresses(tx, subnet, usable, step)
			})
		}
		update(t, st, func(tx *store.Tx) error {
			for _, id := range have {
				Delete(tx, id)
			}
			if got := Free(tx, subnet); got != usable {
				return fmt.Errorf("%d of %d came back", got, usable)
			}
			return nil
		})
	}
}

func checkAddresses(tx *store.Tx, subnet app.Subnet, usable, step int) error {
	seen := map[netip.Addr]app.InterfaceID{}
	for ni := range store.NetworkInterfaces.All(tx) {
		for _, a := range ni.Addresses {
			if other, twice := seen[a]; twice {
				return fmt.Errorf("step %d: %s and %s have %s", step, other, ni.ID, a)
			}
			seen[a] = ni.ID
			if err := check(subnet, a); err != nil {
				return fmt.Errorf("step %d: %w", step, err)
			}
		}
	}
	if got := Free(tx, subnet); got != usable-len(seen) {
		return fmt.Errorf("step %d: %d are free, want %d", step, got, usable-len(seen))
	}
	return nil
}

// An address that was just released is seldom the next one; a seeded source gives out the same addresses again.
func TestReuse(t *testing.T) {
	run := func() (given []netip.Addr) {
		st := world(t, "10.0.0.0/20")
		ids := seeded(3)
		update(t, st, func(tx *store.Tx) error {
			for range 50 {
				ni, err := Create(tx, ids, now, New{Scope: scope, Subnet: "subnet-0"})
				if err != nil {
					return err
				}
				given = append(given, ni.Addresses[0])
				Delete(tx, ni.ID)
			}
			return nil
		})
		return given
	}
	first := run()
	for n := 1; n < len(first); n++ {
		if first[n] == first[n-1] {
			t.Errorf("%s was used again at once", first[n])
		}
	}
	if second := run(); !slices.Equal(first, second) {
		t.Error("the same source gave out other addresses")
	}
}

// What goes with an interface: its tags, flow logs, and the association of its Elastic IPs, not the Elastic IPs.
func TestDelete(t *testing.T) {
	st := world(t, "10.0.0.0/24")
	update(t, st, func(tx *store.Tx) error {
		ni, err := Create(tx, seeded(4), now, New{Scope: scope, Subnet: "subnet-0", Count: 2})
		if err != nil {
			return err
		}
		store.Control.TagSets.Put(tx, app.TagSet{Resource: app.Resource(ni.ID), Tags: app.Tags{"a": "b"}})
		store.Control.FlowLogs.Put(tx, app.FlowLog{ID: "fl-1", Scope: scope, Resource: string(ni.ID)})
		store.Control.FlowLogs.Put(tx, app.FlowLog{ID: "fl-2", Scope: scope, Resource: "vpc-1"})
		for n, a := range ni.Addresses {
			store.Control.ElasticIPs.Put(tx, app.ElasticIP{ID: app.AllocationID(fmt.Sprintf("eipalloc-%d", n)), Scope: scope, Interface: ni.ID, Private: a, Association: "eipassoc-1"})
		}
		_, err = Unassign(tx, ni, ni.Addresses[:1])
		fails(t, err, "InvalidParameterValue", "primary")
		_, err = Unassign(tx, ni, []netip.Addr{netip.MustParseAddr("10.9.9.9")})
		fails(t, err, "InvalidParameterValue", "10.9.9.9")
		if ni, err = Unassign(tx, ni, ni.Addresses[1:]); err != nil || len(ni.Addresses) != 1 {
			t.Errorf("got %+v, %v", ni, err)
		}
		if e, _ := store.ElasticIPs.Get(tx, "eipalloc-1"); e.Interface != "" || e.Association != "" || e.Private.IsValid() {
			t.Errorf("got %+v", e)
		}
		if e, _ := store.ElasticIPs.Get(tx, "eipalloc-0"); e.Interface != ni.ID {
			t.Errorf("got %+v", e)
		}
		Delete(tx, ni.ID)
		Delete(tx, ni.ID)
		if e, _ := store.ElasticIPs.Get(tx, "eipalloc-0"); e.Interface != "" {
			t.Errorf("got %+v", e)
		}
		if store.NetworkInterfaces.Len(tx) != 0 || store.TagSets.Len(tx) != 0 || store.FlowLogs.Len(tx) != 1 || store.ElasticIPs.Len(tx) != 2 {
			t.Error("rows were left, or too many went")
		}
		return nil
	})
}
