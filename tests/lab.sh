#!/usr/bin/env bash
# Fetches what the tests' laboratory needs and this system has not, below target/ alone: the other restics that rlvm
# works with, and a server that speaks S3. Asks nothing; does nothing where all is there.
#
#   target/restics/VERSION/restic   one restic each of Debian 12, 13 and unstable, this system's own aside
#   target/moto/bin/moto_server     moto, of PyPI, in an environment of its own
#
# Debian's packages come from the mirror that this machine's own apt uses, and are verified as apt always does; its
# lists and caches are not touched. On a machine that is no Debian, say a mirror: DEBIAN_MIRROR=URL.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
restics=$target/restics
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Which Debian this machine is; nothing on another system.
own=$(. /etc/os-release && [ "$ID" = debian ] && echo "${VERSION_CODENAME:-sid}" || true)
# The mirror that this Debian itself comes from, not its updates'.
mirror() {
    [ -z "${DEBIAN_MIRROR:-}" ] || { echo "$DEBIAN_MIRROR" && return; }
    apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(CODENAME)|$(CREATED_BY)' |
        awk -F'|' -v own="$own" '$2 == "Debian" && $3 == own && $4 == "Packages" { print $1; exit }'
}

# Gets Debian's restic of the codenames given, each into a directory named by its version.
fetch() {
    local from code deb into options
    from=$(mirror)
    [ -n "$from" ] || { echo "apt knows no Debian mirror here: DEBIAN_MIRROR=URL $0" >&2 && exit 1; }
    [ -e "$keyring" ] || { echo "Debian's keys are missing: apt-get install debian-archive-keyring" >&2 && exit 1; }
    mkdir -p "$restics"/apt/{lists,cache/archives}/partial "$restics/apt/deb"
    local apt=$PWD/$restics/apt
    [ "${restics#/}" = "$restics" ] || apt=$restics/apt
    printf "deb [signed-by=$keyring] $from %s main\n" "$@" >"$apt/sources.list"
    options=(
        -q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Acquire::Languages=none
        # Descriptions for software centres: half of what would be fetched.
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User="$(id -un)"
    )
    apt-get "${options[@]}" update
    for code in "$@"; do
        rm -rf "$apt/deb" && mkdir "$apt/deb"
        (cd "$apt/deb" && apt-get "${options[@]}" download "restic/$code")
        deb=$(echo "$apt"/deb/restic_*.deb)
        rm -rf "$apt/tree" && dpkg-deb -x "$deb" "$apt/tree"
        into=$("$apt/tree/usr/bin/restic" version | awk '{ print $2 }')
        mkdir -p "$restics/$into"
        mv "$apt/tree/usr/bin/restic" "$restics/$into/restic"
        # Last, so that what was cut short is fetched again.
        ln -sfn "$into" "$restics/$code"
    done
    rm -rf "$apt"
}

wanted=()
for code in bookworm trixie sid; do
    [ "$code" = "$own" ] || [ -x "$restics/$code/restic" ] || wanted+=("$code")
done
[ ${#wanted[@]} = 0 ] || fetch "${wanted[@]}"

if ! "$target/moto/bin/moto_server" --help >/dev/null 2>&1; then
    rm -rf "$target/moto"
    python3 -m venv "$target/moto"
    "$target/moto/bin/pip" install --quiet 'moto[server]'
fi
