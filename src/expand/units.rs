//! Expands schedules for systemd: a timer and a service each.

use std::fmt::Write;

use anyhow::Result;

use super::{
    Declared, Expanded,
    hardening::{Setting, settings},
    schedules::{Starts, Timed, take},
};
use crate::{
    effect::Owner,
    model::{HostPath, Mode, Personal, Scope, UserName},
    resource::{CRON_PATH, Directory, Finding, Severity, Unit},
    state::State,
};

/// Declares the timers and services.
pub(super) fn add(state: &State, all: &[Timed], scope: &Scope, expanded: &mut Expanded) {
    // Needed with or without them: the last one's end does not take a system directory with it.
    for needed in directories(scope.personal()).into_iter().flatten() {
        let address = Declared::plain(needed.clone()).resource.address();
        expanded.resources.entry(address).or_insert_with(|| Declared::plain(needed));
    }
    for timed in all {
        if let Some(own) = scope.personal().filter(|own| is_another(timed, own)) {
            let message = format!("its user is {}, and without root all runs as {}", timed.user, own.user);
            let remedy = "apply as root, or take out `user:`";
            expanded.findings.push(Finding::new(Severity::Error, &timed.place, message).remedy(remedy));
            continue;
        }
        for unit in units(state, timed, scope.personal()) {
            let declared =
                |unit| Declared { adopt: timed.adopt, protect: timed.protect, ..Declared::plain(unit) };
            take(expanded, &timed.place, unit.map(declared));
        }
    }
}

/// Says whether an entry is for another user than the one whose set-up it is. Who is not said is `root` in the state.
fn is_another(timed: &Timed, own: &Personal) -> bool {
    let ours = matches!(
        timed.starts,
        Starts::Job(_) | Starts::PruneOf(_) | Starts::VerifyOf(_) | Starts::Sweep | Starts::Watch
    );
    !ours && timed.user != own.user && timed.user != UserName::root()
}

/// Lists the directories that units stand in: the system's, or a user's own with those above it.
fn directories(own: Option<&Personal>) -> Result<Vec<Directory>> {
    let path = Unit::directory(own)?;
    let owner =
        own.map_or_else(Owner::root, |own| Owner { user: own.user.clone(), group: own.group.clone() });
    let within = |dir: &HostPath| own.is_some_and(|own| dir.is_within(&own.config));
    let above: Vec<HostPath> = path.ancestors().filter(within).collect();
    let implied = |path| Directory {
        path,
        owner: owner.clone(),
        mode: Mode::new(0o755),
        mounted: false,
        implied: true,
        may_be_absent: false,
    };
    Ok(std::iter::once(path).chain(above).map(implied).collect())
}

/// Writes the service, and its timer unless the boot starts it.
fn units(state: &State, timed: &Timed, own: Option<&Personal>) -> Vec<Result<Unit>> {
    let calendar = timed.schedule.on_calendar();
    let service =
        Unit::service(&timed.name, service(state, timed, calendar.is_none(), own), calendar.is_none(), own);
    let timer = calendar.map(|lines| Unit::timer(&timed.name, timer(timed, &lines), own));
    std::iter::once(service).chain(timer).collect()
}

/// Writes the first lines of a unit.
fn head(timed: &Timed) -> String {
    let whose = &timed.whose;
    format!(
        "# {whose}; made by rlvm, which puts back what is changed by hand.\n[Unit]\nDescription=rlvm: {whose}\n"
    )
}

fn timer(timed: &Timed, calendar: &[String]) -> String {
    let mut text = head(timed) + "\n[Timer]\n";
    for line in calendar {
        let _ = writeln!(text, "OnCalendar={line}");
    }
    // As cron, on the minute: by default it may be one late, so that wake-ups come together (systemd.timer(5)).
    text.push_str("AccuracySec=1s\n");
    if let Some(jitter) = timed.jitter {
        let _ = writeln!(text, "RandomizedDelaySec={}s", jitter.seconds());
    }
    if timed.starts != Starts::Entry {
        // What a host that was down missed is made up for, once. Cron does not, and an entry may rely on that: a reboot
        // on Sundays is none on Mondays.
        text.push_str("Persistent=true\n");
    }
    text.push_str("\n[Install]\nWantedBy=timers.target\n");
    text
}

fn service(state: &State, timed: &Timed, at_boot: bool, own: Option<&Personal>) -> String {
    let mut text = head(timed);
    // A user's manager knows neither; and it comes up when both are there.
    if own.is_none() {
        text.push_str("After=network-online.target local-fs.target\nWants=network-online.target\n");
    }
    // A boot would wait for the end of a oneshot.
    let kind = if at_boot { "exec" } else { "oneshot" };
    let _ = write!(text, "\n[Service]\nType={kind}\nExecStart={}\n", command(state, timed));
    let _ = writeln!(text, "Environment=PATH={CRON_PATH}");
    if let Some(home) = state.home.as_ref().filter(|_| timed.starts.is_rlvm()) {
        let _ = writeln!(text, "Environment={}", quoted(&format!("RLVM_HOME={home}")));
    }
    let job = match &timed.starts {
        Starts::Job(name) | Starts::PruneOf(name) => state.jobs.get(name),
        _ => None,
    };
    // A drill restores what belongs to anybody, set-id files too: it is as free as the sweep.
    if job.is_some() || matches!(timed.starts, Starts::VerifyOf(_) | Starts::Sweep) {
        // It takes a SIGTERM as a wish to unwind, and ends what it has started itself: snapshots go, services come
        // back, hooks have ten minutes each. No limit to the run: that is the job's `timeout`.
        text.push_str("KillMode=mixed\nTimeoutStopSec=15min\n");
        // Else only `User=` would set it, and hooks know it from cron; `%h` is that of whose manager it is.
        text.push_str("Environment=HOME=%h\n");
        for Setting { line, .. } in settings(job, own.is_some()) {
            let _ = writeln!(text, "{line}");
        }
    } else {
        // As cron does it: from home, and what it leaves in the background goes on.
        text.push_str("Environment=SHELL=/bin/sh\nWorkingDirectory=-~\nKillMode=process\n");
        if own.is_none() {
            let _ = writeln!(text, "User={}", timed.user);
        }
    }
    if at_boot {
        let target = if own.is_some() { "default.target" } else { "multi-user.target" };
        let _ = write!(text, "\n[Install]\nWantedBy={target}\n");
    }
    text
}

/// Writes the words of a command as systemd reads them.
fn command(state: &State, timed: &Timed) -> String {
    // The journal keeps what rlvm says, and nobody is mailed it; by how much it is late, the timer says.
    let rlvm = state.rlvm_path.as_str();
    let (program, words) = match &timed.starts {
        Starts::Job(job) => (rlvm, vec!["run", job.as_str()]),
        Starts::PruneOf(job) => (rlvm, vec!["prune", job.as_str()]),
        Starts::VerifyOf(job) => (rlvm, vec!["verify", job.as_str()]),
        Starts::Prune(client) => (rlvm, vec!["prune", "--client", client.as_str()]),
        Starts::Sweep => (rlvm, vec!["sweep"]),
        Starts::Watch => (rlvm, vec!["notify", "watch"]),
        Starts::Rotation | Starts::Entry => ("/bin/sh", vec!["-c", &timed.command]),
    };
    // Of the program's own name no variable is taken (systemd.service(5)).
    let words: Vec<String> = words.into_iter().map(|word| quoted(&word.replace('$', "$$"))).collect();
    format!("{} {}", quoted(program), words.join(" "))
}

/// Writes a word as systemd.syntax(7) has it: in quotes where it needs them, `\` and `"` escaped, `%` doubled.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,$".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word;
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\t' => text.push_str("\\t"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads the words of a command as systemd does (systemd.syntax(7), systemd.service(5)): quotes and escapes first,
    /// then `%%`, then `$$`; another `%` or `$` would be replaced by something.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote, mut letters) = (Vec::new(), None::<String>, None, line.chars());
        while let Some(letter) = letters.next() {
            match (letter, quote) {
                (it, Some(open)) if it == open => quote = None,
                ('"' | '\'', None) => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                ('\\', _) => word.get_or_insert_default().push(match letters.next() {
                    Some('t') => '\t',
                    Some(it @ ('"' | '\\' | '\'')) => it,
                    other => panic!("{line}: an escape of {other:?}"),
                }),
                (' ', None) => words.extend(word.take()),
                (it, _) => word.get_or_insert_default().push(it),
            }
        }
        words.extend(word);
        let single = |word: String, sign: &str| {
            let parts: Vec<&str> = word.split(&sign.repeat(2)).collect();
            assert!(!parts.iter().any(|part| part.contains(sign)), "{line}: a single {sign}");
            parts.join(sign)
        };
        words.into_iter().map(|word| single(single(word, "%"), "$")).collect()
    }

    fn state(more: &str) -> State {
        let yaml = format!("version: 1\nhost: web01\nscheduler: systemd\n{more}");
        crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
    }

    fn timed(more: &str) -> Vec<Timed> {
        super::super::schedules::timed(&state(more), &Scope::Host)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// R43: what a shell gets is what the state says, whatever systemd reads into a line.
        #[test]
        fn a_shell_gets_what_the_state_says(text in "[ -~äß\t]*[%$\"'\\\\ ;|]{0,4}[!-~]") {
            let mut timed = timed("cron:\n  a: { schedule: '@daily', command: x }\n");
            timed[0].command.clone_from(&text);
            let line = command(&state(""), &timed[0]);
            prop_assert!(!line.contains('\t') && !line.contains('\n'));
            prop_assert_eq!(words(&line), ["/bin/sh".to_owned(), "-c".into(), text]);
        }
    }

    #[test]
    fn what_tells_of_overdue_jobs_is_a_service_of_its_own() {
        let yaml = "destinations: { a: { local: { path: /a }, password_file: /p } }\n\
             notify: { ops: { webhook: { url_file: /n } } }\n\
             jobs: { home: { to: [a], sources: [{ path: /home }], schedule: '@daily', notify: [ops] } }\n";
        let (state, timed) = (state(yaml), super::tests::timed(yaml));
        let watch = timed.iter().find(|it| it.starts == Starts::Watch).unwrap();
        let host = service(&state, watch, false, None);
        assert!(
            host.contains("\nExecStart=/usr/bin/rlvm notify watch\n") && host.contains("\nUser=root\n"),
            "{host}"
        );
        assert_eq!(units(&state, watch, Some(&Personal::ann())).len(), 2);
        assert!(timer(watch, &watch.schedule.on_calendar().unwrap()).contains("\nPersistent=true\n"));
    }

    #[test]
    fn a_jobs_units_as_the_hosts_and_as_a_users_own() {
        let yaml = "rlvm_path: /opt/my rlvm/100%\ndestinations: { a: { local: { path: /a }, password_file: /p } }\n\
             jobs: { home: { to: [a], sources: [{ path: /home }], schedule: '@daily', user: backup, \
             retention: { daily: 7 }, prune: { schedule: '@weekly' } } }\n";
        let (state, timed) = (state(yaml), super::tests::timed(yaml));
        let host = service(&state, &timed[0], false, None);
        assert!(host.contains("\nType=oneshot\nExecStart=\"/opt/my rlvm/100%%\" run home\n"), "{host}");
        assert!(host.contains("\nKillMode=mixed\n") && host.contains("\nEnvironment=HOME=%h\n"), "{host}");
        // As root, whatever the job's user is: rlvm itself steps down to that one.
        assert!(!host.contains("User=") && host.contains("\nNoNewPrivileges=true\n"), "{host}");
        let prune = service(&state, &timed[2], false, None);
        assert_eq!(prune.replace("prune home", "run home").replace("prune of job", "job"), host);
        // What a run has opened it can close: the same devices and mounts, no less.
        let sweep = service(&state, &timed[1], true, None);
        assert!(sweep.contains("\nExecStart=\"/opt/my rlvm/100%%\" sweep\n"), "{sweep}");
        assert!(sweep.contains("\nKillMode=mixed\n") && !sweep.contains("SystemCallFilter"), "{sweep}");
        assert!(sweep.ends_with("\nWantedBy=multi-user.target\n"), "{sweep}");
        let own = Personal::ann();
        let of_ann = service(&state, &timed[0], true, Some(&own));
        assert!(of_ann.ends_with("\nUMask=0077\n\n[Install]\nWantedBy=default.target\n"), "{of_ann}");
        assert!(!of_ann.contains("network-online") && !of_ann.contains("User="), "{of_ann}");
        // The directories are the user's, up to what XDG says is there.
        let made = directories(Some(&own)).unwrap();
        let made: Vec<String> = made.iter().map(|it| format!("{} {}", it.path, it.owner)).collect();
        assert_eq!(
            made,
            ["/home/ann/.config/systemd/user", "/home/ann/.config/systemd", "/home/ann/.config"]
                .map(|it| format!("{it} ann:users"))
        );
        let mut expanded = Expanded::default();
        let other =
            super::tests::timed("cron: { x: { schedule: '@daily', user: www-data, command: 'true' } }\n");
        add(&state, &other, &Scope::User(Box::new(own)), &mut expanded);
        assert_eq!(expanded.findings.len(), 1, "{:?}", expanded.findings);
        assert!(expanded.findings[0].message.contains("www-data"), "{:?}", expanded.findings);
    }
}
