#!/bin/sh
# Builds a static runc from the pinned module into the file given, bin/runc by default,
# and the slim shim from this repository, and puts copies of both where
# `go build -tags embedrunc,embedshim` embeds them. Cheap when nothing changed: the build cache knows.
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
CGO_ENABLED=0 go -C "$root" build -trimpath -tags "no_grpc" -ldflags "-s -w" -o "$embed/shim.new" ./internal/engine/containerd/shim/funade-shim
mv "$embed/shim.new" "$embed/shim"
