#!/bin/sh
# Runs every fuzz target of the repository for FUZZTIME each, one after the other: each uses all cores.
set -eu
cd "$(dirname "$0")/.."
list=$(mktemp)
trap 'rm -f "$list"' EXIT
git ls-files -co --exclude-standard '*_test.go' | xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func / /' >"$list"
while read -r file target <&3; do
	echo "fuzz: $target in $(dirname "$file")"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-3s}" "./$(dirname "$file")" 3<&- </dev/null
done 3<"$list"
