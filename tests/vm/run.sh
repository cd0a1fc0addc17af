#!/usr/bin/env bash
# The tests that need a whole system, on a fresh Debian or Ubuntu machine with Rust. Asks nothing. Installs what is
# missing and makes the machine first (tests/vm/image.sh).
#
#   ./tests/vm/run.sh           all of them
#   ./tests/vm/run.sh WORD      those whose name has it
#   ./tests/vm/run.sh --shell   boots a machine by hand and gives a root shell on its console; `poweroff` ends it, and
#                               what was changed in it is gone
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" = --shell ]; then
    ./tests/vm/image.sh
    image=$(./tests/vm/image.sh --where)
    cargo build --locked --quiet
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    mkdir "$dir/files"
    strip -o "$dir/files/rlvm" "${CARGO_TARGET_DIR:-target}/debug/rlvm"
    # Read-only, and mounted where no test has anything.
    PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -d "$dir/files" "$dir/files.ext4" 128M
    echo "rlvm is on /dev/vdb: mount -r /dev/vdb /mnt"
    # -snapshot: what is written goes into a file that is already removed.
    qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1500 -nodefaults -nographic \
        -no-reboot -snapshot -chardev stdio,id=console,signal=off -serial chardev:console \
        -drive "file=$image/disk,if=virtio,format=raw" -drive "file=$dir/files.ext4,if=virtio,format=raw" \
        -kernel "$image/kernel" -initrd "$image/initrd" \
        -append "root=/dev/vda rw console=ttyS0 systemd.mask=serial-getty@ttyS0.service systemd.mask=agent.service systemd.debug_shell=ttyS0"
    exit
fi

filter=(vm:: tree::)
[ $# = 0 ] || filter=("$@")
exec ./tests/run.sh "${filter[@]}"
