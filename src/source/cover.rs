//! Finds data in sources that no backup would contain although nothing fails: sources that an exclude leaves out,
//! empty directories, and file systems below a source that restic does not enter. Pure.

use super::{Ground, Source};
use crate::model::HostPath;

/// How many places are named in one message.
const NAMED: usize = 4;

/// A name that only wildcards match.
const ANY: &str = "\u{1}\u{2}";

/// Returns the exclude that leaves out a path with all that lies in it; nothing where a later pattern takes something back.
///
/// By restic's rules (internal/filter): a pattern that starts with `/` begins at the root, another one anywhere, and what
/// lies below a match is left out too.
pub fn left_out_by<'a>(path: &HostPath, exclude: &[&'a str]) -> Option<&'a str> {
    if exclude.iter().any(|pattern| pattern.starts_with('!')) {
        return None;
    }
    let mut parts: Vec<&str> = path.parts().collect();
    parts.push(ANY);
    exclude.iter().copied().find(|pattern| matches(pattern, &parts))
}

fn matches(pattern: &str, path: &[&str]) -> bool {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return false;
    }
    if pattern.starts_with('/') {
        return starts(&parts, path);
    }
    (0..path.len()).any(|from| starts(&parts, &path[from..]))
}

/// Says whether a path begins with what a pattern means.
fn starts(pattern: &[&str], path: &[&str]) -> bool {
    match pattern {
        [] => true,
        ["**", rest @ ..] => (0..=path.len()).any(|skipped| starts(rest, &path[skipped..])),
        [first, rest @ ..] => match path {
            [part, below @ ..] => glob(first, part) && starts(rest, below),
            [] => false,
        },
    }
}

/// Matches one name as Go's `filepath.Match` does.
fn glob(pattern: &str, name: &str) -> bool {
    let mut letters = pattern.chars();
    let Some(first) = letters.next() else { return name.is_empty() };
    let rest = letters.as_str();
    let mut of_name = name.chars();
    match first {
        '*' => glob(rest, name) || of_name.next().is_some() && glob(pattern, of_name.as_str()),
        '?' => of_name.next().is_some() && glob(rest, of_name.as_str()),
        '[' => {
            let Some((class, rest)) = rest.split_once(']') else { return false };
            of_name.next().is_some_and(|letter| in_class(class, letter)) && glob(rest, of_name.as_str())
        }
        '\\' => match letters.next() {
            Some(plain) => of_name.next() == Some(plain) && glob(letters.as_str(), of_name.as_str()),
            None => false,
        },
        plain => of_name.next() == Some(plain) && glob(rest, of_name.as_str()),
    }
}

/// Says whether a letter is one of `a-z0`, or with `^` in front none of them.
fn in_class(class: &str, letter: char) -> bool {
    let (class, negated) = class.strip_prefix('^').map_or((class, false), |class| (class, true));
    let letters: Vec<char> = class.chars().collect();
    let (mut at, mut found) = (0, false);
    while let Some(first) = letters.get(at) {
        match (letters.get(at + 1), letters.get(at + 2)) {
            (Some('-'), Some(last)) => {
                found |= (*first..=*last).contains(&letter);
                at += 3;
            }
            _ => {
                found |= *first == letter;
                at += 1;
            }
        }
    }
    found != negated
}

/// Says of a job's sources which of them a backup would hold nothing of.
pub fn nothing_of(sources: &[Source], exclude: &[&str], may_be_empty: bool, ground: &Ground) -> Vec<String> {
    let mut said = Vec::new();
    for path in sources.iter().flat_map(|source| source.stored(ground).unwrap_or_default()) {
        if let Some(pattern) = left_out_by(&path, exclude) {
            said.push(format!("source {path} is left out as a whole by the exclude `{pattern}`"));
        } else if !may_be_empty && ground.empty.contains(&path) {
            said.push(format!("source {path} is an empty directory"));
        }
    }
    said.dedup();
    said
}

/// What restic does with the file systems below a job's sources.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    /// The job's sources.
    pub sources: &'a [Source],
    /// The job's excludes.
    pub exclude: &'a [&'a str],
    /// Whether the job stays on the file systems of its sources.
    pub one_file_system: bool,
}

/// Says which file systems and btrfs subvolumes lie below a job's sources and are stored by no source of any job.
pub fn uncovered(of: &Walk<'_>, all: &[Walk<'_>], ground: &Ground) -> Vec<String> {
    let mut said = Vec::new();
    for source in of.sources {
        let nested: Vec<&HostPath> = match source {
            Source::Btrfs(btrfs) => ground.nested.get(&btrfs.subvolume).into_iter().flatten().collect(),
            _ => Vec::new(),
        };
        for top in source.stored(ground).unwrap_or_default() {
            let place = ground.places.get(&top).unwrap_or(&top);
            let device = ground.mounts.of(place).map(|mount| mount.device);
            let mounted = ground.mounts.below(place).filter(|mount| {
                // Another part of the same file system may be stored from where it is at home.
                let is_bind = Some(mount.device) == device && mount.kind != "btrfs";
                stays(source, of) && holds_files(&mount.kind) && !is_bind
            });
            let below = nested.iter().copied().filter(|at| at.is_within(place) && *at != place);
            let open: Vec<&HostPath> = mounted.map(|mount| &mount.at).chain(below).collect();
            let mut open: Vec<&HostPath> = open
                .into_iter()
                .filter(|at| left_out_by(at, of.exclude).is_none() && !is_stored(at, all, ground))
                .collect();
            open.sort();
            open.dedup();
            if !open.is_empty() {
                let names: Vec<&str> = open.iter().take(NAMED).map(|at| at.as_str()).collect();
                let more = match open.len() - names.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let (are, them) = if open.len() == 1 {
                    ("is a file system or subvolume", "it")
                } else {
                    ("are file systems or subvolumes", "them")
                };
                let names = names.join(", ");
                said.push(format!("{names}{more} {are} below source {top}, and no source stores {them}"));
            }
        }
    }
    said
}

/// Says whether restic stays on the file system of a source: what is frozen is one.
fn stays(source: &Source, of: &Walk<'_>) -> bool {
    of.one_file_system || matches!(source, Source::Lvm(_) | Source::Btrfs(_))
}

/// Says whether any source stores what lies at a mount or a subvolume, or a part of it.
fn is_stored(at: &HostPath, all: &[Walk<'_>], ground: &Ground) -> bool {
    all.iter().any(|of| {
        of.sources.iter().flat_map(|source| source.all_paths().map(move |path| (source, path))).any(
            |(source, path)| {
                let place = ground.places.get(path).unwrap_or(path);
                place.is_within(at) || at.is_within(place) && !stays(source, of)
            },
        ) || of.sources.iter().any(|source| source.stored(ground).is_ok_and(|all| all.contains(at)))
    })
}

/// Says whether a file system of this type holds files of its own: no memory, no image, no layers of a container.
fn holds_files(kind: &str) -> bool {
    const OWN: [&str; 12] =
        ["btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "reiserfs", "vfat", "xfs", "zfs"];
    const FAR: [&str; 6] = ["9p", "ceph", "cifs", "nfs", "nfs4", "virtiofs"];
    OWN.contains(&kind) || FAR.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::Mounts,
        source::{Btrfs, LogicalVolume, Lvm, Path},
    };

    fn path(text: &str) -> HostPath {
        text.parse().unwrap()
    }

    #[test]
    fn excludes_that_leave_out_a_whole_source() {
        // Each tried with restic 0.14, 0.18 and 0.19: no file, or some, in the backup of a source.
        for (source, pattern, left_out) in [
            ("/srv/www", "/srv/www", true),
            ("/srv/www", "/srv/www/", true),
            ("/srv/www", "/srv", true),
            ("/srv/www", "/srv/*", true),
            ("/srv/www", "/srv/www/*", true),
            ("/srv/www", "/srv/www/**", true),
            ("/srv/www", "www", true),
            ("/srv/www", "srv/www", true),
            ("/srv/www", "*", true),
            ("/srv/www", "w?w", true),
            ("/srv/www", "[v-x]ww", true),
            ("/srv/www", "/**/www", true),
            ("/srv/www", "/srv/www/*.log", false),
            ("/srv/www", "/srv/www/cache/*", false),
            ("/srv/www", "*.log", false),
            ("/srv/www", "/www", false),
            ("/srv/www", "/srv/w", false),
            ("/srv/www", "[^w]ww", false),
            ("/srv/www", r"\*", false),
            ("/srv/www", "srv/cache", false),
            ("/", "/proc", false),
            ("/", "/*", true),
        ] {
            let found = left_out_by(&path(source), &["*.tmp", pattern]);
            assert_eq!(found, left_out.then_some(pattern), "{source} {pattern}");
        }
        assert_eq!(left_out_by(&path("/srv"), &["/srv/*", "!/srv/a"]), None, "something is taken back");
    }

    fn ground() -> Ground {
        let places = ["/", "/srv", "/b", "/srv/app", "/b/home"].map(|it| (path(it), path(it))).into();
        let root = LogicalVolume {
            name: "vg0/root".parse().unwrap(),
            size: 1,
            attributes: "-wi-ao----".into(),
            tags: Vec::new(),
            pool: None,
            device: Some((253, 1)),
            full: None,
            free: 1,
            extent: 1,
        };
        Ground {
            mounts: Mounts::table(&[
                ("/", "ext4"),
                ("/boot", "vfat"),
                ("/proc", "proc"),
                ("/snap/x", "squashfs"),
                ("/srv", "xfs"),
                ("/b", "btrfs"),
            ]),
            volumes: vec![root],
            places,
            subvolumes: [(path("/b"), super::super::Subvolume { is_one: true, is_private: true })].into(),
            nested: [(path("/b"), vec![path("/b/home"), path("/b/var")])].into(),
            empty: [path("/srv")].into(),
            ..Ground::default()
        }
    }

    fn of_path(text: &str) -> Source {
        Source::Path(Path(path(text)))
    }

    fn lvm() -> Source {
        Source::Lvm(Lvm { volume: "vg0/root".parse().unwrap(), paths: Vec::new(), snapshot_size: None })
    }

    #[test]
    fn file_systems_that_no_source_stores_are_named() {
        let walk = |sources, exclude, one_file_system| Walk { sources, exclude, one_file_system };
        let (root, lvm, srv) = ([of_path("/")], [lvm()], [of_path("/srv/app")]);
        let all = "/b, /boot, /srv are file systems or subvolumes below source /, and no source stores them";
        let some = "/b, /boot are file systems or subvolumes below source /, and no source stores them";
        for (of, others, expected) in [
            (walk(&root, &[], false), &[][..], &[][..]),
            (walk(&root, &[], true), &[], &[all]),
            (walk(&lvm, &[], false), &[], &[all]),
            // A part of it is a source.
            (walk(&lvm, &[], false), &[walk(&srv, &[], false)], &[some]),
            (walk(&lvm, &["/boot", "/b/*", "/srv"], false), &[], &[]),
            (walk(&lvm, &[], false), &[walk(&root, &[], false)], &[]),
        ] {
            let everything: Vec<Walk<'_>> = others.iter().copied().chain([of]).collect();
            assert_eq!(uncovered(&of, &everything, &ground()), expected, "{of:?}");
        }
        let btrfs = [Source::Btrfs(Btrfs { subvolume: path("/b"), paths: Vec::new() })];
        let of = walk(&btrfs, &[], false);
        let home = [of_path("/b/home")];
        let said = uncovered(&of, &[of, walk(&home, &[], false)], &ground());
        assert_eq!(said, ["/b/var is a file system or subvolume below source /b, and no source stores it"]);
    }

    #[test]
    fn a_source_of_which_nothing_is_stored_is_named() {
        let sources = [of_path("/srv"), of_path("/srv/app")];
        let said = |exclude: &[&str], may_be_empty| nothing_of(&sources, exclude, may_be_empty, &ground());
        assert_eq!(said(&[], false), ["source /srv is an empty directory"]);
        assert!(said(&[], true).is_empty());
        assert_eq!(
            said(&["app"], true),
            ["source /srv/app is left out as a whole by the exclude `app`"],
            "that is never meant"
        );
    }
}
