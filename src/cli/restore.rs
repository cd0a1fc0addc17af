//! `rlvm restore`: restores files of a job from a backup.

mod ask;
mod attempt;
mod carry;
mod compare;
mod consent;
mod copies;
mod decide;
mod guide;
mod lacking;
mod leads;
mod nodes;
mod places;
mod proof;
mod same;
mod stage;
mod target;
mod tell;
mod wish;
mod world;

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::{
    attempt::{Goal, version},
    places::{Candidate, Candidates, Has, ask, at, candidates, order, when},
    same::{newer_elsewhere, only_newest},
    tell::Teller,
    wish::{Wish, WishParser},
};
pub(super) use self::{
    places::{Place, places},
    stage::Stage,
    world::World,
};
use super::{
    context::Context,
    exit::{Exit, Failure},
    kept::applied,
    records,
    run::named,
};
use crate::{
    effect::{Op, Owner},
    host::Host as _,
    job::Record,
    model::{BadText, HostPath, Mode, Name, UserName},
    restic::{Restore, Wanted},
    state::Job,
};

/// How many paths restic is given, and how long they may be together, in bytes: the kernel sets a limit (execve(2)).
const MOST: (usize, usize) = (10_000, 1 << 20);

/// Restore files of a job from a backup, into a directory or in place
///
/// rlvm restores the newest backup of this host and this job, unless --snapshot chooses another one. It reads the nearest
/// destination that has this backup: one on this host first, then the job's destinations in their order, then copies. If a
/// destination fails, or some files cannot be read there, rlvm tries the next destination that has the same backup.
///
/// rlvm restores contents, owners, modes, times, ACLs, extended attributes, holes, and hard links between regular files.
/// Symbolic links and FIFOs with several names come back as separate files.
///
/// restic restores into a private directory. rlvm compares the result with the file list of the backup, and then moves the
/// files to their place. An interrupted restore leaves no incomplete files there. Files that were not restored are listed,
/// and the exit code is 8.
///
/// --target DIR restores /srv/www as DIR/srv/www. DIR must be empty or new; rlvm overwrites nothing in it.
///
/// --in-place restores to the original paths. rlvm first shows which files it would overwrite, and asks. It removes nothing,
/// and leaves unchanged files alone. Existing directories get their stored owner, mode, time, extended attributes and ACLs
/// back. If another file system is mounted below a path, rlvm refuses with exit code 6.
///
/// A file counts as unchanged if its ctime (the kernel's time of the last change) and its inode number equal the stored
/// ones. A file that has the stored size and time, but changed or moved since the backup, is left alone too, and counted. --compare-content fetches such files, and
/// overwrites those whose content or attributes differ.
///
/// rlvm does not replace a file that changed after the comparison, a directory that stands where a file was, or a symbolic
/// link that stands where a directory was. Such names are listed, and the exit code is 8.
///
/// If no job or no target is given, rlvm asks for it on a terminal.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = "\
Examples:
  rlvm restore                                      ask for job, snapshot, path and target
  rlvm restore web --target /var/tmp/web            restore all of the newest snapshot
  rlvm restore web --path /srv/www/shop --target /var/tmp/shop
  rlvm restore web --snapshot '2026-11-20 14:00' --target /var/tmp/web
                                                    the newest backup up to the end of that minute
  rlvm restore web --in-place --only-missing        restore deleted files, overwrite nothing
  rlvm restore web --from vault --in-place          show differing files, ask, and overwrite them
  rlvm restore web --in-place --compare-content     the same, with the contents of files that look equal
  rlvm restore web --target /x --dry-run            print the restic command, ready to paste

Exit codes:
  0         all files are restored
  1         failed, or the answer was not `yes`: nothing was restored
  6         refused: too little room, the target is not empty or not safe, a declared mount is
            missing, or a newer backup exists at a destination that cannot be read
  8         some files were not restored, and are listed
  64        wrong usage, or no terminal and no --yes
  130, 143  ended by a signal, after cleaning up")]
pub(super) struct RestoreVerb {
    /// Job whose files are restored
    #[arg(value_name = "JOB")]
    job: Option<Name>,
    /// Snapshot: `latest`, an id, the first digits of an id, or a time (the newest backup up to the end of that day or minute) [default: latest]
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// Restore from this destination only
    #[arg(long, value_name = "DESTINATION")]
    from: Option<Name>,
    /// Restore only this file or directory, written as it was stored (can be repeated)
    #[arg(long = "path", value_name = "PATH", value_parser = WishParser)]
    paths: Vec<Wish>,
    /// Restore only the paths in this file, each ended by NUL (`find -print0`); `-` is standard input
    #[arg(long, value_name = "FILE0")]
    path_from: Option<PathBuf>,
    /// Restore below this directory, which is created if it does not exist
    #[arg(long, value_name = "DIR", conflicts_with = "in_place", value_parser = target)]
    target: Option<HostPath>,
    /// Restore to the original paths
    #[arg(long)]
    in_place: bool,
    /// Restore only missing files; overwrite nothing
    #[arg(long, conflicts_with = "target")]
    only_missing: bool,
    /// Fetch and compare files that have the stored size and time, but changed or moved since the backup
    #[arg(long, requires = "in_place", conflicts_with_all = ["only_missing", "target"])]
    compare_content: bool,
    /// Restore into a target that is not empty; existing files are not overwritten
    #[arg(long, conflicts_with = "in_place")]
    into_existing: bool,
    /// Allow a snapshot of any host and job; needs an id in --snapshot
    #[arg(long, requires = "snapshot")]
    any_host: bool,
    /// Skip the check for free space
    #[arg(long)]
    ignore_space: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print the restic command and do not run it; with --in-place, print the comparison and restore nothing
    #[arg(long = "dry-run")]
    printed: bool,
    /// Print JSON: one event per line, the record last
    #[arg(long)]
    json: bool,
}

/// A restore that is fully described: by options, or by answers on a terminal.
struct Asked {
    job: Name,
    wanted: Wanted,
    from: Option<Name>,
    wishes: Vec<Wish>,
    goal: Goal,
}

/// Says how the backups of a job that left the state are restored.
fn undeclared(error: anyhow::Error) -> anyhow::Error {
    let help = "to restore backups of a job that is no longer in the state, declare a job with that name again and run \
                `rlvm apply`; `rlvm snapshots` lists such backups";
    match error.downcast::<Failure>() {
        Ok(failure) => failure.also_help(help).into(),
        Err(error) => error,
    }
}

impl RestoreVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        if host.looker().is_tree() {
            let message = "rlvm restore works only on the running system, not with --root; --target restores into another directory";
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let guided = self.is_guided(context)?;
        let state = applied(context, &host)?;
        let world = World { context, host: &host, state: &state };
        let job = match &self.job {
            Some(name) => named(&state, name).map_err(undeclared)?.0.clone(),
            None => guide::job(&world)?,
        };
        let declared = &state.jobs[&job];
        let teller = Teller::new(context, self.json);
        let places = self.places(&world, &job, declared)?;
        let has = ask(&world, places, (&job, declared), self.any_host);
        let runs = records::all_and_running(context, &host)?.runs;
        let Some(asked) = self.asked(&world, &job, declared, &has, guided)? else {
            let found = self.candidates(&world, (&job, declared), &has, &Wanted::Latest, &runs)?;
            bail!(none(&job, &found));
        };
        let found = self.candidates(&world, (&job, declared), &has, &asked.wanted, &runs)?;
        let all: Vec<&Candidate<'_>> = found
            .all
            .iter()
            .filter(|it| asked.from.as_ref().is_none_or(|from| it.place.name == *from))
            .collect();
        if all.is_empty() {
            bail!(none(&job, &found));
        }
        found.said.iter().for_each(|why| teller.warn(why));
        let (all, others) = only_newest(&runs, all, &|it| when(&world, it));
        for why in &others {
            teller.warn(why);
        }
        if asked.wanted == Wanted::Latest && asked.from.is_none() && !self.any_host {
            self.is_newest(&world, (&runs, &declared.names(&job)), all[0], &teller)?;
        }
        if self.printed && !asked.goal.in_place {
            return show(&world, all[0], &asked);
        }
        self.carry_out(&world, &all, &asked, &teller)
    }

    /// Checks that no record tells of a newer backup than the one that was found. In place an older one would undo changes that
    /// are in the newer one: that is refused, unless the place is named.
    fn is_newest(
        &self,
        world: &World<'_>,
        (runs, job): (&[Record], &[Name]),
        found: &Candidate<'_>,
        teller: &Teller,
    ) -> Result<()> {
        let Some((place, began)) = newer_elsewhere(runs, job, found.snapshot) else { return Ok(()) };
        let (name, time) = (&found.place.name, at(world, began));
        if self.in_place {
            let message = format!(
                "cannot restore in place from {name}: {place} stored a newer backup at {time} and cannot be read now"
            );
            let help = format!("make {place} reachable, or restore the older backup: --from {name}");
            return Err(Failure::new(Exit::Refused, message).help(help).into());
        }
        teller.warn(&format!("the backup at {name} is older than the one that {place} stored at {time}"));
        Ok(())
    }

    /// Says whether a person is asked for what is left out; refuses to guess where nobody can be asked.
    fn is_guided(&self, context: &Context<'_>) -> Result<bool> {
        let whereto = self.target.is_some() || self.in_place;
        if whereto && self.job.is_some() {
            return Ok(false);
        }
        let environment = context.environment;
        if environment.in_terminal && environment.err_terminal && !self.json && !self.yes {
            return Ok(true);
        }
        let message = if self.job.is_none() {
            "no job is named, and there is no terminal to ask on"
        } else {
            "no target is named: give either --target DIR or --in-place"
        };
        let help = "rlvm restore JOB --target DIR (into a directory), or rlvm restore JOB --in-place (to the original paths)";
        Err(Failure::new(Exit::Usage, message).help(help).into())
    }

    fn places(&self, world: &World<'_>, job: &Name, declared: &Job) -> Result<Vec<Place>> {
        let mut names = order(world.state, declared);
        if let Some(from) = &self.from {
            if !names.contains(from) {
                let all: Vec<&str> = names.iter().map(Name::as_str).collect();
                let message = format!("job {job} stores nothing at {from}");
                bail!(
                    Failure::new(Exit::Usage, message)
                        .help(format!("destinations of this job: {}", all.join(", ")))
                );
            }
            names.retain(|name| name == from);
        }
        places(world, &names)
    }

    fn candidates<'a>(
        &self,
        world: &World<'_>,
        job: (&Name, &Job),
        has: &'a [Has],
        wanted: &Wanted,
        runs: &[Record],
    ) -> Result<Candidates<'a>> {
        if self.any_host && !matches!(wanted, Wanted::Id(_)) {
            bail!(Failure::new(Exit::Usage, "--any-host needs an id: --snapshot ID"));
        }
        candidates(world, job, has, (wanted, self.any_host), runs)
    }

    /// Puts together what is to be done, asking for what was left out; nothing if there is no snapshot to choose.
    fn asked(
        &self,
        world: &World<'_>,
        job: &Name,
        declared: &Job,
        has: &[Has],
        guided: bool,
    ) -> Result<Option<Asked>> {
        let mut from = self.from.clone();
        let wanted = match &self.snapshot {
            Some(text) => Wanted::read(text, &world.context.environment.zone)
                .map_err(|why| Failure::new(Exit::Usage, format!("--snapshot: {why}")))?,
            None if guided => match guide::snapshot(world, (job, declared), has, from.as_ref())? {
                Some((place, id)) => {
                    from = Some(place);
                    Wanted::Id(id)
                }
                None => return Ok(None),
            },
            None => Wanted::Latest,
        };
        let (mut paths, mut target) = (self.paths.clone(), self.target.clone());
        if let Some(file) = &self.path_from {
            paths.extend(listed(world, file)?);
        }
        if guided {
            let runs = records::all_and_running(world.context, world.host)?.runs;
            let found = self.candidates(world, (job, declared), has, &wanted, &runs)?;
            let chosen = found.all.iter().find(|it| from.as_ref().is_none_or(|from| it.place.name == *from));
            let Some(chosen) = chosen else { return Ok(None) };
            if paths.is_empty() {
                paths = guide::path(world, chosen)?;
            }
            if target.is_none() && !self.in_place {
                target = guide::target(world, job, chosen.snapshot)?;
            }
        }
        let length: usize = paths.iter().map(|it| it.raw.len()).sum();
        if paths.len() > MOST.0 || length > MOST.1 {
            let message = format!(
                "{} paths cannot be restored at once: the limit is 10,000 paths or 1 MiB of names",
                paths.len()
            );
            bail!(
                Failure::new(Exit::Usage, message)
                    .help("name directories instead of files, or restore in several steps")
            );
        }
        let goal = Goal {
            in_place: target.is_none(),
            base: target.unwrap_or_else(|| HostPath::fixed("/")),
            only_missing: self.only_missing,
            compare_content: self.compare_content,
            ignore_space: self.ignore_space,
        };
        Ok(Some(Asked { job: job.clone(), wanted, from, wishes: paths, goal }))
    }
}

/// Reads a target as a shell completes it: with a `/` at the end.
fn target(text: &str) -> Result<HostPath, BadText> {
    match text.trim_end_matches('/') {
        "" => text.parse(),
        plain => plain.parse(),
    }
}

/// Reads the paths that a file lists.
fn listed(world: &World<'_>, file: &Path) -> Result<Vec<Wish>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = world.context.files.bytes(file)?;
    }
    let paths =
        Wish::list(&bytes).map_err(|why| Failure::new(Exit::Usage, format!("{}: {why}", file.display())))?;
    if paths.is_empty() {
        let message = format!("{} lists no paths: nothing was restored", file.display());
        bail!(Failure::new(Exit::Usage, message).help("end each path with NUL, as `find -print0` does"));
    }
    Ok(paths)
}

/// Says that no place has what was asked for.
fn none(job: &Name, found: &Candidates<'_>) -> Failure {
    let all: Vec<&str> = found.said.iter().chain(&found.without).map(String::as_str).collect();
    let all = all.join("\n  ");
    if found.without.is_empty() {
        let message =
            format!("job {job}: cannot look for the backup, since no destination can be read\n  {all}");
        return Failure::new(Exit::Failed, message);
    }
    let message = format!("job {job}: no destination has the requested backup\n  {all}");
    Failure::new(Exit::Failed, message).help("`rlvm snapshots` lists the backups")
}

/// Prints what would be run.
fn show(world: &World<'_>, from: &Candidate<'_>, asked: &Asked) -> Result<Exit> {
    let root = UserName::root();
    let access = from.place.access(&root);
    let paths: Vec<String> = asked.wishes.iter().map(|it| it.text.clone()).collect();
    let target = &asked.goal.base;
    let restore = Restore {
        snapshot: &from.snapshot.id,
        paths: &paths,
        target,
        version: version(world, &access)?,
        seconds: 1,
    };
    let make = Op::MakeDir { path: target.clone(), owner: Owner::root(), mode: Mode::new(0o700) };
    let text = format!(
        "# {}: snapshot of {}, from {}\n{make}\n{}\n",
        asked.job,
        when(world, from.snapshot),
        from.place.name,
        access.restore(&restore)
    );
    world.context.printer.print(&text)?;
    Ok(Exit::Ok)
}

/// What a file is called moves no cursor.
pub(super) fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Returns a name, or a reason that has names in it, on one line: a name that another user chose must not look like a line of
/// rlvm's own, and must not change the text direction (bidirectional control characters).
pub(super) fn one_line(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}
