#!/bin/sh
# Builds a static runc from the pinned module into the absolute path given, bin/runc by default,
# and puts a copy where `go build -tags embedrunc` embeds it.
# Needs gcc and libseccomp's headers and static library (Debian: gcc libseccomp-dev).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
embed=$root/internal/engine/containerd/runcbin
out=${1:-$root/bin/runc}
mkdir -p "$(dirname "$out")"
CGO_ENABLED=1 go -C "$here" build -trimpath -tags "seccomp urfave_cli_no_docs netgo osusergo" \
	-ldflags "-s -w -extldflags '-static'" -o "$out.new" github.com/opencontainers/runc
mv "$out.new" "$out"
cp "$out" "$embed/runc.new"
mv "$embed/runc.new" "$embed/runc"
