//! The kit as text. That it can be followed is tried in `tests/it/rescue.rs`.

use super::*;
use crate::{
    effect::Owner,
    expand::{UserFacts, expand},
    ledger::{Entry, Origin as Came},
    model::Scope,
    resource::{OnRemove, Role, Secret},
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

const STATE: &str = "
restic: { version: 0.18.0, sha256: 98f6dd8bf5b59058d04bfd8dab58e196cc2a680666ccee90275a3b722374438e }
destinations:
  vault: { local: { path: /srv/backup/vault }, password_file: /etc/rlvm/vault.pass, generate_password: true }
  off-site: { sftp: { user: backup-web01, host: nas.lan, port: 2222, path: /repo }, password_file: /etc/rlvm/off.pass, generate_password: true }
  off_site: { s3: { endpoint: https://s3.lan, bucket: b, ca_file: /etc/rlvm/ca.pem }, password_file: /etc/rlvm/s3/pass, env_file: /etc/rlvm/s3/env }
  rest: { rest: { url: https://rest.lan:8000/web01, user_file: /etc/rlvm/rest/user, password_file: /etc/rlvm/rest/pass },
          password_file: /etc/rlvm/rest.key, credentials: { B2_ACCOUNT_KEY: { credential: b2 } } }
  worm: { rclone: { ssh: { host: nas.lan }, path: web01 }, password_file: /etc/rlvm/worm.pass }
ssh:
  keys: { /root/.ssh/id_rlvm: {} }
  hosts: { nas.lan: { identity: /root/.ssh/id_rlvm, host_keys: [HOST-KEY] } }
jobs:
  www: { sources: [{ path: /srv/www }], to: [vault, off-site], exclude: [\"*.tmp\"], was: [web] }
  system: { sources: [{ lvm: { volume: vg0/root } }], to: [off_site], copy: { rest: { from: off_site } }, schedule: \"30 2 * * *\" }
";

fn loaded(yaml: &str) -> (State, Expanded) {
    let text = format!("version: 1\nhost: web01\n{}", yaml.replace("HOST-KEY", KEY));
    let state =
        crate::state::load("state", &mut |_| Ok(text.clone())).unwrap_or_else(|_| panic!("{text}")).state;
    let expanded = expand(&state, &UserFacts::default(), &Scope::Host);
    (state, expanded)
}

/// A ledger in which one password was put away, and another one was not.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new("web01".parse().unwrap(), "lineage".into());
    for (path, put_away) in [("/etc/rlvm/vault.pass", true), ("/etc/rlvm/off.pass", false)] {
        let file = crate::model::SecretFile(path.parse().unwrap());
        let destination = "vault".parse().unwrap();
        let secret = Secret { destination, file, role: Role::Password, owner: Owner::root(), generate: true };
        let entry = Entry {
            resource: secret.into(),
            origin: Came::Made,
            pending: false,
            on_remove: OnRemove::Default,
            protect: false,
            put_away,
            seen: None,
        };
        ledger.entries.insert(Address::new("secret", path), entry);
    }
    ledger
}

fn volume(name: &str, attributes: &str, pool: Option<&str>) -> LogicalVolume {
    LogicalVolume {
        name: name.parse().unwrap(),
        size: 20 << 30,
        attributes: attributes.into(),
        tags: Vec::new(),
        pool: pool.map(Into::into),
        device: None,
        full: None,
        free: 0,
        extent: 4 << 20,
    }
}

fn kit<'a>(state: &'a State, expanded: &'a Expanded, ledger: Option<&'a Ledger>) -> Kit<'a> {
    let mount = Mount {
        id: 1,
        parent: 0,
        device: (253, 0),
        part: "/".into(),
        at: "/".parse().unwrap(),
        kind: "ext4".into(),
        source: "/dev/mapper/vg0-root".into(),
    };
    let root = UserEntry {
        uid: 0,
        group: "root".into(),
        groups: Vec::new(),
        home: "/root".into(),
        shell: "/bin/bash".into(),
        closed: false,
        password: false,
        same_uid: None,
    };
    let volumes = vec![
        volume("vg0/root", "owi-aos---", None),
        volume("vg0/pool", "twi-aotz--", None),
        volume("vg0/thin", "Vwi-aotz--", Some("pool")),
        volume("vg0/snap", "swi-aos---", None),
    ];
    let revision = Revision { commit: "0123456789abcdef0123456789abcdef01234567".into(), dirty: true };
    let disk =
        Mount { id: 2, at: "/srv/backup".parse().unwrap(), source: "/dev/sdb1".into(), ..mount.clone() };
    Kit {
        made: "2026-11-21 18:00 UTC".into(),
        state,
        origin: Origin {
            file: "/etc/rlvm/state/hosts/web01.yaml".into(),
            revision: Some(revision),
            applied: true,
        },
        expanded,
        ledger,
        restic: None,
        users: [(UserName::root(), root)].into(),
        keys: BTreeMap::new(),
        mounts: vec![mount, disk],
        volumes: Some(Ok(volumes)),
    }
}

#[test]
fn a_whole_kit() {
    let (state, expanded) = loaded(STATE);
    let ledger = ledger();
    let text = kit(&state, &expanded, Some(&ledger)).text().unwrap();
    let text = text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    // The digest is of the version too.
    insta::assert_snapshot!("kit", text.rsplit_once("sha256 ").unwrap().0);
    let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(widest.chars().count() <= 80, "{widest}");
}

#[test]
fn what_holds_backups_is_not_made_anew() {
    let (state, expanded) = loaded(STATE);
    for (source, expected) in [
        (
            "/dev/sdb1",
            vec!["vgcreate vg0 /dev/PARTITION", "lvcreate -L 20480m -n back-up vg0", "NOT mkfs /dev/sdb1: "],
        ),
        (
            "/dev/mapper/vg0-back--up",
            vec!["NOT vgcreate vg0: vg0/back-up holds", "NOT mkfs /dev/mapper/vg0-back--up: "],
        ),
    ] {
        let mut kit = kit(&state, &expanded, None);
        kit.mounts[1].source = source.into();
        kit.volumes = Some(Ok(vec![volume("vg0/back-up", "-wi-ao----", None)]));
        let text = kit.text().unwrap();
        for line in &expected {
            assert!(text.contains(&format!("\n: {line}")), "{line}\n{text}");
        }
        let about = |line: &&str| {
            [": vgcreate", ": lvcreate", ": mkfs", ": NOT"].iter().any(|it| line.starts_with(it))
        };
        // And that of the root, which holds none.
        assert_eq!(text.lines().filter(about).count(), expected.len() + 1, "{text}");
    }
}

#[test]
fn the_last_line_says_whether_it_is_whole() {
    let (state, expanded) = loaded(STATE);
    let text = kit(&state, &expanded, None).text().unwrap();
    let (above, last) = text.trim_end().rsplit_once('\n').unwrap();
    let digest: String =
        Hash::digest(format!("{above}\n")).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(last, format!("sha256 {digest}"));
}

#[test]
fn what_of_the_secrets_is_known() {
    let (state, expanded) = loaded(STATE);
    let ledger = ledger();
    let of = |ledger: Option<&Ledger>, name: &str| {
        wanted(&state, &expanded, ledger).into_iter().find(|it| it.name == name).map(|it| it.put_away)
    };
    for (name, applied, not) in [
        ("/etc/rlvm/vault.pass", PutAway::Shown, PutAway::NotMade),
        ("/etc/rlvm/off.pass", PutAway::Never, PutAway::NotMade),
        ("/etc/rlvm/s3/pass", PutAway::Unknown, PutAway::Unknown),
        ("/etc/rlvm/s3/env", PutAway::Unknown, PutAway::Unknown),
        ("/etc/rlvm/ca.pem", PutAway::Public, PutAway::Public),
        ("/root/.ssh/id_rlvm", PutAway::Replaceable, PutAway::Replaceable),
        ("b2", PutAway::Unknown, PutAway::Unknown),
    ] {
        assert_eq!(of(Some(&ledger), name), Some(applied), "{name}");
        assert_eq!(of(None, name), Some(not), "{name}");
    }
}

#[test]
fn of_a_state_with_nothing_in_it() {
    let (state, expanded) = loaded("directories: { /srv: {} }\n");
    let bare =
        Kit { mounts: Vec::new(), volumes: None, users: BTreeMap::new(), ..kit(&state, &expanded, None) };
    let found =
        FoundRestic { path: "/usr/bin/restic".into(), version: Version::read("restic 0.14.0"), sha256: None };
    let text = Kit { restic: Some(found), origin: Origin::default(), ..bare }.text().unwrap();
    for says in
        ["the state declares no job", "no destination", "restic 0.14.0, /usr/bin/restic", "v0.14.0/restic"]
    {
        assert!(text.contains(says), "{says}\n{text}");
    }
}
