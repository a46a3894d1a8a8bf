package ec2

import (
	"context"
	"slices"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// ImportKeyPair keeps a public key.
func (h *Handler) ImportKeyPair(ctx context.Context, in *api.ImportKeyPairInput) (*api.ImportKeyPairOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeKeyPair)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	k, err := h.control.ImportKeyPair(ctx, caller.Scope(ctx), control.ImportKeyPairInput{
		Name: *in.KeyName, Material: in.PublicKeyMaterial, Tags: tags[api.ResourceTypeKeyPair],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ImportKeyPairOutput{KeyName: &k.Name, KeyPairId: new(string(k.ID)), KeyFingerprint: &k.Fingerprint, Tags: tagList(k.Tags)}, nil
}

// CreateKeyPair makes a key pair; its private key is in this answer and nowhere else.
func (h *Handler) CreateKeyPair(ctx context.Context, in *api.CreateKeyPairInput) (*api.CreateKeyPairOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeKeyPair)
	if err != nil {
		return nil, err
	}
	if in.KeyFormat == api.KeyFormatPpk {
		return nil, invalid("Value (ppk) for parameter KeyFormat is not supported: take pem, and convert it with puttygen")
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	k, private, err := h.control.CreateKeyPair(ctx, caller.Scope(ctx), control.CreateKeyPairInput{
		Name: *in.KeyName, Type: string(in.KeyType), Tags: tags[api.ResourceTypeKeyPair],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateKeyPairOutput{
		KeyName: &k.Name, KeyPairId: new(string(k.ID)), KeyFingerprint: &k.Fingerprint, KeyMaterial: &private, Tags: tagList(k.Tags),
	}, nil
}

// keyPairs is how key pairs are selected.
var keyPairs = described[control.KeyPairDetail]{
	id:   func(k control.KeyPairDetail) string { return string(k.ID) },
	tags: func(k control.KeyPairDetail) app.Tags { return k.Tags },
	filters: map[string]func(control.KeyPairDetail) []string{
		"key-pair-id": one(func(k control.KeyPairDetail) string { return string(k.ID) }),
		"key-name":    one(func(k control.KeyPairDetail) string { return k.Name }),
		"fingerprint": one(func(k control.KeyPairDetail) string { return k.Fingerprint }),
	},
}

// DescribeKeyPairs shows key pairs, by ids and names, with their public keys when asked.
func (h *Handler) DescribeKeyPairs(ctx context.Context, in *api.DescribeKeyPairsInput) (*api.DescribeKeyPairsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all, err := h.control.DescribeKeyPairs(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	ids := slices.Clone(in.KeyPairIds)
	for _, name := range in.KeyNames {
		n := slices.IndexFunc(all, func(k control.KeyPairDetail) bool { return k.Name == name })
		if n < 0 {
			return nil, wireError(&app.Error{Kind: app.KindNotFound, Code: "InvalidKeyPair.NotFound", Message: "The key pair '" + name + "' does not exist"})
		}
		ids = append(ids, string(all[n].ID))
	}
	page, _, err := describe(query{ids: ids, filters: in.Filters, missing: control.Missing("key-")}, all, keyPairs)
	if err != nil {
		return nil, err
	}
	return &api.DescribeKeyPairsOutput{KeyPairs: shapes(page, func(k control.KeyPairDetail) api.KeyPairInfo {
		out := api.KeyPairInfo{
			KeyPairId: new(string(k.ID)), KeyName: &k.Name, KeyFingerprint: &k.Fingerprint, KeyType: api.KeyType(k.Type),
			CreateTime: member.Moment(k.CreatedAt), Tags: tagList(k.Tags),
		}
		if member.Value(in.IncludePublicKey) {
			out.PublicKey = &k.PublicKey
		}
		return out
	})}, nil
}

// DeleteKeyPair forgets a key pair; an unknown name is fine.
func (h *Handler) DeleteKeyPair(ctx context.Context, in *api.DeleteKeyPairInput) (*api.DeleteKeyPairOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	id, err := h.control.DeleteKeyPair(ctx, caller.Scope(ctx), app.KeyPairID(member.Value(in.KeyPairId)), member.Value(in.KeyName))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteKeyPairOutput{Return: new(true), KeyPairId: member.Text(id)}, nil
}
