package ec2

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

func entryInput(e api.AddPrefixListEntry) control.PrefixEntryInput {
	return control.PrefixEntryInput{CIDR: member.Value(e.Cidr), Description: member.Value(e.Description)}
}

// CreateManagedPrefixList makes a prefix list.
func (h *Handler) CreateManagedPrefixList(ctx context.Context, in *api.CreateManagedPrefixListInput) (*api.CreateManagedPrefixListOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypePrefixList)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	l, err := h.control.CreatePrefixList(ctx, caller.Scope(ctx), control.CreatePrefixListInput{
		Name: *in.PrefixListName, Family: *in.AddressFamily, MaxEntries: int(*in.MaxEntries), ClientToken: member.Value(in.ClientToken),
		Entries: shapes(in.Entries, entryInput), Tags: tags[api.ResourceTypePrefixList],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateManagedPrefixListOutput{PrefixList: new(listShape(l))}, nil
}

// prefixLists is how prefix lists are selected.
var prefixLists = described[control.PrefixListDetail]{
	id:   func(l control.PrefixListDetail) string { return string(l.ID) },
	tags: func(l control.PrefixListDetail) app.Tags { return l.Tags },
	filters: map[string]func(control.PrefixListDetail) []string{
		"owner-id":         one(func(l control.PrefixListDetail) string { return string(l.Scope.Account) }),
		"prefix-list-id":   one(func(l control.PrefixListDetail) string { return string(l.ID) }),
		"prefix-list-name": one(func(l control.PrefixListDetail) string { return l.Name }),
	},
}

// DescribeManagedPrefixLists shows prefix lists, those of AWS too.
func (h *Handler) DescribeManagedPrefixLists(ctx context.Context, in *api.DescribeManagedPrefixListsInput) (*api.DescribeManagedPrefixListsOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribePrefixLists, query{ids: in.PrefixListIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, minimum: 1, maximum: 100, missing: control.Missing("pl-")}, prefixLists)
	if err != nil {
		return nil, err
	}
	return &api.DescribeManagedPrefixListsOutput{PrefixLists: shapes(page, listShape), NextToken: next}, nil
}

func listShape(l control.PrefixListDetail) api.ManagedPrefixList {
	return api.ManagedPrefixList{
		PrefixListId: new(string(l.ID)), PrefixListName: &l.Name, AddressFamily: &l.Family, State: api.PrefixListState(l.State),
		PrefixListArn: new(l.Scope.ARN("ec2", "prefix-list/"+string(l.ID))), MaxEntries: member.Int32(l.MaxEntries), Version: &l.Version,
		OwnerId: new(string(l.Scope.Account)), Tags: tagList(l.Tags),
	}
}

// DescribePrefixLists shows the prefix lists of AWS in their older form.
func (h *Handler) DescribePrefixLists(ctx context.Context, in *api.DescribePrefixListsInput) (*api.DescribePrefixListsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all, err := h.control.DescribePrefixLists(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	var owned []control.PrefixListDetail
	for _, l := range all {
		if l.Scope.Account != caller.Scope(ctx).Account {
			owned = append(owned, l)
		}
	}
	page, next, err := describe(query{ids: in.PrefixListIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("pl-")}, owned, prefixLists)
	if err != nil {
		return nil, err
	}
	return &api.DescribePrefixListsOutput{NextToken: next, PrefixLists: shapes(page, func(l control.PrefixListDetail) api.PrefixList {
		return api.PrefixList{PrefixListId: new(string(l.ID)), PrefixListName: &l.Name, Cidrs: shapes(l.Entries, func(e app.PrefixEntry) string { return e.CIDR.String() })}
	})}, nil
}

// ModifyManagedPrefixList changes a prefix list; what is absent stays.
func (h *Handler) ModifyManagedPrefixList(ctx context.Context, in *api.ModifyManagedPrefixListInput) (*api.ModifyManagedPrefixListOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	l, err := h.control.ModifyPrefixList(ctx, caller.Scope(ctx), app.PrefixListID(*in.PrefixListId), control.ModifyPrefixListInput{
		Version: in.CurrentVersion, Name: member.Value(in.PrefixListName), Add: shapes(in.AddEntries, entryInput),
		Remove: shapes(in.RemoveEntries, func(e api.RemovePrefixListEntry) string { return *e.Cidr }), MaxEntries: member.Int(in.MaxEntries),
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ModifyManagedPrefixListOutput{PrefixList: new(listShape(l))}, nil
}

// RestoreManagedPrefixListVersion makes the entries of an earlier version the next one.
func (h *Handler) RestoreManagedPrefixListVersion(ctx context.Context, in *api.RestoreManagedPrefixListVersionInput) (*api.RestoreManagedPrefixListVersionOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	l, err := h.control.RestorePrefixList(ctx, caller.Scope(ctx), app.PrefixListID(*in.PrefixListId), *in.PreviousVersion, *in.CurrentVersion)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.RestoreManagedPrefixListVersionOutput{PrefixList: new(listShape(l))}, nil
}

// GetManagedPrefixListEntries shows the entries of a version.
func (h *Handler) GetManagedPrefixListEntries(ctx context.Context, in *api.GetManagedPrefixListEntriesInput) (*api.GetManagedPrefixListEntriesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all, err := h.control.PrefixListEntries(ctx, caller.Scope(ctx), app.PrefixListID(*in.PrefixListId), member.Value(in.TargetVersion))
	if err != nil {
		return nil, wireError(err)
	}
	page, next, err := describe(query{max: in.MaxResults, token: in.NextToken, minimum: 1, maximum: 100}, all, described[app.PrefixEntry]{
		id: func(e app.PrefixEntry) string { return e.CIDR.String() },
	})
	if err != nil {
		return nil, err
	}
	return &api.GetManagedPrefixListEntriesOutput{NextToken: next, Entries: shapes(page, func(e app.PrefixEntry) api.PrefixListEntry {
		return api.PrefixListEntry{Cidr: new(e.CIDR.String()), Description: member.Text(e.Description)}
	})}, nil
}

// GetManagedPrefixListAssociations shows what names a prefix list.
func (h *Handler) GetManagedPrefixListAssociations(ctx context.Context, in *api.GetManagedPrefixListAssociationsInput) (*api.GetManagedPrefixListAssociationsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	scope := caller.Scope(ctx)
	all, err := h.control.PrefixListUses(ctx, scope, app.PrefixListID(*in.PrefixListId))
	if err != nil {
		return nil, wireError(err)
	}
	page, next, err := describe(query{max: in.MaxResults, token: in.NextToken, maximum: 255}, all, described[string]{id: func(s string) string { return s }})
	if err != nil {
		return nil, err
	}
	return &api.GetManagedPrefixListAssociationsOutput{NextToken: next, PrefixListAssociations: shapes(page, func(id string) api.PrefixListAssociation {
		return api.PrefixListAssociation{ResourceId: &id, ResourceOwner: new(string(scope.Account))}
	})}, nil
}

// DeleteManagedPrefixList removes a prefix list.
func (h *Handler) DeleteManagedPrefixList(ctx context.Context, in *api.DeleteManagedPrefixListInput) (*api.DeleteManagedPrefixListOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	l, err := h.control.DeletePrefixList(ctx, caller.Scope(ctx), app.PrefixListID(*in.PrefixListId))
	if err != nil {
		return nil, wireError(err)
	}
	l.State = string(api.PrefixListStateDeleteComplete)
	return &api.DeleteManagedPrefixListOutput{PrefixList: new(listShape(l))}, nil
}
