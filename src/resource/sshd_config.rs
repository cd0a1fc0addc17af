//! rlvm's file in sshd's configuration, with a block for each client account.
//!
//! sshd takes the first value that it finds for a user, and settings for one user come before settings for all
//! (`sshd_config(5)`). So sshd reads this file first, and the file sets every option that lets a client in or gives
//! it more rights. OpenSSH 8.4 knows each of these options in such a block.

mod beside;
mod foreign;
mod lists;
mod of_host;
mod reading;
mod revoked;
#[cfg(test)]
mod tests;
mod words;

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use self::{
    beside::{Freed, OtherSshd},
    foreign::Setting,
    reading::Unread,
};
use self::{
    beside::{groups_of, other_sshds},
    foreign::{Groups, findings, names_groups, select},
    lists::without_lists_of_some_connections,
    reading::{OfHost, Read, read},
    revoked::{Revocation, revocation},
    words::{WHO, refusals, shut_out, unresolved, words},
};
use super::{
    Attribute, AuthorizedKeys, Diff, Edit, FileSeen, Finding, Kind, Look, ManagedFile, Removal, RemovalRule,
    Severity, SshUserSpec,
};
use crate::{
    effect::{ConfigureSshd, Login, Op, Query, sshd_mark, sshd_path},
    host::{Entry, Observe},
    model::{Address, BadText, FromPatterns, HostPath, UserName},
};

/// What sshd reads first.
const MAIN: &str = "/etc/ssh/sshd_config";
/// Read before all others of its directory.
const PART: &str = "/etc/ssh/sshd_config.d/00-rlvm.conf";
/// What has to stand at the top of [`MAIN`]; Debian's has it.
const INCLUDE: &str = "Include /etc/ssh/sshd_config.d/*.conf";

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshdConfig {
    file: Box<ManagedFile>,
    logins: Vec<Login>,
    /// Each account's keys, without comments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    keys: BTreeMap<UserName, Vec<String>>,
    /// The host names in the `from` of each account's keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<UserName, Vec<String>>,
}

/// What was seen of the file, and of sshd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshdSeen {
    /// The file.
    pub file: FileSeen,
    /// Whether sshd may not have read it since it was put in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// A file that was changed after the sshd that runs has read its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Box<str>>,
    /// Whether sshd's own configuration includes it for everybody.
    pub included: bool,
    /// The settings of others that change what accounts may do.
    #[serde(default, skip_serializing_if = "<[Setting]>::is_empty")]
    pub foreign: Box<[Setting]>,
    /// The files that sshd reads and rlvm cannot, each with the reason.
    #[serde(default, skip_serializing_if = "<[Unread]>::is_empty")]
    pub unread_files: Box<[Unread]>,
    /// The groups of accounts; asked only where sshd tells groups apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Box<BTreeMap<UserName, Vec<String>>>>,
    /// What sshd says.
    pub sshd: Box<Sshd>,
    /// What the other sshds of this system read.
    #[serde(default, skip_serializing_if = "<[OtherSshd]>::is_empty")]
    pub elsewhere: Box<[OtherSshd]>,
}

/// What sshd says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sshd {
    /// It is another system's, and reads the file when that is started.
    Later,
    /// It has not run since this system was started, or the file goes.
    NotAsked,
    /// There is none.
    Missing,
    /// That its configuration is wrong.
    Refuses(String),
    /// What holds for each user.
    Says(BTreeMap<UserName, Says>),
}

/// What sshd says of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Says {
    /// The lines of `sshd -T` that matter here.
    pub lines: String,
    /// What the file of revoked keys says of the user's, if there is such a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
}

impl Sshd {
    /// Says whether sshd lets users in, or not, by their groups.
    fn names_groups(&self) -> bool {
        let Self::Says(says) = self else { return false };
        let is_of_groups = |line: &str| line.split(' ').next().is_some_and(|name| name.ends_with("groups"));
        says.values().any(|says| says.lines.lines().any(is_of_groups))
    }
}

impl SshdSeen {
    /// Names a file that was changed after an sshd that runs has read its configuration.
    fn outdated(&self) -> Option<&str> {
        let elsewhere = self.elsewhere.iter().filter_map(|it| it.changed.as_deref());
        elsewhere.chain(self.changed.as_deref()).next()
    }
}

impl SshdConfig {
    /// Returns the one address that there is of it.
    pub fn address() -> Address {
        Address::new(Self::NAME, PART)
    }

    /// Says whether sshd's configuration forces the command of an account, as this rlvm writes it, and every sshd that runs has
    /// read it, or refuses the account.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn is_forced(host: &dyn Observe, user: &UserName, spec: &SshUserSpec) -> Result<bool> {
        let Some(command) = spec.forced_command()? else { return Ok(false) };
        if matches!(host.entry(&sshd_mark())?, Entry::File(_)) {
            return Ok(false);
        }
        let (_, text) = host.text(&HostPath::fixed(PART))?;
        let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
        // The command names the account's own directory.
        if !text.lines().any(|line| line.trim_start().strip_prefix("ForceCommand ") == Some(command.as_str()))
        {
            return Ok(false);
        }
        let main = read(&OfHost(host), MAIN, PART)?;
        let others = other_sshds(host, &Self::new(&BTreeMap::from([(user, spec)]))?.logins)?;
        Ok(host.changed_since_sshd_read(MAIN, &main.paths)?.is_none()
            && others.iter().all(|it| it.freed.is_empty() && it.changed.is_none()))
    }

    /// Writes the file for these accounts.
    ///
    /// # Errors
    ///
    /// If a directory is none that sshd's configuration can name.
    pub fn new(users: &BTreeMap<&UserName, &SshUserSpec>) -> Result<Self, BadText> {
        let head =
            "# What clients' accounts may do; made by rlvm, which puts back what is changed by hand.\n";
        let (mut text, mut logins) = (head.to_owned(), Vec::new());
        let (mut keys, mut names) = (BTreeMap::new(), BTreeMap::new());
        for (user, spec) in users {
            let _ = writeln!(text, "Match User {user}");
            let mut meant = BTreeMap::new();
            for (name, value) in words(spec)? {
                let _ = writeln!(text, "    {name} {value}");
                // A path is printed without its quotes; a command as it stands.
                let printed = if name == "ForceCommand" { &value } else { value.trim_matches('"') };
                meant.insert(name.to_ascii_lowercase(), printed.to_owned());
            }
            logins.push(Login { user: (*user).clone(), meant });
            let identities = spec.authorized_keys.iter().map(|key| key.key.identity().to_owned());
            keys.insert((*user).clone(), identities.collect());
            let from = spec.authorized_keys.iter().filter_map(|key| key.from.as_ref());
            let of_user: Vec<String> = from.flat_map(FromPatterns::names).map(ToOwned::to_owned).collect();
            if !of_user.is_empty() {
                names.insert((*user).clone(), of_user);
            }
        }
        text.push_str("Match all\n");
        Ok(Self { file: Box::new(ManagedFile::of_root(HostPath::fixed(PART), text)), logins, keys, names })
    }

    fn configure(&self, after: Option<&str>) -> Op {
        let path = self.file.path.clone();
        let logins = if after.is_some() { self.logins.clone() } else { Vec::new() };
        Op::ConfigureSshd(ConfigureSshd { path, after: after.map(ToOwned::to_owned), logins })
    }

    /// Has it done by sshd's own op, not by writing a file.
    fn by_sshd(&self, edit: Edit) -> Edit {
        Edit { ops: vec![self.configure(Some(&self.file.text))], ..edit }
    }

    fn ask(&self, host: &dyn Observe, main: &Read) -> Result<Sshd> {
        if !matches!(host.entry(&sshd_path())?, Entry::File(_)) {
            return Ok(Sshd::Missing);
        }
        let mut says = BTreeMap::new();
        for login in &self.logins {
            let out = host.query(&Query::new(Login::ask(&login.user))?)?;
            // It needs a directory that its start makes: until then it cannot even be asked.
            if out.stderr.contains("Missing privilege separation directory") {
                return Ok(Sshd::NotAsked);
            }
            if out.code != Some(0) {
                return Ok(Sshd::Refuses(out.stderr.trim().to_owned()));
            }
            let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
            let matters = |line: &&str| {
                let name = name(line);
                login.meant.contains_key(&name) || WHO.contains(&name.as_str())
            };
            let lines: Vec<&str> = out.stdout.lines().filter(matters).collect();
            let file = lines.iter().find_map(|line| line.strip_prefix("revokedkeys "));
            let revoked = match file.filter(|file| *file != "none") {
                Some(file) => revocation(host, file, self.keys_of(&login.user))?,
                None => None,
            };
            let lines = without_lists_of_some_connections(main, &lines.join("\n"));
            says.insert(login.user.clone(), Says { lines, revoked });
        }
        Ok(Sshd::Says(says))
    }

    fn keys_of(&self, user: &UserName) -> &[String] {
        self.keys.get(user).map_or(&[], Vec::as_slice)
    }

    /// Reports what else sshd reads: settings of others, and files that rlvm cannot read.
    fn of_text(&self, foreign: &[Setting], unread: &[Unread], groups: &Groups) -> Vec<Finding> {
        let address = SshdConfig::address();
        let mut found = findings(foreign, &self.logins, groups, PART, &address);
        found.extend(unread.iter().map(|Unread { what, is_early }| {
            let (severity, which) = if *is_early {
                (Severity::Error, "sshd's configuration before rlvm's file")
            } else {
                (Severity::Warning, "sshd's configuration")
            };
            let message = format!("cannot read a part of {which}: {what}");
            let remedy = "check that no `Match` block in it concerns clients";
            Finding::new(severity, address.clone(), message).remedy(remedy)
        }));
        found
    }

    /// Says in which word something else holds for a user than is meant, and who else decides on it.
    fn of_user(&self, login: &Login, says: &Says, groups: &Groups, in_force: bool) -> Vec<Finding> {
        let user = &login.user;
        let mut found = Vec::new();
        let other = login.differences(&says.lines).into_iter().next().filter(|_| in_force);
        found.extend(other.map(|(word, meant, now)| {
            let message = format!(
                "sshd uses `{word} {now}` instead of `{meant}` for {user}: another file of its configuration \
                 takes precedence"
            );
            let remedy =
                format!("exclude {user} from that setting; to find it: grep -ri {word} {MAIN} {MAIN}.d");
            Finding::new(Severity::Error, SshdConfig::address(), message).remedy(remedy)
        }));
        let groups = groups.get(user).map_or(&[][..], Vec::as_slice);
        found.extend(shut_out(user, &says.lines, groups).map(|why| {
            let message = format!("sshd refuses every login of {user}: {why}");
            let remedy =
                format!("change that line in sshd's configuration so that it allows {user} or its group");
            Finding::new(Severity::Warning, SshdConfig::address(), message).remedy(remedy)
        }));
        found.extend(refusals(self.keys_of(user), &says.lines).into_iter().map(|(why, remedy)| {
            let message = format!("sshd refuses {user}: {why}");
            Finding::new(Severity::Warning, SshdConfig::address(), message).remedy(remedy)
        }));
        let names = self.names.get(user).map_or(&[][..], Vec::as_slice);
        found.extend(unresolved(names, &says.lines).map(|(severity, why)| {
            let remedy = "write addresses or networks (`10.0.0.12`, `10.1.0.0/16`), or set `UseDNS yes` in sshd_config";
            let message = format!("the keys of {user}: {why}");
            Finding::new(severity, SshdConfig::address(), message).remedy(remedy)
        }));
        found.extend(says.revoked.as_ref().map(|it| it.finding(user)));
        found
    }
}

impl Kind for SshdConfig {
    const NAME: &'static str = "sshd_config";
    type Seen = SshdSeen;

    fn key(&self) -> Cow<'_, str> {
        self.file.path.as_str().into()
    }

    fn path(&self) -> Option<&HostPath> {
        Some(&self.file.path)
    }

    fn needs(&self) -> Vec<Address> {
        self.logins.iter().map(|login| Address::new(AuthorizedKeys::NAME, login.user.as_str())).collect()
    }

    fn removal_rule(&self) -> RemovalRule {
        RemovalRule::Exclusive
    }

    fn lets_in(&self) -> bool {
        true
    }

    fn observe(&self, look: &Look<'_, SshdSeen>) -> Result<SshdSeen> {
        let file = self.file.observe(look.host)?;
        let (foreign, unread_files, groups) = (Box::default(), Box::default(), None);
        let mut seen = SshdSeen {
            file,
            unread: false,
            changed: None,
            included: true,
            foreign,
            unread_files,
            groups,
            sshd: Box::new(Sshd::Later),
            elsewhere: Box::default(),
        };
        let mut main = Read::default();
        if !look.leaving && !matches!(look.host.entry(&HostPath::fixed(MAIN))?, Entry::Absent) {
            let read = read(&OfHost(look.host), MAIN, PART)?;
            seen.foreign = select(&read, &self.logins).into();
            // What cannot be read may hold the line that includes the file.
            seen.included = read.before.is_some() || !read.unread.is_empty();
            main = read;
            seen.unread_files = main.unread.clone().into();
        }
        if !look.host.is_tree() {
            seen.unread = matches!(look.host.entry(&sshd_mark())?, Entry::File(_));
            *seen.sshd = if look.leaving { Sshd::NotAsked } else { self.ask(look.host, &main)? };
            if !look.leaving && *seen.sshd != Sshd::Missing {
                seen.changed = look.host.changed_since_sshd_read(MAIN, &main.paths)?.map(Into::into);
                seen.elsewhere = other_sshds(look.host, &self.logins)?.into();
            }
        }
        let elsewhere = seen.elsewhere.iter().any(|it| names_groups(&it.foreign));
        if elsewhere || names_groups(&seen.foreign) || seen.sshd.names_groups() {
            for user in self.logins.iter().map(|login| &login.user) {
                let groups = groups_of(look.host, user)?;
                seen.groups.get_or_insert_default().insert(user.clone(), groups);
            }
        }
        Ok(seen)
    }

    fn exists(&self, seen: &SshdSeen) -> bool {
        // One that went, and sshd does not know it yet, has to go still.
        seen.file != FileSeen::Absent || seen.unread
    }

    fn diff(&self, seen: &SshdSeen) -> Diff {
        match self.file.diff(&seen.file) {
            Diff::Create(edit) => Diff::Create(self.by_sshd(edit)),
            Diff::Update(edit) => Diff::Update(self.by_sshd(edit)),
            Diff::Same if seen.unread => {
                let attributes = vec![Attribute::new("read by sshd", false, true)];
                Diff::Update(self.by_sshd(Edit { attributes, ..Edit::default() }))
            }
            Diff::Same => match seen.outdated() {
                Some(file) => {
                    let before = format!(
                        "sshd may still use its old configuration: {file} changed after sshd read it"
                    );
                    let attributes =
                        vec![Attribute::new("configuration in use", before, "the current configuration")];
                    Diff::Update(self.by_sshd(Edit { attributes, ..Edit::default() }))
                }
                None => Diff::Same,
            },
            other @ (Diff::Unmanaged | Diff::Refuse(_)) => other,
        }
    }

    fn checks(&self, seen: &SshdSeen, _: Option<&SshdSeen>) -> Vec<Finding> {
        let say = |severity, message: String| Finding::new(severity, SshdConfig::address(), message);
        let mut found = Vec::new();
        if !seen.included {
            let message =
                format!("{MAIN} does not include {PART}: sshd would not restrict the accounts of clients");
            found.push(say(Severity::Error, message).remedy(format!("add as its first line: {INCLUDE}")));
        }
        let none = Groups::default();
        let groups = seen.groups.as_deref().unwrap_or(&none);
        found.extend(self.of_text(&seen.foreign, &seen.unread_files, groups));
        for it in seen.elsewhere.iter().flat_map(|it| self.of_text(&it.foreign, &it.unread_files, groups)) {
            // Several sshds may read the same file.
            if !found.contains(&it) {
                found.push(it);
            }
        }
        let in_force = self.file.diff(&seen.file) == Diff::Same && !seen.unread;
        // The other one may include rlvm's file, which is not there yet.
        found.extend(seen.elsewhere.iter().filter(|_| in_force).flat_map(OtherSshd::findings));
        match &*seen.sshd {
            Sshd::NotAsked => {}
            Sshd::Later => {
                let message = "deferred: sshd checks and reads it at the first boot";
                found.push(say(Severity::Notice, message.into()));
            }
            Sshd::Missing => {
                let message = format!("there is no {}", sshd_path());
                found.push(say(Severity::Error, message).remedy("apt install openssh-server"));
            }
            Sshd::Refuses(why) => {
                let message = format!("sshd refuses its configuration: {why}");
                let remedy = "correct it until `sshd -t` prints nothing";
                found.push(say(Severity::Warning, message).remedy(remedy));
            }
            Sshd::Says(says) => {
                for login in &self.logins {
                    let says = says.get(&login.user).into_iter();
                    found.extend(says.flat_map(|it| self.of_user(login, it, groups, in_force)));
                }
            }
        }
        found
    }

    fn removal(&self, seen: &SshdSeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        let gone = || vec![self.configure(None)];
        match self.file.removal(&seen.file) {
            Removal::Delete(edit) => Removal::Delete(Edit { ops: gone(), ..edit }),
            Removal::Quiet if seen.unread => Removal::Delete(Edit { ops: gone(), ..Edit::default() }),
            other => other,
        }
    }
}
