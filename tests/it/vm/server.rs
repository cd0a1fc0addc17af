//! The server's side, with the system's own useradd, sshd as a service, and quotas of a real file system.

use super::Vm;

const PART: &str = "/etc/ssh/sshd_config.d/00-rlvm.conf";

/// Writes the state of three accounts, with this key of the one for files.
fn state(vm: &Vm, files: &str, more: &str) {
    let key = |name: &str| vm.ok(&format!("cat /root/{name}.pub")).trim().to_owned();
    vm.state(&format!(
        "ssh:
  users:
    files: {{ directory: /srv/clients/files, authorized_keys: [{{ key: {} }}] }}
    adds: {{ directory: /srv/clients/adds, access: append_only, authorized_keys: [{{ key: {} }}] }}
    shell: {{ directory: /srv/clients/shell, access: shell, authorized_keys: [{{ key: {} }}] }}
{more}",
        key(files),
        key("b"),
        key("c")
    ));
}

/// Makes a machine with a client's keys, in /root.
fn machine() -> Vm {
    let vm = Vm::new();
    let config = b"StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nIdentitiesOnly yes\nBatchMode yes\nLogLevel ERROR\n";
    vm.put("/root/.ssh/config", config, 0o600);
    vm.ok("for key in a b c other; do ssh-keygen -q -t ed25519 -N '' -C $key -f /root/$key; done");
    vm
}

/// Says whether a key opens the account for files.
fn gets_in(vm: &Vm, key: &str) -> bool {
    let ran = vm.run(&format!("echo pwd | sftp -b - -i /root/{key} files@localhost"));
    assert!(ran.code == Some(0) || ran.stderr.contains("Permission denied (publickey"), "{ran:?}");
    ran.code == Some(0)
}

/// Describes the service that listens: another process, or one that was started again, is another.
fn service(vm: &Vm) -> String {
    vm.ok("systemctl show -p MainPID,NRestarts,ActiveState,ActiveEnterTimestampMonotonic ssh.service")
}

#[test]
fn clients_get_in_and_sshd_is_reloaded_and_never_restarted() {
    // R42
    let vm = machine();
    let before = service(&vm);
    assert!(before.contains("ActiveState=active"), "{before}");
    state(&vm, "a", "");
    vm.apply();
    vm.plan_is_empty();
    assert_eq!(service(&vm), before);
    assert_eq!(
        vm.ok("getent passwd files shell | cut -d: -f1,6,7"),
        "files:/srv/clients/files:/usr/sbin/nologin\nshell:/srv/clients/shell:/bin/sh\n"
    );

    // Real clients.
    assert!(gets_in(&vm, "a") && !gets_in(&vm, "other"));
    vm.ok("echo 'put /etc/hostname /repo/x' | sftp -b - -i /root/a files@localhost");
    assert_eq!(
        vm.ok("stat -c %U /srv/clients/files/repo/x; ssh -i /root/c shell@localhost id -un"),
        "files\nshell\n"
    );
    assert_ne!(vm.run("ssh -i /root/a files@localhost id").code, Some(0));
    let adds =
        "restic -q -r rclone: -o rclone.program='ssh -i /root/b adds@localhost' --insecure-no-password";
    vm.ok(&format!("{adds} init && {adds} backup /etc/hostname"));
    // restic 0.18 ends with 0 even so: what counts is what is there.
    vm.run(&format!("timeout 5 {adds} forget latest"));
    assert_eq!(vm.ok("ls /srv/clients/adds/repo/snapshots | wc -l"), "1\n");

    // One that is revoked, and another let in.
    state(&vm, "other", "");
    vm.apply();
    assert!(gets_in(&vm, "other") && !gets_in(&vm, "a"));

    // Somebody else's mistake: the old stays in force, and sshd runs.
    let part = vm.ok(&format!("cat {PART}"));
    vm.put("/etc/ssh/sshd_config.d/50-other.conf", b"NoSuchWord yes\n", 0o644);
    let third = "    files2: { directory: /srv/clients/files2, authorized_keys: [{ key: KEY }] }\n";
    state(&vm, "other", &third.replace("KEY", vm.ok("cat /root/a.pub").trim()));
    let ran = vm.expect(7, &["apply", "--yes"]);
    assert!(ran.stderr.contains("50-other.conf"), "{ran:?}");
    assert_eq!((vm.ok(&format!("cat {PART}")), service(&vm)), (part, before.clone()));
    assert!(gets_in(&vm, "other"));
    vm.ok("rm /etc/ssh/sshd_config.d/50-other.conf");
    vm.apply();
    vm.plan_is_empty();
    assert_eq!(service(&vm), before);

    // One that is stopped is not started.
    vm.ok("systemctl stop ssh.service");
    state(&vm, "a", "");
    vm.expect(0, &["apply", "--yes"]);
    vm.plan_is_empty();
    assert_eq!(vm.run("systemctl is-active ssh.service").stdout, "inactive\n");

    let vm = vm.reboot();
    vm.ok("systemctl is-active ssh.service");
    assert!(gets_in(&vm, "a") && !gets_in(&vm, "other"));
    vm.plan_is_empty();
}

#[test]
fn what_an_account_may_fill_is_told() {
    // R42
    let vm = machine();
    vm.ok("mkdir -p /srv/clients && mkfs.xfs -q -f /dev/vdc && mount -o uquota /dev/vdc /srv/clients");
    state(&vm, "a", "");
    vm.apply();
    let plan = vm.expect(0, &["plan"]).stdout;
    assert!(plan.contains("files has no quota on /srv/clients, 0 GiB used"), "{plan}");
    vm.ok("setquota -u files 0 1G 0 0 /srv/clients");
    let plan = vm.expect(0, &["plan"]).stdout;
    assert!(plan.contains("quota of files on /srv/clients: 1 GiB, 0 GiB used"), "{plan}");
    assert!(plan.contains("shell has no quota on /srv/clients"), "{plan}");
}
