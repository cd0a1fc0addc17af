//! What rlvm writes for an account, and what it reports of sshd.

use super::*;
use crate::{
    model::{Mode, OneOrMore},
    resource::{Access, AuthorizedKey, OnRemove},
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

fn declared(directory: &str, access: Access) -> Result<SshdConfig, BadText> {
    let spec = SshUserSpec {
        directory: directory.parse().unwrap(),
        access,
        authorized_keys: OneOrMore::of(AuthorizedKey { key: KEY.parse().unwrap(), from: None }, []),
        prune: None,
        adopt: false,
        protect: false,
        on_remove: OnRemove::Default,
    };
    let user: UserName = "web01".parse().unwrap();
    SshdConfig::new(&BTreeMap::from([(&user, &spec)]))
}

fn of_text(text: &str) -> FileSeen {
    let root = || "root".to_owned();
    FileSeen::File { owner: root(), group: root(), mode: Mode::new(0o644), text: text.into() }
}

/// What sshd says if it means what is meant.
fn says(it: &SshdConfig) -> Says {
    let lines = it.logins[0].meant.iter().map(|(word, value)| format!("{word} {value}\n"));
    Says { lines: lines.collect(), revoked: None }
}

fn seen(it: &SshdConfig, says: Says) -> SshdSeen {
    let sshd = Sshd::Says(BTreeMap::from([(it.logins[0].user.clone(), says)]));
    SshdSeen {
        file: of_text(&it.file.text),
        unread: false,
        changed: None,
        included: true,
        foreign: Box::default(),
        unread_files: Box::default(),
        groups: None,
        sshd: Box::new(sshd),
        elsewhere: Box::default(),
    }
}

#[test]
fn a_block_for_each_way_in() {
    // R42
    let repo = r"'/srv/it'\''s/repo'";
    let force = format!(
        "/usr/bin/flock --shared --no-fork --wait 20 --conflict-exit-code 75 {repo} /usr/bin/env -i HOME=/nonexistent \
         /usr/bin/rclone serve restic --stdio --append-only --config /dev/null {repo} || {{ CODE=$?; [ $CODE != 75 ] || {{ \
         echo the server prunes this repository now, try again later >&2; sleep 1; }}; exit $CODE; }}"
    );
    for (directory, access, tty, chroot, printed, command) in [
        ("/srv/a", Access::Sftp, "no", "/srv/a", "/srv/a", "internal-sftp"),
        ("/srv/a b%", Access::Sftp, "no", "\"/srv/a b%%\"", "/srv/a b%%", "internal-sftp"),
        ("/srv/it's", Access::AppendOnly, "no", "none", "none", &force),
        ("/srv/a", Access::Shell, "yes", "none", "none", "none"),
    ] {
        let it = declared(directory, access).unwrap();
        let text = &it.file.text;
        let start = "\nMatch User web01\n    AuthorizedKeysFile /etc/ssh/rlvm/keys/%u\n";
        assert!(text.contains(start), "{text}");
        let env = if tty == "no" { "    AcceptEnv RLVM_NONE\n" } else { "" };
        let end = format!(
            "    PermitUserRC no\n{env}    PermitTTY {tty}\n    ChrootDirectory {chroot}\n    ForceCommand {command}\n\
             Match all\n"
        );
        assert!(text.ends_with(&end), "{text}");
        let meant = &it.logins[0].meant;
        assert_eq!((meant["chrootdirectory"].as_str(), meant["forcecommand"].as_str()), (printed, command));
    }
    assert!(declared("/srv/a\"b", Access::Sftp).is_err());
}

#[test]
fn it_is_put_in_place_by_sshds_own_op_and_told_until_it_was_read() {
    let it = declared("/srv/a", Access::Sftp).unwrap();
    let ops = |diff: Diff| match diff {
        Diff::Create(edit) | Diff::Update(edit) => edit.ops,
        other => panic!("{other:?}"),
    };
    let right = seen(&it, says(&it));
    assert_eq!(it.diff(&right), Diff::Same);
    let put = vec![it.configure(Some(&it.file.text))];
    assert_eq!(ops(it.diff(&SshdSeen { file: FileSeen::Absent, ..right.clone() })), put);
    assert_eq!(ops(it.diff(&SshdSeen { file: of_text("x"), ..right.clone() })), put);
    let unread = SshdSeen { unread: true, ..right.clone() };
    assert_eq!(ops(it.diff(&unread)), put);
    let outdated = SshdSeen { changed: Some("/etc/ssh/x".into()), ..right.clone() };
    assert_eq!(ops(it.diff(&outdated)), put);
    // R46: one that goes, and one that went unheard.
    let gone = |seen: &SshdSeen| match it.removal(seen, &|_| false) {
        Removal::Delete(edit) => edit.ops,
        other => panic!("{other:?}"),
    };
    assert_eq!(gone(&right), [it.configure(None)]);
    assert_eq!(gone(&SshdSeen { file: FileSeen::Absent, ..unread }), [it.configure(None)]);
    let absent = SshdSeen { file: FileSeen::Absent, ..right };
    assert_eq!(it.removal(&absent, &|_| false), Removal::Quiet);
}

#[test]
fn what_sshd_would_do_else_is_told() {
    let it = declared("/srv/a", Access::Sftp).unwrap();
    let said = |seen: &SshdSeen| -> Vec<String> {
        let found = it.checks(seen, None).into_iter();
        found.map(|it| format!("{:?}: {}", it.severity, it.message)).collect()
    };
    let right = seen(&it, says(&it));
    assert_eq!(said(&right), [""; 0]);
    let none = Says { lines: says(&it).lines.replace("/srv/a", "none"), revoked: None };
    let other = "Error: sshd uses `chrootdirectory none` instead of `/srv/a` for web01: another file of its \
        configuration takes precedence";
    assert_eq!(said(&seen(&it, none.clone())), [other]);
    // As long as it is about to change, only who gets in at all is told.
    assert_eq!(said(&SshdSeen { file: FileSeen::Absent, ..seen(&it, none) }), [""; 0]);
    for (sshd, start) in [
        (Sshd::Missing, "Error: there is no /usr/sbin/sshd"),
        (Sshd::Refuses("line 1".into()), "Warning: sshd refuses its configuration: line 1"),
        (Sshd::Later, "Notice: deferred: "),
    ] {
        let found = said(&SshdSeen { sshd: Box::new(sshd), ..right.clone() });
        assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
    }
    let outside = said(&SshdSeen { included: false, ..right });
    assert!(outside[0].starts_with("Error: /etc/ssh/sshd_config does not include"), "{outside:?}");
}

#[test]
fn host_names_in_from_are_reported_where_sshd_looks_up_none() {
    let key = |from: &str| AuthorizedKey { key: KEY.parse().unwrap(), from: Some(from.parse().unwrap()) };
    let user: UserName = "web01".parse().unwrap();
    for (from, dns, expected) in [
        ("10.0.0.12,10.1.*", "no", None),
        ("*.lan,web01", "yes", None),
        (
            "*.lan,10.0.0.12,web01",
            "no",
            Some((Severity::Warning, "*.lan, web01 in `from` matches no client")),
        ),
        ("*,!guest.lan", "no", Some((Severity::Error, "`!guest.lan` in `from` excludes nobody"))),
    ] {
        let spec = SshUserSpec {
            directory: "/srv/a".parse().unwrap(),
            access: Access::Sftp,
            authorized_keys: OneOrMore::of(key(from), []),
            prune: None,
            adopt: false,
            protect: false,
            on_remove: OnRemove::Default,
        };
        let it = SshdConfig::new(&BTreeMap::from([(&user, &spec)])).unwrap();
        let mut says = says(&it);
        says.lines = format!("{}usedns {dns}\n", says.lines);
        let found = it.checks(&seen(&it, says), None);
        let told = found.first().map(|it| (it.severity, it.message.as_str()));
        match (told, expected) {
            (None, None) => {}
            (Some((severity, message)), Some((meant, words))) => {
                assert!(severity == meant && message.ends_with(words), "{found:?}");
            }
            _ => panic!("{from}: {found:?}"),
        }
    }
}
