//! Whatever the state and however far the machine has drifted from it: apply, and the machine is as declared, the
//! next plan is empty, and nothing else was touched (R23, R24, R40, R43, R46, R47).

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
};

use proptest::{prelude::*, sample::Index, test_runner::Config};

use crate::{
    support::{Scratch, Tree},
    world::{self, Part, USERS_LINES, password},
};

/// What a person or a program did to the machine since the last apply.
#[derive(Clone, Debug)]
enum Drift {
    Mode(u32),
    Owner(u32),
    Text,
    Gone,
}

fn drifts() -> impl Strategy<Value = Vec<(Index, Drift)>> {
    let modes = proptest::sample::select(&[0o600, 0o640, 0o700, 0o777][..]);
    let owners = proptest::sample::select(&[0, 33, 4000][..]);
    let kind = prop_oneof![
        2 => modes.prop_map(Drift::Mode),
        2 => owners.prop_map(Drift::Owner),
        2 => Just(Drift::Text),
        3 => Just(Drift::Gone),
    ];
    proptest::collection::vec((any::<Index>(), kind), 0..8)
}

/// Files that are nobody's business, among those that rlvm makes.
const FOREIGN: &[&str] = &[
    "/etc/cron.d/foreign",
    "/etc/cron.d/rlvm-foreign",
    "/etc/cron.d/cron0.dpkg-old",
    "/etc/logrotate.d/apt",
    "/etc/rlvm/secrets/old.pass",
    "/etc/systemd/system/foreign.timer",
    "/srv/foreign",
    "/srv/repos/foreign",
];

/// Puts them there.
fn plant(on: &Scratch) {
    for path in FOREIGN {
        on.file(path, "foreign\n");
    }
}

/// What can be told of a file without opening it, and its text.
fn foreign(on: &Scratch) -> Vec<(u64, i64, u32, u32, String)> {
    let one = |path: &&str| {
        let meta = fs::symlink_metadata(on.at(path)).unwrap();
        (meta.ino(), meta.ctime_nsec(), meta.uid(), meta.mode(), on.read(path))
    };
    FOREIGN.iter().map(one).collect()
}

/// Things whose drift is put back: what is declared, repositories and given passwords aside.
fn driftable(parts: &[Part]) -> Vec<String> {
    let of = |part: &Part| match part {
        Part::Directory { path, .. } => vec![path.clone()],
        Part::Destination { name, generate: true, .. } => vec![password(name, true)],
        Part::Key(key) => vec![key.path.clone(), format!("{}.pub", key.path)],
        part => part.files().into_iter().chain(part.ssh_files().into_iter().flatten()).collect(),
    };
    let own = ["/etc/logrotate.d/rlvm".to_owned()];
    parts.iter().flat_map(of).chain(own).chain(Part::sweep(parts)).collect()
}

/// Says whether something lies in a directory of an unprivileged user.
fn lies_in_a_users_directory(parts: &[Part], path: &str) -> bool {
    let above = |it: &Part| match it {
        Part::Directory { path: dir, owner, .. } => {
            *owner != "root" && path.strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/'))
        }
        _ => false,
    };
    // The home of backup, where its SSH files are.
    path.starts_with("/var/backups/") || parts.iter().any(above)
}

/// Says whether others can write a directory above, so that they could have moved there what is in it: apply leaves that.
fn others_can_move_it(parts: &[Part], path: &str) -> bool {
    let above = |it: &Part| match it {
        Part::Directory { path: dir, mode, .. } => {
            mode & 0o022 != 0 && path.strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/'))
        }
        _ => false,
    };
    parts.iter().any(above)
}

/// Changes something; what would not be drift but damage is left out. Says whether something was changed.
fn drift(on: &Scratch, path: &str, how: &Drift) -> bool {
    let at = on.at(path);
    let Ok(meta) = fs::symlink_metadata(&at) else { return false };
    let secret = path.contains(".pass") || (path.contains("/id") && !path.contains(".pub"));
    match how {
        Drift::Mode(mode) => {
            fs::set_permissions(&at, fs::Permissions::from_mode(*mode)).unwrap();
            true
        }
        Drift::Owner(owner) => lchown(&at, Some(*owner), Some(*owner)).is_ok(),
        Drift::Text if meta.is_file() && !secret => fs::write(&at, "edited by hand\n").is_ok(),
        Drift::Gone if meta.is_file() && !secret => fs::remove_file(&at).is_ok(),
        Drift::Gone => fs::remove_dir(&at).is_ok(),
        Drift::Text => false,
    }
}

/// Whatever may not change while somebody only looks.
fn only_looks(on: &Scratch) {
    on.restic_calls();
    let before = on.tree_hash();
    let plans: Vec<_> = (0..2).map(|_| on.rlvm(&["plan", "--json"])).collect();
    assert_eq!(plans[0], plans[1], "planning twice");
    let text: Vec<_> = (0..2).map(|_| on.rlvm(&["plan"])).collect();
    assert_eq!(text[0], text[1], "planning twice");
    assert_eq!(text[0].code, plans[0].code, "text, JSON and exit code come from one value");
    on.rlvm(&["plan", "--summary"]);
    for args in [&["validate"][..], &["observe"], &["show"], &["ledger", "list"]] {
        on.expect(0, args);
    }
    assert_eq!(on.tree_hash(), before, "looking changed something");
    let calls = on.restic_calls();
    assert!(
        calls.iter().all(|call| call == "version" || call.starts_with("cat config --no-lock")),
        "{calls:?}"
    );
}

/// The machine is as declared, says the machine; and rlvm agrees.
fn is_as_declared(on: &Scratch, parts: &[Part]) {
    for part in parts {
        part.check(on);
    }
    Part::is_swept(parts, on);
    on.plan_is_empty();
    let left: Vec<String> = on.tree().into_keys().filter(|path| path.ends_with(".rlvm-new~")).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn config() -> Config {
    let (cases, max_shrink_iters) = (24, 40);
    Config { cases, max_shrink_iters, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn drifted_machines_converge(
        (parts, shuffled) in world::parts().prop_flat_map(|parts| (Just(parts.clone()), Just(parts).prop_shuffle())),
        drifts in drifts(),
        lost_ledger in proptest::bool::weighted(0.3),
    ) {
        let on = Scratch::new();
        world::prepare(&parts, &on);
        plant(&on);
        on.state(&world::yaml(&parts));
        let untouched = foreign(&on);
        on.apply();
        is_as_declared(&on, &parts);

        let paths = driftable(&parts);
        let secrets = secrets(&on, &parts);
        for (index, how) in &drifts {
            let path = index.get::<String>(&paths);
            // In a user's directory another's is damage: that user could have moved it there, and apply leaves it.
            let is_damage = matches!(how, Drift::Owner(_)) && lies_in_a_users_directory(&parts, path);
            if !is_damage && !others_can_move_it(&parts, path) {
                drift(&on, path, how);
            }
        }
        if lost_ledger {
            fs::remove_dir_all(on.at("/var/lib/rlvm")).unwrap();
        }
        only_looks_drifted(&on, &parts, &shuffled);
        let flags: &[&str] = if lost_ledger { &["apply", "--yes", "--adopt"] } else { &["apply", "--yes"] };
        on.expect(0, flags);
        if lost_ledger {
            // What could not be got at is adopted once the way there was put right.
            on.expect(0, flags);
        }
        is_as_declared(&on, &parts);
        prop_assert_eq!(secrets, self::secrets(&on, &parts));
        prop_assert_eq!(untouched, foreign(&on));
    }

    #[test]
    fn what_leaves_the_state_leaves_the_machine(
        parts in world::parts(),
        gone in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let on = Scratch::new();
        world::prepare(&parts, &on);
        plant(&on);
        on.state(&world::yaml(&parts));
        on.apply();
        let (untouched, kept) = (foreign(&on), backups(&on));
        let (stays, leaves) = split(&parts, &gone);
        on.state(&world::yaml(&stays));
        let plan = on.plan_json(&["--allow-mass-removal"]);
        prop_assert_eq!(plan["refused"].as_bool(), Some(false));
        removes_exactly(&plan, &stays, &leaves);
        on.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
        is_as_declared(&on, &stays);
        for path in leaves.iter().flat_map(Part::files) {
            prop_assert!(!on.at(&path).exists(), "{} is still there", path);
        }
        for path in leaves.iter().filter_map(Part::ssh_files).flatten() {
            // A user's own lines stay, and nothing else.
            let left = path.starts_with("/root").then(|| USERS_LINES.to_owned());
            prop_assert_eq!(fs::read_to_string(on.at(&path)).ok(), left, "{}", path);
        }
        directories_went(&on, &stays, &leaves);
        prop_assert_eq!(kept, backups(&on));
        prop_assert_eq!(untouched, foreign(&on));
    }
}

/// Looking changes nothing, and the order of writing means nothing.
fn only_looks_drifted(on: &Scratch, parts: &[Part], shuffled: &[Part]) {
    only_looks(on);
    let plan = on.rlvm(&["plan", "--json"]);
    on.state(&world::yaml(shuffled));
    assert_eq!(on.rlvm(&["plan", "--json"]), plan, "the order of writing");
    on.state(&world::yaml(parts));
}

/// What the password files and private keys hold.
fn secrets(on: &Scratch, parts: &[Part]) -> Vec<String> {
    let of = |part: &Part| match part {
        Part::Destination { name, generate, .. } => Some(on.read(&password(name, *generate))),
        Part::Key(key) => Some(on.read(&key.path)),
        _ => None,
    };
    parts.iter().filter_map(of).collect()
}

/// Repositories with their directories, and passwords.
fn backups(on: &Scratch) -> Tree {
    let mut tree = on.tree();
    tree.retain(|path, _| path.starts_with("/srv/repos/") || path.contains(".pass") || path.contains("/id"));
    tree
}

/// Takes some blocks out. A destination takes its jobs along; a job stays if its destination would change hands.
fn split(parts: &[Part], gone: &[bool]) -> (Vec<Part>, Vec<Part>) {
    let chosen = |part: &Part| parts.iter().position(|it| it == part).is_some_and(|at| gone[at % gone.len()]);
    let dest_goes = |to: &str| {
        parts.iter().any(|it| matches!(it, Part::Destination { name, .. } if name == to) && chosen(it))
    };
    let goes = |part: &&Part| match part {
        Part::Job { user, to, .. } => dest_goes(to) || (*user == "root" && chosen(part)),
        // All of them, or none: a file that several share would else only change.
        Part::Key(_) | Part::Peer { .. } => gone[0],
        part => chosen(part),
    };
    let (leaves, stays): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(goes);
    (stays.into_iter().cloned().collect(), leaves.into_iter().cloned().collect())
}

/// The plan removes files, forgets what holds backups, and does nothing else.
fn removes_exactly(plan: &serde_json::Value, stays: &[Part], leaves: &[Part]) {
    let (mut deleted, mut forgotten) = (BTreeSet::new(), BTreeSet::new());
    for change in plan["changes"].as_array().unwrap() {
        let (address, actions) = (change["address"].as_str().unwrap().to_owned(), &change["actions"]);
        // Definitions are nothing on the machine; `verbs` has their tests.
        if ["job", "destination", "notifier", "client", "setting"].contains(&change["kind"].as_str().unwrap())
        {
            assert_ne!(actions[0], "delete", "{address}");
            continue;
        }
        let directory = address.starts_with("directory:");
        match actions.as_array().unwrap().as_slice() {
            [one] if one == "delete" || one == "forget" => {
                let set = if one == "delete" { &mut deleted } else { &mut forgotten };
                // Those are held against the machine.
                let _ = directory || set.insert(address);
            }
            _ => panic!("{address}: {actions}"),
        }
    }
    let address = |path: String| {
        let (dir, name) = path.rsplit_once('/').unwrap();
        let kind = match dir {
            "/etc/cron.d" => "cron",
            "/etc/logrotate.d" => "logrotate",
            _ => "unit",
        };
        format!("{kind}:{name}")
    };
    let sweep = Part::sweep(leaves).filter(|_| Part::sweep(stays).is_none());
    let files = leaves.iter().flat_map(Part::files).chain(sweep).map(address);
    let of_ssh =
        |[config, known]: [String; 2]| [format!("ssh_config:{config}"), format!("known_hosts:{known}")];
    let files = files.chain(leaves.iter().filter_map(Part::ssh_files).flat_map(of_ssh));
    assert_eq!(deleted, files.collect());
    let forget = |part: &Part| match part {
        Part::Destination { name, generate, .. } => {
            let secret = generate.then(|| format!("secret:{}", password(name, true)));
            [Some(format!("repository:{name}")), secret]
        }
        Part::Key(key) => [Some(format!("ssh_key:{}", key.path)), None],
        _ => [None, None],
    };
    assert_eq!(forgotten, leaves.iter().flat_map(forget).flatten().collect());
}

/// A directory that left goes, unless something is in it.
fn directories_went(on: &Scratch, stays: &[Part], leaves: &[Part]) {
    let needed = |dir: &str| {
        let below = |path: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        stays.iter().any(|part| matches!(part, Part::Directory { path, .. } if below(path)))
    };
    for part in leaves {
        let Part::Directory { path, .. } = part else { continue };
        let stays = needed(path) || path.starts_with("/srv/repos/");
        assert_eq!(on.at(path).exists(), stays, "{path}");
    }
}
