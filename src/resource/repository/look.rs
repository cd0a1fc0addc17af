//! Observes a local repository: what its directory is, whether the user can work there, and which restic is
//! installed.

use anyhow::{Context, Result};

use super::{Marks, Repository, RepositorySeen, RepositoryState, state::Missing};
use crate::{
    effect::{Arg, Cmd, Private, Query},
    host::{Entry, Observe},
    model::{HostPath, UserName},
    resource::{Engine, Look, NotSeen},
    restic::{self, Found, Means, OLDEST, Version},
};

/// What restic makes in a repository's directory.
const PARTS: &[&str] = &["config", "data", "index", "keys", "locks", "snapshots", "tmp"];

impl Repository {
    pub(super) fn look_local(
        &self,
        look: &Look<'_, RepositorySeen>,
        path: &HostPath,
    ) -> Result<RepositorySeen> {
        let (host, inside) = (look.host, look.host.lenient());
        if let Some(why) = self.not_mounted(host).filter(|_| !host.is_tree()) {
            return Ok(RepositorySeen::of(RepositoryState::NotSeen(NotSeen::Left(why))));
        }
        let blocked = matches!(inside.entry(&path.join("x")?)?, Entry::Blocked(_));
        let names = if blocked { Vec::new() } else { inside.names(path)? };
        let (state, marks) = match inside.entry(path)? {
            Entry::Absent => (RepositoryState::Absent, None),
            Entry::Directory(_) => self.open(look, path, &names)?,
            Entry::Blocked(why) => (RepositoryState::Foreign(why), None),
            other => (RepositoryState::Foreign(format!("{path} is {}, no directory", other.noun())), None),
        };
        let making = matches!(state, RepositoryState::Absent | RepositoryState::Unfinished(_));
        let known = marks.is_some() && marks.as_ref() == look.last.and_then(|last| last.marks.as_deref());
        let asked = look.leaving || known || matches!(state, RepositoryState::NotSeen(_));
        Ok(RepositorySeen {
            locked: names.iter().any(|name| name == "locks") && has_locks(&*inside, path)?,
            lent: host.lent(path)?,
            denied: self.denied(host, path, &state)?.or(self.kept_out(host, &state)?),
            tool: if asked { None } else { tool(host, &self.means, making)?.map(Box::new) },
            password: host.entry(&self.password.0)?.file().is_some(),
            marks: marks.map(Box::new),
            ..RepositorySeen::of(state)
        })
    }

    /// Finds out what a directory is; opens it only if something moved since it was verified.
    pub(super) fn open(
        &self,
        look: &Look<'_, RepositorySeen>,
        path: &HostPath,
        names: &[String],
    ) -> Result<(RepositoryState, Option<Marks>)> {
        let (host, inside) = (look.host, look.host.lenient());
        let foreign = names.iter().find(|name| !PARTS.contains(&name.as_str()));
        let config = inside.entry(&path.join("config")?)?;
        // What cannot be got at is not gone: nothing may be made in its place.
        if let Entry::Blocked(why) = config {
            return Ok((RepositoryState::Opened(Found::Unreachable(why)), None));
        }
        let Entry::File(config) = config else {
            // What cannot be seen is not empty.
            for part in PARTS {
                if let Entry::Blocked(why) = inside.entry(&path.join(part)?.join("x")?)? {
                    return Ok((RepositoryState::Opened(Found::Unreachable(why)), None));
                }
            }
            let backups = |part| Ok::<_, anyhow::Error>(!inside.names(&path.join(part)?)?.is_empty());
            let state = match foreign {
                Some(name) => RepositoryState::Foreign(format!(
                    "{path} is not empty (it holds `{}`) and no repository",
                    name.escape_debug()
                )),
                None if backups("snapshots")? || backups("index")? || has_packs(&*inside, path)? => {
                    RepositoryState::Opened(Found::Damaged("its configuration is missing".into()))
                }
                None => RepositoryState::Unfinished(inside.names(&path.join("keys")?)?),
            };
            return Ok((state, None));
        };
        let keys = path.join("keys")?;
        if let Entry::Blocked(why) = inside.entry(&keys.join("key")?)? {
            return Ok((RepositoryState::Opened(Found::Unreachable(why)), None));
        }
        if inside.names(&keys)?.is_empty() {
            // restic says "wrong password or no key found" of this.
            let damaged = RepositoryState::Opened(Found::Damaged("it has no keys".into()));
            return Ok((damaged, None));
        }
        let restic = match &self.means.engine {
            Some(engine) => host.entry(engine)?.file().map(|meta| meta.stamp),
            None => host.program("restic")?,
        };
        let marks = match (inside.entry(&keys)?, host.entry(&self.password.0)?, restic) {
            (Entry::Directory(keys), Entry::File(password), Some(restic)) => {
                Some(Marks { config: config.stamp, keys: keys.stamp, password: password.stamp, restic })
            }
            _ => None,
        };
        let unmoved = look
            .last
            .filter(|last| marks.is_some() && last.marks.as_deref() == marks.as_ref() && !look.looks.refresh);
        // A program that has not moved is the one that was run before, unless others can put another in its place.
        if let Some(engine) = &self.means.engine
            && let Some(dir) = Engine::exposed(host, engine)?.into_iter().next()
        {
            let why = format!("the pinned restic is not run: {}", dir.why);
            return Ok((RepositoryState::NotSeen(NotSeen::Waits(why)), None));
        }
        if let Some(last) = unmoved {
            return Ok((last.state.clone(), marks));
        }
        // Its digest is read only where it is about to be run.
        if let Some(why) = engine_missing(host, &self.means)? {
            return Ok((RepositoryState::NotSeen(NotSeen::Waits(why)), None));
        }
        if look.leaving || marks.is_none() {
            let unknown = Found::Unreachable("it was not opened".into());
            return Ok((RepositoryState::Opened(unknown), None));
        }
        if let Some(why) = self.unready(host)? {
            return Ok((RepositoryState::Opened(Found::Unreachable(why)), None));
        }
        let found = match host.query(&self.access().look()?) {
            Ok(output) if output.timed_out => {
                Found::Unreachable(format!("{} {} s", restic::SILENT, restic::LOOK_HERE))
            }
            Ok(output) => restic::found(&output),
            Err(err) => Found::Unreachable(format!("{err:#}")),
        };
        Ok((RepositoryState::Opened(found), marks))
    }

    /// Says what is wrong with a file whose content goes into restic's environment or says what its programs do. It is
    /// asked before anything is started: what an unprivileged user wrote must not be done as somebody else.
    pub(super) fn unready(&self, host: &dyn Observe) -> Result<Option<String>> {
        let secrets = self.means.secrets.iter().flat_map(Private::files).map(|file| &file.0);
        let others = self.means.variables.values().filter_map(|value| match value {
            Arg::Path(path) => Some(path),
            Arg::Word(_) => None,
        });
        for file in secrets.chain(others) {
            let why = match host.entry(file)? {
                Entry::File(meta)
                    if meta.owner != "root"
                        && meta.owner != self.user.as_str()
                        && !host.is_user(&self.user, &meta.owner)? =>
                {
                    format!("{file} belongs to {}, and {} works with it", meta.owner, self.user)
                }
                Entry::File(meta) if meta.mode.bits() & 0o022 != 0 => {
                    format!("{file} can be written by others (mode {})", meta.mode)
                }
                Entry::File(meta) if meta.links > 1 => {
                    format!("{file} has {} names (hard links)", meta.links)
                }
                Entry::File(_) => continue,
                Entry::Blocked(why) => why,
                _ => format!("{file} is not there"),
            };
            return Ok(Some(why));
        }
        let (user, password) = (&self.user, &self.password.0);
        if *user == UserName::root() || !host.has_user(user)? {
            return Ok(None);
        }
        let test = self.means.run_as(Cmd::new("test").arg("-r").path(password), user).ok(&[0, 1]).timeout(10);
        let readable = host.query(&Query::new(test)?)?.code == Some(0);
        Ok((!readable).then(|| {
            format!("{user} cannot read {password}: the file, or a directory on the way, is closed to it")
        }))
    }

    /// Asks the kernel, as the user, whether it can work there (R20). Nothing is written.
    pub(super) fn denied(
        &self,
        host: &dyn Observe,
        path: &HostPath,
        state: &RepositoryState,
    ) -> Result<Option<String>> {
        let user = &self.user;
        let (place, flag, verb) = match state {
            RepositoryState::Foreign(_) => return Ok(None),
            RepositoryState::Absent => {
                let mut above = path.ancestors();
                let nearest = above.find(|dir| matches!(host.entry(dir), Ok(Entry::Directory(_))));
                (nearest.unwrap_or("/".parse()?), "-x", "reach")
            }
            _ => (path.clone(), "-w", "write"),
        };
        let allowed = if *user == UserName::root() {
            flag == "-x" || host.lenient().writable(&place)?
        } else if host.has_user(user)? {
            let test =
                self.means.run_as(Cmd::new("test").arg(flag).path(&place), user).ok(&[0, 1]).timeout(10);
            host.query(&Query::new(test)?)?.code == Some(0)
        } else {
            return Ok(None); // Said by the account.
        };
        if allowed {
            return Ok(None);
        }
        let entry = host.entry(&place)?;
        let shown = entry.directory().map_or_else(String::new, |meta| {
            format!(" ({place} is {}:{} {})", meta.owner, meta.group, meta.mode)
        });
        Ok(Some(format!("{user} cannot {verb} {place}{shown}")))
    }
}

impl Repository {
    /// Says that the user cannot reach the password file of a repository that does not exist yet. An existing repository is
    /// opened with its password, which shows the same.
    fn kept_out(&self, host: &dyn Observe, state: &RepositoryState) -> Result<Option<String>> {
        let (user, password) = (&self.user, &self.password.0);
        let is_new = matches!(state, RepositoryState::Absent | RepositoryState::Unfinished(_));
        if !is_new || *user == UserName::root() || !host.has_user(user)? {
            return Ok(None);
        }
        let mut above = password.ancestors();
        let Some(dir) = above.find(|dir| matches!(host.entry(dir), Ok(Entry::Directory(_)))) else {
            return Ok(None);
        };
        let test = self.means.run_as(Cmd::new("test").arg("-x").path(&dir), user).ok(&[0, 1]).timeout(10);
        if host.query(&Query::new(test)?)?.code == Some(0) {
            return Ok(None);
        }
        let entry = host.entry(&dir)?;
        let shown = entry.directory().map_or_else(String::new, |meta| {
            format!(" ({dir} is {}:{} {})", meta.owner, meta.group, meta.mode)
        });
        Ok(Some(format!("{user} cannot reach the password file {password}{shown}")))
    }
}

fn has_locks(host: &dyn Observe, path: &HostPath) -> Result<bool> {
    let locks = path.join("locks")?;
    let blocked = matches!(host.entry(&locks.join("x")?)?, Entry::Blocked(_));
    Ok(!blocked && !host.names(&locks)?.is_empty())
}

/// Says whether anything was ever stored: restic keeps its packs two directories deep.
fn has_packs(host: &dyn Observe, path: &HostPath) -> Result<bool> {
    let data = path.join("data")?;
    for name in host.names(&data)? {
        let at = data.join(&name)?;
        let seen = matches!(host.entry(&at)?, Entry::Directory(_))
            && !matches!(host.entry(&at.join("x")?)?, Entry::Blocked(_));
        if !seen || !host.names(&at)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says why the pinned restic is not run, if so: a look must not run what others than root could have written.
pub(super) fn engine_missing(host: &dyn Observe, means: &Means) -> Result<Option<String>> {
    let Some(engine) = &means.engine else { return Ok(None) };
    Ok(Engine::distrust(host, engine)?.map(|why| format!("the pinned restic {why}")))
}

/// Says what is wrong with the restic that there is. A pinned one is looked at as what it is.
pub(super) fn tool(host: &dyn Observe, means: &Means, needed: bool) -> Result<Option<Missing>> {
    if means.engine.is_some() {
        return Ok(None);
    }
    let missing =
        |message: String| Some(Missing::new(message, "apt-get install restic, or pin one: `restic:`"));
    if host.program("restic")?.is_none() {
        return Ok(missing("there is no restic on PATH".into()));
    }
    if !needed {
        return Ok(None);
    }
    let output = host.query(&restic::ask_version(None)?).context("cannot ask restic for its version")?;
    Ok(match Version::read(&output.stdout) {
        Some(version) if version >= OLDEST => None,
        Some(version) => missing(format!("restic is {version}, and at least {OLDEST} is needed")),
        None => missing("restic does not say which version it is".into()),
    })
}
