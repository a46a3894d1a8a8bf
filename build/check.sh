#!/bin/sh
# The fast checks: all are run, then any failure fails the whole.
set -u
cd "$(dirname "$0")/.."
failed=0
fail() {
	echo "check: $1" >&2
	failed=1
}

unformatted=$(git ls-files -co --exclude-standard '*.go' | while IFS= read -r f; do [ -e "$f" ] && printf '%s\n' "$f"; done | xargs gofmt -l)
[ -z "$unformatted" ] || fail "gofmt would change: $unformatted"

go vet ./... || fail "go vet found something"
go -C internal/aws/gen vet . || fail "go vet found something in the generator"

[ -x bin/tools/staticcheck ] || build/setup.sh || fail "setup failed"
bin/tools/staticcheck ./... || fail "staticcheck found something"

go -C internal/aws/gen run . -check || fail "generated API packages are out of date: make generate"
go run ./test/compat -check || fail "docs/compat.md is out of date: make generate"

go test ./test/arch || fail "a rule of the repository is broken; the message above says which and why"

[ "$failed" = 0 ] && echo "check: ok"
exit "$failed"
