//! Values in, values out.

use super::*;

fn client() -> NewUser {
    NewUser {
        name: "bk".parse().unwrap(),
        group: "bk".parse().unwrap(),
        home: "/srv/c".parse().unwrap(),
        shell: "/usr/sbin/nologin".parse().unwrap(),
        after: Vec::new(),
        goes: false,
    }
}

fn entry(uid: u32, home: &str, shell: &str) -> UserEntry {
    let (group, groups) = ("bk".into(), vec!["adm".into(), "users".into()]);
    UserEntry {
        uid,
        group,
        groups,
        home: home.into(),
        shell: shell.into(),
        closed: false,
        password: false,
        same_uid: None,
    }
}

#[track_caller]
fn case(account: &Account, seen: &AccountSeen, expected: &str) {
    let got = match account.diff(seen) {
        Diff::Same | Diff::Unmanaged => "same".to_owned(),
        Diff::Refuse(why) => format!("refuse: {why}"),
        Diff::Create(edit) | Diff::Update(edit) => {
            edit.ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
    };
    assert_eq!(got, expected);
}

#[test]
fn the_systems_own_tools_make_it() {
    // R42
    let user = Account::NewUser(client());
    case(
        &user,
        &AccountSeen::Absent,
        "useradd --system --gid bk --home-dir /srv/c --no-create-home --shell /usr/sbin/nologin \
         --password '*' --comment 'backup client' bk",
    );
    let seen = |it| AccountSeen::User(it);
    case(&user, &seen(entry(999, "/srv/c", "/usr/sbin/nologin")), "same");
    case(&user, &seen(entry(999, "/srv/c", "/bin/sh")), "usermod --shell /usr/sbin/nologin bk");
    case(
        &user,
        &seen(entry(999, "/home/bk", "/bin/sh")),
        "usermod --home /srv/c --shell /usr/sbin/nologin bk",
    );
    case(
        &user,
        &seen(entry(0, "/srv/c", "/usr/sbin/nologin")),
        "refuse: bk has UID 0, the UID of root: no client may log in as root",
    );
    let password = UserEntry { password: true, ..entry(999, "/srv/c", "/usr/sbin/nologin") };
    case(&user, &seen(password), "usermod --password '*' bk");
    let shared = UserEntry { same_uid: Some("web01".into()), ..entry(999, "/srv/c", "/usr/sbin/nologin") };
    case(
        &user,
        &seen(shared),
        "refuse: bk and web01 have the same number 999: each can read and delete what the other stores",
    );
    let group = Account::NewGroup(NewGroup { name: "bk".parse().unwrap(), goes: false });
    case(&group, &AccountSeen::Absent, "groupadd --system bk");
    case(&group, &AccountSeen::There, "same");
}

#[test]
fn what_a_person_should_know_of_one_that_is_taken_over() {
    let user = Account::NewUser(client());
    let said = |home: &str| {
        let seen = AccountSeen::User(entry(999, home, "/bin/sh"));
        let findings = user.checks(&seen, None);
        findings.into_iter().map(|it| it.message).collect::<Vec<_>>()
    };
    let mighty = "it is in adm: a client that stores backups should not have these rights";
    assert_eq!(said("/srv/c"), [mighty]);
    assert_eq!(said("/nonexistent"), [mighty]);
    assert!(said("/home/bk")[0].starts_with("its home becomes /srv/c; the files in /home/bk stay"));
}

#[test]
fn number_that_becomes_free_is_told() {
    let said = |goes| -> Vec<String> {
        let now = entry(999, "/srv/c", "/usr/sbin/nologin");
        let user = Account::NewUser(NewUser { goes, ..client() });
        let all = user.checks(&AccountSeen::User(now), None).into_iter().map(|it| it.message);
        all.filter(|message| message.contains("once bk leaves the state, its number 999 is free")).collect()
    };
    assert_eq!((said(false).len(), said(true).len()), (0, 1));
}

#[test]
fn it_stays_shut_unless_its_end_was_asked_for_and_it_is_rlvms() {
    let there = AccountSeen::Leaving { repository: Some("/srv/c/repo".parse().unwrap()), link: None };
    let said = |removal: Removal| match removal {
        Removal::Quiet => "quiet".into(),
        Removal::Forget(_) => "forgotten".to_owned(),
        Removal::Shut(edit, _) | Removal::Delete(edit) => {
            edit.ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
    };
    let shut = "usermod --expiredate 1 bk";
    let group = |goes| Account::NewGroup(NewGroup { name: "bk".parse().unwrap(), goes });
    let user = |goes| Account::NewUser(NewUser { goes, ..client() });
    assert_eq!(user(false).removal_rule(), RemovalRule::Account);
    assert_eq!(group(false).removal_rule(), RemovalRule::Account);
    assert_eq!(said(user(false).closing(&there)), shut);
    assert_eq!(said(group(false).closing(&AccountSeen::There)), "quiet");
    assert_eq!(user(false).closing(&AccountSeen::Absent), Removal::Quiet);
    let deleted = "usermod --expiredate 1 bk; chown -h root:root /srv/c/repo; \
        chown -R --no-dereference root:root /srv/c/repo; chmod 0700 /srv/c/repo; userdel bk";
    assert_eq!(said(user(true).removal(&there, &|_| false)), deleted);
    assert_eq!(said(group(true).removal(&AccountSeen::There, &|_| false)), "groupdel bk");
    assert_eq!(user(true).removal(&AccountSeen::Absent, &|_| false), Removal::Quiet);
    // What it stores could not be looked at: it is shut, and nothing of it goes.
    assert_eq!(said(user(true).removal(&AccountSeen::There, &|_| false)), shut);
    // The link may lead to files of the account's number.
    let link = AccountSeen::Leaving { repository: None, link: Some("/mnt/a b".into()) };
    let Removal::Shut(edit, why) = user(true).removal(&link, &|_| false) else { panic!("it is deleted") };
    assert_eq!(edit.ops.iter().map(ToString::to_string).collect::<Vec<_>>(), [shut]);
    assert!(why.contains("chown -R --no-dereference root:root '/mnt/a b'"), "{why}");
    let closed = UserEntry { closed: true, ..entry(999, "/srv/c", "/usr/sbin/nologin") };
    case(&user(false), &AccountSeen::User(closed), "usermod --expiredate '' bk");
    let system = "refuse: bk has UID 1, which is a UID of a system account";
    case(&user(false), &AccountSeen::User(entry(1, "/srv/c", "/bin/sh")), system);
}

#[test]
fn a_missing_account_is_named_with_its_remedy() {
    let user = Account::User("backup".parse().unwrap());
    assert!(user.checks(&AccountSeen::There, None).is_empty());
    let missing = user.checks(&AccountSeen::Absent, None);
    assert_eq!(missing[0].message, "there is no user backup");
    assert_eq!(missing[0].severity, Severity::Error);
    assert_eq!(user.diff(&AccountSeen::Absent), Diff::Unmanaged);
    assert_eq!(user.diff(&AccountSeen::There), Diff::Unmanaged);
}

#[test]
fn root_needs_no_looking_at() {
    assert!(Account::needs(&UserName::root(), &GroupName::root()).is_empty());
    let needs = Account::needs(&"a".parse().unwrap(), &"b".parse().unwrap());
    assert_eq!(needs.iter().map(Address::as_str).collect::<Vec<_>>(), ["account:user/a", "account:group/b"]);
    let made = Account::NewUser(NewUser { after: needs, ..client() }).needs();
    let made: Vec<&str> = made.iter().map(Address::as_str).collect();
    assert_eq!(made, ["account:user/a", "account:group/b", "account:group/bk"]);
}
