package control

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/funade/funade/internal/store"
)

// token makes an opaque NextToken from a position; it is only good for the same query. query holds everything
// that selects rows: the operation, the scope and the filters.
func token(position string, query ...string) string {
	if position == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(fingerprint(query), position...))
}

// position reads a NextToken of the same query.
func position(tok string, query ...string) (string, error) {
	if tok == "" {
		return "", nil
	}
	data, err := base64.RawURLEncoding.DecodeString(tok)
	if err != nil || len(data) <= fingerprintSize || string(data[:fingerprintSize]) != string(fingerprint(query)) {
		return "", invalid("The NextToken is invalid: it has to be the one of the previous page, and all other parameters have to be the same.")
	}
	return string(data[fingerprintSize:]), nil
}

const fingerprintSize = 12

func fingerprint(query []string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(query, "\x00")))
	return sum[:fingerprintSize]
}

// list returns a page of an index, leaving out rows that keep refuses (nil keeps all).
func list[V, T any](tx *store.Tx, i store.Index[V, T], value V, keep func(T) bool, page PageRequest, query ...string) (Page[T], error) {
	after, err := position(page.NextToken, query...)
	if err != nil {
		return Page[T]{}, err
	}
	rows, next := i.Page(tx, value, after, page.MaxResults, keep)
	return Page[T]{rows, token(next, query...)}, nil
}

// slice returns a page of items that are in order; key tells their positions, which ascend.
func slice[T any](items []T, key func(T) string, page PageRequest, query ...string) (Page[T], error) {
	after, err := position(page.NextToken, query...)
	if err != nil {
		return Page[T]{}, err
	}
	for len(items) > 0 && after != "" && key(items[0]) <= after {
		items = items[1:]
	}
	out := Page[T]{Items: items}
	if page.MaxResults > 0 && len(items) > page.MaxResults {
		out.Items = items[:page.MaxResults]
		out.NextToken = token(key(out.Items[page.MaxResults-1]), query...)
	}
	return out, nil
}
