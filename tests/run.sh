#!/usr/bin/env bash
# All tests, on a fresh Debian or Ubuntu machine with Rust. Asks nothing. Writes below target/ and /tmp alone;
# apt-get installs what is missing, tests/lab.sh fetches what no package of this system has, tests/vm/image.sh makes the
# virtual machine that some tests boot.
#
# Not as root, the tests themselves run as root by sudo: they give files to users and run programs as them.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }
# Says a command and runs it.
run() { step "$*"; "$@"; }

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

# A program that the tests call, and the package it is in.
wanted=(
    restic:restic logrotate:logrotate cron:cron git:git setpriv:util-linux setsid:util-linux runuser:util-linux script:bsdutils
    cc:gcc ssh:openssh-client ssh-keygen:openssh-client ssh-keyscan:openssh-client sshd:openssh-server rclone:rclone
    openssl:openssl ip:iproute2 unshare:util-linux nsenter:util-linux bunzip2:bzip2 python3:python3 curl:curl systemctl:systemd systemd-analyze:systemd pgrep:procps promtool:prometheus msmtp:msmtp chromium:chromium
)
missing=()
for pair in "${wanted[@]}"; do
    # cron and logrotate are in sbin, which a user's PATH may lack.
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
# The system's own python3 has it, not one beside it.
/usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || missing+=(python3-aiosmtpd)
# Debian's python3 alone makes no environments.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    step "install what is missing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq </dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi

run ./tests/lab.sh
run ./tests/vm/image.sh

for component in rustfmt clippy; do
    cargo "${component/rust/}" --version >/dev/null 2>&1 || run rustup component add "$component"
done

if [ "$(id -u)" != 0 ]; then
    triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${triple}_RUNNER=sudo -E"
    step "tests run as root: CARGO_TARGET_${triple}_RUNNER=\"sudo -E\""
fi
# A snapshot that is new or differs is a failure, not a file to review later.
export INSTA_UPDATE=no

run cargo fmt --all --check
run cargo clippy --all-targets --locked --quiet -- -D warnings
run cargo test --locked --quiet
step "cargo doc, its warnings being errors"
# `hosts/<host name>.yaml` in a verb's help is no HTML.
RUSTDOCFLAGS="-D warnings -A rustdoc::invalid-html-tags" cargo doc --no-deps --document-private-items --locked --quiet
if command -v cargo-deny >/dev/null; then run cargo deny --offline check bans licenses sources; fi
run ./examples/quickstart/run.sh

step "All tests passed."
