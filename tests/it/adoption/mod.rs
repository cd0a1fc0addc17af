//! A server that was set up by hand is taken over at once, while its clients come and go.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine themselves")]

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use crate::{lab::Lab, support::Ran};

/// The main file as Debian has it.
const SSHD: &str = "Include /etc/ssh/sshd_config.d/*.conf\nListenAddress 127.0.0.1:22\nUsePAM no\nMaxStartups 100\n\
    Subsystem sftp /usr/lib/openssh/sftp-server\n";

/// Makes the server by hand, and returns the state that says the same.
fn by_hand() -> (Lab, String) {
    let lab = Lab::named("nas");
    lab.file("/etc/ssh/sshd_config", SSHD);
    lab.dir("/etc/ssh/sshd_config.d", 0, 0o755);
    lab.ok(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/ssh_host_ed25519_key"]);
    lab.file("/etc/group", &(lab.read("/etc/group") + "users:x:100:\n"));
    let state = lab.ok(&["bash", "-euc", include_str!("by_hand.sh")]);
    for number in 1..=5 {
        lab.repository(&format!("/srv/repositories/r{number}"), "/etc/rlvm/secrets/pass");
    }
    lab.state(&state);
    (lab, state)
}

/// One login of a client: those for files ask where they are, the others say nothing and hear rclone's end.
fn log_in(lab: &Lab, number: usize) -> Ran {
    let (key, at) = (format!("/root/keys/client{number}"), format!("client{number}@127.0.0.1"));
    let options =
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"];
    let options = options.map(|option| ["-o", option]).concat();
    let ssh = [&["-F", "/dev/null", "-i", &key], &options[..]].concat();
    if matches!(number % 5, 1 | 2) {
        lab.run(&[&["sftp"], &ssh[..], &["-b", "/root/batch", &at]].concat())
    } else {
        lab.run(&[&["ssh", "-n"], &ssh[..], &[&at, "any"]].concat())
    }
}

/// Says what kept a client out, if anything did. A server that reads its configuration again listens anew: between that
/// and its end sshd itself takes no connection, and each client tries again.
fn kept_out(lab: &Lab, number: usize, again: &AtomicUsize) -> Option<Ran> {
    loop {
        let ran = log_in(lab, number);
        let anew = ["Connection refused", "Connection reset", "Connection closed by remote host"];
        let files = matches!(number % 5, 1 | 2);
        match ran.code {
            Some(0) => return None,
            Some(code) if code != 255 && !files => return None,
            _ if anew.iter().any(|word| ran.stderr.contains(word))
                && again.fetch_add(1, Ordering::SeqCst) < 20 => {}
            _ => return Some(ran),
        }
    }
}

/// Does something while clients log in and others read cron's files; says who was kept out, and what was read.
fn meanwhile<T>(lab: &Lab, work: impl FnOnce() -> T) -> (T, Vec<Ran>, BTreeMap<String, Vec<String>>) {
    let (done, again) = (AtomicBool::new(false), AtomicUsize::new(0));
    let goes_on = || !done.load(Ordering::SeqCst);
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut kept = Vec::new();
            // One of each way, then the next of each.
            for number in (1..=30).cycle().take_while(|_| goes_on()) {
                kept.extend(kept_out(lab, number, &again));
                thread::sleep(Duration::from_millis(100));
            }
            kept
        });
        let reader = scope.spawn(|| {
            let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
            while goes_on() {
                for number in 1..=20 {
                    let path = format!("/etc/cron.d/task{number}");
                    let text = fs::read_to_string(lab.at(&path)).unwrap_or_else(|err| err.to_string());
                    let texts = read.entry(path).or_default();
                    if !texts.contains(&text) {
                        texts.push(text);
                    }
                }
                thread::sleep(Duration::from_millis(1));
            }
            read
        });
        let keys = scope.spawn(|| lab.ok(&["bash", "-c", READERS]));
        let worked = work();
        lab.file("/run/taken-over", "");
        done.store(true, Ordering::SeqCst);
        assert_eq!(keys.join().unwrap(), "", "keys that sshd could not have read");
        (worked, clients.join().unwrap(), reader.join().unwrap())
    })
}

/// Reads, as sshd does for each account before it knows better, the keys in homes that only their owners could look
/// into, and says when it could not. It ends with the file that it waits for.
const READERS: &str = "for n in 3 8 13 18 23 28; do
    setpriv --reuid client$n --regid client$n --clear-groups bash -c '
        while [ ! -e /run/taken-over ]; do
            { : < /srv/clients/client$0/.ssh/authorized_keys; } 2>/dev/null || echo client$0
        done' $n &
done
wait";

/// The numbers of all accounts; groups may be others.
fn numbers(lab: &Lab) -> Vec<(String, String)> {
    let passwd = lab.read("/etc/passwd");
    let fields = |line: &str| -> Vec<String> { line.split(':').map(ToOwned::to_owned).collect() };
    passwd.lines().map(fields).map(|it| (it[0].clone(), it[2].clone())).collect()
}

fn ids(lab: &Lab) -> Vec<String> {
    let id = |n: usize| {
        let repository = format!("/srv/repositories/r{n}");
        lab.ok(&[
            "restic",
            "--no-cache",
            "-q",
            "-r",
            &repository,
            "-p",
            "/etc/rlvm/secrets/pass",
            "cat",
            "config",
        ])
    };
    (1..=5).map(id).collect()
}

#[test]
fn a_host_by_hand_is_taken_over_without_a_gap() {
    let (lab, state) = by_hand();
    lab.file("/root/batch", "pwd\n");
    let _sshd = lab.own_sshd();
    let none = AtomicUsize::new(20);
    for number in 1..=30 {
        assert_eq!(kept_out(&lab, number, &none), None, "by hand");
    }
    let (numbers_before, ids_before) = (numbers(&lab), ids(&lab));

    // What there is, matches, and differs.
    let before = lab.contents();
    let plan = lab.rlvm(&["plan"]).stdout;
    for (change, why) in [
        ("= cron:task4 ", "it is there, as declared"),
        ("~ cron:task1 ", "(refused)  it is there, and differs"),
        ("~ logrotate:app1 ", "(refused)  it is there, and differs"),
        ("= repository:r1 ", "it is there"),
        ("= account:user/client1 ", "it is there, as declared"),
        ("~ account:user/client2 ", "(refused)  it is there, and differs"),
        ("~ account:user/client4 ", "(refused)  it is there, and differs"),
        ("~ directory:/srv/clients/client3 ", "(refused)  it is there, and differs"),
        ("+ authorized_keys:client1 ", "it is not there"),
    ] {
        let line = plan.lines().find(|line| line.starts_with(change));
        assert!(line.is_some_and(|line| line.contains(why)), "{change}: {line:?}: {plan}");
    }
    for detail in ["-# by hand", "/home/client2 → /srv/clients/client2\n", "0700 → 0755\n"] {
        assert!(plan.contains(detail), "{detail}: {plan}");
    }
    lab.expect(6, &["apply", "--yes"]);
    assert_eq!(lab.contents(), before, "a refused apply changes nothing");

    // Taken over.
    let (ran, kept, read) = meanwhile(&lab, || lab.rlvm(&["apply", "--yes", "--adopt"]));
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(kept, [], "kept out while it was taken over");
    for (path, texts) in read {
        let new = lab.read(&path);
        let old = before[&path].clone();
        assert!(
            texts.iter().all(|text| *text == new || old.ends_with(&format!("file {text}"))),
            "{path}: {texts:?}"
        );
    }
    lab.plan_is_empty();
    for number in 1..=30 {
        assert_eq!(kept_out(&lab, number, &none), None, "by rlvm");
    }
    assert_eq!((numbers(&lab), ids(&lab)), (numbers_before, ids_before));

    // One goes again, though the key that it had before is in its home still.
    let left: Vec<&str> = state.lines().filter(|line| !line.starts_with("    client3:")).collect();
    lab.state(&left.join("\n"));
    lab.apply();
    lab.plan_is_empty();
    let refused = log_in(&lab, 3);
    assert!(refused.stderr.contains("Permission denied (publickey"), "{refused:?}");
    assert_eq!((kept_out(&lab, 4, &none), kept_out(&lab, 2, &none)), (None, None));
}
