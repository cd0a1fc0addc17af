//! Drills: what is drawn, and that nothing of it stays.

use std::{process::Stdio, time::Duration};

use serde_json::Value;

use super::{VAULT, backed_up, nothing_is_left};
use crate::{
    lab::{Lab, restics},
    support::require,
};

/// Puts a restic before the real one that does as it, says so in /srv/done, and then goes on for ever.
fn hangs_after(lab: &mut Lab, dir: &str, verb: &str) {
    let script = format!(
        "#!/bin/sh\n{dir}/restic \"$@\" || exit\ncase $1 in {verb}) touch /srv/done; exec sleep 600;; esac\n"
    );
    lab.file_of("/srv/bin/restic", &script, 0, 0o755);
    lab.find_by(&format!("/srv/bin:{dir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
}

fn find(lab: &Lab, what: &str) -> String {
    lab.run(&["sh", "-c", &format!("find /var/cache/rlvm -path '*/.rlvm-restore-*' -name '{what}'")]).stdout
}

#[test]
fn one_that_is_killed_leaves_nothing_after_a_sweep() {
    // R56, R77
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        backed_up(&lab, "");
        let dir = version.dir.clone();
        hangs_after(&mut lab, &dir, "restore");
        let mut verify = lab.command(&["verify", "system", "--to", "vault", "--drill=100"]);
        let mut verify = verify.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !lab.at("/srv/done").exists() {
            assert_eq!(verify.try_wait().unwrap(), None, "{}", version.version);
            std::thread::sleep(Duration::from_millis(50));
        }
        // Whoever comes meanwhile is told.
        let busy = lab.expect(4, &["verify", "--to", "vault"]);
        assert!(busy.stderr.contains("vault is verified already"), "{busy:?}");
        assert_eq!(lab.ok(&["sh", "-c", "stat -c %a /var/cache/rlvm/.rlvm-restore-*"]), "700\n");
        lab.ok(&["sh", "-c", "kill -9 $(grep -lx rlvm /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"]);
        verify.wait().unwrap();
        assert!(!find(&lab, "large").is_empty(), "it had no chance to clean up");
        let swept = lab.expect(0, &["sweep"]);
        assert!(
            swept.stderr.contains("rm -rf --one-file-system /var/cache/rlvm/.rlvm-restore-"),
            "{swept:?}"
        );
        nothing_is_left(&lab);
    }
}

#[test]
fn a_check_that_is_killed_leaves_no_lock_after_a_sweep() {
    // R56, R69
    let mut lab = Lab::new();
    backed_up(&lab, "");
    // The process that rlvm has started holds a lock until it is killed with rlvm.
    let script = format!(
        "#!/bin/sh\n[ $1 = check ] || exec /usr/bin/restic \"$@\"\nmkfifo /srv/pipe; exec 8<>/srv/pipe\n\
         exec /usr/bin/restic -q --no-cache --repo {VAULT} --password-file /etc/rlvm/vault.pass backup --stdin <&8\n"
    );
    lab.file_of("/srv/bin/restic", &script, 0, 0o755);
    lab.find_by("/srv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut verify = lab.command(&["verify", "--to", "vault"]);
    let mut verify = verify.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let locked = format!("until ls {VAULT}/locks | grep -qv tmp; do sleep 0.05; done");
    lab.ok(&["sh", "-c", &locked]);
    lab.ok(&["sh", "-c", "kill -9 $(grep -lx rlvm /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"]);
    verify.wait().unwrap();
    lab.find_by("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    lab.expect(0, &["sweep"]);
    nothing_is_left(&lab);
    lab.expect(0, &["verify"]);
}

#[test]
fn one_that_is_stopped_cleans_up() {
    let mut lab = Lab::new();
    backed_up(&lab, "");
    hangs_after(&mut lab, "/usr/bin", "restore");
    let mut verify = lab.command(&["verify", "system", "--to", "vault", "--drill"]);
    let mut verify = verify.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !lab.at("/srv/done").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    lab.ok(&["sh", "-c", "kill -TERM $(grep -lx rlvm /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"]);
    assert_eq!(verify.wait().unwrap().code(), Some(143));
    nothing_is_left(&lab);
}

#[test]
fn without_a_backup_nothing_is_proven() {
    let lab = Lab::new();
    super::tree(&lab);
    super::repositories(&lab);
    super::state(&lab, "");
    lab.apply();
    lab.expect(0, &["verify"]);
    let ran = lab.expect(9, &["verify", "web", "--drill"]);
    let words = "error: web at vault: drill: not verified: there is no backup of it here";
    assert!(ran.stdout.contains("vault: no damage found") && ran.stderr.contains(words), "{ran:?}");
}

#[test]
fn a_live_file_that_lies_about_itself_is_found() {
    // R77: what differs though nothing says so, a disk that rots, say.
    let lab = Lab::new();
    backed_up(&lab, "");
    // The time of the backup is taken back to before the change: the file looks unchanged to everybody.
    let script = "cd /srv/www; printf 'hellO\\n' > new; touch -r index.html new; cat new > index.html; touch -r new index.html; rm new";
    lab.ok(&["sh", "-euc", script]);
    let backup = "restic -q --no-cache --repo /srv/backup/vault --password-file /etc/rlvm/vault.pass";
    let later = format!(
        "{backup} snapshots --json | grep -o '\"id\":\"[0-9a-f]*\"' | wc -l; cp -a /srv/www /srv/now; printf 'hello\\n' > /srv/www/index.html; touch -r /srv/now/index.html /srv/www/index.html; {backup} backup --host web01 --tag rlvm:job=web --time '2099-01-01 00:00:00' /srv/www; cat /srv/now/index.html > /srv/www/index.html; touch -r /srv/now/index.html /srv/www/index.html"
    );
    lab.ok(&["sh", "-euc", &later]);
    let ran = lab.expect(9, &["verify", "web", "--drill", "--json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let drill = &json["destinations"][0]["drills"][0];
    assert_eq!((&drill["outcome"], &drill["compared"]), (&"damaged".into(), &1.into()), "{json}");
    assert_eq!(drill["unlike"][0][0], "/srv/www/index.html");
    assert!(drill["unlike"][0][1].as_str().unwrap().contains("other bytes than the live file"), "{json}");
    nothing_is_left(&lab);
}

#[test]
fn machine_images_are_looked_at() {
    // R77
    require("/usr/bin", "qemu-img", "qemu-utils");
    let lab = Lab::new();
    super::tree(&lab);
    // One is based on a file of the host's, which must not be opened; one is broken: its table of clusters is nonsense.
    let script = "
        mkdir /srv/www/vm && cd /srv/www/vm
        qemu-img create -q -f qcow2 good.qcow2 1M
        qemu-img create -q -f qcow2 -u -b /etc/shadow -F raw based.qcow2 1M
        cp good.qcow2 broken.qcow2; printf '\\377\\377\\377\\377' | dd of=broken.qcow2 bs=1 seek=65540 conv=notrunc status=none";
    lab.ok(&["sh", "-euc", script]);
    super::repositories(&lab);
    super::state(&lab, "");
    lab.apply();
    lab.expect(0, &["run", "web"]);
    let ran = lab.expect(9, &["verify", "web", "--drill", "--json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let drill = &json["destinations"][0]["drills"][0];
    assert_eq!((&drill["files"], &drill["images"]), (&4.into(), &3.into()), "{json}");
    let unlike = drill["unlike"].as_array().unwrap();
    assert_eq!((unlike.len(), &unlike[0][0]), (1, &"/srv/www/vm/broken.qcow2".into()), "{json}");
}
