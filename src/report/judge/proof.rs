//! Judges whether a job is verified as often as the state demands, and with which result.

use jiff::Timestamp;

use super::{Case, stamp};
use crate::{
    report::status::{Level, Line, Verdict},
    verify::{Checked, Outcome},
};

/// How long a verification may take that nothing is known of, in seconds.
const UNKNOWN: i64 = 24 * 3600;

impl<'a> Case<'a> {
    /// Judges the verifications.
    pub(super) fn proven(&mut self, line: &mut Line) {
        let checks = self.checks();
        let well = checks.iter().rev().find(|(_, check)| check.outcome == Outcome::Well);
        line.verified = well.map(|(ended, _)| stamp(*ended));
        line.drilled =
            checks.iter().rev().find(|(_, check)| self.drilled(check)).map(|(ended, _)| stamp(*ended));
        let well = well.map(|(ended, _)| *ended);
        if let Some((ended, last)) = checks.last().filter(|(_, check)| check.outcome != Outcome::Well) {
            let level = if last.outcome == Outcome::Damaged { Level::Critical } else { Level::Warning };
            let message = format!("the verification of {} failed: {}", self.at(*ended), why(last));
            self.say(Verdict::VerifyFailed, level, message);
        }
        self.verified_in_time(line, well, &checks);
    }

    /// Lists what was verified of it, the oldest first, each with when that ended.
    fn checks(&self) -> Vec<(Timestamp, &'a Checked)> {
        let of_this = |check: &&Checked| {
            self.destinations.contains(&check.destination)
                && check.jobs.iter().any(|job| self.jobs.contains(job))
        };
        let all = self.asked.checks.iter().filter(of_this);
        let mut all: Vec<_> = all.filter_map(|check| Some((check.ended.parse().ok()?, check))).collect();
        all.sort_by_key(|(ended, _)| *ended);
        all
    }

    fn drilled(&self, check: &Checked) -> bool {
        check.drills.iter().any(|drill| self.jobs.contains(&drill.job) && drill.outcome == Outcome::Well)
    }

    /// Says whether a verification was due and did not find it well. One that was never verified counts from when it was
    /// first stored.
    fn verified_in_time(&mut self, line: &Line, well: Option<Timestamp>, checks: &[(Timestamp, &Checked)]) {
        let Some(schedule) = self.job.verify.schedule.as_ref().filter(|_| self.job.enabled) else { return };
        let oldest = line.oldest.as_ref().and_then(|it| it.parse().ok());
        let first = self.history.runs.first().map(|went| went.started);
        // The oldest snapshot is never old where little is kept.
        let Some(since) = well.or_else(|| [oldest, first].into_iter().flatten().min()) else { return };
        let longest = checks.iter().filter_map(|(ended, check)| {
            let started: Timestamp = check.started.parse().ok()?;
            Some(2 * (ended.as_second() - started.as_second()))
        });
        let grace = longest.max().unwrap_or(UNKNOWN).max(UNKNOWN);
        let Some(missed) = self.times(schedule).after(since) else { return };
        if self.asked.now.as_second() - missed.as_second() <= grace {
            return;
        }
        match well {
            None => {
                let message = format!("never verified: it was due on {}", self.at(missed));
                self.say(Verdict::NeverVerified, Level::Warning, message);
            }
            Some(well) => {
                let message =
                    format!("last verified on {}: it was due on {}", self.at(well), self.at(missed));
                self.say(Verdict::VerifyOverdue, Level::Warning, message);
            }
        }
    }
}

fn why(check: &Checked) -> String {
    let drill = || {
        let drill = check.drills.iter().find(|drill| drill.outcome != Outcome::Well)?;
        let unlike = drill.unlike.first().map(|(path, why)| format!("{path}: {why}"));
        drill.error.clone().or(unlike)
    };
    let word = match check.outcome {
        Outcome::Well => "well",
        Outcome::Damaged => "damaged",
        Outcome::Unreachable => "unreachable",
        Outcome::Failed => "not ended",
    };
    check.error.clone().or_else(drill).unwrap_or_else(|| word.to_owned())
}
