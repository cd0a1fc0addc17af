//! Restores from one destination: into a private directory, where the result is checked, and then to its place.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context as _, Result, bail};

use super::{
    compare::{upwards, within},
    decide::{Decided, Manner, Place, decide_all},
    lacking::lacking,
    leads::leads,
    nodes::{Node, held, proven},
    places::Candidate,
    proof::{keep_proofs, keeps_ctime},
    stage::Stage,
    tell::Teller,
    wish::Wish,
    world::World,
};
use crate::{
    cli::exit::{Exit, Failure},
    effect::{Op, Owner},
    expand::expand,
    host::{Host as _, Left, Mounts, Placing, Sort, interrupted},
    model::{HostPath, UserName},
    restic::{
        Access, Came, RAW_TARGETS, Restore, RestoreHeard, Restoring, SPARSE, Unrestored, Version, ask_version,
    },
};

/// How long a restore may take, in seconds: two weeks.
const LIMIT: u64 = 14 * 24 * 3600;

/// A file as long as this may be worth a word if its holes are filled.
const LARGE: u64 = 1 << 20;

/// Where to, and how.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct Goal {
    /// Below which directory paths stand as they were; `/` in place.
    pub(super) base: HostPath,
    /// Whether files go back to where they were.
    pub(super) in_place: bool,
    /// Whether what is there stays as it is.
    pub(super) only_missing: bool,
    /// Whether files that look as they were are fetched and compared.
    pub(super) compare_content: bool,
    /// Whether it is done even if there seems to be too little room.
    pub(super) ignore_space: bool,
}

/// What is to be restored from a place.
pub(super) struct Prepared {
    /// What there is.
    pub(super) nodes: Vec<Node>,
    /// What was asked for, else what was stored.
    pub(super) wishes: Vec<Wish>,
    /// What becomes of each name.
    pub(super) decided: Decided,
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
    asked: &[Wish],
    goal: &Goal,
) -> Result<Prepared> {
    let root = UserName::root();
    let wishes = if asked.is_empty() { stored(from)? } else { asked.to_vec() };
    let (access, id) = (from.place.access(&root), &from.snapshot.id);
    // In place, only what is listed is restored.
    let list = if goal.in_place { proven } else { held };
    let mut held = list(world, &access, id, &wishes)?;
    keep_proofs(&mut held.nodes, from.snapshot.time());
    if !held.without.is_empty() {
        let all: Vec<String> = held.without.iter().map(|it| super::one_line(it)).collect();
        let holds: Vec<String> = from.snapshot.paths.iter().map(|it| super::one_line(it)).collect();
        let message = format!("the backup does not contain {}", all.join(", "));
        let help = format!("write each path as it was stored; the backup contains {}", holds.join(", "));
        bail!(Failure::new(Exit::Failed, message).help(help));
    }
    let manner = Manner {
        only_missing: goal.only_missing || !goal.in_place,
        dress: goal.in_place,
        fetch_alike: goal.in_place && !goal.only_missing && goal.compare_content,
        ..Manner::default()
    };
    let mounts = world.host.looker().mounts()?;
    // One after the other: each holds directories open.
    let mut open = |wish: &Wish| place(world, wish, goal, &mounts);
    let mut decided = decide_all(&held.nodes, outermost(&wishes), &mut open, manner)?;
    if goal.in_place {
        decided.comparison.leads = leads(world, wishes.iter());
    }
    Ok(Prepared { nodes: held.nodes, wishes, decided })
}

/// Takes all that was stored. A path that is no UTF-8 is not known to the byte.
fn stored(from: &Candidate<'_>) -> Result<Vec<Wish>> {
    let paths = &from.snapshot.paths;
    let read = |path: &String| {
        let plain = !path.contains(char::REPLACEMENT_CHARACTER);
        Wish::read(path.as_bytes()).ok().filter(|_| plain)
    };
    match paths.iter().map(read).collect::<Option<Vec<Wish>>>() {
        Some(all) if !all.is_empty() => Ok(all),
        _ => {
            let paths: Vec<String> = paths.iter().map(|it| super::one_line(it)).collect();
            let message =
                format!("cannot tell the exact paths that this snapshot stored: {}", paths.join(", "));
            let help = "name the paths to restore: --path or --path-from";
            bail!(Failure::new(Exit::Failed, message).help(help))
        }
    }
}

/// Leaves out what lies in another path that was asked for, and what was asked for twice.
fn outermost(wishes: &[Wish]) -> impl Iterator<Item = &Wish> {
    let texts: HashSet<&str> = wishes.iter().map(|it| it.text.as_str()).collect();
    let mut seen = HashSet::new();
    wishes
        .iter()
        .filter(move |it| !upwards(&it.text).skip(1).any(|it| texts.contains(it)) && seen.insert(&it.raw))
}

/// Prepares to look where a path that was asked for is to be put.
fn place(world: &World<'_>, wish: &Wish, goal: &Goal, mounts: &Mounts) -> Result<Place<'static>> {
    let (way, names) = wish.split();
    let (way, mounts, proves) = if goal.in_place {
        let lies = lies(world, &wish.path().unwrap_or_else(|| way.clone()));
        let proves = mounts.of(&lies).is_some_and(|it| keeps_ctime(&it.kind));
        (way, mounts_in(world, wish, mounts), proves)
    } else {
        // Nothing that is in a target is taken for unchanged.
        (way.parts().try_fold(goal.base.clone(), |at, part| at.join(part))?, BTreeSet::new(), false)
    };
    Ok(Place { names, look: Box::new(world.host.standings(&way)?), mounts, proves })
}

/// Says where a path really lies. One that cannot be got at lies where it is written: nothing can be put there, which the look at
/// it says. A link that another user could have put on the way is not followed: it must not decide where rlvm works.
fn lies(world: &World<'_>, path: &HostPath) -> HostPath {
    let way = path.parent().and_then(|parent| world.host.resolved(&parent).ok().flatten());
    way.and_then(|way| way.join(path.name()).ok()).unwrap_or_else(|| path.clone())
}

/// Lists the mount points in a path, as paths of the snapshot.
fn mounts_in(world: &World<'_>, wish: &Wish, mounts: &Mounts) -> BTreeSet<String> {
    // Below what cannot be written as a path none can be listed; nothing is renamed from one file system to another anyway.
    let Some(path) = wish.path() else { return BTreeSet::new() };
    let lies = lies(world, &path);
    let start = |it: &HostPath| if it.as_str() == "/" { String::new() } else { it.to_string() };
    let of = |at: &HostPath| Some(format!("{}{}", start(&path), at.as_str().strip_prefix(&start(&lies))?));
    mounts.below(&lies).filter_map(|mount| of(&mount.at)).collect()
}

/// Refuses what would be put below a mount point of the state while nothing is mounted there: it would fill the disk below,
/// and be hidden by the next mount.
pub(super) fn is_mounted(world: &World<'_>, goal: &Goal, wishes: &[Wish]) -> Result<()> {
    let context = world.context;
    let expanded = expand(world.state, &context.user_facts(world.host, world.state)?, &context.scope()?);
    let points = expanded.resources.values().filter_map(|declared| declared.resource.mount_point());
    let points: Vec<HostPath> = points.cloned().collect();
    let looker = world.host.looker();
    let places: Vec<HostPath> = if goal.in_place {
        wishes.iter().map(|wish| wish.path().unwrap_or_else(|| wish.split().0)).collect()
    } else {
        vec![goal.base.clone()]
    };
    match places.iter().find_map(|path| looker.missing_mount(path, &points)) {
        None => Ok(()),
        Some(why) => {
            bail!(Failure::new(Exit::Refused, why).help("mount it, or choose a --target elsewhere"))
        }
    }
}

/// Says where restic may work for this goal: on the same file system, where nobody else can write.
pub(super) fn places_to_work(world: &World<'_>, goal: &Goal, wishes: &[Wish]) -> Result<Vec<HostPath>> {
    if !goal.in_place {
        return match world.host.guarded(&goal.base)? {
            Ok(dir) => Ok(vec![dir]),
            Err(why) => {
                let help = "choose a directory that no other user can redirect: --target /var/tmp/restored";
                bail!(
                    Failure::new(Exit::Refused, format!("cannot restore into {}: {why}", goal.base))
                        .help(help)
                )
            }
        };
    }
    let mounts = world.host.looker().mounts()?;
    let mut dirs = BTreeSet::new();
    for wish in wishes {
        // What cannot be written as a path is on the file system of what holds it, or nothing can be put there.
        let (path, whole) = wish.path().map_or_else(|| (wish.split().0, false), |path| (path, true));
        let lies = lies(world, &path);
        let Some(dir) = world.host.private_place(&lies, &mounts)? else {
            let message = format!(
                "cannot restore {path} in place: its file system is read-only, or has no directory that only root can write"
            );
            let help = "restore to a --target, check the files, and copy them";
            bail!(Failure::new(Exit::Refused, message).help(help));
        };
        if let Some(below) = mounts.below(&lies).find(|it| whole && !it.is_pseudo()) {
            let message =
                format!("cannot restore {path} in place: another file system is mounted at {}", below.at);
            let help = "restore each file system with a --path of its own, or restore to a --target";
            bail!(Failure::new(Exit::Refused, message).help(help));
        }
        dirs.insert(dir);
    }
    if dirs.len() > 1 {
        let dirs: Vec<&str> = dirs.iter().map(HostPath::as_str).collect();
        let message = format!("cannot restore paths on several file systems at once: {}", dirs.join(", "));
        bail!(Failure::new(Exit::Refused, message).help("restore one --path at a time"));
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
    let message = format!(
        "the restore needs {needed}, but the file system of {dir} has only {room} free: {short} too little"
    );
    let help = "free some space, choose another --target, or restore fewer paths; sparse files need less than is counted here: \
                --ignore-space skips this check";
    Err(Failure::new(Exit::Refused, message).help(help).into())
}

/// Asks which restic it is.
pub(super) fn version(world: &World<'_>, access: &Access<'_>) -> Result<Version> {
    let output = world.host.looker().query(&ask_version(access.means.engine.as_ref())?)?;
    Version::read(&output.stdout).context("cannot read the version that restic prints")
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
    let asked: Vec<String> = what.wishes.iter().map(|it| it.text.clone()).collect();
    let few = what.decided.comparison.few(goal.only_missing);
    let paths = few.map_or(asked, <[String]>::to_vec);
    let version = version(world, &access)?;
    if version < SPARSE && what.nodes.iter().any(|node| node.size >= LARGE) {
        teller.warn(&format!(
            "restic {version} fills the holes of sparse files: they will take up their full length on the disk"
        ));
    }
    if version < RAW_TARGETS && what.nodes.iter().any(|node| node.sort == Sort::Link) {
        teller.warn(&format!(
            "restic {version} alters link targets that are not UTF-8: rlvm lists such links as not restored"
        ));
    }
    let snapshot = &from.snapshot.id;
    let wanted =
        || what.nodes.iter().filter(|node| few.is_none_or(|few| few.iter().any(|it| within(&node.path, it))));
    let bytes = wanted().map(|node| node.size).sum();
    teller.begin(&from.place.name, snapshot, bytes, wanted().count() as u64);
    let mut said = RestoreHeard::default();
    let call = (&access, snapshot.as_str(), version);
    let done = restores((stage, &staging), call, &paths, &mut said, &mut |far| teller.progress(far));
    teller.rest();
    done?;
    let mut staged = Vec::new();
    world.host.staged(&staging, &mut |it| staged.push(it))?;
    let mut unrestored = said.failed(wanted().map(|node| node.path.as_str()));
    // A person was warned that a target gets no owners.
    let owners = goal.in_place || user_who_cannot_set_owners(world, from, what)?.is_none();
    unrestored.extend(lacking(wanted(), &staged, &unrestored, owners));
    Ok(Fetched { staging, unrestored })
}

/// Has restic restore some paths into a private directory, which is removed if that fails.
///
/// # Errors
///
/// If nothing was restored, or a signal asked to stop.
pub(super) fn restores(
    (stage, staging): (&Stage<'_>, &HostPath),
    (access, snapshot, version): (&Access<'_>, &str, Version),
    paths: &[String],
    said: &mut RestoreHeard,
    heard: &mut dyn FnMut(&Restoring),
) -> Result<()> {
    let restore = access.restore(&Restore { snapshot, paths, target: staging, version, seconds: LIMIT });
    let ended = stage.run(&restore, &mut |_, line| {
        if let Some(far) = said.line(line) {
            heard(&far);
        }
    })?;
    let why = match () {
        () if interrupted().is_some() => "stopped by a signal".to_owned(),
        () if ended.timed_out => "restic took longer than two weeks, and rlvm ended it".into(),
        () => match said.came(ended.code) {
            Came::Failed(why) => why,
            Came::Whole | Came::Incomplete => return Ok(()),
        },
    };
    stage.close(&Op::RemoveStaging { path: staging.clone() })?;
    bail!("{why}")
}

/// Says to whom the private directory belongs: who restic works as.
pub(super) fn owner(world: &World<'_>, from: &Candidate<'_>) -> Result<Owner> {
    let Some(user) = from.place.works_as() else {
        let scope = world.context.scope()?;
        return Ok(scope.personal().map_or_else(Owner::root, Owner::of));
    };
    let entry = world.host.looker().user(user)?.with_context(|| format!("there is no user {user}"))?;
    Ok(Owner { user: user.clone(), group: entry.group.parse()? })
}

/// Returns the user that restic runs as, if that user cannot restore the owners of all files.
pub(super) fn user_who_cannot_set_owners(
    world: &World<'_>,
    from: &Candidate<'_>,
    what: &Prepared,
) -> Result<Option<UserName>> {
    let scope = world.context.scope()?;
    let user = from.place.works_as().or_else(|| scope.personal().map(|it| &it.user));
    let Some(user) = user else { return Ok(None) };
    let uid = world.host.looker().user(user)?.map(|entry| entry.uid);
    Ok((!what.nodes.iter().all(|node| Some(node.uid) == uid)).then(|| user.clone()))
}

/// What was put in place.
pub(super) struct Put {
    pub(super) placed: u64,
    pub(super) files_placed: u64,
    pub(super) unchanged: u64,
    pub(super) unrestored: Vec<Unrestored>,
}

impl Put {
    /// Describes that nothing was put in place.
    pub(super) fn nothing(what: &Prepared, goal: &Goal) -> Self {
        let comparison = &what.decided.comparison;
        let unchanged = comparison.unchanged(goal.only_missing);
        Self { placed: 0, files_placed: 0, unchanged, unrestored: comparison.blocked.clone() }
    }
}

/// Moves the restored files to their place. In place an incomplete file replaces nothing; into a target it is moved too,
/// since some of it is better than nothing.
pub(super) fn put(world: &World<'_>, what: &Prepared, fetched: Fetched, goal: &Goal) -> Result<Put> {
    if goal.in_place && leads(world, what.wishes.iter()) != what.decided.comparison.leads {
        bail!("a symbolic link above the requested paths changed after the comparison: nothing was restored");
    }
    let failed: BTreeSet<&str> = fetched.unrestored.iter().map(|it| it.path.as_str()).collect();
    let broken = |path: &str| failed.contains(path);
    let asked = what.wishes.iter().map(|it| it.raw.as_slice());
    let (fate, stop) = (|path: &[u8]| what.decided.fate(path), || interrupted().is_some());
    let mut placing = Placing::new(asked, &fate, (&broken, !goal.in_place), &stop);
    placing.place(world.host, &fetched.staging, &goal.base)?;
    let Placing { placed, files_placed, same, left, .. } = placing;
    let comparison = &what.decided.comparison;
    let unchanged = same + comparison.unchanged(goal.only_missing);
    let mut unrestored = fetched.unrestored;
    let failed: BTreeSet<String> = unrestored.iter().map(|it| it.path.clone()).collect();
    let left = left.into_iter().filter(|it| !failed.contains(&it.path));
    unrestored.extend(left.map(|Left { path, why }| Unrestored { path, why }));
    let known: BTreeSet<String> = unrestored.iter().map(|it| it.path.clone()).collect();
    unrestored.extend(comparison.blocked.iter().filter(|it| !known.contains(&it.path)).cloned());
    Ok(Put { placed, files_placed, unchanged, unrestored })
}
