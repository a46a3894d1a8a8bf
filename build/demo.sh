#!/bin/sh
# Ships examples/hello to a server of its own, with a temporary data directory and free loopback ports, and calls it.
# Leaves nothing behind; KEEP=1 keeps the server running and says how to go on.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	exec sudo -E KEEP="${KEEP:-}" PATH="$PATH" "$0" "$@" # the server makes namespaces
fi
. build/demo-server.sh

step "Building examples/hello and an image of it, without a base image"
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/hello ./examples/hello
go run ./build/mkimage -o "$work/hello.tar" -port 8080 bin/hello

start_server

step "funade up image.tar --name hello"
url=$("$funade" up "$work/hello.tar" --name hello)

step "curl $url"
# *.localhost is loopback by definition; curl is told so, as not every resolver knows.
host=${url#https://}
curl -sS --fail --max-time 10 --cacert "$AWS_CA_BUNDLE" --connect-to "$host:127.0.0.1:${host##*:}" "$url/"

step "funade logs hello"
"$funade" logs hello

step "funade status hello"
"$funade" status hello

keep_or_remove <<END
  curl $url
  aws apprunner list-services
END
