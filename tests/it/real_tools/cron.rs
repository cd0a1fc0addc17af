//! R43: Debian's cron itself reads the files and runs what they say.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::says;
use crate::support::{Scratch, require};

/// What cron asks of a file in /etc/cron.d (cron(8) of Debian): else it is passed over without a word.
fn is_read_by_cron(scratch: &Scratch, name: &str) {
    let path = format!("/etc/cron.d/{name}");
    let valid = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    assert!(name.chars().all(valid), "{name}");
    let meta = fs::symlink_metadata(scratch.at(&path)).unwrap();
    assert!(
        meta.is_file() && meta.nlink() == 1 && meta.uid() == 0 && meta.mode() & 0o7777 == 0o644,
        "{meta:?}"
    );
    let text = scratch.read(&path);
    assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text}");
    assert!(text.contains("\nSHELL=/bin/sh\n") && text.contains("\nPATH=/"), "{text}");
    let entry = text.lines().next_back().unwrap();
    let bare = entry.replace("\\%", "");
    assert!(!bare.contains('%') && !entry.starts_with('#'), "{entry}");
}

#[test]
fn each_file_is_one_that_cron_reads() {
    // R43
    let scratch = Scratch::new();
    scratch.state(
        "destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n\
         jobs:\n  web: { sources: [{ path: /etc }], to: [vault], schedule: \"30 2 * * MON\", retention: { daily: 7 }, prune: { schedule: \"0 5 * * 0\" } }\n  web2: { sources: [{ path: /etc }], to: [vault], schedule: \"@daily\" }\n\
         cron:\n  tick: { schedule: \"*/5 1-4 * JAN,MAR 0\", user: backup, command: \"date +%F >> /tmp/100%\" }\n",
    );
    scratch.apply();
    for name in ["rlvm-web", "rlvm-web2", "rlvm_prune-web", "rlvm_sweep", "tick"] {
        is_read_by_cron(&scratch, name);
    }
    let entry =
        |name: &str| scratch.read(&format!("/etc/cron.d/{name}")).lines().next_back().unwrap().to_owned();
    assert_eq!(entry("rlvm-web"), "30 2 * * MON root /usr/bin/rlvm run --scheduled web");
    assert_eq!(entry("rlvm_prune-web"), "0 5 * * 0 root /usr/bin/rlvm --quiet prune web");
    assert_eq!(entry("rlvm_sweep"), "@reboot root /usr/bin/rlvm --quiet sweep");
    assert_eq!(entry("tick"), "*/5 1-4 * JAN,MAR 0 backup date +\\%F >> /tmp/100\\%");
    // A name that cron would pass over is refused before.
    scratch.state("cron:\n  a.b: { schedule: \"@daily\", command: \"true\" }\n");
    says(&scratch, &["plan"], 3, &["a.b"]);
}

/// Stands in for the machine: only the scratch tree's entries, nothing of this system's.
const NAMESPACE: &str = r#"
root=$1 empty=$2
mount --bind "$root/etc/cron.d" /etc/cron.d
mount --bind "$empty/file" /etc/crontab
mkdir -p /var/spool/cron/crontabs
mount --bind "$empty/dir" /var/spool/cron/crontabs
run=$(readlink -f /var/run)
mount -t tmpfs none "$run"
exec cron -f -L 15
"#;

#[test]
fn cron_itself_runs_what_was_applied() {
    // R43. The one test that waits for the clock: cron has no faster way to say that it read a file.
    let scratch = Scratch::new();
    require("/usr/sbin:/usr/bin", "cron", "cron");
    let ticked = scratch.beside("ticked");
    let at = |name: &str| scratch.beside(name).display().to_string();
    // `%` unescaped would be a newline, `$HOME` shows whose entry it is, PATH must reach sbin.
    let command =
        format!("printf '\\%s %s 100%\\n' \"$HOME\" \"$PATH\" > {}", ticked.display()).replace('\\', "");
    let command = command.replace("100%n", "100%%");
    // What cron's parser would take apart reaches the shell as it is.
    let exact = r"printf %s 'a\%b\\c%d\\\%'";
    let (unquoted, quoted) =
        (format!("echo +\\%F > {}", at("unquoted")), format!("{exact} > {}", at("quoted")));
    scratch.state(&format!(
        "cron:\n  tick: {{ schedule: \"* * * * *\", command: {command:?} }}\n  \
         unquoted: {{ schedule: \"* * * * *\", command: {unquoted:?} }}\n  \
         quoted: {{ schedule: \"* * * * *\", command: {quoted:?} }}\n"
    ));
    scratch.apply();
    let applied = scratch.read("/etc/cron.d/tick");
    // What cron passes over, rlvm relies on: a file that is being written, one that others may write.
    let bad = |name: &str, mode| {
        let text = applied.replace("ticked", &format!("bad-{mode:o}"));
        scratch.file_of(&format!("/etc/cron.d/{name}"), &text, 0, mode);
    };
    bad("tick.rlvm-new~", 0o644);
    bad("open", 0o666);
    fs::create_dir_all(scratch.beside("empty/dir")).unwrap();
    fs::write(scratch.beside("empty/file"), "").unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--mount",
        "--propagation",
        "private",
        "setpriv",
        "--pdeathsig=KILL",
        "sh",
        "-euc",
        NAMESPACE,
    ]);
    unshare.arg("sh").arg(scratch.root()).arg(scratch.beside("empty"));
    let log = fs::File::create(scratch.beside("cron.log")).unwrap();
    unshare.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let mut cron = unshare.spawn().unwrap();
    let start = Instant::now();
    let ran = loop {
        let others = [at("unquoted"), at("quoted")].map(|it| fs::read(it).is_ok_and(|text| !text.is_empty()));
        if let Ok(text) = fs::read_to_string(&ticked)
            && text.ends_with('%')
            && others == [true, true]
        {
            break text;
        }
        let said = || fs::read_to_string(scratch.beside("cron.log")).unwrap();
        assert!(cron.try_wait().unwrap().is_none(), "cron ended: {}", said());
        if start.elapsed() > Duration::from_secs(130) {
            cron.kill().unwrap();
            panic!("cron ran nothing: {}\n{applied}", said());
        }
        thread::sleep(Duration::from_millis(100));
    };
    thread::sleep(Duration::from_millis(500));
    cron.kill().unwrap();
    cron.wait().unwrap();
    assert_eq!(ran, "/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin 100%");
    let read = |name: &str| fs::read_to_string(at(name)).unwrap();
    assert_eq!((read("unquoted"), read("quoted")), ("+%F\n".into(), r"a\%b\\c%d\\\%".into()));
    let bad = ["bad-644", "bad-666"].map(|name| scratch.beside(name).exists());
    assert_eq!(bad, [false, false], "cron read what it should not");
}
