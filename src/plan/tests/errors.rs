//! An error stops the resource that has it and what needs that resource, and nothing else.

use super::*;
use crate::resource::{Finding, Severity};

/// Plans directories of which some could not be looked at.
fn with_unknown(
    declared: &[&str],
    known: &[&str],
    unknown: &[&'static str],
    absent_ones: &[&'static str],
) -> Plan {
    let seen = unknown.iter().map(|path| (*path, Seen::Unknown("input/output error".into())));
    World {
        declared: declared.iter().map(|path| Declared::plain(directory(path, 0o700))).collect(),
        known: known.iter().map(|path| entry(directory(path, 0o700), Origin::Made)).collect(),
        seen: seen.chain(absent_ones.iter().map(|path| (*path, absent()))).collect(),
        options: Options { allow_mass_removal: true, ..Options::default() },
    }
    .plan()
}

#[test]
fn a_failed_look_blocks_only_what_needs_it() {
    let plan = with_unknown(&["/a", "/a/b", "/a/b/c", "/z"], &[], &["/a"], &["/a/b", "/a/b/c", "/z"]);
    assert_eq!(said(&plan), "create /z; error; notice; notice");
    assert!(plan.findings[0].message.contains("input/output error") && !plan.stopped);
}

#[test]
fn what_leaves_and_cannot_be_looked_at_stays_in_the_ledger() {
    let plan = with_unknown(&["/z"], &["/a", "/b"], &["/a"], &["/b", "/z"]);
    assert_eq!(said(&plan), "create /z; error; drop /b");
}

#[test]
fn nothing_is_removed_below_a_mount_that_is_missing() {
    let mount = |mounted| {
        let there = There::Directory { owner: "root".into(), group: "root".into(), mode: Mode::new(0o700) };
        Seen::Directory(DirectorySeen {
            there,
            mounted: Some(mounted),
            tree: false,
            kept: None,
            names: Some(Vec::new()),
        })
    };
    for (declared, mounted, expected) in [
        (true, true, "delete /m/a; note /m"),
        // The directory of this name is on the disk below.
        (true, false, "error; notice"),
        (false, false, "forget /m/a; forget /m"),
        (false, true, "delete /m/a; forget /m"),
    ] {
        let directory = |path: &str| Directory { mounted: path == "/m", ..directory(path, 0o700) };
        let world = World {
            declared: declared.then(|| Declared::plain(directory("/m"))).into_iter().collect(),
            known: ["/m", "/m/a"].map(|path| entry(directory(path), Origin::Made)).into(),
            seen: BTreeMap::from([("/m", mount(mounted)), ("/m/a", there(0o700))]),
            options: Options { allow_mass_removal: true, ..Options::default() },
        };
        let plan = world.plan();
        assert_eq!(said(&plan).replace("; note /m", ""), expected.replace("; note /m", ""));
    }
}

#[test]
fn missing_mount_guards_resources_after_its_block_is_removed() {
    let mount = Directory { mounted: true, ..directory("/m", 0o700) };
    let missing = Seen::Directory(DirectorySeen {
        there: There::Directory { owner: "root".into(), group: "root".into(), mode: Mode::new(0o700) },
        mounted: Some(false),
        tree: false,
        kept: None,
        names: Some(Vec::new()),
    });
    let world = |declared: Vec<Directory>| World {
        declared: declared.into_iter().map(Declared::plain).collect(),
        known: vec![entry(mount.clone(), Origin::Matched)],
        seen: BTreeMap::from([("/m", missing.clone()), ("/m/a", absent()), ("/z", absent())]),
        options: Options { allow_mass_removal: true, ..Options::default() },
    };
    let plan = world(vec![directory("/m/a", 0o700), directory("/z", 0o700)]).plan();
    assert_eq!(said(&plan), "create /z; error; notice");
    // Whoever says that it is no mount point means it.
    let plain = directory("/m", 0o700);
    let world = World {
        seen: BTreeMap::from([("/m", there(0o700)), ("/m/a", absent())]),
        ..world(vec![plain, directory("/m/a", 0o700)])
    };
    let plan = world.plan();
    assert_eq!(said(&plan), "update /m; create /m/a");
    assert_eq!(plan.changes[0].attributes[0].name, "mounted");
}

#[test]
fn something_else_in_a_place_stops_only_what_needs_that_place() {
    let plan = World {
        declared: ["/a", "/a/b", "/z"].map(|path| Declared::plain(directory(path, 0o700))).into(),
        seen: BTreeMap::from([("/a", other()), ("/a/b", absent()), ("/z", absent())]),
        ..World::default()
    }
    .plan();
    assert_eq!(said(&plan), "create /z; error; notice");
    assert!(!plan.stopped);
}

#[test]
fn the_restic_that_is_used_stays_while_the_next_one_has_an_error() {
    let engine = |version: &str| {
        let (version, sha256) = (version.parse().unwrap(), "a".repeat(64).parse().unwrap());
        Engine::new(version, sha256, "file:///srv/restic".parse().unwrap(), &crate::model::Scope::Host)
            .unwrap()
    };
    let (user, digest) = (String::from("root"), "a".repeat(64).parse().unwrap());
    let (stamp, mode) = (Stamp { dev: 1, ino: 1, size: 1, mtime: 1, ctime: 1 }, Mode::new(0o755));
    let program = ProgramSeen::File { owner: user.clone(), group: user, mode, stamp, digest };
    let there = Seen::Engine(EngineSeen { program, receipt: None, offline: false, exposed: Box::default() });
    let world = World {
        declared: vec![Declared::plain(engine("0.18.0"))],
        known: vec![entry(engine("0.17.3"), Origin::Made)],
        seen: BTreeMap::from([("0.18.0", Seen::Unknown("x".into())), ("0.17.3", there)]),
        options: Options { allow_mass_removal: true, ..Options::default() },
    };
    assert_eq!(said(&world.plan()), "error; notice");
}

#[test]
fn an_error_of_the_state_stops_everything() {
    let expanded = Expanded {
        resources: [Declared::plain(directory("/a", 0o700))].map(|it| (it.resource.address(), it)).into(),
        ..Expanded::default()
    };
    let ledger = Ledger::new("web01".parse().unwrap(), "l".into());
    let survey = Survey::new(&expanded, &ledger, &[]).unwrap();
    for (severity, stopped) in [(Severity::Error, true), (Severity::Warning, false)] {
        let declared = [Finding::new(severity, "jobs.x", "wrong")];
        let plan = decide(&ledger.host, None, &survey, &[absent()], &declared, &Options::default());
        assert_eq!((plan.stopped, plan.changes.len()), (stopped, 1));
    }
}

proptest::proptest! {
    #[test]
    fn nothing_is_done_to_what_needs_something_unseen(bits in 0_u32..(1 << 15), gone in 0_u32..(1 << 15)) {
        // A tree of directories: n lies below (n - 1) / 2.
        let path = |n: usize| {
            let mut path = String::new();
            let mut n = n;
            loop {
                path = format!("/d{n}{path}");
                if n == 0 { break path }
                n = (n - 1) / 2;
            }
        };
        let names: Vec<&'static str> = (0..15).map(|n| &*path(n).leak()).collect();
        let is = |set: u32, n: usize| set >> n & 1 == 1;
        let world = World {
            declared: (0..15).filter(|n| !is(gone, *n)).map(|n| Declared::plain(directory(names[n], 0o700))).collect(),
            known: (0..15).filter(|n| is(gone, *n)).map(|n| entry(directory(names[n], 0o700), Origin::Made)).collect(),
            seen: (0..15).map(|n| {
                let known = if is(gone, n) { there(0o700) } else { absent() };
                (names[n], if is(bits, n) { Seen::Unknown("x".into()) } else { known })
            }).collect(),
            options: Options { allow_mass_removal: true, ..Options::default() },
        };
        let plan = world.plan();
        for change in &plan.changes {
            let key = change.address.key();
            let unseen = names.iter().enumerate().find(|(n, name)| {
                is(bits, *n) && (key == **name || key.starts_with(&format!("{name}/")))
            });
            proptest::prop_assert!(unseen.is_none(), "{key} is changed, and {unseen:?} is unseen");
        }
        proptest::prop_assert_eq!(plan.has(Severity::Error), bits != 0);
        proptest::prop_assert!(!plan.stopped);
    }
}

/// A directory between that is nobody's business.
#[test]
fn what_lies_far_below_a_missing_mount_is_held_too() {
    let there = |mounted| {
        let there = There::Directory { owner: "root".into(), group: "root".into(), mode: Mode::new(0o700) };
        Seen::Directory(DirectorySeen { there, mounted, tree: false, kept: None, names: Some(Vec::new()) })
    };
    let mount = Directory { mounted: true, ..directory("/m", 0o700) };
    let world = World {
        declared: vec![Declared::plain(mount.clone())],
        known: vec![entry(mount, Origin::Made), entry(directory("/m/a/b", 0o700), Origin::Made)],
        seen: BTreeMap::from([("/m", there(Some(false))), ("/m/a/b", there(None))]),
        ..World::default()
    };
    assert_eq!(said(&world.plan()), "error; notice");
}

#[test]
fn removals_that_an_error_holds_back_count_for_the_mass_removal_guard() {
    let known = ["/a", "/b", "/c", "/d", "/z"].map(|path| entry(directory(path, 0o700), Origin::Made));
    let unknown = || Seen::Unknown("x".into());
    let world = World {
        declared: vec![Declared::plain(directory("/z", 0o700)), Declared::plain(directory("/a", 0o700))],
        known: known.into(),
        seen: BTreeMap::from([
            ("/a", there(0o700)),
            ("/b", there(0o700)),
            ("/c", unknown()),
            ("/d", unknown()),
            ("/z", there(0o700)),
        ]),
        ..World::default()
    };
    let plan = world.plan();
    assert!(plan.has(Severity::Refusal), "{}", said(&plan));
}

#[test]
fn what_has_an_error_is_not_remembered() {
    use crate::{
        resource::{Location, Repository, RepositorySeen, RepositoryState},
        restic::{Found, Means},
    };
    let repository = Repository {
        name: "v".parse().unwrap(),
        location: Location::Local("/r".parse().unwrap()),
        password: crate::model::SecretFile("/p".parse().unwrap()),
        user: crate::model::UserName::root(),
        means: Box::<Means>::default(),
        like: None,
        after: Vec::new(),
        mounts: Box::default(),
        may_be_absent: false,
    };
    let seen = |id: &str| {
        let state = RepositoryState::Opened(Found::Ready { id: id.repeat(32) });
        Seen::Repository(RepositorySeen { password: true, ..RepositorySeen::of(state) })
    };
    let world = World {
        declared: vec![Declared::plain(repository.clone())],
        known: vec![Entry { seen: Some(seen("aa")), ..entry(repository, Origin::Made) }],
        // Somebody has put another repository there.
        seen: BTreeMap::from([("v", seen("bb"))]),
        ..World::default()
    };
    let plan = world.plan();
    assert!(plan.has(Severity::Error) && plan.quiet.is_empty(), "{}: {:?}", said(&plan), plan.quiet);
}
