//! Decides which backups a prune removes or keeps in addition to the policy: restic's policies treat every snapshot as a
//! complete backup.

use std::collections::BTreeSet;

use crate::{
    job::Backups,
    model::Name,
    restic::{Foreseen, Snapshot},
};

/// What is known of the backups at a destination.
pub(super) struct Grades<'a> {
    /// What the records tell.
    pub(super) backups: &'a Backups<'a>,
    /// The names that the destination has and had.
    pub(super) destinations: &'a [Name],
}

impl Grades<'_> {
    /// Says whether a snapshot is a backup that lacks nothing, for all that is known.
    fn is_complete(&self, it: &Snapshot) -> bool {
        !self.is_faulty(it) && !self.backups.is_incomplete(&it.listed)
    }

    fn is_faulty(&self, it: &Snapshot) -> bool {
        self.backups.fault(self.destinations, &it.listed).is_some()
    }

    /// Lists the snapshots that are no backups and older than a complete one: nobody needs them any more.
    pub(super) fn replaced<'f>(&self, all: &'f Foreseen) -> Vec<&'f Snapshot> {
        let goes = |it: &&Snapshot| {
            let is_newer = |other: &Snapshot| {
                other.time > it.time && other.listed.hostname == it.listed.hostname && self.is_complete(other)
            };
            !it.is_protected() && self.is_faulty(it) && all.all().any(is_newer)
        };
        all.all().filter(goes).collect()
    }

    /// Returns the newest complete backup if a policy would remove it and keep none that is complete; of each host by itself,
    /// as policies are applied.
    pub(super) fn spared(&self, all: &Foreseen) -> Vec<Snapshot> {
        let is_kept =
            |host: &str| all.keep.iter().any(|it| it.listed.hostname == host && self.is_complete(it));
        let hosts: BTreeSet<&str> = all.remove.iter().map(|it| it.listed.hostname.as_str()).collect();
        let newest = |host: &str| {
            let ours = all.remove.iter().filter(|it| it.listed.hostname == host);
            ours.filter(|it| self.is_complete(it)).max_by_key(|it| it.time).cloned()
        };
        hosts.into_iter().filter(|host| !is_kept(host)).filter_map(newest).collect()
    }
}

/// Says why backups stay; nothing if none does.
pub(super) fn note(spared: &[Snapshot]) -> Option<String> {
    let all = spared.iter().map(|it| {
        let (id, time) = (it.id.get(..8).unwrap_or(&it.id), it.time.strftime("%Y-%m-%d %H:%M UTC"));
        format!(
            "snapshot {id} of {time} stays: it is the newest complete backup, and every later backup is incomplete or failed"
        )
    });
    Some(all.collect::<Vec<_>>().join("; ")).filter(|note| !note.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        job::{JobRecord, Record, Status},
        restic::Listed,
    };

    fn all(ids: &[&str]) -> Vec<Snapshot> {
        let of = |id: &&str| {
            let day = u32::from_str_radix(id, 16).unwrap() % 16;
            let time = format!("2026-11-{:02}T02:30:00Z", day + 1);
            let (hostname, tags) = ("web01".into(), vec!["rlvm:job=web".into()]);
            let listed =
                Listed { id: id.repeat(32), time: time.clone(), hostname, tags, ..Listed::default() };
            Snapshot { id: listed.id.clone(), time: time.parse().unwrap(), listed }
        };
        ids.iter().map(of).collect()
    }

    #[test]
    fn incomplete_backups_push_no_complete_one_out() {
        let stored = |id: &str, status| {
            let summary = format!(r#"{{"snapshot_id":"{}"}}"#, id.repeat(32));
            let json = format!(
                r#"{{"destination":"vault","status":"{status}","attempts":1,"seconds":1.0,"summary":{summary}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        let job = JobRecord {
            job: "web".parse().unwrap(),
            status: Status::Incomplete,
            errors: Vec::new(),
            warnings: Vec::new(),
            froze: None,
            destinations: vec![
                stored("b1", "incomplete"),
                stored("b2", "incomplete"),
                stored("c3", "failed"),
            ],
            copies: Vec::new(),
        };
        let json = r#"{"format_version":1,"rlvm_version":"","run":"0123456789ab","host":"web01","started":"","ended":"",
            "seconds":0.0,"status":"incomplete","jobs":[]}"#;
        let runs = [Record { jobs: vec![job], ..serde_json::from_str(json).unwrap() }];
        let (backups, destinations) = (Backups::of(&runs), ["vault".parse().unwrap()]);
        let grades = Grades { backups: &backups, destinations: &destinations };
        let ids = |found: Vec<&Snapshot>| {
            found.iter().map(|it| it.id[..2].to_owned()).collect::<Vec<_>>().join(" ")
        };
        // The second letter is the day. a: complete, b: incomplete, c: failed.
        let mut of_two = Foreseen { keep: all(&["a3", "b2"]), remove: all(&["a1", "a0"]) };
        of_two.keep[0].listed.hostname = "old01".into();
        assert_eq!(ids(grades.spared(&of_two).iter().collect()), "a1", "each host by itself");
        for (keep, remove, spared, replaced) in [
            (&["a3"][..], &["a2", "b1"][..], "", ""),
            (&["b2"], &["b1", "a0", "a1"], "a1", ""),
            (&["c3"], &["a0"], "a0", ""),
            (&["a4", "c3"], &[], "", "c3"),
            (&["a4"], &["c3", "a0"], "", "c3"),
            (&["b2"], &["b1"], "", ""),
        ] {
            let foreseen = Foreseen { keep: all(keep), remove: all(remove) };
            let found = grades.spared(&foreseen);
            assert_eq!(ids(found.iter().collect()), spared, "{keep:?} {remove:?}");
            assert_eq!(ids(grades.replaced(&foreseen)), replaced, "{keep:?} {remove:?}");
        }
    }
}
