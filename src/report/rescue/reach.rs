//! Writes how each destination is reached: one sh function per destination, which calls restic with all that it
//! needs.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Kit, disks,
    paper::{Paper, Word},
};
use crate::{
    effect::{Arg, Private, QUIET_SSH},
    model::{Name, PublicKey, Server, known_name},
    resource::{Location, Remote, Repository, SshHostSpec},
};

/// What things of the kit are called: functions of sh, and files that secrets are put into.
#[derive(Debug)]
pub(super) struct Places {
    calls: BTreeMap<Name, String>,
    files: BTreeMap<String, String>,
}

/// Helpers that the functions below call. `env_file` reads what rlvm and systemd read: `NAME=value`, quotes taken off;
/// `pct` writes a file's line as it may stand in an address.
const HELPERS: [&str; 13] = [
    "env_file() {",
    "  while read -r l || [ -n \"$l\" ]; do",
    "    l=${l#export }",
    "    case $l in [A-Za-z_]*=*) ;; *) continue ;; esac",
    "    v=${l#*=}",
    "    case $v in \\\"*\\\" | \\'*\\') v=${v#?}; v=${v%?} ;; esac",
    "    export \"${l%%=*}=$v\"",
    "  done < \"$1\"",
    "}",
    "pct() {",
    "  tr -d '\\r\\n' < \"$1\" | od -An -v -tx1 | tr -d '\\n' |",
    "    tr -s ' ' %",
    "}",
];

impl Places {
    pub(super) fn new(kit: &Kit<'_>) -> Self {
        let mut calls = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for name in kit.state.destinations.keys() {
            let plain = format!("at_{}", name.as_str().replace('-', "_"));
            let several = (2..).map(|number| format!("{plain}_{number}"));
            let call = std::iter::once(plain.clone()).chain(several).find(|it| taken.insert(it.clone()));
            calls.insert(name.clone(), call.unwrap_or(plain));
        }
        let all: BTreeSet<String> =
            super::wanted(kit.state, kit.expanded, kit.ledger).into_iter().map(|it| it.name).collect();
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let is_alone = |name: &str| all.iter().filter(|it| last(it) == name).count() == 1;
        let short = |path: &String| match last(path) {
            name if is_alone(&name) => name,
            _ => path.trim_start_matches('/').replace('/', "-"),
        };
        let files = all.iter().map(|path| (path.clone(), short(path))).collect();
        Self { calls, files }
    }

    /// Returns the name of the function that calls restic for a destination.
    pub(super) fn call_of(&self, name: &Name) -> String {
        self.calls.get(name).cloned().unwrap_or_default()
    }

    /// Returns the name of the file that a secret is put into, below `secrets`.
    pub(super) fn file_of(&self, path: &str) -> String {
        let all = || path.trim_start_matches('/').replace('/', "-");
        self.files.get(path).cloned().unwrap_or_else(all)
    }

    fn path_of(&self, path: &str) -> String {
        format!("secrets/{}", self.file_of(path))
    }
}

pub(super) fn write(kit: &Kit<'_>, places: &Places, paper: &mut Paper) {
    paper.section("How each place is reached");
    let all: Vec<&Repository> = kit.destinations().filter_map(|name| kit.repository(name)).collect();
    if all.is_empty() {
        paper.say("There is none: the state declares no destination.");
        return;
    }
    for repository in &all {
        facts(kit, repository, paper);
    }
    let remotes: Vec<&Remote> = all.iter().filter_map(|it| remote(it)).collect();
    let tools: BTreeSet<&(String, String)> = remotes.iter().flat_map(|it| &it.tools).collect();
    if !tools.is_empty() {
        paper.line("");
        let tools: Vec<String> =
            tools.into_iter().map(|(tool, package)| format!("{tool} (apt-get install {package})")).collect();
        paper.say(&format!("Needed beside restic: {}", tools.join(", ")));
    }
    if remotes.iter().any(|it| it.machine.is_some()) {
        ssh(kit, places, &remotes, paper);
    }
    paper.line("");
    paper.say(
        "Each place is a word from now on: `at_NAME snapshots` calls restic with all that it needs there.",
    );
    paper.line("");
    paper.shell(&HELPERS);
    for repository in all {
        call(places, repository, paper);
    }
}

fn remote(repository: &Repository) -> Option<&Remote> {
    if let Location::Remote(remote) = &repository.location { Some(remote) } else { None }
}

/// Says in words where a repository is.
fn facts(kit: &Kit<'_>, repository: &Repository, paper: &mut Paper) {
    paper.line("");
    paper.fact(&format!("{}:", repository.name));
    paper.named("  repository", repository.place());
    paper.named("  worked as", repository.user.as_str());
    let Some(remote) = remote(repository) else {
        let disk = match disks::of(kit, repository) {
            Some(mount) => {
                format!("its disk was {} on {}, mounted at {}", mount.kind, mount.source, mount.at)
            }
            None => "its disk has to be there, mounted where it was".into(),
        };
        paper.named("  note", &format!("a directory of the host itself: {disk}"));
        return;
    };
    let Some(machine) = &remote.machine else { return };
    let spec = declared(kit, &machine.host);
    let user = machine.user.as_ref().or(spec.and_then(|it| it.user.as_ref()));
    let user = user.map_or("ssh's own".into(), ToString::to_string);
    paper.named("  machine", &format!("{}, port {}, account {user}", machine.address, machine.port));
    for key in &machine.host_keys {
        paper.named("  host key", &format!("{} {}", key.algorithm(), key.fingerprint()));
    }
    if machine.host_keys.is_empty() {
        paper.named("  host key", "NOT DECLARED: ssh will ask whether the one that it is shown is right");
    }
}

fn declared<'a>(kit: &Kit<'a>, host: &Server) -> Option<&'a SshHostSpec> {
    let is = |name: &Server| name.as_str().eq_ignore_ascii_case(host.as_str());
    kit.state.ssh.hosts.iter().find(|(name, _)| is(name)).map(|(_, spec)| spec)
}

/// Writes ssh's configuration and known hosts, for these machines alone.
fn ssh(kit: &Kit<'_>, places: &Places, remotes: &[&Remote], paper: &mut Paper) {
    paper.line("");
    paper.say("ssh knows these machines by the keys that the state declares, and takes no others:");
    paper.line("");
    paper.shell(&[": > known_hosts", ": > ssh_config"]);
    let mut done = BTreeSet::new();
    for machine in remotes.iter().filter_map(|it| it.machine.as_ref()) {
        for key in machine.host_keys.iter().map(PublicKey::identity) {
            let line = format!("{} {key}", known_name(machine.address.as_str(), machine.port));
            if done.insert(line.clone()) {
                paper.assign("", "k", &line);
                paper.shell(&["echo \"$k\" >> known_hosts"]);
            }
        }
        let spec = declared(kit, &machine.host);
        let ask = if machine.host_keys.is_empty() { "ask" } else { "yes" };
        let mut lines = vec![
            format!("Host {}", machine.host),
            format!("HostName {}", machine.address),
            format!("StrictHostKeyChecking {ask}"),
            "UserKnownHostsFile known_hosts".into(),
            "GlobalKnownHostsFile /dev/null".into(),
        ];
        // What a destination says itself stands on the command line, and differs from one to the next.
        lines.extend(spec.and_then(|it| it.port).map(|port| format!("Port {port}")));
        lines.extend(spec.and_then(|it| it.user.as_ref()).map(|user| format!("User {user}")));
        if let Some(identity) = spec.and_then(|it| it.identity.as_ref()) {
            lines.push(format!("IdentityFile \"{}\"", places.path_of(identity.0.as_str())));
            lines.push("IdentitiesOnly yes".into());
        }
        if done.insert(lines.join("\n")) {
            paper.shell(&["{"]);
            for line in lines {
                paper.command("  ", &["echo".into(), line.into()]);
            }
            paper.shell(&["} >> ssh_config"]);
        }
    }
}

/// Writes the function that calls restic for a repository. It is a shell of its own: no credential is left behind.
fn call(places: &Places, repository: &Repository, paper: &mut Paper) {
    let means = &repository.means;
    paper.line("");
    paper.line(&format!("    {}() (", places.call_of(&repository.name)));
    paper.shell(&["  set -e", "  cd \"$KIT\""]);
    paper.assign("  ", "RESTIC_PASSWORD_FILE", &places.path_of(repository.password.0.as_str()));
    let mut named = false;
    for secret in &means.secrets {
        match secret {
            Private::All(file) => {
                paper.command("  ", &["env_file".into(), places.path_of(file.0.as_str()).into()]);
            }
            Private::File { name, file } => one(places, paper, name, file.0.as_str()),
            Private::Credential { name, credential } => one(places, paper, name, credential.as_str()),
            Private::Url { name, before, user, password, after } => {
                named = name == "RESTIC_REPOSITORY";
                paper.assign("  ", "u", &places.path_of(user.0.as_str()));
                paper.assign("  ", "p", &places.path_of(password.0.as_str()));
                paper.assign("  ", "r", before);
                paper.shell(&["  r=$r$(pct \"$u\"):$(pct \"$p\")@"]);
                paper.assign("  ", "a", after);
                paper.shell(&[&format!("  {name}=$r$a")]);
            }
        }
    }
    if !named {
        paper.assign("  ", "RESTIC_REPOSITORY", repository.place());
    }
    paper.shell(&["  export RESTIC_PASSWORD_FILE RESTIC_REPOSITORY"]);
    for (name, value) in &means.variables {
        paper.assign("  ", name, &value_of(places, value));
        paper.shell(&[&format!("  export {name}")]);
    }
    for flag in means.flags.chunks(2) {
        let words = flag.iter().map(|arg| Word::from(value_of(places, arg)));
        let start = ["set".into(), "--".into(), Word::Shell("\"$@\"")];
        paper.command("  ", &start.into_iter().chain(words).collect::<Vec<_>>());
    }
    paper.shell(&["  restic \"$@\"", ")"]);
}

/// Has a variable hold what a file holds.
fn one(places: &Places, paper: &mut Paper, name: &str, path: &str) {
    paper.assign("  ", "f", &places.path_of(path));
    paper.shell(&[&format!("  {name}=$(cat \"$f\")"), &format!("  export {name}")]);
}

/// Returns a word as the kit has it: files lie below `secrets`, ssh asks a person, and knows what the kit says.
fn value_of(places: &Places, arg: &Arg) -> String {
    let is_ssh =
        |word: &str| ["sftp.command=ssh ", "rclone.program=ssh "].iter().any(|it| word.starts_with(it));
    match arg {
        Arg::Path(path) => places.path_of(path.as_str()),
        Arg::Word(word) if is_ssh(word) => word.replacen(&QUIET_SSH.join(" "), "-F ssh_config", 1),
        Arg::Word(word) => word.clone(),
    }
}
