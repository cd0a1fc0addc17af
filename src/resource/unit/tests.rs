//! Values in, values out.

use super::{look::said, *};
use crate::resource::Wants::Ours;

const PATH: &str = "/etc/systemd/system/a.timer";
const STAMP: &str = "touch -c /var/lib/systemd/timers/stamp-a.timer";

fn timer() -> Unit {
    Unit::timer("a", "new\n".into(), None).unwrap()
}

fn service(at_boot: bool) -> Unit {
    Unit::service("a", "new\n".into(), at_boot, None).unwrap()
}

fn file(text: &str) -> FileSeen {
    FileSeen::File { owner: "root".into(), group: "root".into(), mode: Mode::new(0o644), text: text.into() }
}

fn seen(file: FileSeen, wants: Wants, manager: Manager) -> UnitSeen {
    UnitSeen { file, wants, taken: None, manager, stamp: false, lingers: None }
}

/// What a manager has: known, stale, active.
fn runs(known: bool, stale: bool, active: bool) -> Manager {
    Manager::Runs(Loaded { known, stale, active, failed: false })
}

/// A timer that is all that it should be.
fn fine() -> UnitSeen {
    seen(file("new\n"), Ours, runs(true, false, true))
}

/// Says in short what a diff is: its sort, the attributes that differ, the ops; `write` for the file.
fn told(diff: &Diff) -> String {
    let (sort, edit) = match diff {
        Diff::Same | Diff::Unmanaged => return "same".into(),
        Diff::Refuse(why) => return format!("refuse: {why}"),
        Diff::Create(edit) => ("create", edit),
        Diff::Update(edit) => ("update", edit),
    };
    let names = edit.attributes.iter().map(|it| it.name.as_str());
    let mut names: Vec<&str> = names.filter(|name| !["owner", "group", "mode"].contains(name)).collect();
    names.sort_unstable();
    format!("{sort} {}: {}", names.join(","), ops(edit))
}

fn ops(edit: &Edit) -> String {
    let op = |op: &Op| match op {
        Op::EditFile { after: Some(_), .. } => "write".to_owned(),
        op => op.to_string().replace("systemctl ", ""),
    };
    edit.ops.iter().map(op).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_timer_comes_to_be_as_declared_and_fires_nothing_at_once() {
    let absent = || FileSeen::Absent;
    let (old, new) = (|| file("old\n"), || file("new\n"));
    for (what, seen, expected) in [
        ("as declared", fine(), "same".into()),
        (
            "nothing there",
            seen(absent(), Wants::Absent, runs(false, false, false)),
            format!("create active,enabled: write; daemon-reload; {STAMP}; enable --now a.timer"),
        ),
        (
            "changed: it is stopped before it could count by the new text from its last run",
            seen(old(), Ours, runs(true, false, true)),
            format!("update : stop a.timer; write; daemon-reload; {STAMP}; start a.timer"),
        ),
        (
            "written, and then killed",
            seen(new(), Wants::Absent, runs(true, true, false)),
            format!("update active,enabled,loaded: daemon-reload; {STAMP}; enable --now a.timer"),
        ),
        (
            "its file gone by hand, the timer still waits",
            seen(absent(), Ours, runs(true, true, true)),
            format!("create loaded: stop a.timer; write; daemon-reload; {STAMP}; start a.timer"),
        ),
        (
            "edited by hand, and read again by the manager",
            seen(new(), Ours, runs(true, true, true)),
            format!("update loaded: stop a.timer; daemon-reload; {STAMP}; start a.timer"),
        ),
        (
            "disabled by hand: it waits, so nothing is made up for",
            seen(new(), Wants::Absent, runs(true, false, true)),
            "update enabled: enable a.timer".into(),
        ),
        (
            "stopped by hand",
            seen(new(), Ours, runs(true, false, false)),
            format!("update active: {STAMP}; start a.timer"),
        ),
        ("a tree, as declared", seen(new(), Ours, Manager::Tree), "same".into()),
        (
            "a tree, nothing there",
            seen(absent(), Wants::Absent, Manager::Tree),
            "create enabled: write; enable a.timer".into(),
        ),
        ("a tree, changed", seen(old(), Ours, Manager::Tree), "update : write".into()),
        (
            "a tree, not enabled",
            seen(new(), Wants::Absent, Manager::Tree),
            "update enabled: enable a.timer".into(),
        ),
        ("masked", UnitSeen { taken: Some("masked".into()), ..fine() }, "refuse: masked".into()),
        (
            "a link that leads elsewhere",
            seen(new(), Wants::Other("elsewhere".into()), Manager::Tree),
            "refuse: elsewhere".into(),
        ),
        ("no file", seen(FileSeen::Other("a FIFO".into()), Ours, Manager::Tree), "refuse: a FIFO".into()),
    ] {
        let told = told(&timer().diff(&seen));
        assert!(told == expected && !told.contains("start a.service"), "{what}:\n{told}\n{expected}");
    }
}

#[test]
fn a_service_is_never_started_nor_stopped() {
    for (at_boot, wants, text, loaded, expected) in [
        (false, Wants::Absent, "new\n", (true, false, false), "same"),
        (false, Wants::Absent, "old\n", (true, false, false), "update : write; daemon-reload"),
        (false, Wants::Absent, "new\n", (true, true, false), "update loaded: daemon-reload"),
        // An entry that the boot started once, and a timer now does.
        (
            false,
            Ours,
            "old\n",
            (true, false, false),
            "update enabled: write; daemon-reload; disable a.service",
        ),
        (true, Ours, "new\n", (true, false, false), "same"),
        (true, Wants::Absent, "new\n", (true, false, false), "update enabled: enable a.service"),
        (
            true,
            Wants::Absent,
            "old\n",
            (true, false, false),
            "update enabled: write; daemon-reload; enable a.service",
        ),
    ] {
        let (known, stale, active) = loaded;
        let told = told(&service(at_boot).diff(&seen(file(text), wants, runs(known, stale, active))));
        assert_eq!(told, expected, "{at_boot} {text}");
        assert!(!told.contains("start") && !told.contains("stop") && !told.contains("--now"), "{told}");
    }
}

#[test]
fn it_goes_with_all_that_is_of_it() {
    let gone = |_: &HostPath| false;
    let removed = |unit: &Unit, seen: &UnitSeen| match unit.removal(seen, &gone) {
        Removal::Delete(edit) => ops(&edit).replace("/etc/systemd/system/", ""),
        Removal::Forget(why) | Removal::Shut(_, why) => format!("forget: {why}"),
        Removal::Quiet => "quiet".into(),
    };
    let stamped = |seen: UnitSeen| UnitSeen { stamp: true, ..seen };
    let (absent, tree) = (FileSeen::Absent, Manager::Tree);
    for (what, seen, expected) in [
        (
            "as declared",
            stamped(fine()),
            "disable --now a.timer; rm /var/lib/systemd/timers/stamp-a.timer; rm a.timer; daemon-reload",
        ),
        (
            "failed",
            seen(
                file("new\n"),
                Wants::Absent,
                Manager::Runs(Loaded { known: true, failed: true, ..Loaded::default() }),
            ),
            "rm a.timer; daemon-reload; reset-failed a.timer",
        ),
        ("a tree", seen(file("old\n"), Ours, tree.clone()), "disable a.timer; rm a.timer"),
        ("a tree, disabled by hand", seen(file("new\n"), Wants::Absent, tree.clone()), "rm a.timer"),
        // systemctl disables only what it can read.
        (
            "a tree, only the link left",
            seen(absent.clone(), Ours, tree.clone()),
            "write; disable a.timer; rm a.timer",
        ),
        (
            "only the stamp left",
            stamped(seen(absent.clone(), Wants::Absent, tree.clone())),
            "rm /var/lib/systemd/timers/stamp-a.timer; rm a.timer",
        ),
        (
            "gone, and not told to the manager",
            seen(absent.clone(), Wants::Absent, runs(true, true, true)),
            "write; disable --now a.timer; rm a.timer; daemon-reload",
        ),
        ("gone", seen(absent, Wants::Absent, tree), "quiet"),
        ("no file", seen(FileSeen::Other("a FIFO".into()), Wants::Absent, Manager::Tree), "forget: a FIFO"),
    ] {
        assert_eq!(removed(&timer(), &seen), expected, "{what}");
    }
    // A service that runs is left to end.
    let running = seen(file("new\n"), Wants::Absent, runs(true, false, false));
    assert_eq!(removed(&service(false), &running), "rm a.service; daemon-reload");
}

#[test]
fn what_fills_the_place_of_a_cron_file_is_the_timer_or_what_the_boot_starts() {
    assert_eq!(timer().slots(), ["schedule/a"]);
    assert_eq!(service(true).slots(), ["schedule/a"]);
    assert!(service(false).slots().is_empty());
    assert_eq!(timer().needs(), [Address::new("unit", "a.service")]);
    assert_eq!((service(false).needs(), timer().file.path.as_str()), (Vec::new(), PATH));
}

#[test]
fn a_users_own_are_the_users() {
    let own = Personal::ann();
    let timer = Unit::timer("a", "new\n".into(), Some(&own)).unwrap();
    assert_eq!(timer.file.path.as_str(), "/home/ann/.config/systemd/user/a.timer");
    assert_eq!(timer.file.owner.to_string(), "ann:users");
    assert_eq!(Unit::directory(Some(&own)).unwrap().as_str(), "/home/ann/.config/systemd/user");
    let told = told(&timer.diff(&seen(FileSeen::Absent, Wants::Absent, runs(false, false, false))));
    let call = "XDG_RUNTIME_DIR=/run/user/1000 systemctl --user";
    assert!(told.contains("touch -c /home/ann/.local/share/systemd/timers/stamp-a.timer"), "{told}");
    assert_eq!(timer.systemctl(&["enable"]).to_string(), format!("{call} enable"));
    let service = Unit::service("a", String::new(), true, Some(&own)).unwrap();
    assert_eq!(service.run.target, "default.target");
}

#[test]
fn what_a_person_has_to_do_is_said() {
    let own = Personal::ann();
    let users = Unit::timer("a", "new\n".into(), Some(&own)).unwrap();
    let fine = fine();
    let of = |unit: &Unit, manager: Manager, wants: Wants, lingers: Option<bool>| {
        let seen = UnitSeen { wants, manager, lingers, ..fine.clone() };
        let said = unit.checks(&seen, None);
        said.iter().map(|it| format!("{:?}: {}", it.severity, it.message)).collect::<Vec<_>>().join("; ")
    };
    let fails = || Manager::Unreachable("no bus".into());
    for (said, expected) in [
        (of(&timer(), runs(true, false, true), Ours, None), ""),
        (
            of(&timer(), Manager::Absent, Ours, None),
            "Error: `scheduler: systemd`, and systemd does not run here",
        ),
        (of(&timer(), fails(), Ours, None), "Error: systemd cannot be asked: no bus"),
        (
            of(&timer(), Manager::Tree, Wants::Absent, None),
            "Notice: deferred: timers start at the first boot",
        ),
        (of(&timer(), Manager::Tree, Ours, None), ""),
        (of(&service(false), Manager::Tree, Wants::Absent, None), ""),
        (of(&users, runs(true, false, true), Ours, Some(true)), ""),
        (
            of(&users, runs(true, false, true), Ours, Some(false)),
            "Warning: its timers run only while ann is logged in",
        ),
        (of(&users, fails(), Ours, None), "Error: the systemd of ann cannot be asked: no bus"),
        (of(&users, Manager::Tree, Ours, None), "Error: timers of a user cannot be enabled below --root"),
    ] {
        assert_eq!(said, expected);
    }
}

#[test]
fn what_systemctl_prints_is_read() {
    let of = |text: &str| said(text).map(|it| (it.known, it.active, it.stale, it.from.to_owned()));
    let print = |load: &str, active: &str, stale: &str, from: &str| {
        format!("LoadState={load}\nActiveState={active}\nFragmentPath={from}\nNeedDaemonReload={stale}\n")
    };
    for (text, expected) in [
        (print("loaded", "active", "no", PATH), (true, true, false, PATH)),
        (print("loaded", "inactive", "yes", PATH), (true, false, true, PATH)),
        (print("not-found", "inactive", "no", ""), (false, false, false, "")),
        (print("not-found", "active", "yes", PATH), (false, true, true, PATH)),
        (print("bad-setting", "failed", "no", PATH), (true, false, false, PATH)),
    ] {
        let (known, active, stale, from) = expected;
        assert_eq!(of(&text).unwrap(), (known, active, stale, from.to_owned()), "{text}");
    }
    assert!(of("").is_err() && of("LoadState=loaded\n").is_err());
}
