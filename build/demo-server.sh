# Sourced by the demos, which run in the root of the repository as root: a server with a temporary data directory and free
# loopback ports. finish removes it and everything that it made; KEEP=1 keeps it running.

funade=$PWD/bin/funade
data=$(mktemp -d /var/tmp/funade-demo.XXXXXX)
chmod 711 "$data"
log=$data.server.log
work=$(mktemp -d /var/tmp/funade-demo-work.XXXXXX)
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
		rm -rf "$log" "$work"
		[ -d "$data" ] && rmdir "$data" 2>/dev/null || true
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n%s\n' "$*"; }

start_server() {
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
}

# keep_or_remove COMMAND…: how it ends; the lines on standard input say how to go on with a kept server.
keep_or_remove() {
	if [ -z "${KEEP:-}" ]; then
		step "Stopping and removing everything"
		return
	fi
	step "The server keeps running, pid $server"
	echo "  eval \"\$(sudo $funade env --data $data)\""
	cat
	echo "Stop it and remove everything:"
	echo "  sudo kill $server && sudo $funade purge --data $data && sudo rm -rf $log $work"
	trap - EXIT
}
