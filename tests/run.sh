#!/usr/bin/env bash
# Runs the tests, on a fresh Debian or Ubuntu machine with Rust. Asks nothing. Writes below target/ and /tmp alone;
# apt-get installs what is missing, tests/lab.sh fetches what no package of this system has, tests/vm/image.sh makes the
# virtual machine that some tests boot.
#
#   ./tests/run.sh           everything: format, lints, all tests, documentation, dependencies, quickstart
#   ./tests/run.sh NAME...   the tests whose names contain one of these words
#   ./tests/run.sh --fast    the tests that need no virtual machine and no network tools
#
# Afterwards, tests/slowest.py lists the slowest tests. The machine that the tests run on must be root's: without root,
# the tests themselves run as root by sudo, since they give files to users and run programs as them.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }
# Says a command and runs it.
run() { step "$*"; "$@"; }

mode=all names=()
case ${1-} in
    '') ;;
    --fast) mode=fast ;;
    -*) echo "usage: $0 [--fast | NAME...]" >&2; exit 64 ;;
    *) mode=some names=("$@") ;;
esac

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

# The programs that the tests call, each with the package that has it.
few=(restic:restic setpriv:util-linux setsid:util-linux cc:gcc python3:python3 git:git logrotate:logrotate cron:cron
    ssh-keygen:openssh-client systemd-analyze:systemd pgrep:procps)
more=(
    runuser:util-linux script:bsdutils ssh:openssh-client ssh-keyscan:openssh-client sshd:openssh-server rclone:rclone
    openssl:openssl ip:iproute2 unshare:util-linux nsenter:util-linux bunzip2:bzip2 curl:curl systemctl:systemd
    promtool:prometheus msmtp:msmtp chromium:chromium qemu-img:qemu-utils fusermount:fuse3
)

install_missing() {
    local pair missing=()
    for pair in "$@"; do
        # cron and logrotate are in sbin, which a user's PATH may lack.
        PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
    if [ "$mode" != fast ]; then
        # The system's own python3 has it, not one beside it.
        /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || missing+=(python3-aiosmtpd)
        # Debian's python3 alone makes no environments.
        python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    fi
    [ ${#missing[@]} -gt 0 ] || return 0
    step "install what is missing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq </dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

# cargo-nextest gives each test a process and a time limit of its own. Where there is none, it is built below target/.
nextest() {
    cargo nextest --version >/dev/null 2>&1 && return
    local tools=$PWD/target/tools
    [ -x "$tools/bin/cargo-nextest" ] || run cargo install --quiet --locked --root "$tools" cargo-nextest
    export PATH=$tools/bin:$PATH
}

# What the laboratory and the virtual machine need is fetched and made while the tests are compiled.
prepare() {
    run ./tests/lab.sh
    run ./tests/vm/image.sh
}

if [ "$mode" = fast ]; then install_missing "${few[@]}"; else install_missing "${few[@]}" "${more[@]}"; fi
nextest
preparing=
if [ "$mode" != fast ]; then
    mkdir -p target
    prepare >target/prepare.log 2>&1 </dev/null &
    preparing=$!
fi

if [ "$(id -u)" != 0 ]; then
    triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${triple}_RUNNER=sudo -E"
    step "tests run as root: CARGO_TARGET_${triple}_RUNNER=\"sudo -E\""
fi
# A snapshot that is new or differs is a failure, not a file to review later.
export INSTA_UPDATE=no

if [ "$mode" = all ]; then
    for component in rustfmt clippy; do
        cargo "${component/rust/}" --version >/dev/null 2>&1 || run rustup component add "$component"
    done
    run cargo fmt --all --check
    run cargo clippy --all-targets --locked --quiet -- -D warnings
fi
run cargo test --locked --quiet --no-run
if [ -n "$preparing" ]; then
    step "wait for ./tests/lab.sh and ./tests/vm/image.sh"
    wait "$preparing" || { cat target/prepare.log && exit 1; }
fi
case $mode in
    all) run cargo nextest run --locked ;;
    some) run cargo nextest run --locked "${names[@]}" ;;
    fast) run cargo nextest run --locked --profile fast ;;
esac
if [ "$mode" = all ]; then
    step "cargo doc, its warnings being errors"
    # `hosts/<host name>.yaml` in a verb's help is no HTML.
    RUSTDOCFLAGS="-D warnings -A rustdoc::invalid-html-tags" \
        cargo doc --no-deps --document-private-items --locked --quiet
    if command -v cargo-deny >/dev/null; then
        # It reads the manifests of all platforms.
        cargo fetch --locked --quiet
        run cargo deny --offline check bans licenses sources
    fi
    # The program that was tested. A release build would take four more minutes.
    run env PROFILE=dev ./examples/quickstart/run.sh
fi

step "All tests passed."
