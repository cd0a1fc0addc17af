#!/usr/bin/env bash
# Makes the machine that tests boot and the tree that they give to `--root`: a Debian 13, once for each version of what
# it is made from. Asks nothing; does nothing where all is there. Writes below target/ alone; apt-get installs the tools
# that are missing.
#
#   target/vm/KEY/tree     a root file system, unpacked
#   target/vm/KEY/disk     the same as a disk (ext4, raw, sparse); nobody writes to it, tests boot from copies
#   target/vm/KEY/kernel   and initrd: what boots it
#
#   tests/vm/image.sh --where   prints that directory, whether it is there or not
#
# Debian's packages come from the mirror that this machine's own apt uses, and are verified as apt always does. On a
# machine that is no Debian, say a mirror: DEBIAN_MIRROR=URL.
set -euo pipefail
cd "$(dirname "$0")/../.."

suite=trixie
packages=(
    systemd-sysv udev dbus dbus-user-session libpam-systemd linux-image-cloud-amd64 initramfs-tools zstd kmod mount procps iproute2
    lvm2 thin-provisioning-tools e2fsprogs xfsprogs btrfs-progs quota
    cron logrotate passwd openssh-server openssh-client restic rclone
)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
guest=$PWD/tests/vm/guest
base=${CARGO_TARGET_DIR:-target}/vm
image=$base/$(cat tests/vm/image.sh "$guest"/* | sha256sum | cut -c1-12)
[ "${1:-}" != --where ] || { echo "$image" && exit; }

export PATH=$PATH:/usr/sbin:/sbin
step() { printf '\n== %s\n' "$*"; }
# The words before a command that needs root.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
# Which Debian this machine is; nothing on another system.
own=$(. /etc/os-release && [ "$ID" = debian ] && echo "${VERSION_CODENAME:-sid}" || true)
# The mirror that this Debian itself comes from, not its updates'.
mirror() {
    [ -z "${DEBIAN_MIRROR:-}" ] || { echo "$DEBIAN_MIRROR" && return; }
    apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(CODENAME)|$(CREATED_BY)' |
        awk -F'|' -v own="$own" '$2 == "Debian" && $3 == own && $4 == "Packages" { print $1; exit }'
}

# Debian 13's kernel crashed on several CPUs of QEMU 7.2.
good_qemu() {
    local version
    version=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 8 ]
}
apt_get() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null >/dev/null; }

# Debian 12 has a good one in its backports alone. They are asked for in lists of our own: this machine's apt has the
# same sources afterwards as before.
install_from_backports() {
    local apt from options
    from=$(mirror)
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" && chmod 755 "$apt"
    printf "deb [signed-by=$keyring] $from %s main\n" "$own" "$own-backports" >"$apt/sources.list"
    options=(
        -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$apt/lists"
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Acquire::Languages=none
    )
    apt_get "${options[@]}" update
    apt_get "${options[@]}" install -y --no-install-recommends -t "$own-backports" "$@"
    "${as_root[@]}" rm -rf "$apt"
}

install_tools() {
    local pair wanted=()
    for pair in mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs qemu-img:qemu-utils strip:binutils setpriv:util-linux; do
        command -v "${pair%%:*}" >/dev/null || wanted+=("${pair#*:}")
    done
    [ -e "$keyring" ] || wanted+=(debian-archive-keyring)
    good_qemu || [ "$own" = bookworm ] || wanted+=(qemu-system-x86)
    if [ ${#wanted[@]} -gt 0 ]; then
        step "install what is missing: ${wanted[*]}"
        apt_get update
        apt_get install -y --no-install-recommends "${wanted[@]}"
    fi
    if ! good_qemu && [ "$own" = bookworm ]; then
        step "install what is missing: qemu-system-x86 of $own-backports"
        install_from_backports qemu-system-x86
    fi
}

build() {
    local from new=$image.new options
    from=$(mirror)
    [ -n "$from" ] || { echo "apt knows no Debian mirror here: DEBIAN_MIRROR=URL $0" >&2 && exit 1; }
    "${as_root[@]}" rm -rf "$new" && mkdir -p "$new"
    options=(
        --mode=root --variant=minbase --format=directory --quiet "--include=$(IFS=, && echo "${packages[*]}")"
        --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io
        # Nothing that only people read.
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
        --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*'
        # Before the kernel is there, since with it the initrd is made.
        --essential-hook="'$guest/initrd' \"\$1\""
        --customize-hook="'$guest/settle' \"\$1\""
    )
    "${as_root[@]}" env "PATH=$PATH" mmdebstrap "${options[@]}" "$suite" "$new/tree" \
        "deb [signed-by=$keyring] $from $suite main" </dev/null
    "${as_root[@]}" cat "$new"/tree/boot/vmlinuz-* >"$new/kernel"
    "${as_root[@]}" cat "$new"/tree/boot/initrd.img-* >"$new/initrd"
    truncate -s 4G "$new/disk"
    # The tree's files belong to many users.
    "${as_root[@]}" env "PATH=$PATH" mkfs.ext4 -q -d "$new/tree" "$new/disk"
    # Last, so that what was cut short is made again.
    mv "$new" "$image"
}

install_tools
mkdir -p "$base"
# Two at once would make the same.
exec 9>"$base/lock"
flock 9
[ -d "$image" ] || { step "make the test machine: $image" && build; }
