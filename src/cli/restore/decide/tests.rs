//! Every kind against every kind, and names that are not known to the byte.

use super::*;
use crate::{cli::restore::proof::Identity, host::There};

const KINDS: [Sort; 7] =
    [Sort::File, Sort::Directory, Sort::Link, Sort::Fifo, Sort::CharDevice, Sort::BlockDevice, Sort::Socket];

const ALL: Manner = Manner { only_missing: false, dress: true, fetch_alike: false, proves: true };

fn node(path: &str, sort: Sort) -> Node {
    Node {
        path: path.into(),
        sort,
        size: 3,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 7,
        identity: Some(Identity { ctime: 9, inode: None }),
    }
}

fn stamp(ino: u64) -> Stamp {
    Stamp { dev: 1, ino, size: 3, mtime: 7, ctime: 9 }
}

fn like(node: &Node) -> There {
    let Node { sort, size, mode, uid, gid, mtime, .. } = *node;
    There { sort, size, mode, uid, gid, mtime }
}

#[test]
fn no_kind_gives_way_to_another_in_silence() {
    for stored in KINDS {
        for live in KINDS {
            for only_missing in [false, true] {
                for (as_it_was, proves) in [(false, true), (true, true), (true, false)] {
                    let node = node("/s/x", stored);
                    let mtime = if as_it_was { 7 } else { 8 };
                    let mode = if as_it_was { 0o644 } else { 0o600 };
                    let there = There { sort: live, mode, mtime, ..like(&node) };
                    let manner = Manner { only_missing, dress: true, proves, ..Manner::default() };
                    let (verdict, fate) = decide(&node, &Standing::There(there, stamp(5)), manner);
                    let what = format!(
                        "{stored:?} over {live:?}, {as_it_was}, {only_missing}: {verdict:?} {fate:?}"
                    );
                    let mut all = Comparison::default();
                    all.add(&node, &verdict, only_missing);
                    match fate.unwrap() {
                        // Only this very file, and it is named.
                        Fate::Replace(seen) => {
                            assert_eq!(seen, stamp(5), "{what}");
                            assert!(!only_missing && live != Sort::Directory, "{what}");
                            assert!((stored, live) != (Sort::Directory, Sort::Link), "{what}");
                            assert_eq!(all.overwritten[0].path, "/s/x", "{what}");
                            assert_eq!(all.overwritten[0].now.is_some(), stored != live, "{what}");
                        }
                        Fate::Enter { stamp: seen, dress } => {
                            assert_eq!((seen, dress), (stamp(5), !only_missing), "{what}");
                            assert_eq!((stored, live), (Sort::Directory, Sort::Directory), "{what}");
                        }
                        // What was asked for is there; or it is counted as not.
                        Fate::Keep => {
                            assert!(stored == live && (as_it_was || only_missing), "{what}");
                            assert_eq!(all.same + all.differing + all.not_compared, 1, "{what}");
                            let proven = proves || live == Sort::Socket;
                            assert_eq!(all.same == 1, as_it_was && proven, "{what}");
                        }
                        Fate::Refuse => {
                            assert!(stored != live, "{what}");
                            assert_eq!(all.blocked.len(), 1, "{what}");
                        }
                        Fate::Create => panic!("{what}"),
                    }
                }
            }
        }
        let all = ALL;
        assert_eq!(decide(&node("/s/x", stored), &Standing::Absent, all), (Verdict::New, Some(Fate::Create)));
        let (verdict, fate) = decide(&node("/s/x", stored), &Standing::Blocked("why".into()), all);
        assert_eq!((verdict, fate), (Verdict::Blocked("why".into()), Some(Fate::Refuse)));
    }
}

#[test]
fn what_is_as_it_was() {
    let file = node("/a", Sort::File);
    let at = |node: &Node, there: There| decide(node, &Standing::There(there, stamp(5)), ALL).0;
    let there = like(&file);
    assert_eq!(at(&file, there), Verdict::Same);
    for other in [
        There { size: 4, ..there },
        There { mtime: 8, ..there },
        There { mode: 0o600, ..there },
        There { uid: 1, ..there },
        There { gid: 1, ..there },
    ] {
        assert_eq!(at(&file, other), Verdict::Differs, "{other:?}");
    }
    let dir = node("/d", Sort::Directory);
    assert_eq!(at(&dir, There { mtime: 9, ..like(&dir) }), Verdict::Same);
    assert_eq!(at(&dir, There { mode: 0o777, ..like(&dir) }), Verdict::Differs);
    // A link's mode says nothing.
    let link = node("/l", Sort::Link);
    assert_eq!(at(&link, There { mode: 0o777, size: 9, ..like(&link) }), Verdict::Same);
    assert_eq!(at(&link, There { mtime: 8, ..like(&link) }), Verdict::Differs);
}

/// What stands there, by its names.
struct Tree(Vec<(Vec<Vec<u8>>, There)>);

fn names(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
}

impl Look for Tree {
    fn at(&mut self, names: &[Vec<u8>]) -> Standing {
        let found = self.0.iter().position(|(it, _)| it == names);
        found.map_or(Standing::Absent, |at| Standing::There(self.0[at].1, stamp(at as u64)))
    }

    fn names(&mut self, dir: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let all: BTreeSet<Vec<u8>> =
            self.0.iter().filter_map(|(it, _)| Some(it.strip_prefix(dir)?.first()?.clone())).collect();
        all.into_iter().collect()
    }
}

fn decided(
    wish: &[u8],
    live: &[(&[u8], Sort)],
    stored: &[(&str, Sort)],
    manner: Manner,
    mounts: &[&str],
) -> Decided {
    let nodes: Vec<Node> = stored.iter().map(|(path, sort)| node(path, *sort)).collect();
    let wish = Wish::read(wish).unwrap();
    // All that is live differs, but for directories.
    let there = |sort: &Sort| There { mtime: 8, ..like(&node("", *sort)) };
    let tree = Tree(live.iter().map(|(path, sort)| (names(path), there(sort))).collect());
    let (_, names) = wish.split();
    let mounts = mounts.iter().map(|it| (*it).to_owned()).collect();
    let mut place = Some(Place { names, look: Box::new(tree), mounts, proves: true });
    let mut open = |_: &Wish| Ok(place.take().unwrap());
    decide_all(&nodes, std::iter::once(&wish), &mut open, manner).unwrap()
}

#[test]
fn what_lies_in_what_is_refused_is_refused() {
    let stored =
        [("/s", Sort::Directory), ("/s/d", Sort::Directory), ("/s/d/f", Sort::File), ("/s/dx", Sort::File)];
    let found = decided(b"/s", &[(b"s", Sort::Directory), (b"s/d", Sort::Link)], &stored, ALL, &[]);
    assert_eq!(found.fate(b"/s/d"), Some(Fate::Refuse));
    assert_eq!((found.fate(b"/s/d/f"), found.fate(b"/s/dx")), (None, Some(Fate::Create)));
    let blocked: Vec<&str> = found.comparison.blocked.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(blocked, ["/s/d", "/s/d/f"]);
    let why = &found.comparison.blocked[1].why;
    assert!(why.starts_with("/s/d: a symbolic link stands where a directory was"), "{why}");
    // A file where a directory was is named, and what the directory brings along is new.
    let live: &[(&[u8], Sort)] = &[(b"s", Sort::Directory), (b"s/d", Sort::File)];
    let found = decided(b"/s", live, &stored, ALL, &[]);
    assert_eq!((found.fate(b"/s/d"), found.fate(b"/s/d/f")), (Some(Fate::Replace(stamp(1))), None));
    let all = &found.comparison;
    assert_eq!((all.overwritten[0].now, all.overwritten[0].was), (Some("a file"), Some("a directory")));
    assert_eq!((all.overwritten.len(), all.new, all.differing), (1, 2, 1));
    let missing = Manner { only_missing: true, ..ALL };
    assert_eq!(decided(b"/s", live, &stored, missing, &[]).comparison.blocked.len(), 2);
    // The root itself, and what is mounted.
    let found = decided(b"/s", &[(b"s", Sort::Link)], &stored, ALL, &[]);
    assert_eq!((found.fate(b"/s"), found.comparison.blocked.len()), (Some(Fate::Refuse), 4));
    let live: &[(&[u8], Sort)] = &[(b"s", Sort::Directory), (b"s/d", Sort::Directory), (b"s/dx", Sort::File)];
    let found = decided(b"/s", live, &stored, ALL, &["/s/d", "/s/dx"]);
    assert_eq!((found.fate(b"/s/d"), found.fate(b"/s/dx")), (Some(Fate::Keep), Some(Fate::Refuse)));
    assert_eq!(found.comparison.blocked.len(), 2, "{:?}", found.comparison);
    // The whole host.
    let found = decided(b"/", live, &stored, ALL, &[]);
    assert!(matches!(found.fate(b"/s"), Some(Fate::Enter { .. })) && found.fate(b"/s/dx").is_some());
}

#[test]
fn names_that_are_no_utf8_are_found_and_shown() {
    let stored = [("/s", Sort::Directory), ("/s/lat\u{fffd}", Sort::File)];
    let live: &[(&[u8], Sort)] = &[(b"s", Sort::Directory), (b"s/lat\xe9", Sort::File)];
    let found = decided(b"/s", live, &stored, ALL, &[]);
    assert_eq!(found.fate(b"/s/lat\xe9"), Some(Fate::Replace(stamp(1))));
    assert_eq!((found.comparison.differing, found.comparison.overwritten.len()), (1, 1));
    // Another name that reads the same: nobody knows which one is meant, so both are shown as such.
    let live: &[(&[u8], Sort)] =
        &[(b"s", Sort::Directory), (b"s/lat\xe9", Sort::File), (b"s/lat\xe8", Sort::File)];
    let found = decided(b"/s", live, &stored, ALL, &[]);
    let fates = [&b"/s/lat\xe9"[..], b"/s/lat\xe8", b"/s/lat\xe7"].map(|it| found.fate(it));
    assert_eq!(fates, [Some(Fate::Replace(stamp(1))), Some(Fate::Replace(stamp(2))), Some(Fate::Create)]);
    // A directory of that name is not gone into.
    let live: &[(&[u8], Sort)] =
        &[(b"s", Sort::Directory), (b"s/lat\xe9", Sort::File), (b"s/lat\xe8", Sort::Directory)];
    let found = decided(b"/s", live, &stored, ALL, &[]);
    assert_eq!(
        (found.fate(b"/s/lat\xe9"), found.fate(b"/s/lat\xe8")),
        (Some(Fate::Refuse), Some(Fate::Refuse))
    );
    // Asked for to the byte.
    let live: &[(&[u8], Sort)] = &[(b"lat\xe9", Sort::File), (b"lat\xe8", Sort::File)];
    let found = decided(b"/lat\xe8", live, &[("/lat\u{fffd}", Sort::File)], ALL, &[]);
    assert_eq!((found.fate(b"/lat\xe8"), found.fate(b"/lat\xe9")), (Some(Fate::Replace(stamp(1))), None));
    // Two of them are stored, and one is there.
    let stored = [("/s", Sort::Directory), ("/s/x\u{fffd}", Sort::File), ("/s/x\u{fffd}", Sort::File)];
    let found = decided(b"/s", &[(b"s", Sort::Directory), (b"s/x\xe9", Sort::File)], &stored, ALL, &[]);
    assert_eq!(
        (found.fate(b"/s/x\xe9"), found.fate(b"/s/x\xe8")),
        (Some(Fate::Replace(stamp(1))), Some(Fate::Create))
    );
}

#[test]
fn only_missing_says_what_is_not_there() {
    let stored = [("/s", Sort::Directory), ("/s/f", Sort::File), ("/s/l", Sort::Link), ("/s/n", Sort::File)];
    let live: &[(&[u8], Sort)] = &[(b"s", Sort::Directory), (b"s/f", Sort::File), (b"s/l", Sort::Fifo)];
    let manner = Manner { only_missing: true, ..ALL };
    let found = decided(b"/s", live, &stored, manner, &[]);
    assert_eq!((found.fate(b"/s/f"), found.fate(b"/s/n")), (Some(Fate::Keep), Some(Fate::Create)));
    assert_eq!(
        (found.fate(b"/s/l"), found.comparison.blocked[0].path.as_str()),
        (Some(Fate::Refuse), "/s/l")
    );
}

#[test]
fn what_looks_as_it_was_stays_until_it_is_compared() {
    let names = ["same", "differs", "moved", "unknown"];
    let stored: Vec<(String, Sort)> = names.iter().map(|name| (format!("/s/{name}"), Sort::File)).collect();
    let stored: Vec<(&str, Sort)> = std::iter::once(("/s", Sort::Directory))
        .chain(stored.iter().map(|(path, sort)| (path.as_str(), *sort)))
        .collect();
    let nodes: Vec<Node> =
        stored.iter().map(|(path, sort)| Node { identity: None, ..node(path, *sort) }).collect();
    let manner = Manner { fetch_alike: true, ..ALL };
    for strict in [false, true] {
        let wish = Wish::read(b"/s").unwrap();
        let live = std::iter::once("s".into()).chain(names.iter().map(|name| format!("s/{name}")));
        let tree = live.zip(&nodes).map(|(path, node)| (self::names(path.as_bytes()), like(node))).collect();
        let (_, names) = wish.split();
        let mut place =
            Some(Place { names, look: Box::new(Tree(tree)), mounts: BTreeSet::new(), proves: true });
        let mut open = |_: &Wish| Ok(place.take().unwrap());
        let mut found = decide_all(&nodes, std::iter::once(&wish), &mut open, manner).unwrap();
        let all = &found.comparison;
        assert_eq!((all.not_compared, all.not_compared_bytes, all.same, all.differing), (4, 12, 0, 0));
        // They are fetched, and yet nothing is to be done.
        assert_eq!((all.needed(false), all.few(false).map(<[String]>::len)), (12, Some(4)));
        assert!(all.is_empty(false));
        let alike = std::mem::take(&mut found.alike);
        assert_eq!(
            alike.iter().map(|it| (it.node, it.way)).collect::<Vec<_>>(),
            [(1, 0), (2, 0), (3, 0), (4, 0)]
        );
        let unknown = Equality::Unknown("why".into());
        for (it, equality) in alike.iter().zip([Equality::Same, Equality::Differs, Equality::Moved, unknown])
        {
            found.settle(&nodes[it.node], it, equality, strict);
        }
        let all = &found.comparison;
        assert_eq!((all.files, all.bytes, all.same, all.differing), (4, 12, 1, 1));
        assert_eq!((all.not_compared, all.blocked.len()), if strict { (0, 2) } else { (1, 1) });
        assert_eq!(all.overwritten[0].path, "/s/differs");
        assert!(!all.is_empty(false));
        let last = if strict { Fate::Refuse } else { Fate::Keep };
        for (path, fate) in [
            (&b"/s/same"[..], Fate::Keep),
            (b"/s/differs", Fate::Replace(alike[1].stamp)),
            (b"/s/moved", Fate::Refuse),
            (b"/s/unknown", last),
        ] {
            assert_eq!(found.fate(path), Some(fate));
        }
    }
}

/// Decides about files that are all there as they were.
fn of_unchanged(wish: &[u8], live: &[&[u8]], nodes: &[Node]) -> Decided {
    let wish = Wish::read(wish).unwrap();
    let (_, below) = wish.split();
    let tree = live.iter().zip(nodes).map(|(path, node)| (names(path), like(node))).collect();
    let mut place =
        Some(Place { names: below, look: Box::new(Tree(tree)), mounts: BTreeSet::new(), proves: true });
    let mut open = |_: &Wish| Ok(place.take().unwrap());
    decide_all(nodes, std::iter::once(&wish), &mut open, ALL).unwrap()
}

#[test]
fn another_directory_that_reads_the_same_is_not_taken_for_the_stored_one() {
    let nodes = [
        node("/s", Sort::Directory),
        node("/s/\u{fffd}1", Sort::Directory),
        node("/s/\u{fffd}1/x", Sort::File),
    ];
    let changed = nodes.clone().map(|it| match it.sort {
        Sort::Directory => Node { identity: None, ..it },
        _ => it,
    });
    let live: &[&[u8]] = &[b"s", b"s/\xfe1", b"s/\xfe1/x"];
    // A rename sets the ctime: with the stored one it has the stored name.
    let found = of_unchanged(b"/s", live, &nodes);
    assert!(found.comparison.is_empty(false) && found.comparison.is_empty(true));
    assert_eq!(found.fate(b"/s/\xff1"), None);
    // Else only the restored files tell which name is stored, and one that is not there is created.
    let found = of_unchanged(b"/s", live, &changed);
    assert!(!found.comparison.is_empty(false) && !found.comparison.is_empty(true));
    assert_eq!((found.comparison.few(true), found.comparison.needed(true)), (None, 3));
    assert_eq!(found.fate(b"/s/\xff1"), Some(Fate::Create));
    assert!(matches!(found.fate(b"/s/\xfe1"), Some(Fate::Enter { .. })));
    // Asked for by its bytes: nothing else is created.
    for (wish, at) in [(&b"/s/\xfe1"[..], 1), (b"/s/\xfe1/x", 2)] {
        let live: Vec<&[u8]> = live[at..].iter().map(|it| if at == 1 { &it[2..] } else { *it }).collect();
        let live = if at == 1 { live } else { vec![&b"\xfe1/x"[..]] };
        let found = of_unchanged(wish, &live, &changed[at..]);
        assert!(!found.comparison.is_empty(true), "{wish:?}");
        assert_eq!(found.fate(b"/s/\xff1"), None, "{wish:?}");
    }
    // A name that is UTF-8 is known.
    let plain = [node("/s", Sort::Directory), Node { identity: None, ..node("/s/d", Sort::Directory) }];
    assert!(of_unchanged(b"/s", &[b"s", b"s/d"], &plain).comparison.is_empty(false));
}

#[test]
fn a_file_named_with_the_replacement_character_does_not_hide_a_missing_one() {
    let stored = [("/s", Sort::Directory), ("/s/f\u{fffd}", Sort::File)];
    let live: &[(&[u8], Sort)] = &[(b"s", Sort::Directory), ("s/f\u{fffd}".as_bytes(), Sort::File)];
    for only_missing in [true, false] {
        let found = decided(b"/s", live, &stored, Manner { only_missing, ..ALL }, &[]);
        assert_eq!(found.fate(b"/s/f\xff"), Some(Fate::Create));
        let kept = if only_missing { Fate::Keep } else { Fate::Replace(stamp(1)) };
        assert_eq!(found.fate("/s/f\u{fffd}".as_bytes()), Some(kept));
    }
}
