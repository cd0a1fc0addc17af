//! The flags that jobs pass to `restic backup`. rlvm asks the restic that will run whether it accepts them, since
//! versions differ.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Engine, Finding, Look, Severity, check::Check, look::Cost};
use crate::{
    host::{Entry, Observe},
    model::{Address, HostPath, Name},
    restic,
};

/// Flags of `restic backup` whose value is a file that restic reads.
const FILES: [&str; 5] =
    ["exclude-file", "iexclude-file", "files-from", "files-from-verbatim", "files-from-raw"];

/// The flags of all jobs that have some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFlags {
    /// The pinned restic; the one on `PATH` if none.
    pub engine: Option<HostPath>,
    /// Names and values of each job's flags, without dashes.
    pub jobs: BTreeMap<Name, BTreeMap<String, String>>,
}

/// A flag that a run could not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadFlag {
    /// The job.
    pub job: Name,
    /// Why restic does not take it.
    pub why: String,
}

impl JobFlags {
    /// Says whether restic can be asked. A restic that is missing, or that others could have written, is reported with the
    /// repositories.
    fn can_ask(&self, host: &dyn Observe) -> Result<bool> {
        Ok(match &self.engine {
            Some(engine) => Engine::distrust(host, engine)?.is_none(),
            None => host.program("restic")?.is_some(),
        })
    }

    /// Returns the first flag that restic refuses, in restic's words.
    fn refused(&self, host: &dyn Observe, flags: &BTreeMap<String, String>) -> Result<Option<String>> {
        let flags: Vec<String> = flags.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        let output = host.query(&restic::ask_flags(self.engine.as_ref(), &flags)?)?;
        Ok(match output.code {
            Some(0) => None,
            _ => Some(restic::reason(&output.stderr)),
        })
    }
}

/// Says why a file that a flag names cannot be read, if so.
fn unreadable(host: &dyn Observe, flag: &str, value: &str) -> Result<Option<String>> {
    let Ok(path) = value.parse::<HostPath>() else {
        return Ok(Some(format!("`{flag}: {value}` must be an absolute path")));
    };
    Ok(match host.entry(&path)? {
        Entry::File(_) => None,
        Entry::Absent => Some(format!("`{flag}` names {path}, which does not exist")),
        Entry::Blocked(why) => Some(format!("`{flag}` names {path}: {why}")),
        other => Some(format!("`{flag}` names {path}, which is {}", other.noun())),
    })
}

impl Check for JobFlags {
    const NAME: &'static str = "job_flags";
    type Seen = Vec<BadFlag>;

    fn key(&self) -> Cow<'_, str> {
        "restic".into()
    }

    fn cost(&self) -> Cost {
        Cost::Work
    }

    fn observe(&self, look: &Look<'_, Vec<BadFlag>>) -> Result<Vec<BadFlag>> {
        let mut found = Vec::new();
        // In another tree its own restic runs later.
        if look.host.is_tree() {
            return Ok(found);
        }
        let can_ask = self.can_ask(look.host)?;
        for (job, flags) in &self.jobs {
            let mut bad = |why| found.push(BadFlag { job: job.clone(), why });
            for (flag, value) in flags.iter().filter(|(flag, _)| FILES.contains(&flag.as_str())) {
                unreadable(look.host, flag, value)?.into_iter().for_each(&mut bad);
            }
            if can_ask {
                self.refused(look.host, flags)?.into_iter().for_each(&mut bad);
            }
        }
        Ok(found)
    }

    fn findings(&self, seen: &Vec<BadFlag>) -> Vec<Finding> {
        let say = |BadFlag { job, why }: &BadFlag| {
            let message = format!(
                "job `{job}`: every run would fail, because restic does not accept its options: {why}"
            );
            let remedy =
                format!("correct jobs.{job}.options: `restic backup --help` lists the flags of this version");
            Finding::new(Severity::Error, Address::new(Self::NAME, &self.key()), message).remedy(remedy)
        };
        seen.iter().map(say).collect()
    }
}
