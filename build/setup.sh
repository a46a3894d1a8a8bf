#!/bin/sh
# Installs what building and testing Funade need. A second run finds everything in place and takes no time.
set -eu
cd "$(dirname "$0")/.."

if ! command -v go >/dev/null 2>&1; then
	echo "setup: Go is missing; install it from https://go.dev/dl or your distribution (go.mod names the version)" >&2
	exit 1
fi

# gcc and libseccomp build runc and the race detector; the others are programs that the stories use.
packages="gcc libc6-dev libseccomp-dev pkg-config git ca-certificates curl awscli skopeo iproute2"
if command -v dpkg-query >/dev/null 2>&1; then
	missing=
	for p in $packages; do
		case $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) in
		ii*) ;;
		*) missing="$missing $p" ;;
		esac
	done
	if [ -n "$missing" ]; then
		sudo=
		[ "$(id -u)" = 0 ] || sudo=sudo
		echo "setup: installing$missing"
		export DEBIAN_FRONTEND=noninteractive
		# shellcheck disable=SC2086 # a list of words
		$sudo apt-get install -qq -y --no-install-recommends $missing </dev/null >/dev/null || {
			$sudo apt-get update -qq </dev/null
			$sudo apt-get install -qq -y --no-install-recommends $missing </dev/null >/dev/null
		}
	fi
else
	echo "setup: not a Debian system; make sure that these are installed: $packages" >&2
fi

# stale FILE SOURCE…: FILE is missing or older than one of the sources.
stale() {
	[ -e "$1" ] || return 0
	[ -n "$(find "$@" -prune -newer "$1")" ]
}

embedded=internal/engine/containerd/runcbin/runc
if stale bin/runc build/runc/go.mod build/runc/build.sh || [ ! -e "$embedded" ]; then
	echo "setup: building a static runc"
	build/runc/build.sh "$PWD/bin/runc"
	touch bin/runc
fi

# Static programs: crane is a client of the stories, staticcheck a part of make check.
tool() { # NAME PACKAGE
	if stale "bin/tools/$1" tools/go.mod; then
		echo "setup: building $1"
		mkdir -p bin/tools
		CGO_ENABLED=0 go -C tools build -trimpath -o "$PWD/bin/tools/$1" "$2"
		touch "bin/tools/$1"
	fi
}
tool staticcheck honnef.co/go/tools/cmd/staticcheck
tool crane github.com/google/go-containerregistry/cmd/crane
