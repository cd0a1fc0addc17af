//! The machine whose `/` is on a logical volume, itself: what scenarios of `rlvm run` stand on.

use super::{Vm, clean::Before};

/// Where each file system is, and what it lies on.
const MOUNTS: &str = "/ /dev/mapper/vg0-root ext4
/btrfs /dev/vdc btrfs
/data /dev/vdb1 ext4
/home /dev/mapper/vg0-home xfs
/srv /dev/mapper/vg0-srv ext4
/srv/data/deep /dev/mapper/vg0-deep ext4
/vault /dev/vdd ext4
";

/// The logical volumes, their pools and kinds.
const VOLUMES: &str = "deep  linear
home pool thin
pool  thin-pool
root  linear
srv  linear
";

#[track_caller]
fn is_laid_out(vm: &Vm) {
    assert_eq!(vm.ok("findmnt -rnt ext4,xfs,btrfs -o TARGET,SOURCE,FSTYPE | sort"), MOUNTS);
    assert_eq!(
        vm.ok("lvs --noheadings --separator ' ' -o lv_name,pool_lv,segtype vg0 | sed 's/^ *//'"),
        VOLUMES
    );
    let free: u64 =
        vm.ok("vgs --noheadings --units m --nosuffix -o vg_free vg0 | cut -d. -f1").trim().parse().unwrap();
    assert!(free >= 1024, "{free} MiB are free");
    assert_eq!(
        vm.ok("systemctl is-active cron ssh; systemctl is-system-running"),
        "active\nactive\nrunning\n"
    );
}

#[test]
fn everything_is_where_it_should_be_after_a_reboot_and_a_power_cut_too() {
    let vm = Vm::lvm();
    is_laid_out(&vm);
    assert_eq!(vm.ok("btrfs subvolume list /btrfs | wc -l; cat /btrfs/sub/file"), "1\nof btrfs/sub\n");
    // A client of its own server.
    let sftp = "echo put /etc/hostname there | sftp -b - store";
    vm.ok(sftp);
    assert_eq!(vm.ok("stat -c %U /vault/store/there"), "store\n");
    assert_ne!(vm.run("ssh store true").code, Some(0));

    vm.ok("echo kept >/kept; echo kept >/srv/kept; sync");
    let before = Before::of(&vm);
    let vm = Vm::boot(vm.cut_power());
    is_laid_out(&vm);
    before.is_back(&vm);
    let vm = vm.reboot();
    is_laid_out(&vm);
    assert_eq!(vm.ok("cat /kept /srv/kept; rlvm --version | cut -d' ' -f1"), "kept\nkept\nrlvm\n");
    vm.ok(sftp);
    drop(vm);
    assert_eq!(Vm::lvm().run("ls /kept").code, Some(2));
}

#[test]
fn snapshots_freeze_what_they_are_of() {
    let vm = Vm::lvm();
    let before = Before::of(&vm);
    vm.ok("lvcreate -q -y -s -n snap-root -l10%ORIGIN vg0/root; lvcreate -q -y -s -n snap-srv -L 8M vg0/srv
        lvcreate -q -y -s -kn -n snap-home vg0/home; mkdir /run/snap; cd /run/snap; mkdir root srv home
        echo later >/srv/file; echo later >/home/joe/file
        mount -o ro /dev/vg0/snap-root root; mount -o ro /dev/vg0/snap-srv srv
        mount -o ro,nouuid /dev/vg0/snap-home home");
    let frozen = "cd /run/snap; cat root/etc/hostname srv/file home/joe/file";
    assert_eq!(vm.ok(frozen), "web01\nof srv\nof home/joe\n");
    assert_eq!(
        vm.ok("lvs --noheadings -o segtype vg0/snap-root vg0/snap-home | tr -d ' '"),
        "thin\nlinear\n",
        "a thin volume has a thin snapshot"
    );
    // One that is full is of no use: in systemd's own view it is unmounted, and an empty directory is read; in a view of
    // one's own, reading fails.
    vm.ok("cat >/run/view <<'END'
mount -o ro /dev/vg0/snap-srv /opt
head -c 16M /dev/urandom >/srv/more
sync
echo 3 >/proc/sys/vm/drop_caches
cat /opt/app/random
END");
    let view = vm.run("unshare -m --propagation private sh /run/view >/dev/null");
    assert!(view.code == Some(1) && view.stderr.contains("Input/output error"), "{view:?}");
    let fill = vm.ok("lvs --noheadings -o lv_snapshot_invalid vg0/snap-srv");
    assert_eq!(fill.trim(), "snapshot invalid");
    vm.until(60, "! mountpoint -q /run/snap/srv");
    assert_eq!(vm.ok("ls /run/snap/srv"), "");
    vm.ok("rm /run/view; umount /run/snap/root /run/snap/home; lvremove -q -y vg0/snap-root vg0/snap-srv vg0/snap-home; rm -r /run/snap");
    before.is_back(&vm);
    // No room for another.
    vm.ok("lvcreate -q -y -n rest -l 100%FREE vg0");
    let full = vm.run("lvcreate -q -y -s -n snap -L 8M vg0/srv");
    assert!(full.code == Some(5) && full.stderr.contains("insufficient free space"), "{full:?}");
}

#[test]
fn what_a_run_leaves_is_seen() {
    let vm = Vm::lvm();
    let before = Before::of(&vm);
    before.is_back(&vm);
    for (make, undo, what) in [
        ("lvcreate -q -y -s -n rlvm-a-0 -L 8M vg0/srv", "lvremove -q -y vg0/rlvm-a-0", "rlvm-a-0"),
        ("lvchange -q --addtag rlvm vg0/srv", "lvchange -q --deltag rlvm vg0/srv", "rlvm"),
        ("mkdir /run/m; mount -t tmpfs none /run/m", "umount /run/m; rmdir /run/m", "/run/m"),
        (
            "unshare -m --propagation private sh -c 'mount -t tmpfs left /opt; exec tail -f /dev/null' >/dev/null 2>&1 & echo $! >/run/pid; until grep -q left /proc/$(cat /run/pid)/mountinfo; do sleep 0.1; done",
            "kill $(cat /run/pid)",
            "left",
        ),
        ("mkdir -p /run/rlvm/run/abc", "rm -r /run/rlvm", "/run/rlvm/run/abc"),
        ("sleep 1000 >/dev/null 2>&1 & echo $! >/run/pid", "kill $(cat /run/pid)", "sleep 1000"),
        ("systemctl stop cron", "systemctl start cron", "cron"),
    ] {
        vm.ok(make);
        let seen = before.differences(&vm);
        assert!(seen.contains(what), "{make}: {seen}");
        vm.ok(undo);
        before.is_back(&vm);
    }
}
