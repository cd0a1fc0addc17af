//! What a run comes to, as the script that a dry run prints: values in, text out.

use std::collections::BTreeMap;

use super::*;
use crate::{
    expand::{UserFacts, expand, repository_of},
    host::Mounts,
    model::{HostPath, Name, Scope},
    source::{Ground, LogicalVolume},
    state::State,
};

/// Two destinations, the first on the volume that is backed up.
const DESTINATIONS: &str = "destinations:
  near: { local: { path: /srv/backup }, password_file: /p }
  far: { sftp: { host: nas, path: r }, password_file: /q }
";

fn path(text: &str) -> HostPath {
    text.parse().unwrap()
}

fn state(jobs: &str) -> State {
    let yaml = format!("version: 1\nhost: web01\n{DESTINATIONS}jobs:\n{jobs}");
    crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
}

/// A machine with `/` and `/srv` on volumes, of which the group has so many extents free.
fn facts(state: &State, free: u64) -> Facts {
    let mounts = Mounts::table(&[
        ("/", "ext4"),
        ("/srv", "xfs"),
        ("/data", "ext4"),
        ("/data/deep", "ext4"),
        ("/data/made up", "proc"),
        ("/proc", "proc"),
    ]);
    let volume = |name: &str, minor: u32| LogicalVolume {
        name: format!("vg0/{name}").parse().unwrap(),
        size: 1 << 30,
        attributes: "-wi-ao----".into(),
        tags: Vec::new(),
        pool: None,
        device: Some((253, minor)),
        full: None,
        free: free << 22,
        extent: 1 << 22,
    };
    let places = ["/data", "/srv/app", "/etc", "/"].map(|it| (path(it), path(it))).into();
    let volumes = vec![volume("root", 1), volume("srv", 2)];
    let ground = Ground { mounts, volumes, places, ..Ground::default() };
    let expanded = expand(state, &UserFacts::default(), &Scope::Host);
    let names: [Name; 2] = ["near", "far"].map(|name| name.parse().unwrap());
    let of = |name: &Name| Some((name.clone(), repository_of(&expanded, name)?.clone()));
    Facts {
        ground,
        repositories: names.iter().filter_map(of).collect(),
        places: [(names[0].clone(), path("/srv/backup"))].into(),
        stops: BTreeMap::new(),
        user_facts: UserFacts::default(),
        cache: path("/var/cache/rlvm"),
        runs: path("/run/rlvm/run"),
        own: None,
        nests: true,
    }
}

fn run(jobs: &str, free: u64) -> Run {
    let state = state(jobs);
    let all: Vec<_> = state.jobs.iter().collect();
    Run::new("0123456789ab".parse().unwrap(), &state, &all, &[], &facts(&state, free))
}

/// Returns the lines of the script that have this in them.
fn lines(jobs: &str, word: &str) -> Vec<String> {
    script(&run(jobs, 1000)).lines().filter(|line| line.contains(word)).map(Into::into).collect()
}

#[test]
fn a_run_of_two_volumes_and_a_path() {
    // R50, R51, R68: in order; what is frozen is one file system each, and what is mounted below a path is one more.
    let jobs = "  all: { sources: [{ lvm: { volume: vg0/root, snapshot_size: 8M } }, { lvm: { volume: vg0/srv } }, \
                { path: /data }], to: [near, far], nice: 10, ionice: { class: idle }, exclude: [\"/srv/*.tmp\"] }\n";
    insta::assert_snapshot!(script(&run(jobs, 1000)));
}

#[test]
fn a_path_alone_needs_nothing_around_it() {
    // R53: the empty list of excludes brings nothing back that the kernel makes up.
    let said = lines("  a: { sources: [{ path: /data }], to: [near], exclude: [] }\n", "backup");
    assert_eq!(
        said,
        [
            "TMPDIR=/var/cache/rlvm/root restic backup --json --repo /srv/backup --password-file /p --cache-dir \
          /var/cache/rlvm/root --host web01 --tag rlvm:job=a '--exclude=/data/made up/*' -- /data"
        ]
    );
    let whole = run("  a: { sources: [{ path: / }], to: [near] }\n", 0);
    assert!(whole.view.is_none() && whole.frozen.is_empty() && whole.held.is_empty());
    let said = script(&whole);
    for word in ["--exclude=/proc/*", "--exclude=/srv/backup", "--exclude=/var/cache/rlvm"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_job_that_cannot_run_fails_alone() {
    // R27, R28, R55, R59
    let jobs = "  big: { sources: [{ lvm: { volume: vg0/root, snapshot_size: 100% } }], to: [near] }
  gone: { sources: [{ path: /gone }, { path: /data }], to: [near] }
  good: { sources: [{ lvm: { volume: vg0/srv, snapshot_size: 4M, paths: [/srv/app] } }], to: [near] }
";
    let run = run(jobs, 10);
    let unfit: Vec<&str> = run.jobs.iter().flat_map(|job| &job.unfit).map(|it| it.message.as_str()).collect();
    assert_eq!(
        unfit,
        [
            "the snapshots do not fit into vg0: 40 MiB free, 1024 MiB needed and 52 MiB to spare, 1036 MiB short",
            "/gone is not there"
        ]
    );
    assert_eq!((run.frozen.len(), &run.jobs[2].needs), (1, &vec![0]));
    assert!(run.jobs[0].stores.is_empty() && run.jobs[1].stores.is_empty() && run.jobs[2].stores.len() == 1);
}

#[test]
fn a_volume_of_two_jobs_is_frozen_once() {
    // R50
    let one =
        |name: &str| format!("  {name}: {{ sources: [{{ lvm: {{ volume: vg0/srv }} }}], to: [near] }}\n");
    let run = run(&(one("a") + &one("b")), 1000);
    assert_eq!(run.frozen.len(), 1);
    assert!(run.jobs.iter().all(|job| job.needs == [0] && job.is_frozen && job.unfit.is_empty()));
    // One is of one moment by itself.
    assert!(run.held.is_empty());
}

#[test]
fn only_the_destinations_that_are_asked_for() {
    let state = state("  a: { sources: [{ path: /data }], to: [near, far] }\n");
    let all: Vec<_> = state.jobs.iter().collect();
    let to: [Name; 1] = ["far".parse().unwrap()];
    let run = Run::new("0123456789ab".parse().unwrap(), &state, &all, &to, &facts(&state, 0));
    assert_eq!(run.jobs[0].stores.iter().map(|it| it.destination.as_str()).collect::<Vec<_>>(), ["far"]);
}

#[test]
fn hooks_are_told_what_they_are_of() {
    let jobs = "  a: { sources: [{ path: /data }], to: [near], user: backup, hooks: { failed: [{ run: \"echo $RLVM_FAILED\" }] } }\n";
    let run = run(jobs, 0);
    let outcome = Outcome { status: "failed", failed: vec!["near".parse().unwrap(), "far".parse().unwrap()] };
    assert_eq!(
        run.jobs[0].failed[0].told(&outcome).to_string(),
        "runuser -u backup -- env HOME=/ LOGNAME=backup RLVM_FAILED='near far' RLVM_JOB=a RLVM_RUN=0123456789ab \
         RLVM_STATUS=failed /bin/sh -c 'echo $RLVM_FAILED'"
    );
}

#[test]
fn a_job_of_paths_alone_keeps_no_snapshot_waiting() {
    let run = run(
        "  a: { sources: [{ path: /data }], to: [near] }\n  b: { sources: [{ lvm: { volume: vg0/srv } }], to: [near], timeout: 2d }\n",
        1000,
    );
    assert!(!run.jobs[0].stores[0].cmd.to_string().contains("chroot"));
    assert!(run.jobs[1].stores[0].cmd.to_string().contains("chroot"));
    let said = script(&run);
    let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words}: {said}"));
    assert!(at("job=b") < at("lvremove") && at("lvremove") < at("job=a"), "{said}");
    let ages = run.jobs.iter().map(|job| job.snapshot_max_age.map(|age| age.to_string()));
    assert_eq!(ages.collect::<Vec<_>>(), [Some("1d".into()), Some("2d".into())]);
}
