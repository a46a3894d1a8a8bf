#!/bin/sh
# Ships examples/hello to a server of its own, with a temporary data directory and free loopback ports, and calls it.
# Leaves nothing behind; KEEP=1 keeps the server running and says how to go on.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	exec sudo -E KEEP="${KEEP:-}" PATH="$PATH" "$0" "$@" # the server makes namespaces
fi

root=$PWD
funade=$root/bin/funade
data=$(mktemp -d /var/tmp/funade-demo.XXXXXX)
chmod 711 "$data"
server=
finish() {
	code=$?
	trap - EXIT INT TERM
	if [ -n "$server" ] && { [ "$code" != 0 ] || [ -z "${KEEP:-}" ]; }; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
		"$funade" purge --yes --data "$data" >"$data.log" 2>&1 || cat "$data.log" >&2
		rm -f "$data.log"
	fi
	[ "$code" = 0 ] || [ ! -e "$log" ] || { echo "The server's log:" >&2; tail -n 40 "$log" >&2; }
	if [ "$code" != 0 ] || [ -z "${KEEP:-}" ]; then
		rm -f "$log" "$image"
		[ -d "$data" ] && rmdir "$data" 2>/dev/null || true
	fi
	exit "$code"
}
log=$data.server.log
image=$data.image.tar
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n%s\n' "$*"; }

step "Building examples/hello and an image of it, without a base image"
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/hello ./examples/hello
go run ./build/mkimage -o "$image" -port 8080 bin/hello

step "Starting a server"
"$funade" server --data "$data" --api 127.0.0.1:0 --http 127.0.0.1:0 --https 127.0.0.1:0 </dev/null >"$log" 2>&1 &
server=$!
tries=0
until [ -e "$data/server.json" ] && eval "$("$funade" env --data "$data")" && curl -fs --max-time 2 "$AWS_ENDPOINT_URL/_funade/health" >/dev/null; do
	tries=$((tries + 1))
	kill -0 "$server" 2>/dev/null || { echo "demo: the server ended" >&2; exit 1; }
	[ "$tries" -lt 300 ] || { echo "demo: the server is not ready after 30 s" >&2; exit 1; }
	sleep 0.1
done
echo "API on $AWS_ENDPOINT_URL"

step "funade up image.tar --name hello"
url=$("$funade" up "$image" --name hello)

step "curl $url"
# *.localhost is loopback by definition; curl is told so, as not every resolver knows.
host=${url#https://}
curl -sS --fail --max-time 10 --cacert "$AWS_CA_BUNDLE" --connect-to "$host:127.0.0.1:${host##*:}" "$url/"

step "funade logs hello"
"$funade" logs hello

step "funade status hello"
"$funade" status hello

if [ -n "${KEEP:-}" ]; then
	step "The server keeps running, pid $server"
	cat <<-END
		  eval "\$(sudo $funade env --data $data)"
		  curl $url
		  aws apprunner list-services
		Stop it and remove everything:
		  sudo kill $server && sudo $funade purge --data $data && sudo rm -f $log $image
	END
	trap - EXIT
else
	step "Stopping and removing everything"
fi
