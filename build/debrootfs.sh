#!/bin/sh
# Unpacks Debian packages with everything that they depend on into a folder, for images of tests and the demo:
#
#	debrootfs.sh FOLDER PACKAGE…
#
# Nothing of the packages runs, and nothing is installed on this machine. Downloads stay in .cache/debs. A folder that holds
# the same packages already is left alone.
set -eu
cd "$(dirname "$0")/.."
to=$1
shift
cache=$PWD/.cache/debs
mkdir -p "$cache"

list() { # the packages, one a line, without what every program can do without
	apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
		grep '^[a-z0-9]' | sort -u |
		grep -vE '^(debconf.*|dpkg|perl.*|libperl.*|init-system-helpers|adduser|passwd|ucf|sensible-utils|ssl-cert|openssl|systemd.*|libsystemd-shared|locales.*|lsb-base|sysvinit-utils|netbase|gawk|mawk|cdebconf|tar|gpgv|postgresql-common|postgresql-client-common|libllvm.*|llvm.*|libz3.*)(:.*)?$' |
		grep -vF ':' || true
}
apt-cache show "$1" >/dev/null 2>&1 || apt-get update -qq </dev/null # a machine that has no lists yet
packages=$(list "$@")
stamp="$(printf '%s ' $packages)"
if [ -e "$to/.packages" ] && [ "$(cat "$to/.packages")" = "$stamp" ]; then
	exit 0
fi
rm -rf "$to"
mkdir -p "$to"
# shellcheck disable=SC2086 # a list of words; virtual packages have no record
packages=$(apt-cache show --no-all-versions $packages 2>/dev/null | sed -n 's/^Package: //p' | sort -u)
# shellcheck disable=SC2012 # names without blanks
cached() { ls "$cache/$1"_*.deb 2>/dev/null | head -n 1; }
missing=
for p in $packages; do
	[ -n "$(cached "$p")" ] || missing="$missing $p"
done
if [ -n "$missing" ]; then
	# shellcheck disable=SC2086 # a list of words
	download() { (cd "$cache" && apt-get download -qq $missing </dev/null >/dev/null); }
	download 2>/dev/null || { # the lists may be older than what the server has
		apt-get update -qq </dev/null
		download
	}
fi
for p in $packages; do
	deb=$(cached "$p")
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$to" --keep-directory-symlink --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale
done
mkdir -p "$to/etc" "$to/tmp" "$to/root" "$to/run" "$to/var/tmp" "$to/data"
chmod 1777 "$to/tmp" "$to/var/tmp"
[ -e "$to/etc/passwd" ] || cat >"$to/etc/passwd" <<-END
	root:x:0:0:root:/root:/bin/sh
	postgres:x:999:999::/var/lib/postgresql:/bin/sh
	nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
END
[ -e "$to/etc/group" ] || printf 'root:x:0:\npostgres:x:999:\nnogroup:x:65534:\n' >"$to/etc/group"
[ -e "$to/bin/sh" ] || { [ -x "$to/bin/busybox" ] || [ -x "$to/usr/bin/busybox" ]; } && {
	mkdir -p "$to/bin"
	for name in sh httpd cat echo sleep ls id wget nc nslookup env mkdir chown chmod test head tail grep; do
		[ -e "$to/bin/$name" ] || ln -s busybox "$to/bin/$name"
	done
} || true
if [ -d "$to/sbin" ] || [ -d "$to/lib" ]; then
	ldconfig -r "$to" 2>/dev/null || true
fi
printf '%s' "$stamp" >"$to/.packages"
