//! The rescue kit: what is needed to restore a host that is gone, as one text to print. Pure.
//!
//! It needs restic and sh alone, no rlvm, and holds no secret: those are named, with what they open. Its commands are
//! tried by a test that pastes them.

mod disks;
mod paper;
mod reach;
mod secrets;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256 as Hash};

pub use secrets::{PutAway, Wanted, wanted};

use self::{
    paper::{Paper, Word},
    reach::Places,
};
use crate::{
    expand::{Expanded, published, repository_of},
    host::{KeyHead, Mount, Revision, UserEntry},
    ledger::Ledger,
    model::{Address, FetchUrl, HostPath, Name, Release, Sha256, UserName},
    resource::{Kind as _, Location, Repository, Resource, Seen},
    restic::{OLDEST, Version, tag},
    source::{LogicalVolume, Source},
    state::{Job, State, to_yaml},
};

/// What a kit is made of.
#[derive(Debug)]
pub struct Kit<'a> {
    /// When it is made, in words.
    pub made: String,
    /// The state.
    pub state: &'a State,
    /// Where the state came from.
    pub origin: Origin,
    /// What the state comes to.
    pub expanded: &'a Expanded,
    /// What was applied, if anything was.
    pub ledger: Option<&'a Ledger>,
    /// The restic that was found, if the state pins none.
    pub restic: Option<FoundRestic>,
    /// The accounts that jobs run as.
    pub users: BTreeMap<UserName, UserEntry>,
    /// What private keys show of themselves.
    pub keys: BTreeMap<HostPath, KeyHead>,
    /// What is mounted and holds data.
    pub mounts: Vec<Mount>,
    /// The logical volumes, or why they could not be listed; nothing if no source is on one.
    pub volumes: Option<Result<Vec<LogicalVolume>, String>>,
}

/// Where a state came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its file.
    pub file: String,
    /// Its revision in git, if it was in one.
    pub revision: Option<Revision>,
    /// Whether it was applied.
    pub applied: bool,
}

/// A restic on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRestic {
    /// Where it is.
    pub path: String,
    /// Which one it is.
    pub version: Option<Version>,
    /// The digest of the program.
    pub sha256: Option<Sha256>,
}

impl Kit<'_> {
    /// Writes the kit.
    ///
    /// # Errors
    ///
    /// Never for a state that was read: the YAML writer's failures are passed on.
    pub fn text(&self) -> anyhow::Result<String> {
        let mut paper = Paper::default();
        let places = Places::new(self);
        self.head(&mut paper);
        self.covers(&mut paper);
        self.place_to_work(&mut paper);
        self.engine(&mut paper);
        secrets::write(self, &places, &mut paper);
        reach::write(self, &places, &mut paper);
        self.looks(&places, &mut paper);
        disks::write(self, &mut paper);
        self.restores(&places, &mut paper);
        self.afterwards(&mut paper);
        paper.section("The state, as YAML");
        paper.say("Without secrets. To get it out of this file:");
        paper.line("");
        paper.line(": awk '/^[|] /{if(n++)print l;l=substr($0,3)}");
        paper.line(":   /^[|][+]/{l=l substr($0,3)}END{print l}' KIT > state.yaml");
        paper.line("");
        paper.kept(&to_yaml(self.state)?);
        paper.line("");
        paper.line("What stands above has the following sha256. To check: head -n -1 KIT | sha256sum");
        let text = paper.text();
        let digest: String = Hash::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{text}sha256 {digest}\n"))
    }

    fn head(&self, paper: &mut Paper) {
        let host = &self.state.host;
        paper.line(&format!("RESCUE KIT OF {host}"));
        paper.line(&"=".repeat(76));
        paper.line("");
        paper.named("made", &format!("{}, by rlvm {}", self.made, env!("CARGO_PKG_VERSION")));
        let Origin { file, revision, applied } = &self.origin;
        let applied = if *applied { "as it was last applied" } else { "named by hand, perhaps not applied" };
        paper.named("state", &format!("{file}, {applied}"));
        paper.named(
            "in git",
            &match revision {
                Some(Revision { commit, dirty: false }) => format!("revision {commit}"),
                Some(Revision { commit, dirty: true }) => {
                    format!("revision {commit}, with changes beside it")
                }
                None => "no revision is known: the state stands at the end".into(),
            },
        );
        paper.line("");
        paper.say(&format!(
            "What is needed to restore {host} when the host and its state are gone. No secret is in it: section 4 \
             names those that you need. Print it, keep it away from the host, and make it anew when the state has changed."
        ));
        paper.line("");
        paper.say(
            "Lines that begin with four spaces are commands for sh, on any Linux that was started from a stick or \
             over the network, as root. Work through the sections in their order. No rlvm is needed.",
        );
    }

    fn covers(&self, paper: &mut Paper) {
        paper.section("What is backed up");
        for (name, job) in &self.state.jobs {
            let off = if job.enabled { "" } else { ", DISABLED: its backups may be old" };
            let when = job.schedule.as_ref().map_or("by hand".into(), |it| format!("at {it}"));
            paper.line("");
            paper.fact(&format!("job {name}, {when}, as {}{off}", job.user));
            for source in &job.sources {
                paper.named("  stores", &what(source));
            }
            if !job.exclude.is_empty() {
                let all: Vec<String> = job.exclude.iter().map(ToString::to_string).collect();
                paper.named("  but not", &all.join("  "));
            }
            paper.named("  to", &list(&job.to));
            if !job.copy.is_empty() {
                paper.named("  copied to", &list(job.copy.keys()));
            }
        }
        if self.state.jobs.is_empty() {
            paper.say("Nothing: the state declares no job.");
        }
    }

    fn place_to_work(&self, paper: &mut Paper) {
        paper.section("A place to work");
        paper.say(
            "An empty directory, not on a disk that is to be restored. All commands below are for one shell: \
             whoever opens another begins here again.",
        );
        paper.line("");
        paper.shell(&[
            "umask 077",
            "KIT=${KIT:-/root/rescue}",
            "mkdir -p \"$KIT/secrets\" && cd \"$KIT\"",
            "PATH=$KIT:$PATH",
        ]);
    }

    /// Says how to get restic.
    fn engine(&self, paper: &mut Paper) {
        paper.section("restic");
        let pinned = self.expanded.resources.values().find_map(|it| match &it.resource {
            Resource::Engine(engine) => Some(engine),
            _ => None,
        });
        if let Some(engine) = pinned {
            paper.say(&format!(
                "The state pins restic {}. Any restic from {OLDEST} on can restore what an older one stored: if \
                 there is one already, `restic version` says so, and this section may be left out.",
                engine.version
            ));
            paper.line("");
            fetch(paper, &engine.url, Some(&engine.sha256));
            return;
        }
        let found = self.restic.as_ref();
        let release =
            found.and_then(|found| found.version).and_then(|it| it.to_string().parse::<Release>().ok());
        match found {
            Some(FoundRestic { path, version, sha256 }) => {
                let version = version.map_or("of an unknown version".into(), |it| it.to_string());
                paper.say(&format!("The host used restic {version}, {path}, and the state pins none."));
                if let Some(sha256) = sha256 {
                    paper.named("its sha256", sha256.as_str());
                }
            }
            None => paper.say("The state pins no restic, and none was found on the host."),
        }
        paper.say(&format!(
            "Any restic from {OLDEST} on, not older than that one, will do. Of a distribution: apt-get install \
             restic. Else as restic publishes it; its digest stands in SHA256SUMS beside it, signed in \
             SHA256SUMS.asc, and is not known here:"
        ));
        paper.line("");
        if let Some(url) = release.and_then(|release| published(release).ok()) {
            fetch(paper, &url, None);
        } else {
            paper.fact("https://github.com/restic/restic/releases");
        }
    }

    /// Says how to look what is there.
    fn looks(&self, places: &Places, paper: &mut Paper) {
        paper.section("Look what is there");
        paper.say(
            "Each line lists the backups of this host at one place. What opens and lists can be restored from. \
             The newest backup of the nearest place is the one to take.",
        );
        paper.line("");
        let host = self.state.host.as_str();
        for name in self.destinations() {
            let call = places.call_of(name);
            paper.command("", &[call.into(), "snapshots".into(), "--host".into(), host.into()]);
        }
        if !self.state.was.is_empty() {
            paper.line("");
            paper.say(&format!("Older backups may be of a host called {}.", list(&self.state.was)));
        }
    }

    /// Says how to restore, job by job, what lies deepest last.
    fn restores(&self, places: &Places, paper: &mut Paper) {
        paper.section("Restore");
        paper.say(
            "Where the new file systems are mounted: each path comes to stand below it as it stood, /etc as \
             /mnt/etc. Whatever owner and mode it had it gets back, as numbers. Of the places of a job one is enough; \
             before another one is tried what has come is removed, since restic 0.14 stops at links that are there.",
        );
        paper.line("");
        paper.shell(&["TARGET=${TARGET:-/mnt}"]);
        let mut jobs: Vec<(&Name, &Job)> = self.state.jobs.iter().collect();
        jobs.sort_by_key(|(_, job)| depth(job));
        for (name, job) in jobs {
            paper.line("");
            paper
                .say(&format!("Job {name}: {}", job.sources.iter().map(what).collect::<Vec<_>>().join(", ")));
            for (place, destination) in job.to.iter().chain(job.copy.keys()).enumerate() {
                if place > 0 {
                    let copy = if job.copy.contains_key(destination) { ", a copy" } else { "" };
                    paper.fact(&format!("or, instead, from {destination}{copy}:"));
                }
                self.restore(places, paper, (name, job), destination);
            }
            if !job.was.is_empty() {
                paper.fact(&format!("older backups may have the tag of {}: rlvm:job=NAME", list(&job.was)));
            }
        }
        paper.line("");
        paper.say(
            "A single file, or a day before it went wrong: in place of `latest` the id that `snapshots` shows, and \
             `--include /etc/fstab`. To look around first: `ls latest /etc`, or `mount DIR` where FUSE is there.",
        );
    }

    fn restore(&self, places: &Places, paper: &mut Paper, (name, _): (&Name, &Job), destination: &Name) {
        let host = self.state.host.as_str();
        let words = [places.call_of(destination).into(), "restore".into(), "latest".into(), "--host".into()];
        let more = [host.into(), "--tag".into(), tag(name).into(), Word::Shell("--target \"$TARGET\"")];
        paper.command("", &words.into_iter().chain(more).collect::<Vec<Word>>());
    }

    fn afterwards(&self, paper: &mut Paper) {
        paper.section("Afterwards");
        let host = &self.state.host;
        for step in [
            "Before the first boot: new file systems have other UUIDs (blkid) than /etc/fstab says; a bootloader has to \
             be installed (chroot, grub-install, update-grub, update-initramfs). What is under /dev, /proc, /run and \
             /sys was never stored.",
            "Secrets go back to the paths that section 4 has, with their owner and mode, or the next run fails.",
            &format!(
                "rlvm: install it, put the state below into /etc/rlvm/state/hosts/{host}.yaml (from git, if it is \
                 there), then `rlvm plan`. It must not want to make a repository: what it shows as absent was not found.",
            ),
            "Change every password and key that may have been on a disk that is not in your hands any more.",
        ] {
            paper.fact(&format!("[ ] {step}"));
        }
        let known: Vec<(&Name, &str)> =
            self.destinations().filter_map(|name| Some((name, self.id_of(name)?))).collect();
        if !known.is_empty() {
            paper.line("");
            paper.say("The repositories are these, by their ids (`cat config` shows them):");
            for (name, id) in known {
                paper.fact(&format!("{name}: {id}"));
            }
        }
    }

    /// Lists the destinations, the nearest first: those in this host's own directories.
    fn destinations(&self) -> impl Iterator<Item = &Name> {
        let near = |name: &&Name| self.is_local(name);
        let far = move |name: &&Name| !self.is_local(name);
        self.state.destinations.keys().filter(near).chain(self.state.destinations.keys().filter(far))
    }

    fn is_local(&self, name: &Name) -> bool {
        self.repository(name).is_some_and(|it| matches!(it.location, Location::Local(_)))
    }

    fn repository(&self, name: &Name) -> Option<&Repository> {
        repository_of(self.expanded, name)
    }

    /// Returns a repository's id, if it was ever opened.
    fn id_of(&self, name: &Name) -> Option<&str> {
        let entry = self.ledger?.entries.get(&Address::new(Repository::NAME, name.as_str()))?;
        if let Some(Seen::Repository(seen)) = &entry.seen { seen.id() } else { None }
    }
}

/// Writes how a program is fetched.
fn fetch(paper: &mut Paper, url: &FetchUrl, sha256: Option<&Sha256>) {
    let url = url.to_string();
    let packed = url.rsplit_once('.').is_some_and(|(_, last)| last == "bz2");
    paper.assign("", "url", &url);
    paper.shell(&["curl -fsSL -o restic.new \"$url\""]);
    if let Some(sha256) = sha256 {
        paper.shell(&[&format!("sum={sha256}"), "echo \"$sum  restic.new\" | sha256sum -c"]);
    } else {
        paper.shell(&["sha256sum restic.new"]);
    }
    paper.shell(&[
        if packed { "bunzip2 < restic.new > restic" } else { "cp restic.new restic" },
        "chmod 0755 restic && restic version",
    ]);
}

/// Names a source.
fn what(source: &Source) -> String {
    let paths: Vec<&str> = source.paths().into_iter().map(HostPath::as_str).collect();
    let paths = if paths.is_empty() { String::new() } else { format!(" {}", paths.join(" ")) };
    match source {
        Source::Path(path) => path.0.to_string(),
        Source::Lvm(lvm) => format!("logical volume {}{paths}", lvm.volume),
        Source::Btrfs(btrfs) => format!("btrfs subvolume {}", btrfs.subvolume),
        Source::Volume(volume) => format!("container volume {}", volume.name),
        Source::Mysql(it) => {
            format!("MySQL database {}", it.database.as_ref().map_or("(all)", |it| it.as_str()))
        }
        Source::Postgres(it) => {
            format!("PostgreSQL database {}", it.database.as_ref().map_or("(all)", |it| it.as_str()))
        }
        Source::Sqlite(file) => format!("SQLite database {}", file.0),
        Source::Vm(vm) => format!("virtual machine {}{paths}", vm.name),
    }
}

/// Says how deep what a job stores lies: what is mounted in something else is restored after it.
fn depth(job: &Job) -> usize {
    let paths = job.sources.iter().flat_map(Source::paths).map(|path| path.parts().count());
    // A volume without paths is a file system of its own, mostly `/`.
    paths.min().unwrap_or(0)
}

/// Writes names in a row.
fn list<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|it| it.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
