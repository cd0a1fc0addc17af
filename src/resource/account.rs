//! A user or group. The owner of another resource must exist. The account of a client is created with the system's
//! own tools (useradd, usermod, groupadd), never by writing their files.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Attribute, Diff, Edit, Finding, Kind, Look, Removal, RemovalRule, Severity};
use crate::{
    effect::{Cmd, Op, Owner, quote},
    host::{Entry, UserEntry},
    model::{Address, GroupName, HostPath, Mode, UserName},
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
    /// There is a user that is no longer declared.
    Leaving {
        /// Its repository's directory, if that is there.
        repository: Option<HostPath>,
        /// Where a symbolic link in the repository's place leads: what the client stored may lie there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<Box<str>>,
    },
}

/// Groups whose members are as good as root, or read what is root's (Debian's, Fedora's, docker's, LXD's).
pub const MIGHTY: [&str; 12] = [
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

/// The first number that is not the system's by its policy (Debian Policy 9.2.2).
const FIRST: u32 = 100;
/// The number of nobody.
const NOBODY: u32 = 65534;
/// What becomes of a client's account that stays.
const SHUT: &str =
    "the account stays, closed, and its files stay too; open sessions go on until `loginctl terminate-user`";

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

    fn key(&self) -> Cow<'_, str> {
        let (noun, name, _) = self.noun();
        format!("{noun}/{name}").into()
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
            Self::NewUser(user) if look.leaving => {
                if !look.host.has_user(&user.name)? {
                    return Ok(AccountSeen::Absent);
                }
                let repository = user.home.join("repo")?;
                let looked = || -> Result<AccountSeen> {
                    let link = look.host.link(&repository)?;
                    let is_there =
                        link.is_none() && matches!(look.host.entry(&repository)?, Entry::Directory(_));
                    let repository = is_there.then_some(repository);
                    Ok(AccountSeen::Leaving { repository, link: link.map(Into::into) })
                };
                return Ok(match looked() {
                    Ok(seen) => seen,
                    // The client may have mounted something there that does not answer. It is shut all the same.
                    Err(_) => AccountSeen::There,
                });
            }
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
                Diff::Create(Edit { ops: vec![Op::Run(groupadd.whole())], ..Edit::default() })
            }
            (Self::NewUser(_) | Self::NewGroup(_), _) => Diff::Same,
            (Self::User(_) | Self::Group(_), _) => Diff::Unmanaged,
        }
    }

    fn checks(&self, seen: &AccountSeen, _: Option<&AccountSeen>) -> Vec<Finding> {
        match (self, seen) {
            (Self::NewUser(user), AccountSeen::User(now)) => user.checks(now, &self.address()),
            (Self::User(_) | Self::Group(_), AccountSeen::Absent) => {
                let (noun, name, tool) = self.noun();
                let message = format!("there is no {noun} {name}");
                let finding = Finding::new(Severity::Error, self.address(), message);
                vec![
                    finding
                        .remedy(format!("create it (`{tool} --system {name}`), or declare another {noun}")),
                ]
            }
            _ => Vec::new(),
        }
    }

    fn removal_rule(&self) -> RemovalRule {
        match self {
            Self::NewUser(_) | Self::NewGroup(_) => RemovalRule::Account,
            Self::User(_) | Self::Group(_) => RemovalRule::Ordinary,
        }
    }

    fn removal(&self, seen: &AccountSeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        let (repository, link) = match seen {
            AccountSeen::Absent => return Removal::Quiet,
            AccountSeen::Leaving { repository, link } => (repository.clone(), link.as_deref()),
            _ => (None, None),
        };
        if let (Self::NewUser(user), Some(target)) = (self, link) {
            // The link may lead to what the client stored, or elsewhere: a person decides.
            let edit = Edit { ops: vec![user.shut()], ..Edit::default() };
            return Removal::Shut(edit, user.stays_for_link(target));
        }
        let ops = match self {
            Self::NewUser(user) if *seen != AccountSeen::There => {
                // What stays must not be the next account's that gets its number. First the way to it, then all that it
                // holds. Killed half-way that is done again, since the account goes last.
                let kept = repository.into_iter().flat_map(|path| {
                    let owner = Owner::root;
                    [
                        Op::SetOwner { path: path.clone(), owner: owner() },
                        Op::GiveTree { path: path.clone(), owner: owner() },
                        // The client may have opened it to everybody.
                        Op::SetMode { path, mode: Mode::new(0o700) },
                    ]
                });
                let delete = Op::Run(Cmd::new("userdel").arg(user.name.as_str()).rooted().whole());
                std::iter::once(user.shut()).chain(kept).chain([delete]).collect()
            }
            Self::NewUser(_) => return self.closing(seen),
            // userdel takes a user's own group with it, unless login.defs(5) says otherwise: 6 is "no such group". 8 is "the
            // first group of a user": that of an account that stays.
            Self::NewGroup(NewGroup { name, .. }) => {
                vec![Op::Run(Cmd::new("groupdel").arg(name.as_str()).ok(&[0, 6, 8]).rooted().whole())]
            }
            Self::User(_) | Self::Group(_) => return Removal::Forget("accounts stay".into()),
        };
        Removal::Delete(Edit { ops, ..Edit::default() })
    }

    fn closing(&self, seen: &AccountSeen) -> Removal {
        match self {
            Self::NewUser(user) if *seen != AccountSeen::Absent => {
                Removal::Shut(Edit { ops: vec![user.shut()], ..Edit::default() }, SHUT.into())
            }
            _ => Removal::Quiet,
        }
    }

    fn lets_in(&self) -> bool {
        matches!(self, Self::NewUser(_))
    }
}

impl NewUser {
    /// Shuts it: sshd lets nobody in by an account that has run out, neither by a key of its own home nor by a password.
    fn shut(&self) -> Op {
        Op::Run(Cmd::new("usermod").args(["--expiredate", "1", self.name.as_str()]).rooted().whole())
    }

    /// Says why an account stays whose repository is a symbolic link, and what to do.
    fn stays_for_link(&self, target: &str) -> String {
        let Self { name, home, .. } = self;
        format!(
            "the account is shut and stays, although `on_remove: delete` was set: {home}/repo is a symbolic link to \
             {target}, and the next account with the same number would own the files there; give the files to root \
             (`chown -R --no-dereference root:root {}`), then run `userdel {name}`",
            quote(target)
        )
    }

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
        Edit { attributes, text: None, ops: vec![Op::Run(useradd.rooted().whole())] }
    }

    fn diff(&self, now: &UserEntry) -> Diff {
        let Self { name, group, home, shell, .. } = self;
        if now.uid == 0 {
            return Diff::Refuse(format!("{name} has UID 0, the UID of root: no client may log in as root"));
        }
        if now.uid < FIRST || now.uid == NOBODY {
            return Diff::Refuse(format!("{name} has UID {}, which is a UID of a system account", now.uid));
        }
        if let Some(other) = &now.same_uid {
            return Diff::Refuse(format!(
                "{name} and {other} have the same number {}: each can read and delete what the other stores",
                now.uid
            ));
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
        // Whoever knows it becomes the account by `su`, whatever sshd allows.
        if now.password {
            attributes.push(Attribute::new("password", "set", "none"));
            usermod = usermod.args(["--password", "*"]);
        }
        if now.closed {
            attributes.push(Attribute::new("closed", true, false));
            usermod = usermod.args(["--expiredate", ""]);
        }
        if attributes.is_empty() {
            return Diff::Same;
        }
        // It refuses (8) while the user is logged in: then it is for the next apply.
        let ops = vec![Op::Run(usermod.arg(name.as_str()).rooted().whole())];
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
                "its home becomes {home}; the files in {} stay there, and its client will find {home}/repo instead",
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
            let message =
                format!("it is in {mighty}: a client that stores backups should not have these rights");
            warn(
                message,
                format!(
                    "remove it from the group (`gpasswd -d {name} GROUP`), or give the client another account"
                ),
            );
        }
        // useradd gives the highest free number of its range, so most likely this one.
        if self.goes {
            let message = format!(
                "`on_remove: delete`: once {name} leaves the state, its number {} is free, and the next account with this \
                 number owns what the client left outside its repository, programs with the set-uid bit too",
                now.uid
            );
            let remedy = format!(
                "remove `on_remove`, so that the account is closed and keeps its number; or list its files before you \
                 remove it: find / -xdev -uid {}",
                now.uid
            );
            warn(message, remedy);
        }
        findings
    }
}
