//! Cron entries, one file each in /etc/cron.d.

use std::borrow::Cow;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FileSeen, Kind, Look, ManagedFile, managed_file::kind_is};
use crate::model::{BadText, Line, Name, Schedule, UserName, field::is_default};

/// A cron entry of your own, beside those that jobs make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CronSpec {
    /// The schedule as for cron: `"30 2 * * *"` (minute, hour, day of month, month, day of week) or `@daily`.
    pub schedule: Schedule,
    /// The user of the command. Default: root.
    #[serde(default = "UserName::root")]
    pub user: UserName,
    /// The command, one line of shell. `%` needs no escape. rlvm replaces `${NAME}` only if `vars` declares NAME. The
    /// rest is left to the shell.
    pub command: Line,
    /// Takes over an existing file of this name that differs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until an apply without `protect`. Default: false.
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
    /// If the name is none that cron reads, or the command is too long for cron.
    pub fn new(name: &str, whose: &str, line: &CronLine<'_>) -> Result<Self, BadText> {
        let name: Name = name.parse()?;
        let path = format!("/etc/cron.d/{name}").try_into()?;
        let CronLine { schedule, user, .. } = line;
        let command = for_cron(line.command)?;
        let text = format!(
            "# {whose}; made by rlvm, which puts back what is changed by hand.\n\
            SHELL=/bin/sh\nPATH={CRON_PATH}\n{schedule} {user} {command}\n"
        );
        Ok(Self(ManagedFile::of_root(path, text)))
    }
}

/// How many bytes of a command Debian's cron takes (`MAX_COMMAND`, tried with 3.0pl1-137 to -212). It leaves out a whole
/// file in which one is longer, without a word.
const LONGEST_COMMAND: usize = 998;

/// Writes a command so that every cron passes exactly this text to the shell.
///
/// crontab(5) says that `%` is a newline unless `\%` is written. What else an implementation takes away differs: Debian's
/// cron makes one backslash of two and cronie does not, so neither has a text for `\%` itself; busybox joins a line that
/// ends in a backslash to the next. A command with any of these is quoted for `eval`, and `''` between the two characters
/// keeps them apart. busybox alone passes `\%` on as it is: see [`super::CronDaemon`].
///
/// # Errors
///
/// If the command is too long for cron.
pub(super) fn for_cron(command: &str) -> Result<String, BadText> {
    let is_plain = !command.contains(r"\\") && !command.contains(r"\%") && !command.ends_with('\\');
    let carried = if is_plain {
        command.replace('%', r"\%")
    } else {
        let quoted = command.replace('\'', r"'\''").replace(r"\\", r"\''\").replace(r"\\", r"\''\");
        format!("eval '{}'", quoted.replace(r"\%", r"\''%").replace('%', r"\%"))
    };
    if carried.len() > LONGEST_COMMAND {
        let start: String = command.chars().take(40).chain(['…']).collect();
        let size = carried.len();
        let why = format!(
            "is {size} bytes as cron reads it, and Debian's cron takes {LONGEST_COMMAND}: call a script"
        );
        return Err(BadText::new(&start, why));
    }
    Ok(carried)
}

impl Kind for CronFile {
    const NAME: &'static str = "cron";
    type Seen = FileSeen;

    kind_is!(0);

    fn key(&self) -> Cow<'_, str> {
        self.0.path.name().into()
    }

    fn observe(&self, look: &Look<'_, FileSeen>) -> Result<FileSeen, anyhow::Error> {
        self.0.observe(look.host)
    }

    fn slots(&self) -> Vec<String> {
        // R45: a timer of this name takes its place.
        vec![format!("schedule/{}", self.key())]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// Returns what an implementation of cron passes to the shell, and what it passes to its standard input. `halves`:
    /// of two backslashes one is left (Debian's 3.0pl1); else both stay (cronie 1.7.2).
    fn passed(text: &str, halves: bool) -> (String, Option<String>) {
        let (mut command, mut escaped, mut letters) = (String::new(), false, text.chars());
        while let Some(letter) = letters.next() {
            match letter {
                '%' if !escaped => return (command, Some(letters.collect())),
                '%' => drop(command.pop()),
                '\\' if escaped && halves => drop(command.pop()),
                _ => {}
            }
            command.push(letter);
            escaped = letter == '\\' && !escaped;
        }
        (command, None)
    }

    /// Returns the words that a shell makes of a text.
    #[expect(clippy::disallowed_methods, reason = "a shell itself says how it reads them")]
    fn words(text: &str) -> String {
        let script = format!("printf '<%s>' {text}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_cron_passes_on_what_is_declared(command in r#"[a%\\' "$]{1,12}"#) {
            let carried = for_cron(&command).unwrap();
            prop_assert!(!carried.ends_with('\\'), "busybox joins the next line: {carried}");
            for halves in [true, false] {
                let (got, input) = passed(&carried, halves);
                prop_assert_eq!(input, None);
                match got.strip_prefix("eval ") {
                    Some(quoted) => prop_assert_eq!(words(quoted), format!("<{command}>"), "{}", carried),
                    None => prop_assert_eq!(&got, &command),
                }
            }
        }
    }

    #[test]
    fn what_is_plain_is_written_as_it_is_read() {
        for (command, carried) in [
            ("date +%F", r"date +\%F"),
            (r"date +\%F", r"eval 'date +\''\%F'"),
            (r#"printf 'a\n' > "b\c""#, r#"printf 'a\n' > "b\c""#),
            (r"printf 'a\\n'", r"eval 'printf '\''a\''\n'\'''"),
        ] {
            assert_eq!(for_cron(command).unwrap(), carried);
        }
    }

    #[test]
    fn a_command_that_cron_would_pass_over_is_refused() {
        assert!(for_cron(&"x".repeat(998)).is_ok());
        let why = for_cron(&"x".repeat(999)).unwrap_err().to_string();
        assert!(why.contains("is 999 bytes") && why.contains("call a script") && why.len() < 200, "{why}");
        assert!(for_cron(&"%".repeat(500)).is_err(), "it is counted as it is written");
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
