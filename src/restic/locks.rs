//! Reads locks in a repository, and decides by one rule which of them rlvm may remove.
//!
//! restic's own `unlock` is not safe: it considers a lock of this host's name dead if no process here has its number
//! (a container or a clone has the same name), or if it may not signal that process. It sends SIGHUP to whatever
//! process has that number now (tried with 0.14.0, 0.18.0 and 0.19.1).

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::Access;
use crate::{
    effect::{NotReadOnly, Query},
    host::Output,
};

/// After how many seconds without a renewal restic takes a lock for stale. It renews its locks every five minutes.
const STALE: i64 = 30 * 60;
/// How far from that limit a lock must be, in seconds, to be certain of what `restic unlock` does with it.
const MARGIN: i64 = 2 * 60;
/// How much earlier than the start of its run a lock may seem to be, in seconds: clocks are set.
const EARLIER: i64 = 2;

/// A lock, as restic shows it. A renewed lock is another one, with another id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LockInfo {
    /// When it was taken or renewed, by the clock of its host.
    #[serde(deserialize_with = "timestamp")]
    pub time: Timestamp,
    /// The host on which it was taken.
    pub hostname: String,
    /// The user of the process; empty where restic did not know it.
    #[serde(default)]
    pub username: String,
    /// The process that took it.
    pub pid: u32,
}

/// A restic that a dead run of rlvm had started, and that is known to be dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadProcess {
    /// Its number.
    pub pid: u32,
    /// When its run began, in seconds since 1970.
    pub began: i64,
    /// When it was found dead, in seconds since 1970.
    pub found: i64,
}

/// A lock with what this host knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLock {
    /// Its id, the digest of what it holds.
    pub id: String,
    /// What it says of itself.
    pub info: LockInfo,
    /// For how many seconds this host has seen this very lock, by its own record.
    pub watched: i64,
    /// Whether any process here has the number of its process now.
    pub has_process: bool,
}

/// Decides which locks rlvm may remove.
#[derive(Clone, Copy, Debug)]
pub struct LockJudge<'a> {
    /// The host name, as restic writes it into locks.
    pub here: &'a str,
    /// The user that works with the repository.
    pub user: &'a str,
    /// The processes of dead runs that worked with it.
    pub dead: &'a [DeadProcess],
    /// The time by this host's clock.
    pub now: Timestamp,
}

/// Which locks may be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removable {
    /// Their ids.
    pub ids: Vec<String>,
    /// Whether `restic unlock` removes these and no other.
    pub by_restic: bool,
}

impl LockInfo {
    /// Reads what `restic cat lock` said; nothing if that is none, or it is gone by now.
    pub fn read(output: &Output) -> Option<Self> {
        serde_json::from_str(&output.stdout).ok().filter(|_| output.code == Some(0))
    }
}

impl LockJudge<'_> {
    /// Returns the locks that may be removed: those of dead runs of this very rlvm, and stale ones.
    pub fn removable(&self, locks: &[SeenLock]) -> Removable {
        let (remove, stay): (Vec<&SeenLock>, Vec<&SeenLock>) =
            locks.iter().partition(|lock| self.is_of_dead_run(lock, locks) || self.is_stale(lock));
        let by_restic = !remove.is_empty()
            && remove.iter().all(|lock| self.is_removed_by_restic(lock))
            && stay.iter().all(|lock| self.is_kept_by_restic(lock));
        Removable { ids: remove.into_iter().map(|lock| lock.id.clone()).collect(), by_restic }
    }

    /// Says whether a lock was taken by a process from rlvm's own journal that is dead. Two locks that could both be of one
    /// process may be of two machines.
    fn is_of_dead_run(&self, lock: &SeenLock, all: &[SeenLock]) -> bool {
        let could_be = |dead: &DeadProcess, lock: &SeenLock| {
            let (info, time) = (&lock.info, lock.info.time.as_second());
            info.hostname == self.here
                && info.pid == dead.pid
                && (info.username.is_empty() || info.username == self.user)
                && (dead.began - EARLIER..=dead.found).contains(&time)
        };
        let is_alone = |dead: &DeadProcess| all.iter().filter(|other| could_be(dead, other)).count() == 1;
        !lock.has_process && self.dead.iter().any(|dead| could_be(dead, lock) && is_alone(dead))
    }

    /// Says whether a lock was not renewed for as long as restic grants, both by what it says of itself and by how long
    /// this host has seen it unchanged: the clock of another host may be slow. Of one whose time lies in the future only
    /// the second counts: restic would take it for live until that time.
    fn is_stale(&self, lock: &SeenLock) -> bool {
        lock.watched >= STALE && (self.age(lock) > STALE || self.age(lock) < 0)
    }

    /// Says whether `restic unlock`, called here and now, certainly removes a lock.
    fn is_removed_by_restic(&self, lock: &SeenLock) -> bool {
        self.age(lock) > STALE || lock.info.hostname == self.here && !lock.has_process
    }

    /// Returns how many seconds ago a lock was taken or renewed, by the clocks of its host and of this one.
    fn age(&self, lock: &SeenLock) -> i64 {
        self.now.duration_since(lock.info.time).as_secs()
    }

    /// Says whether `restic unlock`, called here and now, certainly leaves a lock.
    fn is_kept_by_restic(&self, lock: &SeenLock) -> bool {
        lock.info.hostname != self.here && self.age(lock) < STALE - MARGIN
    }
}

fn timestamp<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Reads the ids that `restic list locks` printed; it says other things too on the same stream.
pub fn lock_ids(stdout: &str) -> impl Iterator<Item = &str> {
    let is_id = |line: &&str| line.len() >= 8 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    stdout.lines().map(str::trim).filter(is_id)
}

impl Access<'_> {
    /// Asks a lock whose it is.
    ///
    /// # Errors
    ///
    /// Never, as long as the call stands in the reviewed list.
    pub fn lock(&self, id: &str) -> Result<Query, NotReadOnly> {
        let cmd = self.call(&["cat", "lock", id, "--no-lock", "--no-cache"]);
        Query::new(cmd.ok(&[0, 1]).timeout(self.limit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_as_restic_shows_them() {
        let id = "a0dc29db41ea50560584f2ee8934125f09c8a851c15bacba0a694285e802517e";
        let said = format!("repository 1234abcd opened\n\ncreated new cache\n{id}\n");
        assert_eq!(lock_ids(&said).collect::<Vec<_>>(), [id]);
        let json = r#"{ "time": "2026-11-21T14:31:57.5+01:00", "exclusive": false, "hostname": "vm", "username": "root", "pid": 9819 }"#;
        let output = Output { code: Some(0), stdout: json.into(), ..Output::default() };
        let expected = LockInfo {
            time: "2026-11-21T13:31:57.5Z".parse().unwrap(),
            hostname: "vm".into(),
            username: "root".into(),
            pid: 9819,
        };
        assert_eq!(LockInfo::read(&output), Some(expected));
        assert_eq!(LockInfo::read(&Output { code: Some(1), ..output }), None);
    }

    /// The minute of the hour in which all this happens.
    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    /// A lock of web01 from minute 10, of process 7, seen for so many minutes.
    fn lock(watched: i64) -> SeenLock {
        let info = LockInfo { time: at(10), hostname: "web01".into(), username: "backup".into(), pid: 7 };
        SeenLock { id: "one".into(), info, watched: 60 * watched, has_process: false }
    }

    fn with(change: impl Fn(&mut SeenLock)) -> SeenLock {
        let mut lock = lock(0);
        change(&mut lock);
        lock
    }

    /// Who looks in that minute, after a run from minute 9 with process 7, which was found dead in minute 20.
    fn removable(minute: i64, locks: &[SeenLock]) -> (String, bool) {
        let dead = [DeadProcess { pid: 7, began: at(9).as_second(), found: at(20).as_second() }];
        let judge = LockJudge { here: "web01", user: "backup", dead: &dead, now: at(minute) };
        let Removable { ids, by_restic } = judge.removable(locks);
        (ids.join(" "), by_restic)
    }

    #[test]
    fn only_locks_of_dead_runs_and_stale_ones_go() {
        let one = || ("one".to_owned(), true);
        let none = || (String::new(), false);
        assert_eq!(removable(20, &[]), none());
        assert_eq!(removable(20, &[lock(0)]), one(), "of a dead run");
        for (what, lock) in [
            ("another host", with(|it| it.info.hostname = "web02".into())),
            ("another process", with(|it| it.info.pid = 8)),
            ("another user", with(|it| it.info.username = "root".into())),
            ("before the run", with(|it| it.info.time = at(8))),
            ("after the run was found dead", with(|it| it.info.time = at(21))),
            ("a process has its number", with(|it| it.has_process = true)),
        ] {
            assert_eq!(removable(25, std::slice::from_ref(&lock)), none(), "{what}");
            // Half an hour later by the clock alone, which may be wrong; and seen for half an hour.
            assert_eq!(removable(60, std::slice::from_ref(&lock)), none(), "{what}");
            let seen = SeenLock { watched: 60 * 30, ..lock };
            assert_eq!(removable(60, &[seen]), one(), "{what}");
        }
        let unknown = with(|it| it.info.username.clear());
        assert_eq!(removable(25, &[unknown]), one(), "restic did not know its user");
    }

    #[test]
    fn a_lock_is_stale_by_its_own_time_and_by_ours() {
        let other = |watched: i64| with(|it| (it.info.hostname, it.watched) = ("web02".into(), 60 * watched));
        for (minute, watched, stale) in [
            (41, 30, true),
            (41, 29, false),
            (40, 30, false),
            (600, 29, false),
            (0, 29, false),
            (0, 30, true),
        ] {
            assert_eq!(!removable(minute, &[other(watched)]).0.is_empty(), stale, "{minute} {watched}");
        }
    }

    #[test]
    fn a_lock_from_the_future_is_no_work_for_restic_unlock() {
        // restic takes it for live until its time; a lock of this host's it removes if the process is gone.
        let future =
            |host: &str| with(|it| (it.info.hostname, it.info.pid, it.watched) = (host.into(), 9, 60 * 30));
        assert_eq!(removable(5, &[future("web02")]), ("one".into(), false));
        assert_eq!(removable(5, &[future("web01")]), ("one".into(), true));
    }

    #[test]
    fn two_locks_that_could_be_of_one_process_stay() {
        let twin = with(|it| (it.id, it.info.time) = ("two".into(), at(11)));
        assert_eq!(removable(25, &[lock(0), twin]), (String::new(), false));
    }

    #[test]
    fn restic_unlock_is_called_only_if_it_removes_the_same() {
        let other = |host: &str, minute| {
            with(|it| {
                (it.id, it.info.hostname, it.info.time, it.info.pid) =
                    ("two".into(), host.into(), at(minute), 9);
            })
        };
        for (host, minute, by_restic) in [
            ("web02", 20, true),
            // It would not ask for how long we have seen it.
            ("web02", 0, false),
            ("web02", -3, false),
            // No process here has that number.
            ("web01", 24, false),
        ] {
            assert_eq!(
                removable(28, &[lock(0), other(host, minute)]),
                ("one".into(), by_restic),
                "{host} {minute}"
            );
        }
    }
}
