//! One restore from one place: into a private directory, checked there, and then put in place.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::{
    compare::{Comparison, lacking, verdict, within},
    nodes::{Node, held},
    places::Candidate,
    stage::Stage,
    tell::Teller,
    world::World,
};
use crate::{
    cli::exit::{Exit, Failure},
    effect::{Op, Owner},
    host::{Host as _, Left, Placing, Standing, interrupted},
    model::{HostPath, UserName},
    restic::{Access, Came, Restore, RestoreHeard, SPARSE, Unrestored, Version, ask_version},
};

/// How long a restore may take, in seconds: two weeks.
const LIMIT: u64 = 14 * 24 * 3600;

/// A file as long as this may be worth a word if its holes are filled.
const LARGE: u64 = 1 << 20;

/// Where to, and how.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    /// Below which directory paths stand as they were; `/` in place.
    pub(super) base: HostPath,
    /// Whether files go back to where they were.
    pub(super) in_place: bool,
    /// Whether what is there stays as it is.
    pub(super) only_missing: bool,
    /// Whether it is done even if there seems to be too little room.
    pub(super) ignore_space: bool,
}

/// What is to be restored from a place.
pub(super) struct Prepared {
    /// What there is.
    pub(super) nodes: Vec<Node>,
    /// What was asked for, else what was stored.
    pub(super) paths: Vec<HostPath>,
    /// What it would change.
    pub(super) comparison: Comparison,
}

/// What was restored, and is not in place yet.
pub(super) struct Fetched {
    /// The private directory.
    pub(super) staging: HostPath,
    /// What was not restored, or not in full.
    pub(super) unrestored: Vec<Unrestored>,
}

/// Looks what a snapshot holds of what was asked for, and what stands there.
pub(super) fn prepare(
    world: &World<'_>,
    from: &Candidate<'_>,
    asked: &[HostPath],
    goal: &Goal,
) -> Result<Prepared> {
    let root = UserName::root();
    let stored = || from.snapshot.paths.iter().map(|path| path.parse()).collect::<Result<Vec<HostPath>, _>>();
    let paths = if asked.is_empty() { stored().unwrap_or_default() } else { asked.to_vec() };
    let held = held(world, &from.place.access(&root), &from.snapshot.id, &paths)?;
    if !held.without.is_empty() {
        let all: Vec<&str> = held.without.iter().map(HostPath::as_str).collect();
        let holds: Vec<String> = from.snapshot.paths.iter().map(|it| super::safe(it)).collect();
        let message = format!("the snapshot has no {}", all.join(", no "));
        let help = format!("it is of {}; write paths as they stood when they were stored", holds.join(", "));
        bail!(Failure::new(Exit::Failed, message).help(help));
    }
    let mut standings = world.host.standings();
    let mut comparison = Comparison::default();
    for node in &held.nodes {
        let at = if goal.in_place { node.path.clone() } else { format!("{}{}", goal.base, node.path) };
        let standing = match at.parse::<HostPath>() {
            Ok(path) if node.is_plain() => standings.at(&path)?,
            // What it is really called is seen when it is put in place.
            _ => Standing::Absent,
        };
        comparison.add(node, &verdict(node, &standing), goal.only_missing);
    }
    Ok(Prepared { nodes: held.nodes, paths, comparison })
}

/// Says where restic may work for this goal: on the same file system, where nobody else can write.
pub(super) fn places_to_work(world: &World<'_>, goal: &Goal, paths: &[HostPath]) -> Result<Vec<HostPath>> {
    if !goal.in_place {
        return match world.host.guarded(&goal.base)? {
            Ok(dir) => Ok(vec![dir]),
            Err(why) => {
                let help = "name a directory below one that is root's alone: --target /var/tmp/restored";
                bail!(
                    Failure::new(Exit::Refused, format!("not restored into {}: {why}", goal.base)).help(help)
                )
            }
        };
    }
    let mounts = world.host.looker().mounts()?;
    let mut dirs = BTreeSet::new();
    for path in paths {
        let lies = world.host.looker().lies(path)?.unwrap_or_else(|| path.clone());
        let Some(dir) = world.host.private_place(&lies, &mounts)? else {
            let message = format!("{path} is on a file system where others can write everywhere");
            let help = "restore to a --target, look at it, and copy";
            bail!(Failure::new(Exit::Refused, message).help(help));
        };
        if let Some(below) = mounts.below(&lies).find(|it| !it.is_pseudo()) {
            let message = format!("{} is another file system, in {path}", below.at);
            let help =
                "restore each by a --path of its own that has no other file system in it, or to a --target";
            bail!(Failure::new(Exit::Refused, message).help(help));
        }
        dirs.insert(dir);
    }
    if dirs.len() > 1 {
        let dirs: Vec<&str> = dirs.iter().map(HostPath::as_str).collect();
        let message = format!("what was asked for is on several file systems: {}", dirs.join(", "));
        bail!(Failure::new(Exit::Refused, message).help("restore one --path after the other"));
    }
    Ok(dirs.into_iter().collect())
}

/// Refuses what would not fit.
pub(super) fn has_room(world: &World<'_>, dir: &HostPath, needed: u64, goal: &Goal) -> Result<()> {
    let room = world.host.room(dir)?;
    if goal.ignore_space || needed <= room {
        return Ok(());
    }
    let bytes = |bytes| indicatif::HumanBytes(bytes).to_string();
    let (short, needed, room) = (bytes(needed - room), bytes(needed), bytes(room));
    let message =
        format!("{needed} are to be restored, and where {dir} is are {room} free: {short} too little");
    let help = "make room, name another --target, or fewer paths; sparse files need less: --ignore-space";
    Err(Failure::new(Exit::Refused, message).help(help).into())
}

/// Asks which restic it is.
pub(super) fn version(world: &World<'_>, access: &Access<'_>) -> Result<Version> {
    let output = world.host.looker().query(&ask_version(access.means.engine.as_ref())?)?;
    Version::read(&output.stdout).context("restic does not say which version it is")
}

/// Restores into a private directory, and checks what stands there.
///
/// # Errors
///
/// If nothing was restored: another place may do better.
pub(super) fn fetch(
    world: &World<'_>,
    stage: &Stage<'_>,
    from: &Candidate<'_>,
    what: &Prepared,
    (dir, goal): (&HostPath, &Goal),
    teller: &Teller,
) -> Result<Fetched> {
    let root = UserName::root();
    let access = from.place.access(&root);
    let owner = owner(world, from)?;
    let staging = stage.make(dir, &owner.user, &owner.group)?;
    let asked: Vec<String> = what.paths.iter().map(ToString::to_string).collect();
    let few = what.comparison.few(goal.only_missing);
    let paths = few.map_or(asked, <[String]>::to_vec);
    let version = version(world, &access)?;
    if version < SPARSE && what.nodes.iter().any(|node| node.size >= LARGE) {
        teller.warn(&format!(
            "restic {version} knows of no holes: sparse files will take as much room as they are long"
        ));
    }
    let snapshot = &from.snapshot.id;
    let restore =
        access.restore(&Restore { snapshot, paths: &paths, target: &staging, version, seconds: LIMIT });
    let wanted =
        || what.nodes.iter().filter(|node| few.is_none_or(|few| few.iter().any(|it| within(&node.path, it))));
    let bytes = wanted().map(|node| node.size).sum();
    teller.begin(&from.place.name, snapshot, bytes, wanted().count() as u64);
    let mut said = RestoreHeard::default();
    let ended = stage.run(&restore, &mut |_, line| {
        if let Some(far) = said.line(line) {
            teller.progress(&far);
        }
    });
    teller.rest();
    let ended = ended?;
    if interrupted().is_some() {
        stage.close(&Op::RemoveStaging { path: staging })?;
        bail!("stopped by a signal");
    }
    let came = if ended.timed_out {
        Came::Failed("it took too long and was ended".into())
    } else {
        said.came(ended.code)
    };
    if let Came::Failed(why) = came {
        stage.close(&Op::RemoveStaging { path: staging })?;
        bail!("{why}");
    }
    let mut staged = Vec::new();
    world.host.staged(&staging, &mut |it| staged.push(it))?;
    let mut unrestored = said.failed;
    unrestored.extend(lacking(wanted(), &staged, &unrestored));
    Ok(Fetched { staging, unrestored })
}

/// Says to whom the private directory belongs: who restic works as.
fn owner(world: &World<'_>, from: &Candidate<'_>) -> Result<Owner> {
    let Some(user) = from.place.works_as() else {
        let scope = world.context.scope()?;
        return Ok(scope.personal().map_or_else(Owner::root, Owner::of));
    };
    let entry = world.host.looker().user(user)?.with_context(|| format!("there is no user {user}"))?;
    Ok(Owner { user: user.clone(), group: entry.group.parse()? })
}

/// What was put in place.
pub(super) struct Put {
    pub(super) placed: u64,
    pub(super) unchanged: u64,
    pub(super) unrestored: Vec<Unrestored>,
}

/// Puts what was restored in place. In place, what is not whole takes nothing's place; elsewhere it is better than nothing.
pub(super) fn put(world: &World<'_>, what: &Prepared, fetched: Fetched, goal: &Goal) -> Result<Put> {
    let failed: BTreeSet<&str> = fetched.unrestored.iter().map(|it| it.path.as_str()).collect();
    // 0.14 does not say where a name that holds `: ` ends.
    let broken = |path: &str| {
        let begins = |it: &&str| path.strip_prefix(*it).is_some_and(|rest| rest.starts_with(": "));
        goal.in_place && (failed.contains(path) || (path.contains(": ") && failed.iter().any(begins)))
    };
    let asked = |path: &str| what.paths.iter().any(|it| within(path, it.as_str()));
    let mut placing = Placing {
        // Nothing in a target is ever overwritten: what was there was refused before.
        only_missing: goal.only_missing || !goal.in_place,
        broken: &broken,
        asked: &asked,
        stop: &|| interrupted().is_some(),
        placed: 0,
        same: 0,
        left: Vec::new(),
    };
    placing.place(world.host, &fetched.staging, &goal.base)?;
    let Placing { placed, same, left, .. } = placing;
    let few = what.comparison.few(goal.only_missing).is_some();
    // What restic was not asked for is as it was.
    let unchanged = if few { same + what.comparison.same } else { same };
    let mut unrestored = fetched.unrestored;
    unrestored.extend(left.into_iter().map(|Left { path, why }| Unrestored { path, why }));
    if few {
        let known: BTreeSet<String> = unrestored.iter().map(|it| it.path.clone()).collect();
        unrestored.extend(what.comparison.blocked.iter().filter(|it| !known.contains(&it.path)).cloned());
    }
    Ok(Put { placed, unchanged, unrestored })
}
