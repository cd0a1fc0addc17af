//! What is asked of what a run has stored: is it there, can it be restored, give it back.

use serde_json::Value;

use super::{Vm, machine};

/// Two volumes and a path, stored on a disk and by SFTP.
const STATE: &str = r#"
destinations:
  vault: { local: { path: /vault/web01 }, password_file: /etc/rlvm/vault.pass, generate_password: true }
  store: { sftp: { host: store, path: web01 }, password_file: /etc/rlvm/store.pass, generate_password: true }
jobs:
  all:
    sources: [{ lvm: { volume: vg0/srv } }, { lvm: { volume: vg0/home } }, { path: /data }]
    to: [vault, store]
    schedule: "30 2 * * *"
    verify: { schedule: "0 6 1 * *", read_data: 50%, drill: { files: 10 } }
metrics: { textfile: /run/rlvm.prom }
"#;

/// Calls rlvm, and reads the JSON that it prints.
#[track_caller]
fn json(vm: &Vm, code: i32, words: &[&str]) -> Value {
    serde_json::from_str(&vm.expect(code, words).stdout).unwrap()
}

#[test]
fn status_proofs_and_restores() {
    // R75, R76, R77
    let (vm, before) = machine(STATE);
    // Before the first run nothing is there, and that is bad.
    let status = json(&vm, 9, &["status", "--json"]);
    assert_eq!(
        (&status["level"], &status["lines"][0]["snapshots"]),
        (&"critical".into(), &0.into()),
        "{status}"
    );

    vm.ok("cd /srv/app; mkfifo fifo; ln random hard; ln -s random soft; setfattr -n user.note -v x random || true
        head -c 3000000 /dev/urandom >/home/joe/large; chown 1234:4321 /home/joe/large; chmod 640 /home/joe/large");
    vm.expect(0, &["run", "all"]);
    before.is_back(&vm);
    let listed = json(&vm, 0, &["snapshots", "--json"]);
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 2, "{listed}");
    let status = json(&vm, 0, &["status", "--json"]);
    assert_eq!(status["lines"].as_array().unwrap().len(), 2, "{status}");
    for line in status["lines"].as_array().unwrap() {
        assert_eq!(line["judged"][0]["verdict"], "fresh", "{line}");
    }
    assert!(
        vm.ok("cat /run/rlvm.prom").contains("rlvm_backup_level{job_name=\"all\",destination=\"store\"} 0\n")
    );

    // The live file systems go on: what has changed since is compared with the backup alone.
    vm.ok("echo more >>/srv/app/file");
    let verified = json(&vm, 0, &["verify", "--json"]);
    for destination in verified["destinations"].as_array().unwrap() {
        assert_eq!(
            (&destination["outcome"], &destination["drills"][0]["outcome"]),
            (&"well".into(), &"well".into())
        );
        assert!(destination["drills"][0]["compared"].as_u64() > Some(0), "{destination}");
    }
    before.is_back(&vm);

    // Elsewhere, as it was stored, the path of the volume and all.
    vm.expect(0, &["restore", "all", "--target", "/vault/out"]);
    for dir in ["/home", "/data"] {
        let of = |dir: &str| {
            // How large a directory is, is the file system's affair.
            let print =
                "\\( -type f -printf '%P %s ' -o -printf '%P ' \\) -printf '%y %m %U %G %T@ %l %n\\n'";
            vm.ok(&format!("cd {dir}; find . -xdev ! -name lost+found {print} | grep -v '^ ' | sort"))
        };
        assert_eq!(of(&format!("/vault/out{dir}")), of(dir));
    }
    vm.ok("cmp /vault/out/srv/app/random /srv/app/random; test -p /vault/out/srv/app/fifo");
    assert_eq!(vm.run("grep more /vault/out/srv/app/file").code, Some(1), "as it was frozen");

    // In place: what was lost comes back, from the other place if the first is gone, and nothing else moves.
    vm.ok("rm -r /home/joe/large /srv/app/soft; mv /vault/web01 /vault/away");
    let ran =
        vm.expect(0, &["restore", "all", "--in-place", "--only-missing", "--yes", "--path", "/home/joe"]);
    assert!(ran.stdout.contains("store"), "{ran:?}");
    vm.ok("cmp /vault/out/home/joe/large /home/joe/large; test \"$(stat -c '%u:%g %a' /home/joe/large)\" = '1234:4321 640'");
    assert_eq!(vm.run("test -e /srv/app/soft").code, Some(1), "it was not asked for");
    let status = json(&vm, 9, &["status", "--json"]);
    let worst = &status["lines"][0];
    assert_eq!((&worst["destination"], &worst["level"]), (&"vault".into(), &"critical".into()), "{status}");
    vm.ok("mv /vault/away /vault/web01");

    // One bit of one pack: found, told from what cannot be reached, and still restored, from the other.
    vm.ok("pack=$(find /vault/web01/data -type f -size +1000k | head -n1); chmod u+w $pack
        printf '\\377\\377\\377\\377' | dd of=$pack bs=1 seek=5000 conv=notrunc status=none");
    let verified = json(&vm, 9, &["verify", "--read-data=all", "--json"]);
    let outcome = |name: &str| {
        let all = verified["destinations"].as_array().unwrap();
        all.iter().find(|it| it["destination"] == name).unwrap()["outcome"].clone()
    };
    assert_eq!((outcome("vault"), outcome("store")), ("damaged".into(), "well".into()), "{verified}");
    vm.expect(0, &["restore", "all", "--target", "/vault/again", "--path", "/home"]);
    vm.ok("diff -r /vault/again/home /home");
    before.is_back(&vm);

    // For people without a shell here, and for the day when nothing else is left.
    vm.expect(0, &["report", "--html", "/root/page.html"]);
    vm.ok("grep -q '<h1' /root/page.html");
    let kit = vm.ok("rlvm rescue-kit 2>/dev/null");
    for word in ["restic", "/vault/web01", "sftp:", "vg0", "srv", "/etc/rlvm/vault.pass"] {
        assert!(kit.contains(word), "{word}: {kit}");
    }
    let password = vm.ok("cat /etc/rlvm/vault.pass");
    assert!(!kit.contains(password.trim()), "a secret is in the kit");
}
