//! Prunes the repository of an append-only client: shuts the client out, looks for forged files and
//! forged times, and only then removes backups.
//!
//! `restic prune` decides by index files and by names what is still needed. The client writes both, so a compromised client
//! could make it remove good packs. [`crate::restic::NamedBlobs`] and [`crate::restic::is_misplaced`] say how.

use std::{
    cmp::Reverse,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::{
    super::free::Tried,
    data::remove_unneeded,
    jobs::{Trouble, World, alone, turn},
};
use crate::{
    effect::Query,
    expand::PrunedClient,
    host::{Entry, Host as _, Observe, Shut, ShutOut, Stream, interrupted},
    model::{DataPrune, HostPath},
    resource::{Engine, Kind as _, SshdConfig},
    restic::{
        self, Complaints, IndexFile, NAMED_BY_ID, Named, NamedBlobs, Printed, Snapshot, Verdict, is_id,
        is_misplaced,
    },
};

/// How many files a message names.
const SHOWN: usize = 5;
/// How many index files are searched for packs that a check complained of, the newest first.
const MOST_INDEX_FILES: usize = 200;
/// After how many that cannot be read the search ends, if none could be.
const MOST_UNREADABLE: usize = 20;
/// How long that may take.
const SEARCH: Duration = Duration::from_secs(600);
/// How often rlvm looks whether the client has gone.
const TICK: Duration = Duration::from_secs(1);
/// How often rlvm tries to shut out a client that comes again and again.
const TRIES: u32 = 100;

/// Prunes a client, if it has stored anything yet, once nobody else works there. Returns what was printed.
pub(super) fn prune(world: &World<'_>, client: &PrunedClient) -> Result<String, Trouble> {
    let repository = &client.repository;
    trusted(world, client)?;
    let host = world.host.looker();
    let path =
        repository.path().context("cannot prune this client: its repository is not a local directory")?;
    if host.names(path).is_ok_and(|names| names.is_empty()) {
        return Ok("nothing is stored yet".into());
    }
    if !SshdConfig::is_forced(host.as_ref(), &client.account, &client.spec)? {
        let what = "cannot shut the client out: sshd does not force rlvm's current command for this account or may not have \
                    read it yet, or another sshd might let the client in without it";
        return Err(Trouble::Failed(format!("{what}\nhelp: run `rlvm apply`, then prune again")));
    }
    let _turn = turn(world, &repository.name)?.map_err(Trouble::Failed)?;
    let _out = shut_out(world, client, path)?;
    no_misplaced(world.host.looker().as_ref(), path)?;
    let named = named(world, client, path)?;
    no_forged_times(world, client, path)?;
    if named != Named::Once {
        read_all(world, client, path, &named)?;
    }
    forget(world, client)?.map_err(|why| {
        let is_told = why.contains("\nhelp: ");
        let help = format!("run `restic check` as user {}: the client may have forged files", client.account);
        Trouble::Failed(if is_told { why } else { format!("{why}\nhelp: {help}") })
    })
}

/// Removes the old backups and their data, and data that an earlier prune has left.
fn forget(world: &World<'_>, client: &PrunedClient) -> Result<Result<String, String>> {
    let PrunedClient { cmd, repository, .. } = client;
    let limits = DataPrune::default();
    let is_unfinished = world.unfinished.holds(&repository.name)?;
    world.unfinished.begin(&repository.name)?;
    let mut ran = alone(world, repository, cmd)?;
    if ran.as_ref().is_err_and(|why| restic::is_full(why)) {
        ran = match remove_unneeded(world, repository, limits)? {
            Ok(_) => alone(world, repository, cmd)?,
            failed @ Err(_) => failed,
        };
    }
    match ran {
        // With nothing to forget, restic removes no data.
        Ok(said) if is_unfinished => Ok(remove_unneeded(world, repository, limits)?.map(|more| said + &more)),
        Ok(said) => {
            world.unfinished.done(&repository.name)?;
            Ok(Ok(said))
        }
        failed @ Err(_) => Ok(failed),
    }
}

/// Refuses a pinned restic that others than root can have written.
fn trusted(world: &World<'_>, client: &PrunedClient) -> Result<()> {
    let Some(engine) = &client.repository.means.engine else { return Ok(()) };
    match Engine::distrust(world.host.looker().as_ref(), engine)? {
        Some(why) => bail!("cannot use the pinned restic: {why}"),
        None => Ok(()),
    }
}

/// Waits until the client has ended its sessions, and keeps it out until what is returned is dropped. When the time is up, a
/// session is ended if no backup is being stored.
fn shut_out(world: &World<'_>, client: &PrunedClient, path: &HostPath) -> Result<ShutOut, Trouble> {
    let (since, mut told) = (Instant::now(), false);
    let who = loop {
        let who = match world.host.shut_out(&client.account, path, false)? {
            Shut::Out(out) => return Ok(out),
            Shut::Working(who) => who.join(", "),
        };
        if !told {
            (world.waits)(&client.repository.name, &format!("its client: {who}"));
            told = true;
        }
        if since.elapsed().as_secs() >= world.waiting.patience || interrupted().is_some() {
            break who;
        }
        thread::sleep(TICK);
    };
    // Who stores a backup has a lock. It would be left behind, and be in the way of this prune. Other files among the locks
    // restic passes over.
    let locks = path.join("locks").map_err(anyhow::Error::from)?;
    let is_idle = !world.host.looker().names(&locks)?.iter().any(|name| is_id(name));
    for _ in 0..if is_idle { TRIES } else { 0 } {
        if interrupted().is_some() {
            break;
        }
        if let Shut::Out(out) = world.host.shut_out(&client.account, path, true)? {
            return Ok(out);
        }
    }
    let help = format!(
        "wait until the backup ends, or pass a longer --wait TIME; to end all processes of the client: loginctl terminate-user {}",
        client.account
    );
    Err(Trouble::Failed(format!("the repository is still in use by its client: {who}\nhelp: {help}")))
}

/// Refuses a repository with files that restic takes for others.
fn no_misplaced(host: &dyn Observe, repository: &HostPath) -> Result<(), Trouble> {
    let misplaced = misplaced(host, repository)?;
    if misplaced.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = misplaced.iter().take(SHOWN).map(|it| shown(host, it)).collect();
    let more = misplaced.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(Trouble::Refused(format!(
        "cannot prune {repository}: some files have names or places that restic never uses, and restic would remove good \
         packs: {}{more}\nhelp: the client may be compromised. Move these files out of the repository, then prune again",
        all.join("; ")
    )))
}

/// Refuses to remove backups by age if the client may have stored one of a wrong time to make all others old.
fn no_forged_times(world: &World<'_>, client: &PrunedClient, path: &HostPath) -> Result<(), Trouble> {
    let Some(now) = world.now() else { return Ok(()) };
    let (host, mut printed) = (world.host.looker(), Printed::default());
    let query =
        Query::new(client.foresees.clone()).context("cannot ask restic which snapshots it would remove")?;
    let output = host.read(&query, &mut |from| printed.read(from))?;
    let groups = restic::foreseen_groups(printed, &output).map_err(|why| {
        Trouble::Failed(format!("cannot list the snapshots that restic would remove: {why}"))
    })?;
    let snapshots = path.join("snapshots").map_err(anyhow::Error::from)?;
    let when = |it: &Snapshot| {
        let nanoseconds = written(host.as_ref(), &snapshots.join(&it.id).ok()?)?;
        Timestamp::from_nanosecond(nanoseconds.into()).ok()
    };
    let doubts = restic::forged_times(&groups, now, &when);
    if doubts.is_empty() {
        return Ok(());
    }
    let more = doubts.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let (account, shown) = (&client.account, doubts[..doubts.len().min(SHOWN)].join("; "));
    Err(Trouble::Refused(format!(
        "the client may have forged the time of a snapshot, or a clock was wrong: {shown}{more}\nnothing was removed: \
         restic counts ages from the newest snapshot of each host and tags\nhelp: look at the newest snapshot (`restic ls \
         ID`, `restic diff OLDER NEWER`). If it is forged, take the client's key out of the state, run `rlvm apply`, then run `restic forget ID` as {account}. If all \
         snapshots are right, run `rlvm prune --client {account} --clock-is-right`"
    )))
}

/// Lists the files that restic takes for others, and directories of `data` that rlvm cannot look into.
fn misplaced(host: &dyn Observe, repository: &HostPath) -> Result<Vec<HostPath>> {
    let mut found = Vec::new();
    for kind in NAMED_BY_ID {
        let mut left = vec![(kind.to_owned(), repository.join(kind)?)];
        while let Some((directory, path)) = left.pop() {
            for name in host.names(&path)? {
                let at = path.join(&name);
                if is_misplaced(&directory, &name) {
                    found.push(at?);
                } else if directory == "data" {
                    // A name that rlvm cannot write down is still a directory that restic looks into. Nobody else
                    // works here, so nothing goes away meanwhile.
                    let Ok(at) = at else {
                        found.push(path.clone());
                        continue;
                    };
                    match host.entry(&at)? {
                        Entry::Directory(_) if host.link(&at)?.is_none() => {
                            left.push((format!("data/{name}"), at));
                        }
                        Entry::File(_) => {}
                        _ => found.push(at),
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Asks how often the index names its blobs.
fn named(world: &World<'_>, client: &PrunedClient, path: &HostPath) -> Result<Named, Trouble> {
    let (mut blobs, mut complaints) = (NamedBlobs::default(), Complaints::default());
    let cmd = client.repository.access().blobs();
    let ended = world.programs.program(&cmd, &mut |stream, line| match stream {
        Stream::Out => blobs.line(line),
        Stream::Err => complaints.line(line),
    })?;
    if ended.stopped || ended.timed_out {
        return Err(Trouble::Failed("restic was ended while it listed the index".into()));
    }
    let cannot = |why: &str| format!("restic cannot list the index of the repository: {why}");
    match complaints.of_reading(ended.code) {
        Verdict::Well => blobs.counted().map_err(Trouble::Failed),
        Verdict::Damaged(why) => {
            let files = suspects(world, client, path, &complaints);
            Err(refused(world, client, path, &cannot(&why), &files))
        }
        // restic has many words for an index file that makes no sense; of some it panics (tried with 0.18.0 and 0.19.1).
        Verdict::Failed(why) => match suspects(world, client, path, &complaints) {
            files if files.is_empty() => Err(Trouble::Failed(why)),
            files => Err(refused(world, client, path, &cannot(&why), &files)),
        },
        Verdict::Unreachable(why) => Err(Trouble::Failed(why)),
        Verdict::Locked(by) => Err(Trouble::Failed(format!("the repository is locked {by}"))),
    }
}

/// Compares all that the index says with the packs; refuses if they differ.
fn read_all(world: &World<'_>, client: &PrunedClient, path: &HostPath, named: &Named) -> Result<(), Trouble> {
    let count = match named {
        Named::Repeated(1) => "a blob".into(),
        Named::Repeated(count) => format!("{count} blobs"),
        Named::Once | Named::TooMany => "over 67 million blobs, and possibly some".into(),
    };
    let cmd = client.repository.access().read_all();
    let mut complaints = Complaints::default();
    world.programs.works_with(&client.repository.name)?;
    let verdict = world.waiting.alone(&client.repository.name, &client.repository, || {
        complaints = Complaints::default();
        let ended = world.programs.program(&cmd, &mut |stream, line| {
            if stream == Stream::Err {
                complaints.line(line);
            }
        })?;
        Ok(match complaints.of_reading(ended.code) {
            _ if ended.stopped => Tried::Done(Verdict::Failed("ended by a signal".into())),
            _ if ended.timed_out => Tried::Done(Verdict::Failed("took too long and was ended".into())),
            Verdict::Locked(by) => Tried::Locked(by),
            verdict => Tried::Done(verdict),
        })
    })?;
    let why = |why: &str| {
        format!("the index names {count} more than once, and `restic check --read-data` failed: {why}")
    };
    match verdict.map_err(Trouble::Failed)? {
        Verdict::Well => Ok(()),
        Verdict::Damaged(what) => {
            let files = suspects(world, client, path, &complaints);
            Err(refused(world, client, path, &why(&what), &files))
        }
        Verdict::Unreachable(what) | Verdict::Failed(what) | Verdict::Locked(what) => {
            Err(Trouble::Failed(why(&what)))
        }
    }
}

/// Says what was found, in which files, and what to do.
fn refused(
    world: &World<'_>,
    client: &PrunedClient,
    path: &HostPath,
    why: &str,
    files: &[String],
) -> Trouble {
    let host = world.host.looker();
    let paths = files.iter().filter_map(|file| found(host.as_ref(), path, file));
    let shown: Vec<String> = paths.take(2 * SHOWN).map(|path| shown(host.as_ref(), &path)).collect();
    let files = if shown.is_empty() { String::new() } else { format!("\nfiles: {}", shown.join("; ")) };
    let account = &client.account;
    Trouble::Refused(format!(
        "{why}\nnothing was removed: a prune could keep a wrong copy and remove the good one{files}\n\
         help: the client may be compromised, or the disk is damaged. Move the wrong packs, and the index files that name \
         them, out of {path}. As {account}, run `restic repair index` (restic 0.14: `restic rebuild-index`) and `restic \
         check --read-data`. Then run `rlvm prune --client {account}`"
    ))
}

/// Lists the files that restic complained of, and the index files that name such packs or make no sense.
fn suspects(
    world: &World<'_>,
    client: &PrunedClient,
    path: &HostPath,
    complaints: &Complaints,
) -> Vec<String> {
    let mut files = complaints.files();
    let packs: Vec<String> =
        files.iter().filter_map(|file| file.strip_prefix("data/")).map(ToOwned::to_owned).collect();
    if !packs.is_empty() || files.is_empty() {
        files.extend(suspect_index_files(world, client, path, &packs));
    }
    files
}

/// Finds the index files that name one of these packs or cannot be read, the newest first.
fn suspect_index_files(
    world: &World<'_>,
    client: &PrunedClient,
    path: &HostPath,
    packs: &[String],
) -> Vec<String> {
    let (host, since) = (world.host.looker(), Instant::now());
    let Ok(directory) = path.join("index") else { return Vec::new() };
    let names = host.names(&directory).unwrap_or_default().into_iter().filter(|name| is_id(name));
    let mut all: Vec<(i64, String)> = names
        .filter_map(|name| Some((written(host.as_ref(), &directory.join(&name).ok()?)?, name)))
        .collect();
    all.sort_by_key(|(time, _)| Reverse(*time));
    let (mut found, mut readable) = (Vec::new(), false);
    for (_, name) in all.into_iter().take(MOST_INDEX_FILES) {
        let is_vain = !readable && found.len() >= MOST_UNREADABLE;
        if is_vain || since.elapsed() > SEARCH || interrupted().is_some() {
            break;
        }
        let mut index = IndexFile::default();
        let cmd = client.repository.access().index_file(&name);
        let ended = world.programs.program(&cmd, &mut |stream, line| {
            if stream == Stream::Out {
                index.line(line);
            }
        });
        if !ended.is_ok_and(|it| !it.stopped && !it.timed_out) {
            continue;
        }
        readable |= !index.is_strange();
        if index.is_strange() || index.names(packs) {
            found.push(format!("index/{name}"));
        }
    }
    // If none can be read, something else is wrong: the password, for one.
    if readable { found } else { Vec::new() }
}

/// Finds a file of the repository by its directory and the start of its id.
fn found(host: &dyn Observe, repository: &HostPath, file: &str) -> Option<HostPath> {
    let (kind, id) = file.split_once('/')?;
    let directory = match kind {
        "data" => repository.join(kind).ok()?.join(id.get(..2)?).ok()?,
        _ => repository.join(kind).ok()?,
    };
    let names = host.names(&directory).unwrap_or_default();
    let name = names.iter().find(|name| name.starts_with(id))?;
    directory.join(name).ok()
}

/// Names a file, and when it was written: rclone takes no time from a client.
fn shown(host: &dyn Observe, path: &HostPath) -> String {
    let time = written(host, path).and_then(|it| Timestamp::from_nanosecond(it.into()).ok());
    time.map_or_else(
        || path.to_string(),
        |time| format!("{path} (written {})", time.strftime("%Y-%m-%d %H:%M UTC")),
    )
}

fn written(host: &dyn Observe, path: &HostPath) -> Option<i64> {
    match host.entry(path).ok()? {
        Entry::File(meta) | Entry::Directory(meta) => Some(meta.stamp.mtime),
        Entry::Absent | Entry::Other(_) | Entry::Blocked(_) => None,
    }
}
