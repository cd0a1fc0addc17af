//! What is shown before a restore in place: all that it replaces, where it lies, and nothing that is not true.

use super::{
    kinds::{comparison, names},
    left, record, stored,
    talk::talk,
};
use crate::lab::{Lab, Restic, restics};

fn sh(lab: &Lab, script: &str) -> String {
    lab.ok(&["sh", "-ec", script])
}

#[test]
fn all_names_of_a_changed_file_come_back_in_one_run() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, "mkdir -p /srv/www/d; cd /srv/www; echo stored > a; ln a b; ln a d/c");
        let lab = stored(lab);
        sh(&lab, "echo changed > /srv/www/a");
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json"]);
        assert_eq!(record(&ran.stdout)["files_placed"], 3, "{ran:?}");
        assert_eq!(sh(&lab, "cd /srv/www; cat a b d/c; stat -c %h a"), "stored\nstored\nstored\n3\n");
        // Somebody writes to it in between: no name is replaced.
        sh(&lab, "echo changed > /srv/www/a");
        let ran = talk(&lab, "!echo PRECIOUS > /srv/www/b|yes", &["restore", "web", "--in-place"]);
        assert_eq!(ran.code, Some(8), "{}", ran.stdout);
        assert_eq!(sh(&lab, "cd /srv/www; cat a b d/c"), "PRECIOUS\n".repeat(3));
        assert_eq!(left(&lab), "");
    }
}

/// A restic that says that it could not restore a path in full.
fn faulty(lab: &mut Lab, version: &Restic, path: &str) {
    let real = format!("{}/restic", version.dir);
    let line = if version.version < rlvm::restic::Version(0, 16, 0) {
        format!("ignoring error for {path}: lchown failed")
    } else {
        format!(
            r#"{{"message_type":"error","error":{{"message":"lchown failed"}},"during":"restore","item":"{path}"}}"#
        )
    };
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = restore ] || exec {real} \"$@\"\n{real} \"$@\"\necho '{line}' >&2; exit 1\n"
    );
    lab.file_of("/opt/faulty/restic", &script, 0, 0o755);
    lab.use_restic(&Restic { dir: "/opt/faulty".into(), ..version.clone() });
}

#[test]
fn files_of_a_directory_that_restic_cannot_restore_in_full_come_back() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, "mkdir -p /srv/www/d/e; cd /srv/www; echo x > d/f; echo x > d/e/g; echo x > h; chmod 755 d");
        let mut lab = stored(lab);
        faulty(&mut lab, &version, "/srv/www/d");
        let restore = ["restore", "web", "--in-place", "--yes", "--from", "near"];
        for (before, mode) in [("rm d/f d/e/g h; chmod 750 d", "750"), ("rm -r d h", "700")] {
            sh(&lab, &format!("cd /srv/www; {before}"));
            let ran = lab.expect(8, &restore);
            assert!(ran.stderr.contains("not restored: /srv/www/d: lchown failed"), "{ran:?}");
            assert!(
                ran.stderr.contains("1 path not restored; 3 of 3 files put back in place"),
                "{before}: {ran:?}"
            );
            assert_eq!(sh(&lab, "cd /srv/www; cat d/f d/e/g h; stat -c %a d"), format!("x\nx\nx\n{mode}\n"));
        }
        // It replaces nothing.
        sh(&lab, "cd /srv/www; rm -r d; echo PRECIOUS > d");
        let ran = lab.expect(8, &restore);
        for path in ["d", "d/f", "d/e", "d/e/g"] {
            assert!(ran.stderr.contains(&format!("not restored: /srv/www/{path}: ")), "{path}: {ran:?}");
        }
        assert_eq!(lab.read("/srv/www/d"), "PRECIOUS\n");
        assert_eq!(left(&lab), "");
    }
}

/// Sets or removes the ACL of a FIFO and a device.
const ACL: &str = "import os, struct, sys\n\
    acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *it) for it in \
        [(1, 6, 2**32 - 1), (2, 4, 33), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1)])\n\
    name = 'system.posix_acl_access'\n\
    for it in ['/srv/www/fifo', '/srv/www/device']:\n  \
        if sys.argv[1] == 'set': os.setxattr(it, name, acl)\n  \
        if sys.argv[1] == 'remove': os.removexattr(it, name)\n  \
        print(os.listxattr(it))";

#[test]
fn acls_of_fifos_and_devices_are_compared() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        sh(&lab, "mkdir /srv/www; cd /srv/www; echo x > file; mkfifo -m 644 fifo; mknod -m 644 device c 1 3");
        let has = lab.ok(&["python3", "-c", ACL, "set"]);
        let lab = stored(lab);
        lab.ok(&["python3", "-c", ACL, "remove"]);
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes", "--json"]);
        let overwritten = names(&comparison(&ran.stdout)["overwritten"], "path");
        assert_eq!(overwritten, ["device", "fifo"].map(str::to_owned).into(), "{ran:?}");
        assert_eq!(lab.ok(&["python3", "-c", ACL, "tell"]), has, "{}", version.dir);
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        assert!(ran.stdout.contains("All files are there and unchanged."), "{ran:?}");
    }
}
