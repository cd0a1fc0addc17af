#!/bin/sh
# A stand-in for restic that is quick: the words that rlvm uses, with the exit codes of restic 0.14 and later.
# Each call is a line of `calls` beside this script's directory; a file `sleep` there says how many seconds
# `init` takes, a file `version` which restic this is.
set -eu
beside="${0%/*}/.."
printf '%s\n' "$*" >> "$beside/calls"
verb=$1
case $verb in
version)
    echo "restic $(cat "$beside/version") compiled with go1.24 on linux/amd64"
    exit 0 ;;
cat) [ "$2" = config ] || exit 1 ;;
esac
while [ $# -gt 0 ]; do
    case $1 in
    --repo) repo=$2 ;;
    --password-file) password=$2 ;;
    esac
    shift
done
if [ ! -r "$password" ]; then
    echo "Fatal: Resolving password failed: Fatal: $password: open $password: permission denied" >&2
    exit 1
fi
key=$(sha256sum < "$password" | cut -c 1-64)
case $verb in
init)
    if [ -e "$repo/config" ]; then
        echo "Fatal: create repository at $repo failed: config file already exists" >&2
        exit 1
    fi
    if [ -d "$repo/keys" ] && [ "$(ls "$repo/keys")" ]; then
        echo "Fatal: create repository at $repo failed: repository already contains keys" >&2
        exit 1
    fi
    if [ -e "$beside/sleep" ]; then sleep "$(cat "$beside/sleep")"; fi
    umask 077
    mkdir -p "$repo/data" "$repo/index" "$repo/keys" "$repo/locks" "$repo/snapshots"
    echo "$key" > "$repo/keys/key"
    id=$(printf %s "$repo" | sha256sum | cut -c 1-64)
    echo "{\"version\":2,\"id\":\"$id\",\"chunker_polynomial\":\"25b468838dcb75\"}" > "$repo/config"
    echo "created restic repository $id at $repo" ;;
cat)
    unreadable=
    if [ -e "$repo" ] && [ ! -x "$repo" ]; then unreadable=1; fi
    if [ -e "$repo/keys/key" ] && [ ! -r "$repo/keys/key" ]; then unreadable=1; fi
    if [ "$unreadable" ]; then
        echo "Fatal: unable to open config file: open $repo/config: permission denied" >&2
        exit 1
    fi
    if [ ! -e "$repo/config" ]; then
        echo "Fatal: repository does not exist: unable to open config file" >&2
        exit 10
    fi
    if ! grep -qx "$key" "$repo"/keys/*; then
        echo "Fatal: wrong password or no key found" >&2
        exit 12
    fi
    cat "$repo/config" ;;
*)
    echo "unknown command \"$verb\"" >&2
    exit 1 ;;
esac
