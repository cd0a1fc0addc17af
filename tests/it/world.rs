//! Random states for `converge`, with what the machine must then be: told from the state here, not by rlvm.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the machine themselves")]

use std::{fmt::Write, fs, os::unix::fs::MetadataExt};

use proptest::{prelude::*, sample::select};

use crate::support::{BACKUP, Scratch};

/// One block of a state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// A directory.
    Directory { path: String, owner: &'static str, group: &'static str, mode: u32 },
    /// A local repository and its password.
    Destination { name: String, user: &'static str, generate: bool },
    /// A job.
    Job {
        name: String,
        user: &'static str,
        to: String,
        schedule: Option<&'static str>,
        enabled: bool,
        systemd: bool,
    },
    /// A cron entry.
    Cron { name: String, schedule: &'static str, user: &'static str, command: &'static str, systemd: bool },
    /// A logrotate rule.
    Logrotate { name: String, keep: u32, su: bool },
    /// A pair of SSH keys.
    Key(Key),
    /// A machine that is reached over SSH, with a key of its own perhaps.
    Peer { name: String, port: u16, key: Option<Key> },
}

/// A pair of SSH keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) path: String,
    owner: &'static str,
    kind: &'static str,
}

/// What sweeps at boot.
const SWEEP: &str = "rlvm_sweep";

/// A host key.
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
/// What a user has written into both files before; it is kept to the byte.
pub(crate) const USERS_LINES: &str = "# mine\r\n\n  # \u{e4}\t\nno newline";

const USERS: &[&str] = &["root", "www-data", "backup"];
const GROUPS: &[&str] = &["root", "adm", "backup"];
const MODES: &[u32] = &[0o700, 0o750, 0o755, 0o711, 0o2775, 0o1777];
const SCHEDULES: &[&str] = &["30 2 * * *", "@daily", "*/5 0-6 * jan mon-fri", "0 4 * * 0"];
/// What systemd calls the schedules.
const ON_CALENDAR: &[&str] = &[
    "*-*-* 02:30:00",
    "*-*-* 00:00:00",
    "Mon..Fri *-01-* 00..06:00,05,10,15,20,25,30,35,40,45,50,55:00",
    "Sun *-*-* 04:00:00",
];
const COMMANDS: &[&str] =
    &["true", "date +%F", "echo 'a b' \"$HOME\" > /dev/null 2>&1", "/sbin/fstrim --all"];
/// Directories in which others lie; within a chain each lies in the one before.
const CHAINS: &[&[&str]] =
    &[&["/srv/a", "/srv/a/b", "/srv/a/b/c"], &["/opt/with space", "/opt/with space/x"], &["/home2/deep"]];

/// Returns the number of a user or group of the scratch tree.
pub(crate) fn id(name: &str) -> u32 {
    match name {
        "root" => 0,
        "adm" => 4,
        "www-data" => 33,
        "backup" => BACKUP,
        other => panic!("{other} is in no scratch tree"),
    }
}

/// Directories of one chain. Once one belongs to a user, all in it do: rlvm goes through nobody's directory
/// into somebody else's.
fn chain(paths: &'static [&'static str]) -> impl Strategy<Value = Vec<Part>> {
    let each = (any::<bool>(), select(GROUPS), select(MODES));
    let all = proptest::collection::vec(each, paths.len());
    (all, select(USERS), 0..=paths.len()).prop_map(|(all, user, from)| {
        let part = |(index, (_, group, mode)): (usize, (bool, &'static str, u32))| Part::Directory {
            path: paths[index].into(),
            owner: if index >= from { user } else { "root" },
            group,
            mode,
        };
        // No hole there either: what is made to fill it is root's.
        let chosen: Vec<bool> = all.iter().map(|(wanted, ..)| *wanted).collect();
        let wanted = |index: usize| chosen[index.min(from)];
        all.into_iter().enumerate().filter(|(index, _)| wanted(*index)).map(part).collect()
    })
}

/// A destination of one user, perhaps with its directory, and its jobs.
fn destination(number: usize) -> impl Strategy<Value = Vec<Part>> {
    let job = (proptest::option::of(select(SCHEDULES)), any::<bool>());
    let jobs = proptest::collection::vec(job, 0..3);
    (any::<bool>(), any::<bool>(), any::<bool>(), jobs).prop_map(move |(root, generate, directory, jobs)| {
        let user = if root || jobs.is_empty() { "root" } else { "backup" };
        let name = format!("dest{number}");
        let mut parts = vec![Part::Destination { name: name.clone(), user, generate }];
        if directory {
            let path = format!("/srv/repos/{name}");
            parts.push(Part::Directory { path, owner: user, group: "root", mode: 0o700 });
        }
        parts.extend(jobs.into_iter().enumerate().map(|(index, (schedule, enabled))| {
            let name = format!("job{number}{index}");
            Part::Job { name, user, to: format!("dest{number}"), schedule, enabled, systemd: false }
        }));
        parts
    })
}

fn cron(number: usize) -> impl Strategy<Value = Vec<Part>> {
    (select(SCHEDULES), select(USERS), select(COMMANDS)).prop_map(move |(schedule, user, command)| {
        vec![Part::Cron { name: format!("cron{number}"), schedule, user, command, systemd: false }]
    })
}

fn logrotate(number: usize) -> impl Strategy<Value = Vec<Part>> {
    (1_u32..30, any::<bool>())
        .prop_map(move |(keep, su)| vec![Part::Logrotate { name: format!("log{number}"), keep, su }])
}

fn peer(number: usize) -> impl Strategy<Value = Vec<Part>> {
    let key = proptest::option::of((any::<bool>(), select(&["ed25519", "ecdsa"][..])));
    (key, select(&[22, 2222][..])).prop_map(move |(key, port)| {
        let key = key.map(|(root, kind)| {
            let (dir, owner) = if root { ("/root/.ssh", "root") } else { ("/etc/rlvm/keys", "backup") };
            Key { path: format!("{dir}/id{number}"), owner, kind }
        });
        let peer = Part::Peer { name: format!("peer{number}.lan"), port, key: key.clone() };
        key.map(Part::Key).into_iter().chain([peer]).collect()
    })
}

/// All the blocks of a state, in random order.
pub(crate) fn parts() -> impl Strategy<Value = Vec<Part>> {
    let chains = (chain(CHAINS[0]), chain(CHAINS[1]), chain(CHAINS[2]));
    let some = |make: fn(usize) -> BoxedStrategy<Vec<Part>>| {
        (0_usize..3).prop_flat_map(move |count| (0..count).map(make).collect::<Vec<_>>())
    };
    let all = (
        chains,
        some(|number| destination(number).boxed()),
        some(|number| cron(number).boxed()),
        some(|number| logrotate(number).boxed()),
        some(|number| peer(number).boxed()),
    );
    let by_systemd = proptest::bool::weighted(0.3);
    (all, by_systemd)
        .prop_map(|(((a, b, c), destinations, crons, rules, peers), by_systemd)| {
            let listed = destinations.into_iter().chain(crons).chain(rules).chain(peers).flatten();
            let mut parts = a.into_iter().chain(b).chain(c).chain(listed).collect::<Vec<_>>();
            for part in &mut parts {
                if let Part::Job { systemd, .. } | Part::Cron { systemd, .. } = part {
                    *systemd = by_systemd;
                }
            }
            parts
        })
        .prop_shuffle()
}

impl Part {
    fn section(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "directories",
            Self::Destination { .. } => "destinations",
            Self::Job { .. } => "jobs",
            Self::Cron { .. } => "cron",
            Self::Logrotate { .. } => "logrotate",
            Self::Key(_) => "ssh: keys",
            Self::Peer { .. } => "ssh: hosts",
        }
    }

    fn yaml(&self) -> String {
        match self {
            Self::Directory { path, owner, group, mode } => {
                format!("{path:?}: {{ owner: {owner}, group: {group}, mode: \"{mode:04o}\" }}")
            }
            Self::Destination { name, generate, .. } => format!(
                "{name}: {{ local: {{ path: /srv/repos/{name} }}, password_file: {}, generate_password: {generate} }}",
                password(name, *generate)
            ),
            Self::Job { name, user, to, schedule, enabled, .. } => {
                let schedule = schedule.map(|it| format!(", schedule: {it:?}")).unwrap_or_default();
                format!(
                    "{name}: {{ sources: [{{ path: /etc }}], to: [{to}], user: {user}, enabled: {enabled}{schedule} }}"
                )
            }
            Self::Cron { name, schedule, user, command, .. } => {
                format!("{name}: {{ schedule: {schedule:?}, user: {user}, command: {command:?} }}")
            }
            Self::Logrotate { name, keep, su } => {
                let su = if *su { ", su: { user: www-data, group: adm }" } else { "" };
                format!("{name}: {{ paths: [/var/log/{name}/*.log], keep: {keep}{su} }}")
            }
            Self::Key(Key { path, owner, kind }) => format!("{path}: {{ owner: {owner}, type: {kind} }}"),
            Self::Peer { name, port, key } => {
                let key = key.as_ref().map(|key| format!(", identity: {}", key.path)).unwrap_or_default();
                format!("{name}: {{ port: {port}{key}, host_keys: [{HOST_KEY}] }}")
            }
        }
    }

    /// What it is started by: when, by whom, and the name of the files.
    fn started(&self) -> Option<(String, &'static str, bool)> {
        match self {
            Self::Job { name, schedule: Some(schedule), enabled: true, systemd, .. } => {
                Some((format!("rlvm-{name}"), schedule, *systemd))
            }
            Self::Cron { name, schedule, systemd, .. } => Some((name.clone(), schedule, *systemd)),
            _ => None,
        }
    }

    /// The files in cron.d, systemd's directory or logrotate.d that it comes to.
    pub(crate) fn files(&self) -> Vec<String> {
        match (self.started(), self) {
            (Some((name, _, false)), _) => vec![format!("/etc/cron.d/{name}")],
            (Some((name, _, true)), _) => {
                ["service", "timer"].map(|kind| format!("/etc/systemd/system/{name}.{kind}")).into()
            }
            (None, Self::Logrotate { name, .. }) => vec![format!("/etc/logrotate.d/{name}")],
            _ => Vec::new(),
        }
    }

    /// The file of what sweeps at boot, of a state of these parts: there is one if anything runs.
    pub(crate) fn sweep(parts: &[Self]) -> Option<String> {
        parts.iter().find_map(|part| match part {
            Self::Job { enabled: true, systemd: false, .. } => Some(format!("/etc/cron.d/{SWEEP}")),
            Self::Job { enabled: true, .. } => Some(format!("/etc/systemd/system/{SWEEP}.service")),
            _ => None,
        })
    }

    /// Asks the machine whether it is started when it should be.
    fn is_started(&self, on: &Scratch, line: &str) {
        let Some((name, schedule, systemd)) = self.started() else { return };
        if systemd {
            let at = SCHEDULES.iter().position(|it| *it == schedule).unwrap();
            let text = on.read(&format!("/etc/systemd/system/{name}.timer"));
            assert!(text.contains(&format!("\nOnCalendar={}\n", ON_CALENDAR[at])), "{schedule}: {text}");
            let link = on.at(&format!("/etc/systemd/system/timers.target.wants/{name}.timer"));
            assert!(link.is_symlink(), "{name} is not enabled");
        } else {
            let path = format!("/etc/cron.d/{name}");
            assert_eq!(on.read(&path).lines().last(), Some(line), "{path}");
        }
    }

    /// The files of the user's ssh that it stands in: the configuration, the known hosts.
    pub(crate) fn ssh_files(&self) -> Option<[String; 2]> {
        let Self::Peer { key, .. } = self else { return None };
        let home =
            if key.as_ref().is_some_and(|key| key.owner == "backup") { "/var/backups" } else { "/root" };
        Some(["config", "known_hosts"].map(|name| format!("{home}/.ssh/{name}")))
    }

    /// Asks the machine whether the boot sweeps, if anything runs.
    pub(crate) fn is_swept(parts: &[Self], on: &Scratch) {
        let sweep = Self::sweep(parts);
        let link = format!("/etc/systemd/system/multi-user.target.wants/{SWEEP}.service");
        for path in [format!("/etc/cron.d/{SWEEP}"), format!("/etc/systemd/system/{SWEEP}.service")] {
            assert_eq!(on.at(&path).exists(), sweep.as_ref() == Some(&path), "{path}");
        }
        let enabled = sweep.is_some_and(|path| path.ends_with(".service"));
        assert_eq!(on.at(&link).is_symlink(), enabled, "{link}");
    }

    /// Asks the machine whether it is so.
    pub(crate) fn check(&self, on: &Scratch) {
        let of = |path: &str| {
            let meta = fs::symlink_metadata(on.at(path)).unwrap_or_else(|err| panic!("{path}: {err}"));
            (meta.uid(), meta.gid(), meta.mode() & 0o7777)
        };
        for file in self.files() {
            assert_eq!(of(&file), (0, 0, 0o644), "{file}");
        }
        match self {
            Self::Directory { path, owner, group, mode } => {
                assert!(fs::symlink_metadata(on.at(path)).unwrap().is_dir(), "{path}");
                assert_eq!(of(path), (id(owner), id(group), *mode), "{path}");
            }
            Self::Destination { name, user, generate } => {
                let (repo, password) = (format!("/srv/repos/{name}"), password(name, *generate));
                // Its directory may be declared, with root's group.
                let (owner, group, mode) = of(&repo);
                assert!((owner, mode) == (id(user), 0o700) && [0, id(user)].contains(&group), "{repo}");
                assert_eq!(of(&format!("{repo}/config")).0, id(user), "{repo}/config");
                // One that rlvm makes has the user's primary group; a person's is as it was given.
                let group = if *generate { id(user) } else { 0 };
                assert_eq!(of(&password), (id(user), group, 0o600), "{password}");
                let held = on.read(&password);
                assert_eq!(held.len(), if *generate { 33 } else { GIVEN.len() }, "{password}");
            }
            Self::Job { name, schedule, .. } => {
                self.is_started(
                    on,
                    &format!("{} root /usr/bin/rlvm run --scheduled {name}", schedule.unwrap_or_default()),
                );
                if self.started().is_none() {
                    let (cron, timer) = (
                        format!("/etc/cron.d/rlvm-{name}"),
                        format!("/etc/systemd/system/rlvm-{name}.timer"),
                    );
                    assert!(!on.at(&cron).exists() && !on.at(&timer).exists(), "{name}");
                }
            }
            Self::Cron { schedule, user, command, .. } => {
                self.is_started(on, &format!("{schedule} {user} {}", command.replace('%', "\\%")));
            }
            Self::Logrotate { name, keep, su } => {
                let text = on.read(&format!("/etc/logrotate.d/{name}"));
                assert!(text.contains(&format!("\"/var/log/{name}/*.log\" {{")), "{text}");
                assert!(text.contains(&format!("\n    rotate {keep}\n")), "{text}");
                assert_eq!(text.contains("\n    su www-data adm\n"), *su, "{text}");
            }
            Self::Key(Key { path, owner, kind }) => {
                let (user, group, mode) = of(path);
                assert!(
                    (user, group, mode & !0o600) == (id(owner), id(owner), 0),
                    "{path} {user} {group} {mode:o}"
                );
                assert!(on.read(path).starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
                let public = on.read(&format!("{path}.pub"));
                assert!(public.contains(kind) && public.ends_with(&format!(" {owner}@web01\n")), "{public}");
            }
            Self::Peer { name, port, key } => {
                let [config, known] = self.ssh_files().unwrap();
                let owner = id(key.as_ref().map_or("root", |key| key.owner));
                for path in [&config, &known] {
                    let ((user, _, mode), text) = (of(path), on.read(path));
                    // One that somebody made root's stays so, as long as ssh can read it.
                    let reads = user == owner || (user == 0 && mode & 0o004 != 0);
                    assert!(reads && mode & 0o022 == 0, "{path} {user} {mode:o}");
                    let (block, rest) = text.split_once("# END rlvm\n").unwrap();
                    assert!(block.starts_with("# BEGIN rlvm"), "{text}");
                    // What a user wrote is there, unless somebody drifted it away.
                    assert!([USERS_LINES, "edited by hand\n", ""].contains(&rest), "{rest:?}");
                }
                let text = on.read(&config);
                let key = key.as_ref().map(|key| format!("    IdentityFile {}\n", key.path));
                let host = format!("\nHost {name}\n    Port {port}\n{}    HostKey", key.unwrap_or_default());
                assert!(text.contains(&host), "{text}");
                let known_as = if *port == 22 { name.clone() } else { format!("[{name}]:{port}") };
                assert!(on.read(&known).contains(&format!("\n{known_as} {HOST_KEY}\n")), "{known}");
            }
        }
    }
}

/// The content of a password file that a person wrote.
const GIVEN: &str = "given by a person\n";

/// Where a destination's password is.
pub(crate) fn password(name: &str, generate: bool) -> String {
    format!("/etc/rlvm/{}/{name}.pass", if generate { "secrets" } else { "given" })
}

/// Writes the blocks as YAML, in this order as far as sections allow.
pub(crate) fn yaml(parts: &[Part]) -> String {
    let mut sections: Vec<&str> = Vec::new();
    for part in parts {
        if !sections.contains(&part.section()) {
            sections.push(part.section());
        }
    }
    let systemd =
        |part: &Part| matches!(part, Part::Job { systemd: true, .. } | Part::Cron { systemd: true, .. });
    let mut text = String::from(if parts.iter().any(systemd) { "scheduler: systemd\n" } else { "" });
    let (ssh, flat): (Vec<&str>, Vec<&str>) =
        sections.into_iter().partition(|section| section.starts_with("ssh: "));
    let mut list = |heading: &str, section: &str, indent: &str| {
        let _ = writeln!(text, "{heading}:");
        for part in parts.iter().filter(|part| part.section() == section) {
            let _ = writeln!(text, "{indent}{}", part.yaml());
        }
    };
    for section in flat {
        list(section, section, "  ");
    }
    for (index, section) in ssh.iter().enumerate() {
        let inner = format!("  {}", &section[5..]);
        list(&if index == 0 { format!("ssh:\n{inner}") } else { inner }, section, "    ");
    }
    text
}

/// Puts on the machine what a person has to bring: passwords that are not generated. And what one may have brought:
/// lines of one's own for ssh.
pub(crate) fn prepare(parts: &[Part], on: &Scratch) {
    for part in parts {
        // One of them has, the other has not.
        if let Some([config, known]) = part.ssh_files().filter(|[config, _]| config.starts_with("/root")) {
            on.dir("/root/.ssh", 0, 0o700);
            on.file_of(&config, USERS_LINES, 0, 0o640);
            on.file_of(&known, USERS_LINES, 0, 0o644);
        }
        if let Part::Destination { name, user, generate: false } = part {
            let path = password(name, false);
            on.file_of(&path, GIVEN, id(user), 0o600);
            std::os::unix::fs::chown(on.at(&path), None, Some(0)).unwrap();
        }
    }
}
