//! Cases of what a volume is, and how it is frozen.

use super::*;
use crate::host::Mounts;

const REPORT: &str = r#"{ "report": [ { "lv": [
    {"vg_name":"vg0", "lv_name":"root", "lv_size":"2147483648", "lv_attr":"-wi-ao----", "lv_tags":"", "pool_lv":"",
     "data_percent":"", "lv_kernel_major":"253", "lv_kernel_minor":"1", "vg_free":"1073741824", "vg_extent_size":"4194304"},
    {"vg_name":"vg0", "lv_name":"home", "lv_size":"1073741824", "lv_attr":"Vwi-aotz--", "lv_tags":"a,b", "pool_lv":"pool",
     "data_percent":"12.34", "lv_kernel_major":"253", "lv_kernel_minor":"2", "vg_free":"1073741824", "vg_extent_size":"4194304"},
    {"vg_name":"vg0", "lv_name":"pool", "lv_size":"1073741824", "lv_attr":"twi-aotz--", "lv_tags":"", "pool_lv":"",
     "data_percent":"96.00", "lv_kernel_major":"253", "lv_kernel_minor":"9", "vg_free":"1073741824", "vg_extent_size":"4194304"}
] } ], "log": [] }"#;

fn path(text: &str) -> HostPath {
    text.parse().unwrap()
}

fn ground() -> Ground {
    // Their devices are 253:1, 253:2 and so on.
    let mounts = Mounts::table(&[("/", "ext4"), ("/home", "xfs"), ("/home2", "ext4")]);
    let places = ["/etc", "/home/a", "/home2/a"].map(|it| (path(it), path(it))).into();
    Ground { mounts, volumes: read(REPORT).unwrap(), places, ..Ground::default() }
}

fn source(volume: &str, size: Option<&str>, paths: &[&str]) -> Lvm {
    let snapshot_size = size.map(|size| size.parse().unwrap());
    Lvm { volume: volume.parse().unwrap(), snapshot_size, paths: paths.iter().map(|it| path(it)).collect() }
}

#[test]
fn what_lvs_prints_is_read() {
    let volumes = read(REPORT).unwrap();
    assert_eq!(volumes.len(), 3);
    let home = &volumes[1];
    assert!(home.is_thin() && !home.is_invalid() && !volumes[0].is_thin());
    assert_eq!((home.full, home.device, home.pool.as_deref()), (Some(12), Some((253, 2)), Some("pool")));
    assert_eq!(home.tags, ["a", "b"]);
    assert!(LogicalVolume { attributes: "swi-Ios---".into(), ..home.clone() }.is_invalid());
    assert!(read("").is_err() && read("{}").is_err());
}

#[test]
fn a_path_lies_in_a_volume_by_whole_parts() {
    // R27
    let ground = ground();
    let stored = |volume: &str, paths: &[&str]| match source(volume, None, paths).stored(&ground) {
        Ok(paths) => paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(unfit) => unfit.message,
    };
    assert_eq!(stored("vg0/root", &[]), "/");
    assert_eq!(stored("vg0/home", &["/home/a"]), "/home/a");
    assert_eq!(
        stored("vg0/home", &["/home2/a"]),
        "/home2/a does not lie on vg0/home, which is mounted at /home"
    );
    assert_eq!(stored("vg0/root", &["/home/a"]), "/home/a does not lie on vg0/root, which is mounted at /");
    assert_eq!(stored("vg0/root", &["/gone"]), "/gone is not there");
    assert_eq!(stored("vg0/pool", &[]), "vg0/pool is not mounted");
    assert_eq!(stored("vg0/none", &[]), "there is no logical volume vg0/none");
}

#[test]
fn a_thin_volume_gets_a_thin_snapshot() {
    // R52, R56
    let (ground, run) = (ground(), "0123456789ab".parse().unwrap());
    let step =
        |volume: &str, size| source(volume, size, &[]).frozen(&ground, &run, 3).unwrap().step.to_string();
    assert_eq!(
        step("vg0/home", Some("1G")),
        "lvcreate --yes --quiet --snapshot --name rlvm-0123456789ab-3 --addtag rlvm --addtag rlvm-run=0123456789ab \
         --setactivationskip n vg0/home\n#   undone by: lvremove --yes --quiet --select \
         'lv_name=\"rlvm-0123456789ab-3\" && lv_tags=\"rlvm-run=0123456789ab\"' vg0"
    );
    // Rounded up to extents of 4 MiB: 10 % of 2 GiB, and what is no multiple of anything.
    for (size, extents) in [(None, 52), (Some("1000B"), 1), (Some("513M"), 129), (Some("0.001%"), 1)] {
        assert!(step("vg0/root", size).contains(&format!("--extents {extents} vg0/root")), "{size:?}");
    }
}

#[test]
fn there_must_be_room_for_all() {
    // R28
    let ground = ground();
    let said = |sources: &[Lvm]| {
        let unfit = room(&sources.iter().collect::<Vec<_>>(), &ground);
        unfit.into_iter().map(|it| it.message).collect::<Vec<_>>()
    };
    assert!(said(&[source("vg0/root", Some("900M"), &[])]).is_empty());
    assert_eq!(
        said(&[source("vg0/root", Some("900M"), &[]), source("vg0/root", Some("200M"), &[])]),
        [
            "the snapshots do not fit into vg0: 1024 MiB free, 1100 MiB needed and 56 MiB to spare, 132 MiB short"
        ]
    );
    assert_eq!(
        said(&[source("vg0/home", None, &[])]),
        ["the thin pool vg0/pool is 96 % full: its volumes fail when it is full"]
    );
}
