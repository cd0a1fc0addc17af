//! Values in, values out.

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKlJ4yTzGq3x0m2bq5vT8yq7lq1m4E3v1xw0XcQ9mZpQ";

fn public(text: &str) -> PublicKey {
    text.parse().unwrap()
}

fn made() -> SshKey {
    let make = NewKey { kind: KeyType::Ed25519, comment: "root@web01".parse().unwrap() };
    SshKey { path: "/k".parse().unwrap(), owner: Owner::root(), make: Some(make), agent: None }
}

fn named() -> SshKey {
    SshKey { make: None, ..made() }
}

fn file(owner: &str, mode: u32, encrypted: bool, pub_file: PublicSeen) -> SshKeySeen {
    SshKeySeen::File {
        owner: owner.into(),
        group: "root".into(),
        mode: Mode::new(mode),
        stamp: Stamp { dev: 1, ino: 1, size: 400, mtime: 1, ctime: 1 },
        head: Some(KeyHead { public: Some(public(KEY)), encrypted }),
        public: pub_file,
        agent: None,
    }
}

fn whole() -> PublicSeen {
    PublicSeen::Key(public(&format!("{KEY} me")))
}

fn absent(public: PublicSeen) -> SshKeySeen {
    SshKeySeen::Absent { public, tool: true }
}

fn ops(diff: Diff) -> String {
    match diff {
        Diff::Create(edit) | Diff::Update(edit) => {
            edit.ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        Diff::Refuse(why) => why,
        Diff::Same | Diff::Unmanaged => "same".into(),
    }
}

#[test]
fn it_is_made_and_never_written_over() {
    let write = "install -o root -g root -m 0644 /dev/stdin /k.pub  # 92 bytes";
    let text = |text: &str| PublicSeen::Key(public(text));
    for (seen, expected) in [
        (absent(PublicSeen::Absent), "ssh-keygen -q -t ed25519 -N '' -C root@web01 -f /k"),
        (file("root", 0o600, false, whole()), "same"),
        (file("root", 0o400, true, whole()), "same"),
        (file("root", 0o644, false, whole()), "chmod 0600 /k"),
        (file("daemon", 0o600, false, whole()), "chown -h root:root /k"),
        // The public half is told from the private one, also of one with a passphrase.
        (file("root", 0o600, true, PublicSeen::Absent), write),
        (file("root", 0o600, false, PublicSeen::Wrong), write),
        (file("root", 0o600, false, text(OTHER)), write),
        (file("root", 0o600, false, PublicSeen::Other("/k.pub is a FIFO".into())), "/k.pub is a FIFO"),
        (SshKeySeen::Other("/k is a FIFO".into()), "/k is a FIFO"),
    ] {
        assert_eq!(ops(made().diff(&seen)), expected, "{seen:?}");
        assert_eq!(named().diff(&seen), Diff::Unmanaged);
    }
    for (seen, words) in [
        (absent(whole()), "/k.pub is there, and /k, its private half, is not"),
        (absent(PublicSeen::Wrong), "/k.pub is there"),
    ] {
        assert!(matches!(made().diff(&seen), Diff::Refuse(why) if why.contains(words)), "{seen:?}");
    }
    let mut garbage = file("root", 0o600, false, PublicSeen::Absent);
    if let SshKeySeen::File { head, .. } = &mut garbage {
        *head = None;
    }
    assert_eq!(made().diff(&garbage), Diff::Refuse("/k holds no private key".into()));
    let rsa = NewKey { kind: KeyType::Rsa, comment: "x".parse().unwrap() };
    let rsa = SshKey { make: Some(rsa), ..made() };
    let Diff::Refuse(why) = rsa.diff(&file("root", 0o600, false, whole())) else { panic!("not refused") };
    assert!(why.contains("type ssh-ed25519, and rsa is declared; a key is never replaced"), "{why}");
    assert!(matches!(made().removal_rule(), RemovalRule::Permanent(_)));
}

fn said(key: &SshKey, seen: &SshKeySeen) -> String {
    let findings = key.checks(seen, None);
    findings.iter().map(|it| format!("{:?} {}", it.severity, it.message)).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_persons_own_is_only_looked_at() {
    // R25
    let mut empty = file("root", 0o600, false, whole());
    if let SshKeySeen::File { head, stamp, .. } = &mut empty {
        (*head, stamp.size) = (None, 0);
    }
    for (seen, expected) in [
        (absent(PublicSeen::Absent), "Error /k is not there"),
        (SshKeySeen::Other("a FIFO".into()), "Error a FIFO"),
        (file("root", 0o600, false, PublicSeen::Absent), ""),
        (file("root", 0o400, false, whole()), ""),
        (file("daemon", 0o600, false, whole()), "Error /k belongs to daemon, but root works with it"),
        (
            file("root", 0o640, false, whole()),
            "Error /k is open to others than root (mode 0640): ssh refuses it",
        ),
        (empty, "Error /k is empty"),
    ] {
        assert_eq!(said(&named(), &seen), expected);
    }
    assert_eq!(said(&made(), &absent(PublicSeen::Absent)), "");
    let none = SshKeySeen::Absent { public: PublicSeen::Absent, tool: false };
    assert_eq!(said(&made(), &none), "Error ssh-keygen is not installed");
}

#[test]
fn a_passphrase_needs_a_ready_agent() {
    // R29
    let seen = file("root", 0o600, true, whole());
    let none = "Error /k has a passphrase, and no agent is declared to hold it";
    assert_eq!((said(&made(), &seen).as_str(), said(&named(), &seen).as_str()), (none, none));
    let with = |state: AgentSeen| {
        let mut seen = seen.clone();
        if let SshKeySeen::File { agent, .. } = &mut seen {
            *agent = Some(state);
        }
        seen
    };
    let key = SshKey { agent: "/a".parse().ok(), ..made() };
    for (state, expected, remedy) in [
        (AgentSeen::Holds(vec![public(OTHER), public(KEY)]), "", ""),
        (
            AgentSeen::Holds(vec![public(OTHER)]),
            "Error /k has a passphrase, and the agent at /a does not hold it",
            "rlvm ssh-agent add",
        ),
        (
            AgentSeen::Absent,
            "Error /k has a passphrase, and no agent is running at /a",
            "rlvm ssh-agent start",
        ),
        (
            AgentSeen::Silent("no agent answers at /a".into()),
            "Error /k has a passphrase, and no agent answers at /a",
            "rlvm ssh-agent start",
        ),
        (
            AgentSeen::Unsafe("/a belongs to bob".into()),
            "Error /k has a passphrase, and /a belongs to bob",
            "remove it",
        ),
        (
            AgentSeen::Deferred,
            "Notice deferred: it has a passphrase, and the agent is asked of the running host",
            "",
        ),
    ] {
        let seen = with(state);
        assert_eq!(said(&key, &seen), expected);
        let found = key.checks(&seen, None);
        let help = found.first().and_then(|it| it.remedy.clone()).unwrap_or_default();
        assert!(help.contains(remedy), "{help}");
        assert_eq!(key.diff(&seen), Diff::Same);
    }
    let backup = Owner { user: "backup".parse().unwrap(), ..Owner::root() };
    let theirs = SshKey { owner: backup, ..key };
    assert!(said(&theirs, &with(AgentSeen::Absent)).contains("only root can use the agent, not backup"));
}

#[test]
fn the_public_half_is_shown_as_it_is() {
    let key = made();
    let shown = |seen: &SshKeySeen| key.public(seen).map(ToString::to_string);
    assert_eq!(shown(&file("root", 0o600, false, whole())), Some(format!("{KEY} me")));
    assert_eq!(shown(&file("root", 0o600, false, PublicSeen::Wrong)), Some(KEY.into()));
    assert_eq!(shown(&file("root", 0o600, false, PublicSeen::Key(public(OTHER)))), Some(KEY.into()));
    assert_eq!(shown(&absent(PublicSeen::Absent)), None);
}
