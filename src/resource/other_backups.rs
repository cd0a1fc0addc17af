//! Finds scheduled backups of other tools (R30), and never touches them.
//!
//! Two tools that freeze the same volumes, or prune the same repository, disturb each other at night, so plan reports
//! them by day. rlvm keeps only the name of the tool, because people write passwords into crontabs.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Finding, Look, Severity, check::Check, managed_block::parts};
use crate::{
    host::{Entry, Observe},
    model::{Address, HostPath},
};

/// What looks for backups that something else runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherBackups {
    /// What this host's jobs back up.
    pub sources: Vec<HostPath>,
}

/// One line, script or timer that runs a backup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OtherBackup {
    /// The file, and the line in it.
    pub place: String,
    /// The tool.
    pub tool: String,
    /// The source that it names, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<HostPath>,
}

/// Programs that run backups, by the name of their command. `rlvm` is `ResticLVM`'s too.
const TOOLS: &[&str] = &[
    "rlvm",
    "restic",
    "resticprofile",
    "autorestic",
    "crestic",
    "rustic",
    "borg",
    "borgmatic",
    "kopia",
    "duplicity",
    "duply",
    "rsnapshot",
    "rdiff-backup",
    "backupninja",
    "btrbk",
    "bup",
    "tarsnap",
    "vzdump",
    "backup-manager",
    "dar",
    "burp",
    "bareos-fd",
    "bacula-fd",
    "rear",
    "timeshift",
];

/// Directories whose files are crontabs with a user's name in each line, or of one user.
const CRONTABS: &[&str] = &["/etc/cron.d", "/var/spool/cron/crontabs", "/var/spool/cron"];
/// Directories whose files are scripts.
const SCRIPTS: &[&str] = &["/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly"];
/// Where an enabled timer has a link.
const TIMERS: &str = "/etc/systemd/system/timers.target.wants";
/// Where timers of root's own stand; rlvm's are there.
const UNITS: &str = "/etc/systemd/system";
/// What stands in the first line of each cron entry and unit that rlvm makes.
const OURS: &str = "; made by rlvm,";

impl Check for OtherBackups {
    const NAME: &'static str = "other_backups";
    type Seen = Vec<OtherBackup>;

    fn key(&self) -> Cow<'_, str> {
        "schedules".into()
    }

    fn observe(&self, look: &Look<'_, Vec<OtherBackup>>) -> Result<Vec<OtherBackup>> {
        let host = look.host;
        let mut found = Vec::new();
        found.extend(self.in_file(host, &"/etc/crontab".parse()?)?);
        for dir in CRONTABS.iter().chain(SCRIPTS) {
            for file in files(host, &dir.parse()?) {
                found.extend(self.in_file(host, &file)?);
            }
        }
        for file in files(host, &TIMERS.parse()?) {
            let tool =
                file.name().strip_suffix(".timer").map(|unit| unit.split('@').next().unwrap_or_default());
            // Only the unit's name: what it runs is in another file, perhaps in a package's.
            let named = |unit: &str, tool: &str| tool != "rlvm" && unit.starts_with(tool);
            let tool = tool.and_then(|unit| {
                // The longest: borgmatic's is not borg's.
                TOOLS.iter().filter(|tool| named(unit, tool)).max_by_key(|tool| tool.len())
            });
            let Some(tool) = tool else { continue };
            // An entry of this state may well be called `restic-check`.
            if !is_ours(host, &UNITS.parse::<HostPath>()?.join(file.name())?)? {
                found.push(OtherBackup { place: file.to_string(), tool: (*tool).into(), source: None });
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn findings(&self, seen: &Vec<OtherBackup>) -> Vec<Finding> {
        let address = Address::new(Self::NAME, &self.key());
        let finding = |other: &OtherBackup| {
            let OtherBackup { place, tool, source } = other;
            let what = match source {
                Some(source) => {
                    format!("{place} runs {tool} on {source}, which a job of this state backs up")
                }
                None => format!("{place} runs {tool}: it may back up what the jobs of this state do"),
            };
            let remedy = "two tools freeze, stop and prune at once: once the jobs here have run, take it out";
            Finding::new(Severity::Warning, &address, what).remedy(remedy)
        };
        seen.iter().map(finding).collect()
    }
}

/// Lists a directory's files. One that may not be read has nothing that could be told.
fn files(host: &dyn Observe, dir: &HostPath) -> Vec<HostPath> {
    let names = host.names(dir).unwrap_or_default();
    names.iter().filter_map(|name| dir.join(name).ok()).collect()
}

/// Says whether rlvm wrote a file.
fn is_ours(host: &dyn Observe, file: &HostPath) -> Result<bool> {
    let text = host.lenient().text(file)?.1.unwrap_or_default();
    Ok(marked(&String::from_utf8_lossy(&text)))
}

/// Says whether a text is one that rlvm wrote.
fn marked(text: &str) -> bool {
    text.lines().next().is_some_and(|first| first.contains(OURS))
}

impl OtherBackups {
    fn in_file(&self, host: &dyn Observe, file: &HostPath) -> Result<Vec<OtherBackup>> {
        // Of what it reads only the name of a tool is told.
        Ok(match host.lenient().text(file)? {
            (Entry::File(_), Some(text)) => self.in_text(file.as_str(), &String::from_utf8_lossy(&text)),
            _ => Vec::new(),
        })
    }

    /// Finds the lines of a crontab or script that call a tool.
    fn in_text(&self, file: &str, text: &str) -> Vec<OtherBackup> {
        if marked(text) {
            return Vec::new();
        }
        // What stands in a user's block is that user's rlvm's.
        let own =
            parts(text).ok().and_then(|it| Some((it.before.lines().count(), it.block?.lines().count())));
        let (from, count) = own.unwrap_or_default();
        let lines = text.lines().enumerate().filter(|(number, line)| {
            !(from..from + count).contains(number) && !line.trim_start().starts_with('#')
        });
        let found = lines.filter_map(|(number, line)| {
            let tool = words(line).find_map(called)?;
            let names =
                |source: &&HostPath| words(line).any(|word| word.trim_end_matches('/') == source.as_str());
            let source = self.sources.iter().find(names).cloned();
            Some(OtherBackup { place: format!("{file}:{}", number + 1), tool: tool.into(), source })
        });
        found.collect()
    }
}

/// Splits a line at what divides words and commands in a shell.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || ";|&()'\"`$=<>".contains(c)).filter(|word| !word.is_empty())
}

/// Says which tool a word calls, by name or by path.
fn called(word: &str) -> Option<&'static str> {
    // A directory of its name is no call: `ls /etc/restic`.
    let name = match word.rsplit_once('/') {
        Some((dir, name)) if dir.ends_with("bin") => name,
        Some(_) => return None,
        None => word,
    };
    TOOLS.iter().copied().find(|tool| *tool == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_other_tools_are_found_and_nothing_else() {
        // R30
        let it = OtherBackups { sources: vec!["/home".parse().unwrap(), "/srv/www".parse().unwrap()] };
        for (text, expected) in [
            ("0 3 * * * root borgmatic --verbosity 0\n", "f:1 borgmatic"),
            ("SHELL=/bin/sh\n\n0 3 * * * root /usr/local/bin/rlvm backup x\n", "f:3 rlvm"),
            ("0 3 * * * root RESTIC_PASSWORD=x restic backup /home/ /etc\n", "f:1 restic /home"),
            ("5 4 * * * root test -x /usr/sbin/rsnapshot && rsnapshot daily\n", "f:1 rsnapshot"),
            ("# 0 3 * * * root borgmatic\n", ""),
            ("0 3 * * * root find /srv/borgmatic.d -name 'restic.log'\n", ""),
            ("0 3 * * * root /opt/prerestic; ls /etc/restic\n", ""),
            (
                "# job home of web01; made by rlvm, which puts back\n30 2 * * * root /usr/bin/rlvm run --scheduled home\n",
                "",
            ),
            ("# BEGIN rlvm\n@daily rlvm run --scheduled a\n# END rlvm\n@daily borg create\n", "f:4 borg"),
            ("", ""),
        ] {
            let found = it.in_text("f", text);
            let shown: Vec<String> = found
                .iter()
                .map(|it| {
                    let source = it.source.as_ref().map(|source| format!(" {source}")).unwrap_or_default();
                    format!("{} {}{source}", it.place, it.tool)
                })
                .collect();
            assert_eq!(shown.join("; "), expected, "{text}");
        }
    }

    #[test]
    fn what_else_stands_in_a_line_is_not_told() {
        let it = OtherBackups { sources: Vec::new() };
        let found =
            it.in_text("/etc/crontab", "0 3 * * * root RESTIC_PASSWORD=hunter2 restic backup /home\n");
        let said = format!("{found:?} {:?}", it.findings(&found));
        assert!(said.contains("/etc/crontab:1 runs restic") && !said.contains("hunter2"), "{said}");
    }
}
