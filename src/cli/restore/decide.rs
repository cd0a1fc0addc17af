//! Decides what happens to each name that a restore would touch, from the snapshot's file list and the files on the
//! host.
//!
//! The decision is one value: it is shown ([`super::compare`]), asked about, and carried out
//! ([`crate::host::Placing`]). Nothing changes it in between.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;

use super::{
    compare::{Comparison, within},
    nodes::Node,
    proof::{Likeness, is_it, likeness},
    wish::Wish,
};
use crate::host::{Equality, Fate, Sort, Stamp, Standing, lossy};

/// What would become of one of the snapshot's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is there.
    New,
    /// It is there as it was.
    Same,
    /// It is there with the stored type, size, time, owner and mode, but changed since the backup: it may have another content,
    /// target or other attributes.
    Alike,
    /// Something else of the same kind is there.
    Differs,
    /// Something of another kind is there, and gives way.
    Replaces(Sort),
    /// It cannot be put there: why.
    Blocked(String),
}

/// How names are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct Manner {
    /// Whether what is there stays as it is.
    pub(super) only_missing: bool,
    /// Whether directories that are there get their owner and mode back.
    pub(super) dress: bool,
    /// Whether files that look as they were are fetched to be compared.
    pub(super) fetch_alike: bool,
    /// Whether the file system keeps a ctime, which proves that a file is unchanged.
    pub(super) proves: bool,
}

/// Decides about one name. `None` is the fate of what cannot be got at.
pub(super) fn decide(node: &Node, standing: &Standing, manner: Manner) -> (Verdict, Option<Fate>) {
    let (there, stamp) = match standing {
        Standing::Absent => return (Verdict::New, Some(Fate::Create)),
        Standing::Blocked(why) => return (Verdict::Blocked(why.clone()), Some(Fate::Refuse)),
        Standing::There(there, stamp) => (there, *stamp),
    };
    let blocked = |why: String| (Verdict::Blocked(why), Some(Fate::Refuse));
    let like = likeness(node, there, &stamp, manner.proves);
    match (node.sort, there.sort) {
        (Sort::Directory, Sort::Directory) => {
            let fate = Fate::Enter { stamp, dress: manner.dress && !manner.only_missing };
            (if like == Likeness::Differs { Verdict::Differs } else { Verdict::Same }, Some(fate))
        }
        (_, Sort::Directory) => blocked("a directory exists there, and rlvm replaces no directory".into()),
        // Somebody has moved the directory elsewhere, or leads there.
        (Sort::Directory, Sort::Link) => {
            blocked("a symbolic link stands where a directory was, and rlvm does not replace it".into())
        }
        (_, _) if like == Likeness::Proven => (Verdict::Same, Some(Fate::Keep)),
        (_, _) if like == Likeness::Alike => (Verdict::Alike, Some(Fate::Keep)),
        (stored, now) if stored == now && manner.only_missing => (Verdict::Differs, Some(Fate::Keep)),
        (stored, now) if stored == now => (Verdict::Differs, Some(Fate::Replace(stamp))),
        (stored, now) if manner.only_missing => blocked(format!(
            "{} stands where {} was, and --only-missing replaces nothing",
            now.noun(),
            stored.noun()
        )),
        (_, now) => (Verdict::Replaces(now), Some(Fate::Replace(stamp))),
    }
}

/// Looks at names below the directory that holds a path that was asked for.
pub(super) trait Look {
    /// Says what stands there.
    fn at(&mut self, names: &[Vec<u8>]) -> Standing;
    /// Lists a directory's names.
    fn names(&mut self, dir: &[Vec<u8>]) -> Vec<Vec<u8>>;
}

impl Look for crate::host::Standings {
    fn at(&mut self, names: &[Vec<u8>]) -> Standing {
        Self::at(self, names)
    }

    fn names(&mut self, dir: &[Vec<u8>]) -> Vec<Vec<u8>> {
        Self::names(self, dir)
    }
}

/// A path that was asked for, and what is needed to look there.
pub(super) struct Place<'a> {
    /// Its names below the directory that `look` looks in.
    pub(super) names: Vec<Vec<u8>>,
    /// What looks there.
    pub(super) look: Box<dyn Look + 'a>,
    /// The mount points in it, each as the snapshot's path.
    pub(super) mounts: BTreeSet<String>,
    /// Whether the file system keeps a ctime.
    pub(super) proves: bool,
}

/// A file that looks as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alike {
    /// Which one of the snapshot's files it is, by its place in the list.
    pub(super) node: usize,
    /// The bytes of its path in the snapshot.
    pub(super) path: Vec<u8>,
    /// How many names of it lead to the directory from where on no link is followed.
    pub(super) way: usize,
    /// What stands there.
    pub(super) stamp: Stamp,
}

/// What was decided.
#[derive(Default)]
pub(super) struct Decided {
    /// By the snapshot's path. What lies in a directory that is new is not in it: it comes with that.
    pub(super) fates: HashMap<Vec<u8>, Fate>,
    /// By the path as the snapshot's list has it: of names that are not known to the byte, and are not in `fates`.
    unclear: HashMap<String, Fate>,
    /// What it comes to.
    pub(super) comparison: Comparison,
    /// The files that look as they were, and may differ.
    pub(super) alike: Vec<Alike>,
}

impl Decided {
    /// Says what was decided for a path, by its bytes.
    pub(super) fn fate(&self, path: &[u8]) -> Option<Fate> {
        // A file that is really named with the replacement character is one of several that read the same.
        self.fates.get(path).or_else(|| self.unclear.get(&lossy(path))).copied()
    }
}

impl Decided {
    /// Takes in what the comparison of a file that looked as it was came to. `strict` refuses a file that cannot be compared;
    /// else it stays, and is counted as not compared.
    pub(super) fn settle(&mut self, node: &Node, it: &Alike, equality: Equality, strict: bool) {
        let (verdict, fate) = match equality {
            Equality::Same => (Verdict::Same, Fate::Keep),
            Equality::Differs => (Verdict::Differs, Fate::Replace(it.stamp)),
            Equality::Moved => (
                Verdict::Blocked("it changed while it was compared, and is left as it is".into()),
                Fate::Refuse,
            ),
            // The live name only looks like the stored one, which is created beside it.
            Equality::Absent if std::str::from_utf8(&it.path).is_err() => (Verdict::New, Fate::Keep),
            Equality::Absent if strict => {
                (Verdict::Blocked("rlvm cannot compare it: restic did not restore it".into()), Fate::Refuse)
            }
            Equality::Unknown(why) if strict => {
                (Verdict::Blocked(format!("it cannot be compared: {why}")), Fate::Refuse)
            }
            Equality::Absent | Equality::Unknown(_) => return,
        };
        self.fates.insert(it.path.clone(), fate);
        self.comparison.settle(node, &verdict);
    }
}

/// A directory of the snapshot that what comes next may lie in.
struct Frame {
    text: String,
    kind: Kind,
}

enum Kind {
    /// It stands there: its names below the directory that is looked in, and the snapshot's path.
    Live(Vec<Vec<u8>>, Vec<u8>),
    /// It is new, or takes a file's place, and so is all in it.
    New,
    /// It cannot be put there: why.
    Blocked(String),
}

/// Decides about all that a snapshot holds of what was asked for. Each directory comes before what is in it. `open` is
/// called for one path after the other.
///
/// # Errors
///
/// Those of `open`.
pub(super) fn decide_all<'a>(
    nodes: &[Node],
    wishes: impl Iterator<Item = &'a Wish>,
    open: &mut dyn FnMut(&'a Wish) -> Result<Place<'a>>,
    manner: Manner,
) -> Result<Decided> {
    let mut decided = Decided::default();
    let twice = twice(nodes);
    let mut roots: HashMap<&str, &Wish> = HashMap::new();
    for wish in wishes {
        roots.entry(&wish.text).or_insert(wish);
    }
    let mut frames: Vec<Frame> = Vec::new();
    let mut place = None;
    if let Some(wish) = roots.get("/") {
        place = Some(open(wish)?);
        frames.push(Frame { text: "/".into(), kind: Kind::Live(Vec::new(), Vec::new()) });
    }
    for (number, node) in nodes.iter().enumerate() {
        while frames.last().is_some_and(|it| !within(&node.path, &it.text)) {
            frames.pop();
        }
        let root = frames.is_empty();
        let (above, path, name) = match frames.last().map(|it| &it.kind) {
            None => {
                let Some(wish) = roots.get(node.path.as_str()) else { continue };
                let opened = place.insert(open(wish)?);
                let Some((name, above)) = opened.names.split_last() else { continue };
                (above.to_vec(), parent(&wish.raw).to_vec(), name.clone())
            }
            Some(Kind::New) => {
                decided.comparison.add(node, &Verdict::New, manner.only_missing);
                if node.sort == Sort::Directory {
                    frames.push(Frame { text: node.path.clone(), kind: Kind::New });
                }
                continue;
            }
            Some(Kind::Blocked(why)) => {
                decided.comparison.add(node, &Verdict::Blocked(why.clone()), manner.only_missing);
                continue;
            }
            Some(Kind::Live(names, path)) => {
                (names.clone(), path.clone(), last(&node.path).as_bytes().to_vec())
            }
        };
        let Some(place) = &mut place else { continue };
        let many = twice.contains(node.path.as_str());
        let manner = Manner { proves: place.proves, ..manner };
        let kind = decided.one((number, node), place, (above, path, name), (root, many), manner);
        if node.sort == Sort::Directory {
            frames.push(Frame { text: node.path.clone(), kind });
        }
    }
    Ok(decided)
}

impl Decided {
    /// Decides about one name in a directory that stands there; returns what that means for what is in it.
    fn one(
        &mut self,
        (number, node): (usize, &Node),
        place: &mut Place<'_>,
        (above, path, name): (Vec<Vec<u8>>, Vec<u8>, Vec<u8>),
        (root, many): (bool, bool),
        manner: Manner,
    ) -> Kind {
        let full = |name: &Vec<u8>| [above.as_slice(), std::slice::from_ref(name)].concat();
        // A name that is no UTF-8 is not known to the byte: any that reads the same may be meant.
        let text = lossy(&name);
        let meant: Vec<Vec<u8>> = if !root && text.contains(char::REPLACEMENT_CHARACTER) {
            place.look.names(&above).into_iter().filter(|it| lossy(it) == text).collect()
        } else {
            vec![name]
        };
        let key = |name: &[u8]| [path.as_slice(), b"/", name].concat();
        // Another name that reads the same may be meant, until the file is fetched. A directory is entered, see `is_unclear`.
        let is_guess = !root && text.contains(char::REPLACEMENT_CHARACTER) && node.sort != Sort::Directory;
        if let ([only], false) = (meant.as_slice(), many || is_guess) {
            let raw = key(only);
            let mounted = !root && place.mounts.contains(&node.path);
            let names = full(only);
            let standing = place.look.at(&names);
            let (verdict, fate) =
                if mounted { at_mount(node, &standing) } else { decide(node, &standing, manner) };
            if let Some(fate) = fate {
                self.fates.insert(raw.clone(), fate);
            }
            self.comparison.add(node, &verdict, manner.only_missing);
            if is_unclear(node, &standing, (&path, &text, root), manner) {
                self.comparison.unclear += 1;
                if !root && !mounted {
                    self.unclear.entry(node.path.clone()).or_insert(Fate::Create);
                }
            }
            if let (Verdict::Alike, false, Standing::There(_, stamp)) = (&verdict, mounted, &standing) {
                let way = raw.split(|byte| *byte == b'/').count() - 1 - names.len();
                self.alike.push(Alike { node: number, path: raw.clone(), way, stamp: *stamp });
                if manner.fetch_alike {
                    self.comparison.wants_copy(node);
                }
            }
            return match (verdict, fate) {
                (Verdict::New | Verdict::Replaces(_), _) => Kind::New,
                (_, Some(Fate::Enter { .. })) => Kind::Live(names, raw),
                (Verdict::Blocked(why), _) => Kind::Blocked(format!("{}: {why}", node.path)),
                _ => Kind::Blocked(format!("{}: another file system is mounted there", node.path)),
            };
        }
        let meant: Vec<_> = meant.iter().map(|it| (full(it), key(it))).collect();
        self.several(node, place, &meant, manner)
    }

    /// Decides where it cannot be told which of some names is meant: all of them are taken to be overwritten.
    fn several(
        &mut self,
        node: &Node,
        place: &mut Place<'_>,
        meant: &[(Vec<Vec<u8>>, Vec<u8>)],
        manner: Manner,
    ) -> Kind {
        let by_text = node.path.clone();
        let found = meant.iter().map(|(names, key)| (key, place.look.at(names)));
        let found: Vec<(&Vec<u8>, Standing)> = found.filter(|(_, it)| *it != Standing::Absent).collect();
        if found.is_empty() {
            self.unclear.insert(by_text, Fate::Create);
            self.comparison.add(node, &Verdict::New, manner.only_missing);
            return Kind::New;
        }
        let is_plain = |it: &Standing| matches!(it, Standing::There(there, _) if there.sort == node.sort);
        if node.sort == Sort::Directory || !found.iter().all(|(_, it)| is_plain(it)) {
            let why = "several names here look the same, because they are not UTF-8: restore to a --target"
                .to_owned();
            self.unclear.insert(by_text, Fate::Refuse);
            self.fates.extend(found.iter().map(|(key, _)| ((*key).clone(), Fate::Refuse)));
            self.comparison.add(node, &Verdict::Blocked(why.clone()), manner.only_missing);
            return Kind::Blocked(format!("{}: {why}", node.path));
        }
        self.unclear.entry(by_text).or_insert(Fate::Create);
        for (key, standing) in &found {
            let fate = match standing {
                Standing::There(_, stamp) if !manner.only_missing => Fate::Replace(*stamp),
                _ => Fate::Keep,
            };
            self.fates.insert((*key).clone(), fate);
        }
        // It is fetched in any case: only then its bytes are known.
        let verdict = if manner.only_missing { Verdict::New } else { Verdict::Differs };
        self.comparison.add(node, &verdict, manner.only_missing);
        Kind::New
    }
}

/// Returns whether rlvm must restore the files to learn if the existing path has the stored name. A directory with a name that is no UTF-8
/// can be another one that reads the same: a rename sets the ctime, so one with the stored ctime has the stored name. Of what
/// lies above a path that was asked for nothing is known.
fn is_unclear(
    node: &Node,
    standing: &Standing,
    (above, name, root): (&[u8], &str, bool),
    manner: Manner,
) -> bool {
    let Standing::There(there, stamp) = standing else { return false };
    let odd = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    let is_dir = (node.sort, there.sort) == (Sort::Directory, Sort::Directory);
    is_dir && odd(name) && !(manner.proves && is_it(node, stamp)) || root && odd(&lossy(above))
}

/// Decides about a mount point: what is mounted there hides what was stored.
fn at_mount(node: &Node, standing: &Standing) -> (Verdict, Option<Fate>) {
    match standing {
        Standing::There(there, _) if (there.sort, node.sort) == (Sort::Directory, Sort::Directory) => {
            (Verdict::Same, Some(Fate::Keep))
        }
        Standing::There(there, stamp) if likeness(node, there, stamp, false) != Likeness::Differs => {
            (Verdict::Alike, Some(Fate::Keep))
        }
        _ => (Verdict::Blocked("another file system is mounted there".into()), Some(Fate::Refuse)),
    }
}

/// Finds the paths that two of a snapshot's files have, since bytes that are no UTF-8 read the same.
fn twice(nodes: &[Node]) -> HashSet<&str> {
    let mut seen = HashSet::new();
    let odd =
        nodes.iter().map(|node| node.path.as_str()).filter(|it| it.contains(char::REPLACEMENT_CHARACTER));
    odd.filter(|path| !seen.insert(*path)).collect()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Returns the directory above, without the `/` at its end: nothing for `/`.
fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    &path[..end]
}
