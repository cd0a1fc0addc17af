//! Mounts whose server hangs: everything ends in its time, and what does not lie on them goes on.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests mount file systems themselves")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{lab::Lab, support::Ran};

const NEAR: &str = "/srv/backup/near";
const FAR: &str = "/srv/backup/far";

/// How long a mount has to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// How much longer a verb may take in all: programs start slowly where other tests run.
const REST: Duration = Duration::from_secs(15);

/// A server that mounts its file system at these places, and hangs.
pub(crate) struct Hang(Child);

impl Hang {
    pub(crate) fn at(lab: &Lab, how: &str, places: &[&str]) -> Self {
        let script = lab.beside("hang.py");
        fs::write(&script, include_str!("hang.py")).unwrap();
        let words = ["setpriv", "--pdeathsig", "KILL", "/usr/bin/python3", script.to_str().unwrap(), how];
        let mut child = lab.program(&[&words[..], places].concat()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "this test needs FUSE: modprobe fuse");
        Self(child)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        // The kernel ends all calls when the server is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine with three jobs and two destinations, all applied.
fn applied() -> Lab {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    lab.file("/srv/mail/1", "hello\n");
    lab.state(&format!(
        "directories:\n  /srv/www: {{ adopt: true, mode: \"0755\" }}\n  /srv/mail: {{ adopt: true, mode: \"0755\" }}\n\
         destinations:\n  \
           near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n  \
           far: {{ local: {{ path: {FAR} }}, password_file: /etc/rlvm/far.pass, generate_password: true }}\n\
         jobs:\n  \
           web: {{ sources: [{{ path: /srv/www }}], to: [near] }}\n  \
           part: {{ sources: [{{ path: /srv/www }}], to: [near], exclude: [/srv/www/cache] }}\n  \
           mail: {{ sources: [{{ path: /srv/mail }}], to: [near, far] }}\n"
    ));
    lab.apply();
    lab.expect(0, &["run", "--all"]);
    lab
}

/// Calls rlvm, which must end in time.
#[track_caller]
fn in_time(lab: &Lab, args: &[&str]) -> Ran {
    let start = Instant::now();
    let ran = lab.rlvm(args);
    let took = start.elapsed();
    assert!(took < LIMIT + REST, "rlvm {} took {took:?}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
    ran
}

#[track_caller]
fn says(ran: &Ran, words: &str) {
    assert!(
        ran.stdout.contains(words) || ran.stderr.contains(words),
        "{words}\n{}\n{}",
        ran.stdout,
        ran.stderr
    );
}

#[test]
fn a_mount_that_hangs_fails_what_lies_on_it_and_nothing_else() {
    for how in ["unread", "unanswered"] {
        let lab = applied();
        let hang = Hang::at(&lab, how, &["/srv/www", FAR]);

        let plan = in_time(&lab, &["plan"]);
        says(&plan, "did not answer within 10 s");

        let run = in_time(&lab, &["run", "--all", "--json"]);
        assert_eq!(run.code, Some(8), "{}\n{}", run.stdout, run.stderr);
        let record = lab.ok(&["sh", "-c", "tail -qn1 /var/lib/rlvm/records/*.jsonl"]);
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let job = |name: &str| {
            let jobs = record["jobs"].as_array().unwrap();
            jobs.iter().find(|it| it["job"] == name).unwrap().clone()
        };
        let errors = |name: &str| job(name).to_string();
        let silent = |path: &str, mount: &str| {
            format!("cannot look at {path}: the mount {mount} did not answer within 10 s")
        };
        assert!(errors("web").contains(&silent("/srv/www", "/srv/www")), "{record}");
        let stored = &job("mail")["destinations"];
        assert_eq!(stored[0]["status"], "success", "{record}");
        assert_eq!(stored[1]["status"], "failed", "{record}");
        assert!(
            stored[1]["error"].as_str().unwrap().contains(&format!("the mount {FAR} did not")),
            "{record}"
        );

        let status = in_time(&lab, &["status"]);
        says(&status, &format!("the mount {FAR} did not answer"));
        says(&in_time(&lab, &["verify", "--to", "far"]), "did not answer within 10 s");
        assert_eq!(in_time(&lab, &["verify", "--to", "near"]).code, Some(0));
        in_time(&lab, &["notify", "watch"]);
        let restore = ["restore", "mail", "--from", "near", "--target", "/srv/www/new", "--yes"];
        says(&in_time(&lab, &restore), "did not answer within 10 s");

        drop(hang);
        // What was left behind may still be on its way out.
        lab.ok(&["umount", "--lazy", "/srv/www", FAR]);
        lab.expect(0, &["run", "--all"]);
    }
}

#[test]
fn a_mount_below_a_source_that_hangs_refuses_the_source_unless_it_is_excluded() {
    let lab = applied();
    lab.dir("/srv/www/cache/nas", 0, 0o755);
    let _hang = Hang::at(&lab, "unread", &["/srv/www/cache/nas"]);
    let run = in_time(&lab, &["run", "web"]);
    says(&run, "the mount /srv/www/cache/nas did not answer within 10 s");
    assert_eq!(in_time(&lab, &["run", "part"]).code, Some(0));
}

#[test]
fn a_signal_ends_what_waits_for_a_mount() {
    let lab = applied();
    let _hang = Hang::at(&lab, "unanswered", &["/srv/www", FAR]);
    for args in [&["plan"][..], &["apply", "--yes"], &["run", "web"], &["status"]] {
        let mut command = lab.command(args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_secs(3));
        lab.ok(&["sh", "-c", "kill -TERM $(grep -lx rlvm /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"]);
        let start = Instant::now();
        let ended = { child }.wait_with_output().unwrap().status;
        assert!(start.elapsed() < Duration::from_secs(5), "{args:?} took {:?}", start.elapsed());
        let by_signal = ended.signal() == Some(15) || ended.code() == Some(143);
        assert!(by_signal || !ended.success(), "{args:?}: {ended:?}");
    }
}

#[test]
fn a_program_that_cannot_be_killed_is_left_behind_and_named() {
    let lab = Lab::new();
    lab.file("/srv/www/index.html", "hello\n");
    lab.dir("/srv/hung", 0, 0o755);
    lab.state(&format!(
        "destinations:\n  \
           near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n\
         jobs:\n  \
           web: {{ sources: [{{ path: /srv/www }}], to: [near], hooks: {{ before: [{{ run: \"exec stat /srv/hung/x\", timeout: 1s }}] }} }}\n"
    ));
    lab.apply();
    let _hang = Hang::at(&lab, "unanswered", &["/srv/hung"]);
    let run = in_time(&lab, &["run", "web"]);
    says(&run, "it hangs in the kernel, even after SIGKILL");
}
