#!/usr/bin/env bash
# rlvm on a scratch tree: validate, plan, apply, drift, heal, remove; and a real run with its record. Nothing of this
# machine is changed, but for restic, which apt-get installs if there is none.
#
#   ./examples/quickstart/run.sh          the scratch tree is gone at the end
#   ./examples/quickstart/run.sh --keep   it stays, to look around in
#
# PROFILE names another profile of cargo than release: with dev, the program that the tests have built is used.
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."
repository=$PWD

keep=no
case "${1-}" in
    '') ;;
    --keep) keep=yes ;;
    *) echo "usage: $0 [--keep]" >&2; exit 64 ;;
esac

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then bold=$'\e[1m' faint=$'\e[2m' plain=$'\e[0m'; else bold='' faint='' plain=''; fi
say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; }
fail() { printf '\nquickstart: %s\n' "$*" >&2; exit 1; }

# What is missing, and nothing else.
missing=()
command -v restic >/dev/null || missing+=(restic)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
if [ ${#missing[@]} -gt 0 ]; then
    say "Install what is missing: ${missing[*]}"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi

say "Build rlvm"
profile=${PROFILE:-release}
show "cargo build --profile $profile --locked"
cargo build --profile "$profile" --locked --quiet
[ "$profile" = dev ] && built=debug || built=$profile
bin=$(realpath "${CARGO_TARGET_DIR:-target}/$built/rlvm")

# In /tmp, since rlvm run by root reads no state that somebody else could change: a checkout may be anybody's.
work=$(mktemp -d "${TMPDIR:-/tmp}/rlvm-quickstart.XXXXXX")
[ "$keep" = yes ] || trap 'rm -rf "$work"' EXIT
cd "$work"
unset RLVM_STATE RLVM_HOME

# The scratch tree has users of its own. Its root is whoever runs this: so nobody needs to be root.
mkdir -p host/etc/{cron.d,logrotate.d} host/srv host/var/log
echo "root:x:$(id -u):$(id -g)::/root:/bin/sh" >host/etc/passwd
echo "root:x:$(id -g):" >host/etc/group
mkdir -p state/hosts
cp "$repository/examples/quickstart/web01.yaml" state/hosts/web01.yaml

# Runs `rlvm …` as it is shown, and fails unless it ends with the expected exit code. What it said is in $out.
rlvm() {
    local expected=$1 code=0
    shift
    show "rlvm $*"
    "$bin" "$@" >out 2>&1 || code=$?
    cat out
    [ "$code" = "$expected" ] || fail "\`rlvm $*\` ended with exit code $code, not $expected"
    if [ "$code" != 0 ]; then printf '%s(exit code %s)%s\n' "$faint" "$code" "$plain"; fi
}
says() { grep -qF -- "$1" out || fail "it did not say: $1"; }
here=(--root host --host web01)

say "The state: what this host's backup set-up is to be"
show "cat state/hosts/web01.yaml"
cat state/hosts/web01.yaml

say "Is it valid?"
rlvm 0 "${here[@]}" validate
says 'valid'

say "What differs? Exit code 2 means: changes pending."
rlvm 2 "${here[@]}" plan --detailed-exitcode
says ' to create, 0 to change, 0 to remove.'

say "Make it so"
rlvm 0 "${here[@]}" apply --yes
says 'Apply complete'

say "Once more: nothing is left to do"
rlvm 0 "${here[@]}" plan --detailed-exitcode
says 'No changes. The host matches the state.'

say "The repository is a real one: restic opens it with the password that was made"
show "restic -r host/srv/backup/web01 --password-file host/etc/rlvm/secrets/vault.pass cat config"
restic -r host/srv/backup/web01 --password-file host/etc/rlvm/secrets/vault.pass --no-cache cat config

say "Somebody edits the cron entry and opens a directory to everybody"
show "sed -i 's/^30 2/30 14/' host/etc/cron.d/rlvm-home"
sed -i 's/^30 2/30 14/' host/etc/cron.d/rlvm-home
show "chmod 0777 host/srv/dumps"
chmod 0777 host/srv/dumps

say "That is drift: changed on the host since the last apply"
rlvm 2 "${here[@]}" plan --detailed-exitcode
says 'cron:rlvm-home (drift)'
says 'directory:/srv/dumps (drift)'

say "Heal it"
rlvm 0 "${here[@]}" apply --yes
rlvm 0 "${here[@]}" plan --detailed-exitcode
says 'No changes. The host matches the state.'

say "What leaves the state leaves the host, if rlvm made it: the cron entry of our own"
show "sed -i '/^cron:/,\$d' state/hosts/web01.yaml"
sed -i '/^cron:/,$d' state/hosts/web01.yaml
rlvm 0 "${here[@]}" apply --yes
says '- cron:fstrim'
[ ! -e host/etc/cron.d/fstrim ] || fail "host/etc/cron.d/fstrim is still there"
rlvm 0 "${here[@]}" plan --detailed-exitcode
says 'No changes. The host matches the state.'

say "A night's run. It is of the running system, so its state names places here"
mkdir -m 0700 night night/secrets night/log night/photos
printf 'a picture\n' >night/photos/cat.jpg
(umask 077 && head -c 24 /dev/urandom | base64 >night/secrets/vault.pass)
cat >night/web01.yaml <<EOF
version: 1
host: web01
log: { directory: $work/night/log }
destinations:
  vault: { local: { path: $work/night/repository }, password_file: $work/night/secrets/vault.pass }
jobs:
  photos:
    sources: [{ path: $work/night/photos }]
    to: [vault]
    user: $(id -un)
    hooks: { after: [{ name: tell me, run: 'echo "the \$RLVM_JOB are safe: \$RLVM_STATUS"' }] }
EOF
show "cat night/web01.yaml"
cat night/web01.yaml
show "restic init --repo night/repository --password-file night/secrets/vault.pass"
restic init -q --repo night/repository --password-file night/secrets/vault.pass
export RLVM_HOME=$work/night/home
night=(--state night/web01.yaml --host web01)
say "What would it do? Each line can be pasted"
rlvm 0 "${night[@]}" run photos --dry-run
says ' backup --json '
say "Do it"
rlvm 0 "${night[@]}" run photos
says 'Backup complete: 1 job'
say "The backup is there, and so is the record of the run"
show "restic snapshots"
restic -q --repo night/repository --password-file night/secrets/vault.pass --no-cache snapshots | tee out
says 'rlvm:job=photos'
show "cat night/home/records/*.jsonl"
cat night/home/records/*.jsonl | tee out
says '"status":"success"'
show "tail -n 2 night/log/photos.log"
tail -n 2 night/log/photos.log | tee out
says 'the photos are safe: success'

if [ "$keep" = yes ]; then say "The scratch tree is in $work"; fi
say "All of it went as it should. On a real host: rlvm plan, then rlvm apply."
