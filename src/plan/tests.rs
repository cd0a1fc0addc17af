//! Who made it, was it adopted, is it protected: every answer, by values alone.

mod definitions;
mod errors;
mod overlaps;

use std::collections::BTreeMap;

use super::{Action, Options, Plan, Survey, decide};
use crate::{
    effect::Owner,
    expand::{Declared, Expanded},
    host::Stamp,
    ledger::{Entry, Ledger, Origin},
    model::{Address, Mode},
    resource::{Directory, DirectorySeen, Engine, EngineSeen, OnRemove, ProgramSeen, Resource, Seen, There},
};

fn directory(path: &str, mode: u32) -> Directory {
    let mode = Mode::new(mode);
    Directory {
        path: path.parse().unwrap(),
        owner: Owner::root(),
        mode,
        mounted: false,
        implied: false,
        may_be_absent: false,
    }
}

fn there(mode: u32) -> Seen {
    let mode = Mode::new(mode);
    let there = There::Directory { owner: "root".into(), group: "root".into(), mode };
    Seen::Directory(DirectorySeen { there, mounted: None, tree: false, kept: None, names: Some(Vec::new()) })
}

fn absent() -> Seen {
    Seen::Directory(DirectorySeen {
        there: There::Absent,
        mounted: None,
        tree: false,
        kept: None,
        names: Some(Vec::new()),
    })
}

fn other() -> Seen {
    let there = There::Other("a FIFO".into());
    Seen::Directory(DirectorySeen { there, mounted: None, tree: false, kept: None, names: None })
}

fn entry(resource: impl Into<Resource>, origin: Origin) -> Entry {
    Entry {
        resource: resource.into(),
        origin,
        pending: false,
        on_remove: OnRemove::Default,
        protect: false,
        put_away: false,
        seen: None,
    }
}

/// What is declared, known and seen of some directories, and what the caller allows.
#[derive(Default)]
struct World {
    declared: Vec<Declared>,
    known: Vec<Entry>,
    seen: BTreeMap<&'static str, Seen>,
    options: Options,
}

impl World {
    fn plan(&self) -> Plan {
        let by_address = |it: &Declared| (it.resource.address(), it.clone());
        let resources = self.declared.iter().map(by_address).collect();
        let expanded = Expanded { resources, ..Expanded::default() };
        let mut ledger = Ledger::new("web01".parse().unwrap(), "l".into());
        ledger.entries = self.known.iter().map(|it| (it.resource.address(), it.clone())).collect();
        let survey = Survey::new(&expanded, &ledger, &self.options.targets).unwrap();
        let seen: Vec<Seen> = survey.items.iter().map(|item| self.seen[item.address.key()].clone()).collect();
        decide(&ledger.host, Some(&ledger), &survey, &seen, &[], &self.options)
    }
}

/// One directory, `/a`, whose declared mode is 0700.
#[track_caller]
fn case(declared: bool, known: Option<Entry>, seen: Seen, options: &Options, expected: &str) {
    let world = World {
        declared: declared.then(|| Declared::plain(directory("/a", 0o700))).into_iter().collect(),
        // A second one that stays, so that one removal is no mass removal.
        known: known.into_iter().chain([entry(directory("/z", 0o700), Origin::Made)]).collect(),
        seen: BTreeMap::from([("/a", seen), ("/z", there(0o700))]),
        options: options.clone(),
    };
    let world = World {
        declared: world.declared.into_iter().chain([Declared::plain(directory("/z", 0o700))]).collect(),
        ..world
    };
    assert_eq!(said(&world.plan()), expected);
}

/// A plan in a few words.
fn said(plan: &Plan) -> String {
    let change = |change: &super::Change| {
        let actions: Vec<String> =
            change.actions.iter().map(|action| format!("{action:?}").to_lowercase()).collect();
        let marks = [(change.drift, " drift"), (change.refused, " refused")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        format!("{} {}{marks}", actions.join("+"), change.address.key())
    };
    let findings = plan.findings.iter().map(|it| format!("{:?}", it.severity).to_lowercase());
    let quiet = plan.quiet.iter().map(|(address, entry)| {
        format!("{} {}", if entry.is_some() { "note" } else { "drop" }, address.key())
    });
    plan.changes.iter().map(change).chain(findings).chain(quiet).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_is_declared() {
    let (none, adopt) = (Options::default(), Options { adopt: true, ..Options::default() });
    let made = |mode| Some(entry(directory("/a", mode), Origin::Made));
    let pending = || Some(Entry { pending: true, ..entry(directory("/a", 0o700), Origin::Made) });
    for (known, seen, options, expected) in [
        (None, absent(), &none, "create /a"),
        (None, there(0o700), &none, "adopt /a"),
        (None, there(0o755), &none, "adopt+update /a refused; refusal"),
        (None, there(0o755), &adopt, "adopt+update /a"),
        (None, other(), &none, "error"),
        (None, other(), &adopt, "error"),
        (made(0o700), there(0o700), &none, ""),
        (made(0o700), there(0o755), &none, "update /a drift"),
        (made(0o755), there(0o755), &none, "update /a"),
        (made(0o711), there(0o755), &none, "update /a drift"),
        (made(0o755), there(0o700), &none, "note /a"),
        (made(0o700), absent(), &none, "create /a drift"),
        (made(0o700), other(), &none, "error"),
        (pending(), absent(), &none, "create /a"),
        (pending(), there(0o755), &none, "update /a"),
        (pending(), there(0o700), &none, "note /a"),
    ] {
        case(true, known, seen, options, expected);
    }
}

#[test]
fn what_is_no_longer_declared() {
    let none = Options::default();
    let of = |origin, on_remove, protect| {
        Some(Entry { on_remove, protect, ..entry(directory("/a", 0o700), origin) })
    };
    let pending = Some(Entry { pending: true, ..entry(directory("/a", 0o700), Origin::Made) });
    for (known, seen, expected) in [
        (of(Origin::Made, OnRemove::Default, false), there(0o700), "delete /a"),
        (of(Origin::Made, OnRemove::Default, false), there(0o755), "delete /a drift"),
        (of(Origin::Made, OnRemove::Default, false), absent(), "drop /a"),
        (of(Origin::Made, OnRemove::Default, false), other(), "forget /a"),
        (of(Origin::Made, OnRemove::Forget, false), there(0o700), "forget /a"),
        (of(Origin::Adopted, OnRemove::Default, false), there(0o700), "delete /a"),
        // R46: what was there as declared before is not rlvm's to remove, unless it was said.
        (of(Origin::Matched, OnRemove::Default, false), there(0o700), "forget /a"),
        (of(Origin::Matched, OnRemove::Delete, false), there(0o700), "delete /a"),
        (of(Origin::Made, OnRemove::Default, true), there(0o700), "refusal"),
        (of(Origin::Made, OnRemove::Delete, true), there(0o700), "refusal"),
        (pending, absent(), "forget /a"),
        (None, there(0o700), ""),
    ] {
        if known.is_none() {
            // Neither declared nor known: it is not even looked at.
            case(false, None, seen, &none, expected);
        } else {
            case(false, known, seen, &none, expected);
        }
    }
}

/// `managed` directories are known, the first `going` of them no longer declared.
fn mass(managed: usize, going: usize, allow_mass_removal: bool) -> Plan {
    const PATHS: [&str; 5] = ["/a", "/b", "/c", "/d", "/e"];
    let of = |path: &&str| directory(path, 0o700);
    let known = PATHS[..managed].iter().map(|path| entry(of(path), Origin::Made)).collect();
    let declared = PATHS[going..managed].iter().map(|path| Declared::plain(of(path))).collect();
    let seen = PATHS.iter().map(|path| (*path, there(0o700))).collect();
    World { declared, known, seen, options: Options { allow_mass_removal, ..Options::default() } }.plan()
}

#[test]
fn more_than_half_needs_to_be_meant() {
    for (managed, going, refused) in [
        (1, 1, true),
        (2, 1, false),
        (2, 2, true),
        (3, 1, false),
        (3, 2, true),
        (4, 2, false),
        (5, 3, true),
        (5, 0, false),
    ] {
        let plan = mass(managed, going, false);
        assert_eq!(plan.has(crate::resource::Severity::Refusal), refused, "{going} of {managed}");
        assert!(!mass(managed, going, true).has(crate::resource::Severity::Refusal));
        assert_eq!(plan.summary().delete, going);
    }
}

#[test]
fn what_is_only_needed_does_not_water_the_count_down() {
    let implied = |path| entry(Directory { implied: true, ..directory(path, 0o700) }, Origin::Made);
    let known = vec![entry(directory("/a", 0o700), Origin::Made), implied("/b"), implied("/c")];
    let declared =
        ["/b", "/c"].map(|path| Declared::plain(Directory { implied: true, ..directory(path, 0o700) }));
    let seen = ["/a", "/b", "/c"].iter().map(|path| (*path, there(0o700))).collect();
    let world = World { declared: declared.into(), known, seen, ..World::default() };
    assert_eq!(said(&world.plan()), "delete /a; refusal", "all that was asked for would go");
}

#[test]
fn what_is_needed_is_made_first_and_removed_last() {
    let paths = ["/a", "/a/b", "/a/b/c", "/b"];
    let seen = |seen: &dyn Fn() -> Seen| paths.iter().map(|path| (*path, seen())).collect::<BTreeMap<_, _>>();
    let declared = paths.iter().rev().map(|path| Declared::plain(directory(path, 0o700))).collect();
    let world = World { declared, seen: seen(&absent), ..World::default() };
    assert_eq!(said(&world.plan()), "create /a; create /a/b; create /a/b/c; create /b");

    let known = paths.iter().map(|path| entry(directory(path, 0o700), Origin::Made)).collect();
    let options = Options { allow_mass_removal: true, ..Options::default() };
    let mut world = World { known, seen: seen(&|| there(0o700)), options, ..World::default() };
    // What is in it goes before it, so it will be empty.
    let holding = |name: &str| {
        let Seen::Directory(seen) = there(0o700) else { unreachable!() };
        Seen::Directory(DirectorySeen { kept: None, names: Some(vec![name.into()]), ..seen })
    };
    world.seen.insert("/a", holding("b"));
    world.seen.insert("/a/b", holding("c"));
    assert_eq!(said(&world.plan()), "delete /b; delete /a/b/c; delete /a/b; delete /a");
    world.seen.insert("/a/b", holding("x"));
    assert_eq!(said(&world.plan()), "delete /b; delete /a/b/c; forget /a/b; forget /a");
}

#[test]
fn targets_bring_what_they_need() {
    let declared = ["/a", "/a/b", "/c"].iter().map(|path| Declared::plain(directory(path, 0o700))).collect();
    let seen = ["/a", "/a/b", "/c"].iter().map(|path| (*path, absent())).collect();
    let target: Address = "directory:/a/b".parse().unwrap();
    let options = Options { targets: vec![target], ..Options::default() };
    let world = World { declared, seen, options, ..World::default() };
    assert_eq!(said(&world.plan()), "create /a; create /a/b");

    let expanded = Expanded::default();
    let ledger = Ledger::new("web01".parse().unwrap(), "l".into());
    let unknown: Address = "directory:/x".parse().unwrap();
    assert!(Survey::new(&expanded, &ledger, &[unknown]).unwrap_err().to_string().contains("directory:/x"));
}

#[test]
fn nothing_is_planned_below_a_mount_that_is_missing() {
    // R21
    let mount = Directory { mounted: true, ..directory("/m", 0o700) };
    let declared = vec![Declared::plain(mount), Declared::plain(directory("/m/a", 0o700))];
    let missing = |tree| {
        let seen =
            DirectorySeen { there: There::Absent, mounted: Some(false), tree, kept: None, names: None };
        BTreeMap::from([("/m", Seen::Directory(seen)), ("/m/a", absent())])
    };
    let world = World { declared, seen: missing(false), ..World::default() };
    assert_eq!(said(&world.plan()), "error; notice");
    let world = World { seen: missing(true), ..world };
    assert_eq!(said(&world.plan()), "notice; notice");
}

#[test]
fn a_rename_keeps_what_the_ledger_knows() {
    use crate::resource::{Location, Repository, RepositorySeen, RepositoryState};
    let repository = |name: &str| Repository {
        name: name.parse().unwrap(),
        location: Location::Local("/r".parse().unwrap()),
        password: crate::model::SecretFile("/p".parse().unwrap()),
        user: crate::model::UserName::root(),
        means: Box::default(),
        like: None,
        after: Vec::new(),
        mounts: Box::default(),
        may_be_absent: false,
    };
    let ready = |id: &str| {
        let state = RepositoryState::Opened(crate::restic::Found::Ready { id: id.into() });
        RepositorySeen { password: true, ..RepositorySeen::of(state) }
    };
    let known = Entry { seen: Some(Seen::Repository(ready("1"))), ..entry(repository("old"), Origin::Made) };
    let was = vec!["repository:old".parse().unwrap()];
    let declared = vec![Declared { was, ..Declared::plain(repository("new")) }];
    let seen = BTreeMap::from([("new", Seen::Repository(ready("1")))]);
    let world = World { declared, known: vec![known], seen, ..World::default() };
    assert_eq!(said(&world.plan()), "drop old; note new");
    // R33: it is still recognised by its id.
    let seen = BTreeMap::from([("new", Seen::Repository(ready("2")))]);
    assert!(said(&World { seen, ..world }.plan()).starts_with("error"));
}

#[test]
fn what_is_made_anew_was_not_put_away() {
    let known = Entry { put_away: true, ..entry(directory("/a", 0o700), Origin::Made) };
    let declared = vec![Declared::plain(directory("/a", 0o700))];
    let world =
        World { declared, known: vec![known], seen: BTreeMap::from([("/a", absent())]), ..World::default() };
    let change = world.plan().changes.remove(0);
    assert!(change.entry.is_some_and(|entry| !entry.put_away));
}

#[test]
fn actions_are_told_apart() {
    let plan = mass(3, 1, false);
    assert_eq!(plan.changes[0].actions, [Action::Delete]);
    assert!(!plan.is_empty() && plan.unchanged == 2);
}

/// Lists what each change waits for.
fn waits(plan: &Plan) -> Vec<(&str, Vec<&str>)> {
    plan.changes
        .iter()
        .map(|change| (change.address.key(), change.needs.iter().map(Address::key).collect()))
        .collect()
}

#[test]
fn a_removal_waits_for_what_goes_before_it() {
    let holds_b = |seen: Seen| match seen {
        Seen::Directory(seen) => {
            Seen::Directory(DirectorySeen { kept: None, names: Some(vec!["b".into()]), ..seen })
        }
        other => other,
    };
    let world = World {
        known: ["/a", "/a/b"].map(|path| entry(directory(path, 0o700), Origin::Made)).into(),
        seen: BTreeMap::from([("/a", holds_b(there(0o700))), ("/a/b", there(0o700))]),
        options: Options { allow_mass_removal: true, ..Options::default() },
        ..World::default()
    };
    assert_eq!(waits(&world.plan()), [("/a/b", vec![]), ("/a", vec!["/a/b"])]);
}

#[test]
fn the_restic_that_was_used_waits_for_the_one_that_is() {
    // R45
    let engine = |version: &str| {
        let (version, sha256) = (version.parse().unwrap(), "a".repeat(64).parse().unwrap());
        Engine::new(version, sha256, "file:///srv/restic".parse().unwrap(), &crate::model::Scope::Host)
            .unwrap()
    };
    let seen = |program| {
        Seen::Engine(EngineSeen { program, receipt: None, exposed: Box::default(), offline: false })
    };
    let (user, digest) = (String::from("root"), "a".repeat(64).parse().unwrap());
    let (stamp, mode) = (Stamp { dev: 1, ino: 1, size: 1, mtime: 1, ctime: 1 }, Mode::new(0o755));
    let there = ProgramSeen::File { owner: user.clone(), group: user, mode, stamp, digest };
    let world = World {
        declared: vec![Declared::plain(engine("0.18.0"))],
        known: vec![entry(engine("0.17.3"), Origin::Made), entry(directory("/z", 0o700), Origin::Made)],
        seen: BTreeMap::from([
            ("0.18.0", seen(ProgramSeen::Absent)),
            ("0.17.3", seen(there)),
            ("/z", absent()),
        ]),
        options: Options { allow_mass_removal: true, ..Options::default() },
    };
    assert_eq!(waits(&world.plan()), [("0.18.0", vec![]), ("0.17.3", vec!["0.18.0"])]);
}

#[test]
fn declared_and_known_stand_side_by_side_in_order() {
    let address = |path: &str| Address::new("directory", path);
    let mut renamed = Declared::plain(directory("/c", 0o700));
    renamed.was = vec![address("/z")];
    let declared =
        [Declared::plain(directory("/b", 0o700)), renamed, Declared::plain(directory("/d", 0o700))];
    let resources = declared.into_iter().map(|it| (it.resource.address(), it)).collect();
    let expanded = Expanded { resources, ..Expanded::default() };
    let mut ledger = Ledger::new("web01".parse().unwrap(), "l".into());
    for path in ["/a", "/aa", "/d", "/e", "/z"] {
        ledger.entries.insert(address(path), entry(directory(path, 0o700), Origin::Made));
    }
    let survey = Survey::new(&expanded, &ledger, &[]).unwrap();
    let shown: Vec<_> = survey
        .items
        .iter()
        .map(|item| (item.address.key(), item.declared.is_some(), item.entry.is_some(), item.was.is_some()))
        .collect();
    let expected = [
        ("/a", false, true, false),
        ("/aa", false, true, false),
        ("/b", true, false, false),
        ("/c", true, true, true),
        ("/d", true, true, false),
        ("/e", false, true, false),
    ];
    assert_eq!(shown, expected);
}
