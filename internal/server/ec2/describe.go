package ec2

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// query is what every Describe operation has: ids, filters, a page.
type query struct {
	ids     []string
	filters []api.Filter
	// also are filters that the operation adds.
	also  []api.Filter
	max   *int32
	token *string
	// minimum and maximum bound MaxResults; zero means 5 and 1000.
	minimum, maximum int32
	// missing is the error for an id that is not there.
	missing func(id string) error
}

// described is how one kind of object is selected.
type described[T any] struct {
	id func(T) string
	// tags are the object's tags, for the filters tag:KEY and tag-key; nil = it has none.
	tags func(T) app.Tags
	// filters return an object's values for each known filter.
	filters map[string]func(T) []string
}

// maxFilterValues is how many values the filters of one call may have together (EC2 guide, "Filtering").
const maxFilterValues = 200

// selected is what most Describe operations do: read all of the caller's objects and return the page that the query selects.
func selected[T any](ctx context.Context, dry *bool, read func(context.Context, app.Scope) ([]T, error), q query, d described[T]) (page []T, next *string, err error) {
	if err := dryRun(dry); err != nil {
		return nil, nil, err
	}
	all, err := read(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, nil, wireError(err)
	}
	return describe(q, all, d)
}

// describe returns the page of all that a query selects, in the order of the ids. An unknown id, filter or token is an
// error. * and ? in a filter's value are wildcards, as in EC2; values are alternatives, filters must all match.
func describe[T any](q query, all []T, d described[T]) (page []T, next *string, err error) {
	if err := d.check(q.filters); err != nil {
		return nil, nil, err
	}
	found := make(map[string]bool, len(q.ids))
	for _, id := range q.ids {
		found[id] = false
	}
	kept := []T{}
	for _, item := range all {
		if len(q.ids) > 0 {
			if _, asked := found[d.id(item)]; !asked {
				continue
			}
			found[d.id(item)] = true
		}
		if d.matches(item, q.filters) && d.matches(item, q.also) {
			kept = append(kept, item)
		}
	}
	for _, id := range q.ids {
		if !found[id] {
			return nil, nil, wireError(q.missing(id))
		}
	}
	slices.SortStableFunc(kept, func(a, b T) int { return strings.Compare(d.id(a), d.id(b)) })
	return d.page(q, kept)
}

// check refuses filters that are not known, also when there is nothing to filter.
func (d described[T]) check(filters []api.Filter) error {
	values := 0
	for _, f := range filters {
		values += len(f.Values)
		name := member.Value(f.Name)
		if _, ok := d.filters[name]; ok || d.tags != nil && (name == "tag-key" || name == "tag-value" || strings.HasPrefix(name, "tag:")) {
			continue
		}
		return &wire.Error{Code: "InvalidParameterValue", Message: "The filter '" + name + "' is invalid"}
	}
	if values > maxFilterValues {
		return &wire.Error{Code: "FilterLimitExceeded", Message: "The maximum number of filter values specified on a single call is " + decimal(maxFilterValues)}
	}
	return nil
}

func (d described[T]) matches(item T, filters []api.Filter) bool {
	for _, f := range filters {
		if !anyMatches(d.values(item, member.Value(f.Name)), f.Values) {
			return false
		}
	}
	return true
}

func (d described[T]) values(item T, name string) []string {
	if of, ok := d.filters[name]; ok {
		return of(item)
	}
	var out []string
	for key, value := range d.tags(item) {
		switch {
		case name == "tag-key":
			out = append(out, key)
		case name == "tag-value", name == "tag:"+key:
			out = append(out, value)
		}
	}
	return out
}

func anyMatches(have, wanted []string) bool {
	return slices.ContainsFunc(wanted, func(pattern string) bool {
		return slices.ContainsFunc(have, func(value string) bool { return wildcard(pattern, value) })
	})
}

// wildcard matches * and ?; a backslash takes the next character as it is.
func wildcard(pattern, value string) bool {
	if !strings.ContainsAny(pattern, `*?\`) {
		return pattern == value
	}
	// path.Match treats slashes and brackets apart, which EC2 does not.
	hide := strings.NewReplacer("/", "\x01", "[", "\x02", "]", "\x03")
	ok, err := path.Match(hide.Replace(pattern), hide.Replace(value))
	return err == nil && ok
}

// page cuts kept at MaxResults. A token is the id of the last object of the page before, and only good for the same query.
func (d described[T]) page(q query, kept []T) ([]T, *string, error) {
	lowest, highest := q.minimum, q.maximum
	if lowest == 0 {
		lowest = 5
	}
	if highest == 0 {
		highest = 1000
	}
	if q.max != nil && (*q.max < lowest || *q.max > highest) {
		return nil, nil, &wire.Error{Code: "InvalidParameterValue", Message: "Value ( " + decimal(*q.max) + " ) for parameter maxResults is invalid. Expecting a value between " + decimal(lowest) + " and " + decimal(highest) + "."}
	}
	if q.max != nil && len(q.ids) > 0 {
		return nil, nil, &wire.Error{Code: "InvalidParameterCombination", Message: "The parameter MaxResults may not be specified with a list of ids"}
	}
	sum := q.fingerprint(fmt.Sprintf("%T", *new(T)))
	if token := member.Value(q.token); token != "" {
		data, err := base64.RawURLEncoding.DecodeString(token)
		prefix, after, ok := strings.Cut(string(data), "\x00")
		n := slices.IndexFunc(kept, func(item T) bool { return d.id(item) > after })
		if err != nil || !ok || prefix != sum {
			return nil, nil, &wire.Error{Code: "InvalidNextToken", Message: "The token '" + token + "' is invalid: use the one of the page before, with the same parameters"}
		}
		if n < 0 {
			n = len(kept)
		}
		kept = kept[n:]
	}
	if q.max == nil || len(kept) <= int(*q.max) {
		return kept, nil, nil
	}
	kept = kept[:*q.max]
	return kept, new(base64.RawURLEncoding.EncodeToString([]byte(sum + "\x00" + d.id(kept[len(kept)-1])))), nil
}

// fingerprint tells queries for different kinds of objects and with different filters apart.
func (q query) fingerprint(kind string) string {
	h := fnv.New64a()
	h.Write([]byte(kind + "\x01"))
	for _, f := range slices.Concat(q.filters, q.also) {
		h.Write([]byte(member.Value(f.Name) + "\x00" + strings.Join(f.Values, "\x00") + "\x01"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// one makes a filter of the one value that an object has; the empty text is no value.
func one[T any](of func(T) string) func(T) []string {
	return func(item T) []string {
		if v := of(item); v != "" {
			return []string{v}
		}
		return nil
	}
}

// flag makes a filter of true and false.
func flag[T any](of func(T) bool) func(T) []string {
	return func(item T) []string { return []string{strconv.FormatBool(of(item))} }
}

// fixed makes a filter of values that all objects have; without any, nothing matches it.
func fixed[T any](values ...string) func(T) []string {
	return func(T) []string { return values }
}
