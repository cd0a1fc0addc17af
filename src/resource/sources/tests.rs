//! What is said of sources, by what was seen.

use super::*;
use crate::{
    host::Mounts,
    model::HostPath,
    source::{LogicalVolume, Subvolume},
};

const GIB: u64 = 1 << 30;

fn path(text: &str) -> HostPath {
    text.parse().unwrap()
}

/// A volume of 10 GiB in a group with 2 GiB free. Devices of the table of mounts are 253:1, 253:2 and so on.
fn volume(name: &str, minor: u32, attributes: &str, tags: &[&str]) -> LogicalVolume {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let (name, attributes) = (name.parse().unwrap(), attributes.into());
    let (pool, device, full) = (None, Some((253, minor)), None);
    LogicalVolume {
        name,
        size: 10 * GIB,
        attributes,
        tags,
        pool,
        device,
        full,
        free: 2 * GIB,
        extent: 4 << 20,
    }
}

fn ground() -> Ground {
    let there = ["/etc", "/home", "/home/a", "/home2/a", "/b/s", "/b/plain", "/b/open", "/e"];
    let subvolumes = [("/b/s", true, true), ("/b/plain", false, true), ("/b/open", true, false)];
    Ground {
        mounts: Mounts::table(&[("/", "ext4"), ("/home", "xfs"), ("/home2", "ext4"), ("/b", "btrfs")]),
        volumes: vec![
            volume("vg0/root", 1, "owi-aos---", &[]),
            volume("vg0/home", 2, "-wi-ao----", &[]),
            volume("vg0/off", 9, "-wi-a-----", &[]),
        ],
        places: there.map(|it| (path(it), path(it))).into(),
        subvolumes: subvolumes
            .map(|(at, is_one, is_private)| (path(at), Subvolume { is_one, is_private }))
            .into(),
        ..Ground::default()
    }
}

/// Jobs, each of a name, a schedule and its sources in YAML.
fn jobs(all: &[(&str, &str, &str)]) -> Sources {
    let job = |(name, schedule, sources): &(&str, &str, &str)| {
        let schedule = Some(*schedule).filter(|it| !it.is_empty()).map(|it| it.parse().unwrap());
        let sources = serde_json::from_str(sources).unwrap();
        let (exclude, one_file_system, may_be_empty, user) = (Vec::new(), false, false, None);
        let job = JobSources { schedule, sources, exclude, one_file_system, may_be_empty, user };
        (name.parse().unwrap(), job)
    };
    Sources { jobs: all.iter().map(job).collect() }
}

fn said(sources: &Sources, ground: &Ground) -> Vec<String> {
    let findings = sources.findings(&sources.judge(ground));
    assert!(findings.iter().all(|it| it.remedy.is_some()), "{findings:?}");
    findings
        .iter()
        .map(|it| format!("{:?} {}: {}", it.severity, it.address, it.message).to_lowercase())
        .collect()
}

#[test]
fn what_may_come_is_a_warning_and_what_cannot_be_an_error() {
    // R27, R59
    let lvm =
        |volume: &str, paths: &str| format!(r#"{{"lvm": {{"volume": "{volume}", "paths": [{paths}]}}}}"#);
    let btrfs = |at: &str| format!(r#"{{"btrfs": {{"subvolume": "{at}"}}}}"#);
    for (source, expected) in [
        (r#"{"path": "/etc"}"#.to_owned(), ""),
        (r#"{"path": "/gone"}"#.to_owned(), "warning jobs.a.sources: /gone is not there"),
        (lvm("vg0/home", r#""/home/a""#), ""),
        (lvm("vg0/home", r#""/home/gone""#), "warning jobs.a.sources: /home/gone is not there"),
        (
            lvm("vg0/home", r#""/home2/a""#),
            "error jobs.a.sources: /home2/a does not lie on vg0/home, which is mounted at /home",
        ),
        (lvm("vg0/none", ""), "warning jobs.a.sources: there is no logical volume vg0/none"),
        (lvm("vg1/none", ""), "warning jobs.a.sources: there is no logical volume vg1/none"),
        (lvm("vg0/off", r#""/home/a""#), "warning jobs.a.sources: vg0/off is not mounted"),
        (btrfs("/b/s"), ""),
        (btrfs("/gone"), "warning jobs.a.sources: /gone is not there"),
        // What is mounted there tomorrow may be btrfs.
        (btrfs("/e"), "warning jobs.a.sources: /e is not on btrfs"),
        (btrfs("/b/plain"), "error jobs.a.sources: /b/plain is no subvolume"),
        (
            btrfs("/b/open"),
            "error jobs.a.sources: others than root can write into /b/open, where its snapshot would lie",
        ),
        // The state is refused before.
        (r#"{"sqlite": "/gone"}"#.to_owned(), ""),
    ] {
        let said = said(&jobs(&[("a", "", &format!("[{source}]"))]), &ground());
        assert_eq!(said.join("\n"), expected, "{source}");
    }
}

#[test]
fn snapshots_that_are_taken_together_must_fit() {
    // R28
    let one = |size: &str| format!(r#"[{{"lvm": {{"volume": "vg0/home", "snapshot_size": "{size}"}}}}]"#);
    let twice = format!("[{0}, {0}]", r#"{"lvm": {"volume": "vg0/home", "snapshot_size": "1100M"}}"#);
    let (small, large) = (one("1100M"), one("3G"));
    let short = |jobs: &[(&str, &str, &str)]| said(&self::jobs(jobs), &ground()).join("\n");
    assert_eq!(
        short(&[("a", "", &large)]),
        "warning jobs.a.sources: the snapshots do not fit into vg0: 2048 mib free, 3072 mib needed and 156 mib to \
         spare, 1180 mib short"
    );
    assert_eq!(short(&[("a", "", &twice)]), "", "a run freezes a volume once");
    let (two, three) = ("0 2 * * *", "0 3 * * *");
    assert_eq!(short(&[("a", two, &small), ("b", three, &small), ("c", "", &small), ("d", "", &small)]), "");
    let both = short(&[("a", two, &small), ("b", two, &small)]);
    assert!(
        both.starts_with("warning jobs.a.sources: ") && both.ends_with(" short; a, b start together"),
        "{both}"
    );
    // What a run has frozen at this very moment.
    let mut ground = ground();
    ground.volumes.push(volume("vg0/rlvm-x-0", 7, "swi-aos---", &[TAG]));
    assert_eq!(said(&jobs(&[("a", "", &large)]), &ground), [""; 0]);
}
