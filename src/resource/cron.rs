//! Cron entries, one file each in /etc/cron.d.

use std::borrow::Cow;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Diff, FileSeen, Kind, Look, ManagedFile, Removal};
use crate::model::{BadText, HostPath, Line, Name, Schedule, UserName, field::is_default};

/// A cron entry of your own, beside those that jobs make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CronSpec {
    /// When it runs, in cron's words: `"30 2 * * *"` (minute, hour, day of month, month, day of week) or `@daily`.
    pub schedule: Schedule,
    /// The user it runs as. Default: root.
    #[serde(default = "UserName::root")]
    pub user: UserName,
    /// The command, one line of shell; `%` needs no escape. Of `${NAME}` only what `vars` declares is replaced, the
    /// rest is left to the shell.
    pub command: Line,
    /// Takes over a file of this name that is there already and differs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until the word is taken back and applied. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
}

/// A file of cron entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CronFile(ManagedFile);

/// One line of a cron file: when, as whom, what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronLine<'a> {
    /// When.
    pub schedule: &'a Schedule,
    /// As whom.
    pub user: &'a UserName,
    /// What, for a shell.
    pub command: &'a str,
}

/// What cron gives a job is poorer than anybody expects, so it is said: sbin too, for LVM's tools.
pub const CRON_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl CronFile {
    /// Writes the file `name` in `/etc/cron.d`, saying whose entries these are.
    ///
    /// # Errors
    ///
    /// If the name is none that cron reads.
    pub fn new(name: &str, whose: &str, line: &CronLine<'_>) -> Result<Self, BadText> {
        let name: Name = name.parse()?;
        let path = format!("/etc/cron.d/{name}").try_into()?;
        // In a command cron takes `%` for a newline (crontab(5)).
        let command = line.command.replace('%', "\\%");
        let CronLine { schedule, user, .. } = line;
        let text = format!(
            "# {whose}; made by rlvm, which puts back what is changed by hand.\n\
            SHELL=/bin/sh\nPATH={CRON_PATH}\n{schedule} {user} {command}\n"
        );
        Ok(Self(ManagedFile::of_root(path, text)))
    }
}

impl Kind for CronFile {
    const NAME: &'static str = "cron";
    type Seen = FileSeen;

    fn key(&self) -> Cow<'_, str> {
        self.0.path.name().into()
    }

    fn path(&self) -> Option<&HostPath> {
        Some(&self.0.path)
    }

    fn observe(&self, look: &Look<'_, FileSeen>) -> Result<FileSeen, anyhow::Error> {
        self.0.observe(look.host)
    }

    fn exists(&self, seen: &FileSeen) -> bool {
        *seen != FileSeen::Absent
    }

    fn diff(&self, seen: &FileSeen) -> Diff {
        self.0.diff(seen)
    }

    fn removal(&self, seen: &FileSeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        self.0.removal(seen)
    }

    fn slots(&self) -> Vec<String> {
        // R45: a timer of this name takes its place.
        vec![format!("schedule/{}", self.key())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(schedule: &str, user: &str, command: &str) -> String {
        let (schedule, user) = (schedule.parse().unwrap(), user.parse().unwrap());
        let line = CronLine { schedule: &schedule, user: &user, command };
        CronFile::new("rlvm-a", "job a", &line).unwrap().0.text
    }

    #[test]
    fn as_cron_reads_it() {
        // R43
        assert_eq!(
            text("30 2 * * *", "root", "/usr/bin/rlvm run --scheduled a"),
            "# job a; made by rlvm, which puts back what is changed by hand.\n\
            SHELL=/bin/sh\n\
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
            30 2 * * * root /usr/bin/rlvm run --scheduled a\n"
        );
        assert!(
            text("@daily", "www-data", "date +%F > /tmp/x")
                .ends_with("@daily www-data date +\\%F > /tmp/x\n")
        );
    }

    #[test]
    fn only_names_that_cron_reads() {
        let (schedule, user) = ("@daily".parse().unwrap(), UserName::root());
        let line = CronLine { schedule: &schedule, user: &user, command: "true" };
        assert!(CronFile::new("a.b", "x", &line).is_err());
        let file = CronFile::new("rlvm-web", "x", &line).unwrap();
        // `web` never matches `web2`: the file is named whole.
        assert_eq!((&*file.key(), file.0.path.as_str()), ("rlvm-web", "/etc/cron.d/rlvm-web"));
    }
}
