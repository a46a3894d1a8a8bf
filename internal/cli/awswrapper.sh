#!/bin/sh
# Written by funade env. Runs the next aws in PATH, with --endpoint-url "$AWS_ENDPOINT_URL" added when that aws is
# older than 1.29 or 2.13 and therefore ignores the variable.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd -P)
real=
saved_ifs=$IFS
IFS=:
for dir in $PATH; do
	[ -n "$dir" ] && [ -f "$dir/aws" ] && [ -x "$dir/aws" ] || continue
	[ "$(CDPATH= cd -- "$dir" 2>/dev/null && pwd -P)" = "$here" ] && continue
	# Another install's copy of this script would look for an aws too, and find this one.
	head -c 200 "$dir/aws" | grep -q 'Written by funade env' && continue
	real=$dir/aws
	break
done
IFS=$saved_ifs
if [ -z "$real" ]; then
	echo "aws: no aws program in PATH; on Debian: apt-get install awscli" >&2
	exit 127
fi

[ -n "$AWS_ENDPOINT_URL" ] && [ "$AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" != true ] || exec "$real" "$@"
for arg in "$@"; do
	case $arg in
	--endpoint-url | --endpoint-url=*) exec "$real" "$@" ;;
	esac
done

# Asking aws for its version takes most of a second, so the answer is kept per program file.
cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/funade/aws-version
key="$real $(stat -L -c '%i %Y %s' "$real" 2>/dev/null)"
answer=
if [ -r "$cache" ]; then
	{
		IFS= read -r cached_key
		IFS= read -r cached_answer
	} <"$cache"
	[ "$cached_key" = "$key" ] && answer=$cached_answer
fi
if [ -z "$answer" ]; then
	version=$("$real" --version 2>&1)
	version=${version#*aws-cli/}
	version=${version%% *}
	major=${version%%.*}
	rest=${version#*.}
	minor=${rest%%.*}
	answer=new
	case $major.$minor in
	*[!0-9.]* | .*) ;;
	1.*) [ "$minor" -lt 29 ] && answer=old ;;
	2.*) [ "$minor" -lt 13 ] && answer=old ;;
	esac
	if mkdir -p "${cache%/*}" 2>/dev/null; then
		printf '%s\n%s\n' "$key" "$answer" 2>/dev/null >"$cache.$$" && mv -f "$cache.$$" "$cache" 2>/dev/null
	fi
fi
[ "$answer" = old ] && exec "$real" --endpoint-url "$AWS_ENDPOINT_URL" "$@"
exec "$real" "$@"
