//! Removes stale locks from repositories by the rule of [`LockJudge`]. No other code removes a lock.
//!
//! This host's knowledge about locks is kept below its home, in one file per destination: which restic processes of
//! dead runs have worked with the destination, and when each lock was first seen. Times are counted since boot,
//! because nobody can set that clock.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::context::Context;
use crate::{
    host::{Busy, Host as _, Lock, Observe, Real, Store, host_name},
    job::{Journal, Left},
    model::{HostPath, Name},
    resource::{Repository, has_process},
    restic::{DeadProcess, LockJudge, SeenLock},
};

/// How many processes of dead runs are remembered at a destination.
const MOST: usize = 1000;

/// Removes locks that were left behind.
pub(super) struct Locks<'a> {
    context: &'a Context<'a>,
    host: &'a Real,
    home: HostPath,
    /// The machine's own name, as restic writes it into locks.
    here: String,
}

/// What is known of the locks at a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// The processes of dead runs whose locks may be there.
    dead: Vec<DeadProcess>,
    /// When each lock was first seen.
    seen: BTreeMap<String, Uptime>,
}

/// A time, as seconds since a boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Uptime {
    boot: String,
    seconds: i64,
}

impl Uptime {
    /// Returns the time now; suspended time counts.
    fn now(host: &dyn Observe) -> Result<Self> {
        let text = |path: &str| -> Result<String> {
            let (_, text) = host.text(&path.parse()?)?;
            Ok(String::from_utf8(text.with_context(|| format!("cannot read {path}"))?)?)
        };
        let uptime = text("/proc/uptime")?;
        let seconds = uptime.split('.').next().unwrap_or_default().parse();
        let seconds = seconds.context("/proc/uptime makes no sense")?;
        Ok(Self { boot: text("/proc/sys/kernel/random/boot_id")?.trim().to_owned(), seconds })
    }

    /// Returns how many seconds have passed at least since an earlier time.
    fn since(&self, earlier: &Self) -> i64 {
        // How long the host was down nobody knows.
        if self.boot == earlier.boot { self.seconds - earlier.seconds } else { self.seconds }
    }
}

impl<'a> Locks<'a> {
    /// Gets ready.
    pub(super) fn new(context: &'a Context<'a>, host: &'a Real) -> Result<Self> {
        Ok(Self { context, host, home: context.home()?.join("locks")?, here: host_name()?.to_string() })
    }

    /// Remembers the programs of a dead run, which have ended: locks that they left may go.
    pub(super) fn remember(&self, left: &Left) -> Result<()> {
        let Some(began) = left.began else { return Ok(()) };
        let found = self.context.now()?.as_second();
        // One that ended by itself has removed its lock: a lock with its number is another machine's.
        let killed = left.children.iter().filter(|(pid, _)| !left.ended.contains(pid));
        let dead = killed.map(|(pid, _)| DeadProcess { pid: *pid, began, found });
        let dead: Vec<DeadProcess> = dead.collect();
        let store = Store::new(self.host, &self.home);
        for destination in &left.destinations {
            // Without it the locks go half an hour later.
            let Some(_alone) = alone(&store, destination)? else { continue };
            let mut known = read(&store, destination)?;
            known.dead.retain(|known| known.began != began);
            known.dead.extend(dead.iter().cloned());
            known.dead.drain(..known.dead.len().saturating_sub(MOST));
            write(&store, destination, &known)?;
        }
        Ok(())
    }

    /// Remembers the programs of a run that ends: one that was ended may have left its lock. Without it the lock goes half an
    /// hour later.
    pub(super) fn remember_own(&self, journal: &Mutex<Journal>) {
        let left = journal.lock().unwrap_or_else(PoisonError::into_inner).left();
        drop(left.and_then(|left| self.remember(&left)));
    }

    /// Removes the locks at a destination that may be removed; says how many.
    pub(super) fn free(&self, destination: &Name, repository: &Repository) -> Result<usize> {
        let store = Store::new(self.host, &self.home);
        // Another rlvm is at it.
        let Some(_alone) = alone(&store, destination)? else { return Ok(0) };
        let looker = self.host.looker();
        let Some(locks) = repository.locks(looker.as_ref())? else { return Ok(0) };
        let (before, up) = (read(&store, destination)?, Uptime::now(looker.as_ref())?);
        let mut known = Known { dead: before.dead.clone(), seen: BTreeMap::new() };
        let mut seen = Vec::new();
        for (id, info) in locks {
            // A machine that was set back to an earlier moment has seen nothing of it.
            let first = before.seen.get(&id).filter(|first| up.since(first) >= 0).unwrap_or(&up);
            known.seen.insert(id.clone(), first.clone());
            let has_process = has_process(looker.as_ref(), info.pid)?;
            seen.push(SeenLock { id, watched: up.since(first), has_process, info });
        }
        let now = self.context.now()?;
        // Of processes whose locks are not there none will be.
        known.dead.retain(|dead| seen.iter().any(|lock| lock.info.pid == dead.pid));
        if known != before {
            write(&store, destination, &known)?;
        }
        let judge = LockJudge { here: &self.here, user: repository.user.as_str(), dead: &known.dead, now };
        let removable = judge.removable(&seen);
        let commands = repository.lock_removal(&removable);
        for cmd in &commands {
            self.host.run(cmd)?;
        }
        Ok(if commands.is_empty() { 0 } else { removable.ids.len() })
    }
}

/// Has what is known of a destination for itself; nothing if another process has it.
fn alone(store: &Store<'_>, destination: &Name) -> Result<Option<Lock>> {
    match store.lock_named(&format!("{destination}.lock"), &format!("process {}", std::process::id())) {
        Ok(lock) => Ok(Some(lock)),
        Err(err) if err.downcast_ref::<Busy>().is_some() => Ok(None),
        Err(err) => Err(err),
    }
}

/// Reads what is known. What makes no sense is nothing: then locks are watched anew.
fn read(store: &Store<'_>, destination: &Name) -> Result<Known> {
    let bytes = store.read(&format!("{destination}.json"))?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

fn write(store: &Store<'_>, destination: &Name, known: &Known) -> Result<()> {
    store.replace(&format!("{destination}.json"), &serde_json::to_vec(known)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_between_two_times_is_never_overestimated() {
        let at = |boot: &str, seconds| Uptime { boot: boot.into(), seconds };
        for (earlier, later, passed) in [
            (at("a", 100), at("a", 1900), 1800),
            (at("a", 100_000), at("b", 60), 60),
            (at("a", 10), at("b", 2000), 2000),
            // Set back to an earlier moment.
            (at("a", 2000), at("a", 100), -1900),
        ] {
            assert_eq!(later.since(&earlier), passed);
        }
    }
}
