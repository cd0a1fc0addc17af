//! A user or group: one that something declared belongs to, which is looked at; or one that a client logs in as, which
//! is made, by the system's own tools (useradd, usermod, groupadd), never by writing its files.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Attribute, Diff, Edit, Finding, Kind, Look, Removal, Severity};
use crate::{
    effect::{Cmd, Op},
    host::UserEntry,
    model::{Address, GroupName, HostPath, UserName},
};

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// A user that must be there.
    User(UserName),
    /// A group that must be there.
    Group(GroupName),
    /// A user that is made.
    NewUser(NewUser),
    /// A group that is made.
    NewGroup(NewGroup),
}

/// A user that is made: a system account, which no password opens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NewUser {
    /// What it is called.
    pub name: UserName,
    /// Its first group.
    pub group: GroupName,
    /// Where it is at home; not made with it.
    pub home: HostPath,
    /// What is started at a login.
    pub shell: HostPath,
    /// What must be in force before it may be there: what it is shut in by.
    pub after: Vec<Address>,
    /// Whether it is deleted, its files not, when it leaves the state. Else it stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes: bool,
}

/// A group that is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NewGroup {
    /// What it is called.
    pub name: GroupName,
    /// Whether it is deleted when it leaves the state. Else it stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes: bool,
}

/// What was seen of a user or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountSeen {
    /// There is none.
    Absent,
    /// There is one.
    There,
    /// There is a user of the kind that is made.
    User(UserEntry),
}

/// Groups whose members are as good as root, or read what is root's (Debian's, Fedora's, docker's, LXD's).
const MIGHTY: [&str; 12] = [
    "root",
    "sudo",
    "wheel",
    "adm",
    "shadow",
    "disk",
    "kmem",
    "docker",
    "lxd",
    "libvirt",
    "staff",
    "systemd-journal",
];

impl Account {
    fn noun(&self) -> (&'static str, &str, &'static str) {
        match self {
            Self::User(name) | Self::NewUser(NewUser { name, .. }) => ("user", name.as_str(), "useradd"),
            Self::Group(name) | Self::NewGroup(NewGroup { name, .. }) => ("group", name.as_str(), "groupadd"),
        }
    }

    fn address(&self) -> Address {
        Address::new(Self::NAME, &self.key())
    }

    /// Lists the addresses of a user and a group; root needs no looking at.
    pub fn needs(user: &UserName, group: &GroupName) -> Vec<Address> {
        let user = (*user != UserName::root()).then(|| Self::User(user.clone()));
        let group = (*group != GroupName::root()).then(|| Self::Group(group.clone()));
        user.into_iter().chain(group).map(|it| it.address()).collect()
    }
}

impl Kind for Account {
    const NAME: &'static str = "account";
    type Seen = AccountSeen;

    fn key(&self) -> String {
        let (noun, name, _) = self.noun();
        format!("{noun}/{name}")
    }

    fn path(&self) -> Option<&HostPath> {
        None
    }

    fn needs(&self) -> Vec<Address> {
        match self {
            Self::NewUser(user) => {
                let group = Self::Group(user.group.clone()).address();
                user.after.iter().cloned().chain([group]).collect()
            }
            _ => Vec::new(),
        }
    }

    fn observe(&self, look: &Look<'_, AccountSeen>) -> Result<AccountSeen> {
        let there = match self {
            Self::NewUser(user) => {
                return Ok(look.host.user(&user.name)?.map_or(AccountSeen::Absent, AccountSeen::User));
            }
            Self::User(user) => look.host.has_user(user)?,
            Self::Group(group) | Self::NewGroup(NewGroup { name: group, .. }) => {
                look.host.has_group(group)?
            }
        };
        Ok(if there { AccountSeen::There } else { AccountSeen::Absent })
    }

    fn exists(&self, seen: &AccountSeen) -> bool {
        *seen != AccountSeen::Absent
    }

    fn diff(&self, seen: &AccountSeen) -> Diff {
        match (self, seen) {
            (Self::NewUser(user), AccountSeen::Absent) => Diff::Create(user.creation()),
            (Self::NewUser(user), AccountSeen::User(now)) => user.diff(now),
            (Self::NewGroup(group), AccountSeen::Absent) => {
                let groupadd = Cmd::new("groupadd").args(["--system", group.name.as_str()]).rooted();
                Diff::Create(Edit { ops: vec![Op::Run(groupadd)], ..Edit::default() })
            }
            _ => Diff::Same,
        }
    }

    fn checks(&self, seen: &AccountSeen, _: Option<&AccountSeen>) -> Vec<Finding> {
        match (self, seen) {
            (Self::NewUser(user), AccountSeen::User(now)) => user.checks(now, &self.address()),
            (Self::User(_) | Self::Group(_), AccountSeen::Absent) => {
                let (noun, name, tool) = self.noun();
                let message = format!("there is no {noun} {name}");
                let finding = Finding::new(Severity::Error, self.address(), message);
                vec![finding.remedy(format!("make it (`{tool} --system {name}`), or name another"))]
            }
            _ => Vec::new(),
        }
    }

    fn removal(&self, seen: &AccountSeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        let stays = "the account stays, and its files; no key of the state opens it any more";
        let deletion = match self {
            _ if *seen == AccountSeen::Absent => return Removal::Quiet,
            Self::NewUser(NewUser { name, goes: true, .. }) => Cmd::new("userdel").arg(name.as_str()),
            // userdel takes a user's own group with it, unless login.defs(5) says otherwise: 6 is "no such group".
            Self::NewGroup(NewGroup { name, goes: true }) => {
                Cmd::new("groupdel").arg(name.as_str()).ok(&[0, 6])
            }
            Self::NewGroup(_) => return Removal::Quiet,
            _ => return Removal::Forget(stays.into()),
        };
        Removal::Delete(Edit { ops: vec![Op::Run(deletion.rooted())], ..Edit::default() })
    }

    fn is_managed(&self, _: &AccountSeen) -> bool {
        matches!(self, Self::NewUser(_) | Self::NewGroup(_))
    }
}

impl NewUser {
    fn creation(&self) -> Edit {
        let Self { name, group, home, shell, .. } = self;
        let attributes = vec![
            Attribute::new("group", (), group.as_str()),
            Attribute::new("home", (), home.as_str()),
            Attribute::new("shell", (), shell.as_str()),
        ];
        // `*` is no password, and yet no lock: an sshd that asks no PAM lets no locked account in (sshd(8)).
        let useradd = Cmd::new("useradd").args([
            "--system",
            "--gid",
            group.as_str(),
            "--home-dir",
            home.as_str(),
            "--no-create-home",
            "--shell",
            shell.as_str(),
            "--password",
            "*",
            "--comment",
            "backup client",
            name.as_str(),
        ]);
        Edit { attributes, text: None, ops: vec![Op::Run(useradd.rooted())] }
    }

    fn diff(&self, now: &UserEntry) -> Diff {
        let Self { name, group, home, shell, .. } = self;
        if now.uid == 0 {
            return Diff::Refuse(format!("{name} has root's number 0: no client is let in as root"));
        }
        let wanted = [
            ("group", "--gid", now.group.as_str(), group.as_str()),
            ("home", "--home", now.home.as_str(), home.as_str()),
            ("shell", "--shell", now.shell.as_str(), shell.as_str()),
        ];
        let (mut attributes, mut usermod) = (Vec::new(), Cmd::new("usermod"));
        for (attribute, flag, now, wanted) in wanted {
            if now != wanted {
                attributes.push(Attribute::new(attribute, now, wanted));
                usermod = usermod.args([flag, wanted]);
            }
        }
        if attributes.is_empty() {
            return Diff::Same;
        }
        // It refuses (8) while the user is logged in: then it is for the next apply.
        let ops = vec![Op::Run(usermod.arg(name.as_str()).rooted())];
        Diff::Update(Edit { attributes, text: None, ops })
    }

    fn checks(&self, now: &UserEntry, address: &Address) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut warn = |message: String, remedy: String| {
            findings.push(Finding::new(Severity::Warning, address.clone(), message).remedy(remedy));
        };
        let Self { name, home, .. } = self;
        let nowhere = ["", "/", "/nonexistent", "/dev/null"];
        if now.home != home.as_str() && !nowhere.contains(&now.home.as_str()) {
            let message = format!(
                "its home becomes {home}; what is in {} stays there, and a client that stores there finds {home}/repo instead",
                now.home
            );
            let remedy = format!(
                "move the client's repository to {home}/repo first, or declare `directory: {}`",
                now.home
            );
            warn(message, remedy);
        }
        let mighty: Vec<&str> =
            now.groups.iter().map(String::as_str).filter(|it| MIGHTY.contains(it)).collect();
        if !mighty.is_empty() {
            let mighty = mighty.join(", ");
            let message = format!("it is in {mighty}: more than a client that stores backups should be");
            warn(
                message,
                format!("take it out (`gpasswd -d {name} GROUP`), or give the client an account of its own"),
            );
        }
        findings
    }
}

#[cfg(test)]
mod tests {
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
        UserEntry { uid, group, groups, home: home.into(), shell: shell.into() }
    }

    #[track_caller]
    fn case(account: &Account, seen: &AccountSeen, expected: &str) {
        let got = match account.diff(seen) {
            Diff::Same => "same".to_owned(),
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
            "refuse: bk has root's number 0: no client is let in as root",
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
        let mighty = "it is in adm: more than a client that stores backups should be";
        assert_eq!(said("/srv/c"), [mighty]);
        assert_eq!(said("/nonexistent"), [mighty]);
        assert!(said("/home/bk")[0].starts_with("its home becomes /srv/c; what is in /home/bk stays"));
    }

    #[test]
    fn it_stays_unless_its_end_was_asked_for() {
        let removal = |account: Account| match account.removal(&AccountSeen::There, &|_| false) {
            Removal::Quiet => "quiet".into(),
            Removal::Forget(_) => "forgotten".to_owned(),
            Removal::Delete(edit) => edit.ops[0].to_string(),
        };
        let group = |goes| Account::NewGroup(NewGroup { name: "bk".parse().unwrap(), goes });
        assert_eq!(removal(Account::NewUser(client())), "forgotten");
        assert_eq!(removal(group(false)), "quiet");
        assert_eq!(removal(Account::NewUser(NewUser { goes: true, ..client() })), "userdel bk");
        assert_eq!(removal(group(true)), "groupdel bk");
        assert_eq!(group(true).removal(&AccountSeen::Absent, &|_| false), Removal::Quiet);
    }

    #[test]
    fn a_missing_account_is_named_with_its_remedy() {
        let user = Account::User("backup".parse().unwrap());
        assert!(user.checks(&AccountSeen::There, None).is_empty());
        let missing = user.checks(&AccountSeen::Absent, None);
        assert_eq!(missing[0].message, "there is no user backup");
        assert_eq!(missing[0].severity, Severity::Error);
        assert_eq!(user.diff(&AccountSeen::Absent), Diff::Same);
        assert!(!user.is_managed(&AccountSeen::There));
    }

    #[test]
    fn root_needs_no_looking_at() {
        assert!(Account::needs(&UserName::root(), &GroupName::root()).is_empty());
        let needs = Account::needs(&"a".parse().unwrap(), &"b".parse().unwrap());
        assert_eq!(
            needs.iter().map(Address::as_str).collect::<Vec<_>>(),
            ["account:user/a", "account:group/b"]
        );
        let made = Account::NewUser(NewUser { after: needs, ..client() }).needs();
        let made: Vec<&str> = made.iter().map(Address::as_str).collect();
        assert_eq!(made, ["account:user/a", "account:group/b", "account:group/bk"]);
    }
}
