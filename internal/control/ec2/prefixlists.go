package ec2

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// PrefixListDetail is a prefix list with its tags.
type PrefixListDetail struct {
	app.PrefixList
	Tags app.Tags
}

// The states of a prefix list; its changes are complete at once.
const (
	listCreated  = "create-complete"
	listModified = "modify-complete"
	listRestored = "restore-complete"
)

// findPrefixList finds a prefix list of the scope, or one of AWS.
func findPrefixList(tx *store.Tx, scope app.Scope, id app.PrefixListID) (app.PrefixList, error) {
	l, ok := store.PrefixLists.Get(tx, id)
	if !ok || l.Scope != scope && (l.Scope.Account != ownedBy || l.Scope.Region != scope.Region) {
		return app.PrefixList{}, notFound("InvalidPrefixListID.NotFound", "prefix list ID", string(id))
	}
	return l, nil
}

// ownPrefixList is findPrefixList for changing.
func ownPrefixList(tx *store.Tx, scope app.Scope, id app.PrefixListID) (app.PrefixList, error) {
	l, err := findPrefixList(tx, scope, id)
	if err == nil && l.Scope.Account == ownedBy {
		err = fail(app.KindDenied, "UnauthorizedOperation", "The prefix list '%s' is AWS's and cannot be changed: make one of your own", id)
	}
	return l, err
}

// CreatePrefixListInput says what list to make.
type CreatePrefixListInput struct {
	Name, Family, ClientToken string
	MaxEntries                int
	Entries                   []PrefixEntryInput
	Tags                      app.Tags
}

// PrefixEntryInput is an entry as a caller writes it.
type PrefixEntryInput struct{ CIDR, Description string }

// The limits of prefix lists (VPC guide, "Amazon VPC quotas", and the API reference of ModifyManagedPrefixList).
const (
	maxListText    = 255 // characters of a name or a description
	entriesPerCall = 100
	// keptVersions is how many earlier versions can be read and restored, and keptEntries what they may hold together.
	keptVersions = 100
	keptEntries  = 10_000
)

func checkListName(name string) error {
	if name == "" || utf8.RuneCountInString(name) > maxListText || strings.HasPrefix(strings.ToLower(name), "com.amazonaws") {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter PrefixListName is invalid: give 1 to %d characters that do not begin with com.amazonaws", name, maxListText)
	}
	return nil
}

func checkEntriesOfCall(parameter string, n int) error {
	if n > entriesPerCall {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "%s holds %d entries: give at most %d in a call", parameter, n, entriesPerCall)
	}
	return nil
}

func entries(family string, in []PrefixEntryInput) ([]app.PrefixEntry, error) {
	out := make([]app.PrefixEntry, 0, len(in))
	for _, e := range in {
		p, err := netip.ParsePrefix(e.CIDR)
		switch {
		case err != nil:
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter Cidr is invalid: give address/length, such as 192.0.2.0/24", e.CIDR)
		case p.Addr().Is4() != (family == "IPv4"):
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "The entry %s is not of the list's address family, %s", e.CIDR, family)
		case utf8.RuneCountInString(e.Description) > maxListText:
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "The description of %s has more than %d characters", e.CIDR, maxListText)
		}
		if indexOf(out, p) >= 0 {
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "The entry %s is given twice", e.CIDR)
		}
		out = append(out, app.PrefixEntry{CIDR: p.Masked(), Description: e.Description})
	}
	return out, nil
}

// indexOf finds the entry of a block whose host bits do not matter; -1 = there is none.
func indexOf(list []app.PrefixEntry, p netip.Prefix) int {
	return slices.IndexFunc(list, func(e app.PrefixEntry) bool { return e.CIDR == p.Masked() })
}

// CreatePrefixList makes a list; the same ClientToken again returns the one it made.
func (c *EC2) CreatePrefixList(ctx context.Context, scope app.Scope, in CreatePrefixListInput) (PrefixListDetail, error) {
	if in.Family != "IPv4" && in.Family != "IPv6" {
		return PrefixListDetail{}, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter AddressFamily is invalid: give IPv4 or IPv6", in.Family)
	}
	if err := cmp.Or(checkListName(in.Name), checkEntriesOfCall("Entries", len(in.Entries)), checkTags(in.Tags)); err != nil {
		return PrefixListDetail{}, err
	}
	list, err := entries(in.Family, in.Entries)
	if err != nil {
		return PrefixListDetail{}, err
	}
	if err := c.listSize(in.MaxEntries, len(list)); err != nil {
		return PrefixListDetail{}, err
	}
	var out PrefixListDetail
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		n := 0
		for l := range store.PrefixListsByScope.Each(tx, scope) {
			if n++; in.ClientToken != "" && l.ClientToken == in.ClientToken {
				first, err := versionOf(l, 1)
				changed := l.State != listCreated // so its name and size may no longer be those that it was made with
				if l.Family != in.Family || err == nil && !slices.Equal(first, list) || !changed && (l.Name != in.Name || l.MaxEntries != in.MaxEntries) {
					return mismatch(in.ClientToken)
				}
				out = PrefixListDetail{l, Tags(tx, string(l.ID))}
				return nil
			}
		}
		if n >= c.cfg.Quotas.PrefixLists {
			return fail(app.KindQuota, "PrefixListLimitExceeded", "The maximum number of prefix lists for the region has been reached: there are %d. Delete one first", n)
		}
		l := app.PrefixList{
			ID: app.PrefixListID(c.cfg.IDs.Prefixed("pl")), Scope: scope, Name: in.Name, Family: in.Family, MaxEntries: in.MaxEntries,
			Version: 1, Entries: list, State: listCreated, ClientToken: in.ClientToken, CreatedAt: c.now(),
		}
		store.Control.PrefixLists.Put(tx, l)
		putTags(tx, string(l.ID), in.Tags)
		out = PrefixListDetail{l, in.Tags}
		return nil
	})
	return out, err
}

func (c *EC2) listSize(size, used int) error {
	if limit := c.cfg.Quotas.EntriesPerPrefixList; size < 1 || size > limit {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%d) for parameter MaxEntries is invalid: give 1 to %d", size, limit)
	}
	if used > size {
		return fail(app.KindInvalidRequest, "PrefixListMaxEntriesExceeded", "You've reached the maximum number of entries for the prefix list: it has room for %d, and there would be %d. Raise MaxEntries", size, used)
	}
	return nil
}

// DescribePrefixLists returns the lists of the scope and those of AWS.
func (c *EC2) DescribePrefixLists(ctx context.Context, scope app.Scope) (out []PrefixListDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for _, s := range []app.Scope{{Account: ownedBy, Region: scope.Region}, scope} {
			for l := range store.PrefixListsByScope.Each(tx, s) {
				out = append(out, PrefixListDetail{l, Tags(tx, string(l.ID))})
			}
		}
		return nil
	})
	return out, err
}

// PrefixListEntries returns the entries of a version; 0 = the current one.
func (c *EC2) PrefixListEntries(ctx context.Context, scope app.Scope, id app.PrefixListID, version int64) (out []app.PrefixEntry, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		l, err := findPrefixList(tx, scope, id)
		if err != nil {
			return err
		}
		out, err = versionOf(l, version)
		return err
	})
	return out, err
}

func versionOf(l app.PrefixList, version int64) ([]app.PrefixEntry, error) {
	switch {
	case version == 0 || version == l.Version:
		return l.Entries, nil
	case version >= 1 && version <= int64(len(l.History)):
		if list := l.History[version-1]; list != nil {
			return list, nil
		}
		return nil, fail(app.KindNotFound, "InvalidPrefixListVersion.NotFound", "Version %d of the prefix list '%s' is not kept any more: of those before %d the last %d are, with at most %d entries", version, l.ID, l.Version, keptVersions, keptEntries)
	}
	return nil, fail(app.KindNotFound, "InvalidPrefixListVersion.NotFound", "The prefix list '%s' has no version %d: its current one is %d", l.ID, version, l.Version)
}

// ModifyPrefixListInput changes a list; zero members stay as they are. Version is the one that the caller knows.
type ModifyPrefixListInput struct {
	Version    *int64
	Name       string
	Add        []PrefixEntryInput
	Remove     []string
	MaxEntries *int
}

// ModifyPrefixList changes a list. Changed entries make a new version; every rule that names the list follows.
func (c *EC2) ModifyPrefixList(ctx context.Context, scope app.Scope, id app.PrefixListID, in ModifyPrefixListInput) (PrefixListDetail, error) {
	err := cmp.Or(checkEntriesOfCall("AddEntries", len(in.Add)), checkEntriesOfCall("RemoveEntries", len(in.Remove)))
	switch {
	case err != nil:
		return PrefixListDetail{}, err
	case in.MaxEntries != nil && len(in.Add)+len(in.Remove) > 0:
		return PrefixListDetail{}, fail(app.KindInvalidRequest, "InvalidParameterCombination", "MaxEntries and entries cannot be changed in one call: change MaxEntries alone")
	}
	return c.changePrefixList(ctx, scope, id, in.Version, func(l *app.PrefixList) error {
		l.State = listModified
		if in.Name != "" {
			l.Name = in.Name
		}
		if in.MaxEntries != nil {
			l.MaxEntries = *in.MaxEntries
		}
		if len(in.Add)+len(in.Remove) == 0 {
			return checkListName(l.Name)
		}
		list, err := in.entries(*l)
		if err != nil {
			return err
		}
		renew(l, list)
		return checkListName(l.Name)
	})
}

// entries are those of a list after the change. What is added again gets the new description, and it is an error when that is
// the old one. Terraform takes "does not exist." for the entry of a resource that is gone.
func (in ModifyPrefixListInput) entries(l app.PrefixList) ([]app.PrefixEntry, error) {
	added, err := entries(l.Family, in.Add)
	if err != nil {
		return nil, err
	}
	list := slices.Clone(l.Entries)
	for _, text := range in.Remove {
		p, err := netip.ParsePrefix(text)
		n := indexOf(list, p)
		switch {
		case err != nil:
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter Cidr is invalid: give address/length, such as 192.0.2.0/24", text)
		case n < 0:
			return nil, fail(app.KindNotFound, "InvalidPrefixListModification", "An entry with the CIDR (%s) does not exist.", text)
		}
		if indexOf(added, p) >= 0 {
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "Request cannot contain Cidr %s in both AddPrefixListEntries and RemovePrefixListEntries: to change its description only add it", text)
		}
		list = slices.Delete(list, n, n+1)
	}
	for _, e := range added {
		switch n := indexOf(list, e.CIDR); {
		case n < 0:
			list = append(list, e)
		case list[n] == e:
			return nil, fail(app.KindExists, "InvalidPrefixListModification", "An entry with the CIDR (%s) and description (%s) already exists.", e.CIDR, e.Description)
		default:
			list[n] = e
		}
	}
	return list, nil
}

// renew makes entries the next version of a list. Of the earlier ones those beyond the limits are forgotten: they become nil,
// while a version without entries is empty.
func renew(l *app.PrefixList, list []app.PrefixEntry) {
	l.History = append(slices.Clone(l.History), append([]app.PrefixEntry{}, l.Entries...))
	l.Entries = list
	l.Version++
	entries := 0
	for n := len(l.History) - 1; n >= 0; n-- {
		if entries += len(l.History[n]); entries > keptEntries || len(l.History)-n > keptVersions {
			clear(l.History[:n+1])
			return
		}
	}
}

// RestorePrefixList makes the entries of an earlier version the next one.
func (c *EC2) RestorePrefixList(ctx context.Context, scope app.Scope, id app.PrefixListID, previous, current int64) (PrefixListDetail, error) {
	return c.changePrefixList(ctx, scope, id, &current, func(l *app.PrefixList) error {
		if previous < 1 || previous >= l.Version {
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%d) for parameter PreviousVersion is invalid: give a version before the current one, %d", previous, l.Version)
		}
		list, err := versionOf(*l, previous)
		if err != nil {
			return err
		}
		l.State = listRestored
		renew(l, list)
		return nil
	})
}

func (c *EC2) changePrefixList(ctx context.Context, scope app.Scope, id app.PrefixListID, version *int64, change func(*app.PrefixList) error) (PrefixListDetail, error) {
	var out PrefixListDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		l, err := ownPrefixList(tx, scope, id)
		if err != nil {
			return err
		}
		if version != nil && *version != l.Version {
			return fail(app.KindInvalidState, "PrefixListVersionMismatch", "The prefix list has the incorrect version number: '%s' has version %d, not %d. Read it again", id, l.Version, *version)
		}
		if err := change(&l); err != nil {
			return err
		}
		if err := c.listSize(l.MaxEntries, len(l.Entries)); err != nil {
			return err
		}
		store.Control.PrefixLists.Put(tx, l)
		if err := c.usersFit(tx, scope, id); err != nil {
			return err
		}
		out = PrefixListDetail{l, Tags(tx, string(id))}
		return nil
	})
	return out, err
}

// usersFit checks the quotas of every group and route table that names a list.
func (c *EC2) usersFit(tx *store.Tx, scope app.Scope, id app.PrefixListID) error {
	for _, user := range listUses(tx, scope, id) {
		var err error
		if g, ok := store.SecurityGroups.Get(tx, app.GroupID(user)); ok {
			err = c.rulesFit(tx, g)
		} else if t, ok := store.RouteTables.Get(tx, app.RouteTableID(user)); ok {
			err = c.checkRoom(tx, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// PrefixListUses returns the ids of the groups and route tables that name a list.
func (c *EC2) PrefixListUses(ctx context.Context, scope app.Scope, id app.PrefixListID) (out []string, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		if _, err := findPrefixList(tx, scope, id); err != nil {
			return err
		}
		out = listUses(tx, scope, id)
		return nil
	})
	return out, err
}

func listUses(tx *store.Tx, scope app.Scope, id app.PrefixListID) (out []string) {
	for r := range store.RulesByPrefixList.Each(tx, id) {
		if r.Scope == scope && !slices.Contains(out, string(r.Group)) {
			out = append(out, string(r.Group))
		}
	}
	for t := range store.RouteTablesByScope.Each(tx, scope) {
		if slices.ContainsFunc(t.Routes, func(r app.Route) bool { return r.PrefixList == id }) {
			out = append(out, string(t.ID))
		}
	}
	slices.Sort(out)
	return out
}

// DeletePrefixList removes a list that nothing names, and returns it.
func (c *EC2) DeletePrefixList(ctx context.Context, scope app.Scope, id app.PrefixListID) (PrefixListDetail, error) {
	var out PrefixListDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		l, err := ownPrefixList(tx, scope, id)
		if err != nil {
			return err
		}
		if uses := listUses(tx, scope, id); len(uses) > 0 {
			return fail(app.KindInvalidState, "DependencyViolation", "The prefix list '%s' is in use by %s: remove its rules and routes first", id, uses[0])
		}
		out = PrefixListDetail{l, Tags(tx, string(id))}
		store.Control.PrefixLists.Delete(tx, id)
		deleteTags(tx, string(id))
		return nil
	})
	return out, err
}
