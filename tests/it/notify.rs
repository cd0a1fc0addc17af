//! Whoever is told how backups go (R78): real runs, real HTTP and SMTP servers, msmtp as the host's sendmail.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and start servers themselves"
)]

use std::{
    fs,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    lab::Lab,
    support::{Ran, require},
};

/// In each secret, and nowhere else.
const CANARY: &str = "canary0xC0FFEE";

/// The servers, and the laboratory that they are in.
struct Servers {
    lab: Lab,
    child: Child,
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts servers in a laboratory, with two repositories' worth of state to come.
fn servers() -> Servers {
    require("/usr/bin", "msmtp", "msmtp");
    let has = std::process::Command::new("/usr/bin/python3").args(["-c", "import aiosmtpd"]).status();
    assert!(has.unwrap().success(), "this test needs aiosmtpd: apt-get install python3-aiosmtpd");
    let lab = Lab::new();
    lab.certificates();
    lab.dir("/srv/heard", 0, 0o755);
    lab.file("/srv/notify.py", include_str!("notify.py"));
    lab.file("/srv/www/index.html", "hello\n");
    lab.repository("/srv/near", "/etc/rlvm/pass");
    lab.repository("/srv/far", "/etc/rlvm/pass");
    let words = ["setpriv", "--pdeathsig", "KILL", "/usr/bin/python3", "/srv/notify.py", "/srv/heard"];
    let mut command = lab.program(&[&words[..], &["/srv/tls/cert.pem", "/srv/tls/key.pem"]].concat());
    let log = fs::File::create(lab.beside("notify.log")).unwrap();
    let child = command.stdout(Stdio::null()).stderr(Stdio::from(log)).spawn().unwrap();
    let start = Instant::now();
    while ![8080, 8443, 587, 465, 25].into_iter().all(|port| lab.listens(port)) {
        let said = || fs::read_to_string(lab.beside("notify.log")).unwrap();
        assert!(start.elapsed() < Duration::from_secs(60), "the servers do not listen:\n{}", said());
        thread::sleep(Duration::from_millis(20));
    }
    Servers { lab, child }
}

impl Servers {
    /// Applies a state with two destinations, a job that stores at both, and these notifiers, which all the job names.
    #[track_caller]
    fn apply(&self, notify: &str, job: &str) {
        let names = notify.lines().filter_map(|line| line.strip_prefix("  ")?.split(':').next());
        let names: Vec<&str> = names.filter(|name| !name.starts_with(' ')).collect();
        self.lab.state(&format!(
            "destinations:\n  \
               near: {{ local: {{ path: /srv/near }}, password_file: /etc/rlvm/pass, generate_password: true }}\n  \
               far: {{ local: {{ path: /srv/far }}, password_file: /etc/rlvm/pass, generate_password: true }}\n\
             notify:\n{notify}\
             jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [near, far], notify: [{}]{job} }}\n",
            names.join(", ")
        ));
        self.lab.apply();
    }

    /// Calls rlvm, which trusts the servers' authority.
    #[track_caller]
    fn rlvm(&self, code: i32, args: &[&str]) -> Ran {
        let ran = self.lab.ran(self.lab.command(args).env("SSL_CERT_FILE", "/srv/tls/ca.pem"));
        assert_eq!(ran.code, Some(code), "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Lists what was heard since the last time.
    fn heard(&self) -> Vec<Value> {
        let at = self.lab.at("/srv/heard/heard");
        let text = fs::read_to_string(&at).unwrap_or_default();
        drop(fs::remove_file(&at));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Lists the addresses that were called since the last time, sorted.
    fn called(&self) -> Vec<String> {
        let path = |it: &Value| it["path"].as_str().unwrap().replace(CANARY, "");
        let mut all: Vec<String> = self.heard().iter().map(path).collect();
        all.sort();
        all
    }

    /// Breaks one of the repositories, or mends it.
    fn far(&self, there: bool) {
        let (from, to) = if there { ("/srv/gone", "/srv/far") } else { ("/srv/far", "/srv/gone") };
        self.lab.ok(&["mv", from, to]);
    }

    fn secret(&self, name: &str, text: &str) -> String {
        let path = format!("/etc/rlvm/{name}");
        self.lab.file_of(&path, &format!("{text}\n"), 0, 0o600);
        path
    }
}

/// Finds what was heard at an address.
#[track_caller]
fn at<'a>(heard: &'a [Value], path: &str) -> &'a Value {
    let path = format!("/ok/{path}");
    heard
        .iter()
        .find(|it| it["path"].as_str().unwrap().replace(CANARY, "") == path)
        .unwrap_or_else(|| panic!("{heard:#?}"))
}

#[test]
fn failure_and_recovery_in_the_words_of_each_service_and_no_secret_anywhere() {
    // R78
    let on = servers();
    for name in ["discord", "slack", "json", "watch"] {
        on.secret(name, &format!("http://mirror.lan:8080/ok/{name}{CANARY}"));
    }
    on.secret("token", CANARY);
    let file = |name: &str, format: &str| {
        format!("  {name}: {{ webhook: {{ url_file: /etc/rlvm/{name}, format: {format} }} }}\n")
    };
    let notify = [
        file("discord", "discord"),
        file("slack", "slack"),
        file("json", "json"),
        file("watch", "healthchecks"),
        "  phone: { log_lines: 5, webhook: { url: 'https://mirror.lan:8443/ok/phone', token_file: /etc/rlvm/token, format: ntfy } }\n"
            .into(),
        "  ping: { on: [success], webhook: { url: 'http://mirror.lan:8080/ok/ping', format: ping } }\n".into(),
    ];
    on.apply(&notify.concat(), "");
    let mut said = String::new();
    let mut say = |ran: Ran| said.push_str(&(ran.stdout + &ran.stderr));

    say(on.rlvm(0, &["-vv", "run", "web"]));
    assert_eq!(on.called(), ["/ok/ping", "/ok/watch", "/ok/watch/start"]);

    on.far(false);
    say(on.rlvm(8, &["-vv", "run", "web"]));
    let heard = on.heard();
    assert_eq!(heard.len(), 6, "{heard:#?}");
    let body = |name: &str| at(&heard, name)["body"].as_str().unwrap().to_owned();
    let value = |name: &str| serde_json::from_str::<Value>(&body(name)).unwrap();
    let discord = value("discord");
    assert!(
        discord["content"].as_str().unwrap().starts_with("**web01: backup failed: web at far**\n"),
        "{discord}"
    );
    assert_eq!(discord["allowed_mentions"]["parse"], serde_json::json!([]));
    assert!(value("slack")["text"].as_str().unwrap().contains("rlvm why web"), "{}", value("slack"));
    let json = value("json");
    assert_eq!(
        (&json["format_version"], &json["record"]["jobs"][0]["status"]),
        (&"1.0".into(), &"incomplete".into())
    );
    assert_eq!(
        (&json["items"][0]["occasion"], &json["items"][0]["destination"]),
        (&"failure".into(), &"far".into())
    );
    let phone = at(&heard, "phone");
    assert_eq!(phone["headers"]["Title"], "web01: backup failed: web at far");
    assert_eq!(
        (&phone["headers"]["Priority"], &phone["headers"]["Authorization"]),
        (&"high".into(), &format!("Bearer {CANARY}").into())
    );
    assert!(body("phone").contains("the end of /var/log/rlvm/web.log:\n"), "{}", body("phone"));
    // The end of the log, of this run alone.
    assert!(body("watch/fail").contains("restic backup"), "{}", body("watch/fail"));
    assert_eq!(body("watch/start"), "");

    // The same trouble is told once; what watches hears of each run.
    say(on.rlvm(8, &["run", "web"]));
    assert_eq!(on.called(), ["/ok/watch/fail", "/ok/watch/start"]);
    on.far(true);
    say(on.rlvm(0, &["run", "web"]));
    let heard = on.heard();
    let content = |name: &str| at(&heard, name)["body"].as_str().unwrap().to_owned();
    assert_eq!(heard.len(), 7, "{heard:#?}");
    assert!(
        content("discord").contains("**web01: backup works again: web at far**"),
        "{}",
        content("discord")
    );
    assert!(content("watch").contains("web: stored at near, far"), "{}", content("watch"));
    say(on.rlvm(0, &["run", "web"]));
    assert_eq!(on.called(), ["/ok/ping", "/ok/watch", "/ok/watch/start"]);

    for args in
        [&["-vv", "notify", "test"][..], &["notify", "test", "--json"], &["show"], &["why", "web"], &["plan"]]
    {
        say(on.rlvm(0, args));
    }
    said += &on.lab.ok(&["sh", "-c", "cat /var/log/rlvm/* /var/lib/rlvm/*.json* /var/lib/rlvm/*/*"]);
    assert!(said.contains("/etc/rlvm/discord") && !said.contains(CANARY), "a secret got out");
}

#[test]
fn a_dead_notifier_fails_no_backup_and_is_a_warning_until_it_works() {
    let on = servers();
    on.secret("busy", &format!("http://mirror.lan:8080/busy/2/{CANARY}"));
    on.secret("moved", &format!("http://mirror.lan:8080/moved/{CANARY}"));
    let file =
        |name: &str| format!("  {name}: {{ on: [success], webhook: {{ url_file: /etc/rlvm/{name} }} }}\n");
    let dead = "  dead: { on: [success], webhook: { url: 'http://mirror.lan:81/x' } }\n  \
                gone: { on: [success], webhook: { url: 'http://mirror.lan:8080/nothing' } }\n  \
                stranger: { on: [success], webhook: { url: 'https://nas.lan:8443/ok/x' } }\n  \
                unknown: { on: [success], webhook: { url: 'http://nobody.lan/x' } }\n";
    on.apply(&(file("busy") + &file("moved") + dead), "");
    // What cannot pass is not tried again, and nobody is sent elsewhere.
    let ran = on.rlvm(0, &["run", "web"]);
    let all = on.called();
    let count = |name: &str| all.iter().filter(|path| path.starts_with(name)).count();
    assert_eq!((count("/busy"), count("/moved"), count("/nothing"), count("/ok")), (3, 1, 1, 0), "{all:?}");
    for why in [
        "warning: dead could not be told: http://mirror.lan:81: ",
        "warning: gone could not be told: http://mirror.lan:8080: answered 404",
        "warning: moved could not be told: http://mirror.lan:8080: answered 302",
        "warning: stranger could not be told: https://nas.lan:8443: its certificate is for another name",
        "warning: unknown could not be told: http://nobody.lan: ",
    ] {
        assert!(ran.stderr.contains(why), "{why}\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("busy") && !ran.stderr.contains(CANARY), "{}", ran.stderr);
    assert!(on.lab.read("/var/log/rlvm/web.log").contains(" notify: gone could not be told: "));
    let status = on.lab.rlvm(&["status"]).stdout;
    assert!(
        status.contains("gone cannot be told anything since") && !status.contains("busy cannot"),
        "{status}"
    );
    let ran = on.rlvm(1, &["notify", "test", "gone", "busy"]);
    assert!(ran.stdout.contains("gone: FAILED: http://mirror.lan:8080: answered 404"), "{}", ran.stdout);
    assert!(ran.stdout.contains("busy: http://mirror.lan:8080 answered 200"), "{}", ran.stdout);
    assert!(ran.stderr.contains("1 of 2: not told"), "{}", ran.stderr);
    // It works again.
    let mended = dead.replace("/nothing", "/ok/now");
    on.apply(&(file("busy") + &file("moved") + &mended), "");
    assert!(
        on.rlvm(0, &["notify", "test", "gone"]).stdout.contains("gone: http://mirror.lan:8080 answered 204")
    );
    assert!(!on.lab.rlvm(&["status"]).stdout.contains("gone cannot be told"));
    assert!(on.rlvm(1, &["notify", "test", "x"]).stderr.contains("there is no notifier x"));
    // Whose file anybody could have written is not called.
    on.lab.own("/etc/rlvm/moved", 0, 0o666);
    let ran = on.rlvm(1, &["notify", "test", "moved"]);
    assert!(
        ran.stdout.contains("can be written by others") && !ran.stdout.contains(CANARY),
        "{}",
        ran.stdout
    );
    assert!(on.rlvm(1, &["plan"]).stdout.contains("/etc/rlvm/moved can be written by others"));
}

#[test]
fn mails_by_servers_and_by_sendmail() {
    let on = servers();
    on.secret("smtp", "mail-passes");
    on.secret("wrong", CANARY);
    let server = |name: &str, smtp: &str| {
        format!(
            "  {name}: {{ email: {{ to: 'ann@example.org, bob@example.org', from: backup@example.org, smtp: {{ {smtp} }} }} }}\n"
        )
    };
    let login = "user: backup, password_file: /etc/rlvm/smtp";
    let notify = [
        server("starttls", &format!("host: mirror.lan, {login}")),
        server("implicit", &format!("host: mirror.lan, tls: implicit, {login}")),
        server("clear", "host: mirror.lan, tls: none"),
        server("stranger", "host: mirror.lan, user: backup, password_file: /etc/rlvm/wrong"),
        // It has no STARTTLS, and its certificate is for another name.
        server("stripped", &format!("host: mirror.lan, port: 25, {login}")),
        server("other", &format!("host: nas.lan, {login}")),
        "  local: { email: { to: root } }\n".into(),
    ];
    // msmtp is a sendmail that hands on at once.
    let msmtp =
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > /srv/args\nexec /usr/bin/msmtp --file=/etc/msmtprc \"$@\"\n";
    on.lab.file_of("/usr/local/sbin/sendmail", msmtp, 0, 0o755);
    on.lab.file("/etc/msmtprc", "account default\nhost mirror.lan\nport 25\nfrom root@web01\n");
    on.apply(&notify.concat(), ", hooks: { before: [{ run: 'echo zu früh; exit 3' }] }");
    let ran = on.rlvm(1, &["run", "web"]);
    let heard = on.heard();
    let mail = |server: &str, sender: &str| {
        let it =
            heard.iter().find(|it| it["server"] == server && it["sender"].as_str().unwrap().contains(sender));
        it.unwrap_or_else(|| panic!("{server}: {heard:#?}\n{}", ran.stderr))
    };
    assert_eq!(heard.len(), 4, "{heard:#?}\n{}", ran.stderr);
    for (server, user) in
        [("starttls", Value::from("backup")), ("implicit", "backup".into()), ("none", Value::Null)]
    {
        let it = mail(server, "backup@example.org");
        assert_eq!(it["tls"], server != "none", "{it}");
        assert_eq!(it["user"], user, "{it}");
        assert_eq!(it["to"], serde_json::json!(["ann@example.org", "bob@example.org"]));
        let text = it["mail"].as_str().unwrap();
        assert!(text.contains("\r\nSubject: web01: backup failed: web"), "{text}");
        assert!(text.is_ascii() && it["text"].as_str().unwrap().contains(": zu früh\r\n"), "{it}");
        assert!(text.contains("\r\nTo: ann@example.org,\r\n bob@example.org\r\n"), "{text}");
    }
    let local = mail("none", "root@web01");
    assert_eq!(local["to"], serde_json::json!(["root"]));
    assert_eq!(on.lab.read("/srv/args"), "-i\n--\nroot\n");
    for why in [
        "stranger could not be told: mirror.lan:587: answered 535",
        "stripped could not be told: mirror.lan:25: ",
        "other could not be told: nas.lan:587: its certificate is for another name",
    ] {
        assert!(ran.stderr.contains(why), "{why}\n{}", ran.stderr);
    }
    let kept = on.lab.ok(&["sh", "-c", "cat /var/log/rlvm/* /var/lib/rlvm/*.json* /var/lib/rlvm/*/*"]);
    assert!(!(ran.stderr + &ran.stdout + &kept).contains(CANARY), "a secret got out");
    // Nothing is a header of its own, and no address a flag.
    for to in ["\"a@b\\nBcc: x@evil.lan\"", "-oQ/tmp@x", "'root, --help'"] {
        on.lab.state(&format!("notify:\n  a: {{ email: {{ to: {to} }} }}\n"));
        on.lab.expect(3, &["validate"]);
    }
}

#[test]
fn what_has_not_run_is_told_once_and_found_by_an_entry_of_its_own() {
    let on = servers();
    let notify = "  ops: { webhook: { url: 'http://mirror.lan:8080/ok/ops' } }\n";
    on.apply(notify, ", schedule: '30 2 * * *'");
    let entry = on.lab.read("/etc/cron.d/rlvm_watch");
    assert!(entry.ends_with(" * * * * root /usr/bin/rlvm --quiet notify watch\n"), "{entry}");
    on.lab.plan_is_empty();
    for repository in ["/srv/near", "/srv/far"] {
        let words = ["restic", "-q", "--no-cache", "--repo", repository, "--password-file", "/etc/rlvm/pass"];
        let backup = ["backup", "--host", "web01", "--tag", "rlvm:job=web", "/srv/www"];
        let time: &[&str] = if repository == "/srv/far" { &["--time", "2025-01-01 00:00:00"] } else { &[] };
        on.lab.ok(&[&words[..], &backup, time].concat());
    }
    assert_eq!(on.rlvm(0, &["--quiet", "notify", "watch"]).stdout, "");
    let heard = on.heard();
    assert_eq!(heard.len(), 1, "{heard:#?}");
    assert!(heard[0]["body"].as_str().unwrap().contains("web01: backup overdue: web at far"), "{heard:#?}");
    on.rlvm(0, &["notify", "watch"]);
    assert!(on.heard().is_empty());
    // As after a reboot: what was told is kept.
    assert!(on.lab.read("/var/lib/rlvm/notify/told.json").contains("\"due\""));
    on.rlvm(0, &["run", "web"]);
    let heard = on.heard();
    assert!(
        heard.len() == 1 && heard[0]["body"].as_str().unwrap().contains("backup works again: web at far"),
        "{heard:#?}"
    );
    // Nobody is to be told any more: the entry goes.
    on.apply(&notify.replace("{ web", "{ on: [failure], web"), ", schedule: '30 2 * * *'");
    assert!(!on.lab.at("/etc/cron.d/rlvm_watch").exists());
}

#[test]
fn what_could_not_even_begin_is_told_and_old_backups_that_stay() {
    let on = servers();
    let notify = "  ops: { webhook: { url: 'http://mirror.lan:8080/ok/ops' } }\n  \
                  watch: { webhook: { url: 'http://mirror.lan:8080/ok/watch', format: healthchecks } }\n";
    on.apply(notify, ", retention: { last: 1 }");
    on.rlvm(0, &["run", "web"]);
    on.heard();
    // Before it begins, and when it has.
    on.lab.ok(&["sh", "-c", "mv /var/lib/rlvm/journal /srv && ln -s /tmp /var/lib/rlvm/journal"]);
    on.rlvm(1, &["run", "web"]);
    assert_eq!(on.called(), ["/ok/ops", "/ok/watch/fail"]);
    on.lab.ok(&[
        "sh",
        "-c",
        "rm /var/lib/rlvm/journal && mv /srv/journal /var/lib/rlvm && cp /var/lib/rlvm/ledger.json /srv",
    ]);
    on.rlvm(0, &["run", "web"]);
    assert_eq!(on.called(), ["/ok/ops", "/ok/watch", "/ok/watch/start"]);
    on.lab.file("/var/lib/rlvm/ledger.json", "damaged");
    on.rlvm(1, &["run", "web"]);
    assert_eq!(on.called(), ["/ok/ops", "/ok/watch/fail", "/ok/watch/start"]);
    on.lab.ok(&["mv", "/srv/ledger.json", "/var/lib/rlvm/ledger.json"]);
    on.far(false);
    on.rlvm(1, &["prune"]);
    let heard = on.heard();
    let body = at(&heard, "ops")["body"].as_str().unwrap();
    assert!(body.contains("old backups are not removed") && heard.len() == 1, "{heard:#?}");
    on.far(true);
    on.rlvm(0, &["prune"]);
    assert!(at(&on.heard(), "ops")["body"].as_str().unwrap().contains("old backups are removed again"));
}

#[test]
fn a_signal_is_told_and_waits_for_nobody() {
    let on = servers();
    let notify = "  ops: { webhook: { url: 'http://mirror.lan:8080/ok/ops' } }\n  \
                  silent: { webhook: { url: 'http://mirror.lan:8080/silent' } }\n";
    on.apply(notify, ", hooks: { before: [{ run: 'touch /srv/began; sleep 60' }] }");
    let run = on.lab.command(&["run", "web"]).spawn().unwrap();
    while !on.lab.at("/srv/began").exists() {
        thread::sleep(Duration::from_millis(50));
    }
    on.lab.ok(&["sh", "-c", "kill -TERM $(grep -lx rlvm /proc/[0-9]*/comm | head -1 | cut -d/ -f3)"]);
    let start = Instant::now();
    let output = run.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(143) && start.elapsed() < Duration::from_secs(25), "{stderr}");
    assert!(
        stderr.contains("warning: silent could not be told: http://mirror.lan:8080: no answer in time"),
        "{stderr}"
    );
    assert!(at(&on.heard(), "ops")["body"].as_str().unwrap().contains("backup failed: web"));
}

#[test]
fn damage_that_a_verification_finds_is_told_and_its_end() {
    let on = servers();
    on.apply("  ops: { webhook: { url: 'http://mirror.lan:8080/ok/ops' } }\n", "");
    on.rlvm(0, &["run", "web"]);
    on.rlvm(0, &["verify"]);
    assert!(on.heard().is_empty());
    on.lab.ok(&[
        "sh",
        "-c",
        "cp -a /srv/far /srv/whole; truncate -s 10 $(find /srv/far/data -type f | head -1)",
    ]);
    on.rlvm(9, &["verify"]);
    let heard = on.heard();
    let told: Value = serde_json::from_str(at(&heard, "ops")["body"].as_str().unwrap()).unwrap();
    assert_eq!(told["message"]["subject"], "web01: verification failed: far", "{told}");
    assert_eq!(
        (&told["items"][0]["occasion"], &told["checks"][0]["kind"]),
        (&"verify".into(), &"verify".into())
    );
    on.rlvm(9, &["verify"]);
    assert!(on.heard().is_empty());
    on.lab.ok(&["sh", "-c", "rm -r /srv/far && mv /srv/whole /srv/far"]);
    on.rlvm(0, &["verify"]);
    assert!(at(&on.heard(), "ops")["body"].as_str().unwrap().contains("backup works again: far"));
}
