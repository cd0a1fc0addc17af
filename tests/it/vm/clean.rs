//! What must be as it was when a run has ended, however it did.

use super::Vm;

/// How a machine was before: its volumes, mounts, processes and services. What a run may leave is none of it: its
/// records, its logs, what it stored.
pub(super) struct Before {
    was: String,
}

/// Prints it, one thing a line, what it is first.
///
/// A mount is one of PID 1's namespace, or of any other but those of systemd's own services. Of processes those count
/// that a run starts, or a test in its place.
const LOOK: &str = r#"
lvs --noheadings --separator ' ' -o lv_full_name,lv_tags,origin,lv_active | sed 's/^ */volume /'
dmsetup ls | awk '{ print "device", $1 }'
mounts() { awk '$5 !~ "^/run/user/" { for (i = 7; $i != "-"; i++); print $5, $(i + 1), $(i + 2) }' "$1" | sort; }
mounts /proc/1/mountinfo >/run/mounts-1
sed 's/^/mount /' /run/mounts-1
lsns -t mnt -nro PID,COMMAND | while read -r pid command; do
    ! grep -qE '/(systemd-|init.scope)' /proc/$pid/cgroup || continue
    mounts /proc/$pid/mountinfo | comm -13 /run/mounts-1 - | sed "s|^|mount of $command: |"
done
rm /run/mounts-1
find /run/rlvm/run -mindepth 1 2>/dev/null | sed 's/^/left /'
ps -eo comm=,args= | awk '$1 ~ /^(rlvm|restic|rclone|sleep|sftp|ssh|tail)$/ { $1 = "process"; print }' | sort
systemctl list-units --plain --no-legend --type=service,timer | awk '$1 !~ /^(user|systemd-|lvm2-lvmpolld)/ { print "unit", $1, $3 }'
"#;

impl Before {
    /// Looks at a machine before a run.
    #[track_caller]
    pub(super) fn of(vm: &Vm) -> Self {
        Self { was: vm.ok(LOOK) }
    }

    /// Wants it to be so again. What systemd and udev still have at hand is waited for.
    #[track_caller]
    pub(super) fn is_back(&self, vm: &Vm) {
        vm.ok("udevadm settle");
        let differences = self.differences(vm);
        assert_eq!(differences, "", "left by a run (+) or taken by it (-)");
    }

    /// Lists what is there now and was not, and what was there and is not.
    #[track_caller]
    pub(super) fn differences(&self, vm: &Vm) -> String {
        let now = vm.ok(LOOK);
        let lacks = |of: &str, line: &str| !of.lines().any(|it| it == line);
        let new = now.lines().filter(|line| lacks(&self.was, line)).map(|line| format!("+ {line}\n"));
        let gone = self.was.lines().filter(|line| lacks(&now, line)).map(|line| format!("- {line}\n"));
        new.chain(gone).collect()
    }
}
