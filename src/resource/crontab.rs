//! A user's own entries: one block of lines in the user's crontab, which crontab(1) lists and takes.
//!
//! The block stands first, since a variable holds for all lines below it: none of the user's own holds for the block,
//! and the block sets none. What stands below is the user's, is kept byte for byte, and is looked at by its digest
//! alone: people write passwords into crontabs.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{
    Account, Attribute, Diff, Edit, Finding, Kind, Look, Removal, Severity,
    cron::{CRON_PATH, for_cron},
    managed_block::{IN_A_FILE, framed, parts},
};
use crate::{
    effect::{EditCrontab, Op, Query, list_crontab, listed},
    host::LONGEST_TEXT,
    model::{Address, BadText, GroupName, HostPath, Line, Schedule, UserName},
};

/// Debian's crontab lists a carriage return as these two letters (cron 3.0pl1), so it would not be put back as it was.
const CARRIAGE_RETURN: &str = "a line ends in `\\r`: a carriage return, which `crontab -l` does not print as it is; take it off (crontab -e)";

/// The block in a user's crontab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crontab {
    /// Whose it is.
    pub user: UserName,
    /// The lines of the block, each with its newline.
    text: String,
    /// What its entries are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

/// One entry: whose it is, for the line above it, when and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrontabLine<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Whose it is.
    pub whose: &'a str,
    /// When.
    pub schedule: &'a Schedule,
    /// What, for a shell.
    pub command: &'a str,
}

/// What was seen of a crontab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrontabSeen {
    /// It was listed, or there is none.
    Listed {
        /// The block, if it is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        block: Option<String>,
        /// Whether variables are set above the block: they hold for its entries too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        set_above: bool,
        /// The change that takes the block out.
        out: EditCrontab,
        /// The change that puts the declared one there.
        into: EditCrontab,
    },
    /// It could not be listed: why.
    Not(String),
    /// Its lines do not belong together, or cron would not take it: why.
    Wrong(String),
    /// There is no crontab(1) here.
    Missing,
}

impl Crontab {
    /// Writes the block of a user's entries.
    ///
    /// # Errors
    ///
    /// If a command is more than one line, or too long for cron.
    pub fn new(user: UserName, lines: &[CrontabLine<'_>]) -> Result<Self, BadText> {
        let mut text = String::new();
        for CrontabLine { whose, schedule, command, .. } in lines {
            let command: Line = command.parse()?;
            // Before a command that is several, an assignment would hold for the first alone.
            let command = for_cron(&format!("export PATH={CRON_PATH}; {command}"))?;
            let entry = format!("# {whose}\n{schedule} {command}\n");
            text.push_str(&entry);
        }
        let names = lines.iter().map(|line| line.name.to_owned()).collect();
        Ok(Self { user, text, names })
    }

    /// Takes apart what was listed.
    fn seen(&self, now: Option<&str>) -> CrontabSeen {
        let text = now.unwrap_or_default();
        if text.len() as u64 > LONGEST_TEXT {
            return CrontabSeen::Wrong(format!("it is far too large: {} bytes", text.len()));
        }
        let parts = match parts(text) {
            Ok(parts) => parts,
            Err(why) => return CrontabSeen::Wrong(why),
        };
        // A comment may be (tried with Debian's cron 3.0pl1); with an entry crontab(1) refuses the whole.
        let last = text.rsplit('\n').next().unwrap_or_default().trim();
        if !last.is_empty() && !last.starts_with('#') {
            return CrontabSeen::Wrong("its last line has no newline, and cron takes none so".into());
        }
        if [parts.before, parts.after].iter().any(|foreign| foreign.split('\n').any(|it| it.ends_with("\\r")))
        {
            return CrontabSeen::Wrong(CARRIAGE_RETURN.into());
        }
        let from = parts.before.len();
        let goes = from..from + parts.block.map_or(0, str::len);
        let out = EditCrontab::new(now, goes.clone(), String::new());
        let into = EditCrontab::new(now, goes, self.wanted());
        let set_above = parts.block.is_some() && parts.before.lines().any(sets_variable);
        CrontabSeen::Listed { block: parts.block.map(Into::into), set_above, out, into }
    }

    fn wanted(&self) -> String {
        framed(IN_A_FILE, &self.text)
    }
}

/// Says whether a line of a crontab sets a variable: `HOME=/x`, `SHELL = sh`. An entry starts with a time, which a digit,
/// `*`, `@` or (cronie's) `-` begins (crontab(5)).
fn sets_variable(line: &str) -> bool {
    let line = line.trim_start();
    let is_entry = line.starts_with(|first: char| first.is_ascii_digit() || "*@-#".contains(first));
    !is_entry && line.contains('=')
}

impl Kind for Crontab {
    const NAME: &'static str = "crontab";
    type Seen = CrontabSeen;

    fn slots(&self) -> Vec<String> {
        // R45: timers take the places of its entries, or it takes theirs.
        self.names.iter().map(|name| format!("schedule/{name}")).collect()
    }

    fn key(&self) -> Cow<'_, str> {
        self.user.as_str().into()
    }

    fn path(&self) -> Option<&HostPath> {
        None
    }

    fn needs(&self) -> Vec<Address> {
        Account::needs(&self.user, &GroupName::root())
    }

    fn observe(&self, look: &Look<'_, CrontabSeen>) -> Result<CrontabSeen> {
        if look.host.program("crontab")?.is_none() {
            return Ok(CrontabSeen::Missing);
        }
        let output = look.host.query(&Query::new(list_crontab())?)?;
        Ok(match listed(output.code, output.stdout, &output.stderr) {
            Ok(now) => self.seen(now.as_deref()),
            Err(why) => CrontabSeen::Not(why),
        })
    }

    fn exists(&self, seen: &CrontabSeen) -> bool {
        matches!(seen, CrontabSeen::Listed { block: Some(_), .. } | CrontabSeen::Wrong(_))
    }

    fn diff(&self, seen: &CrontabSeen) -> Diff {
        let wanted = self.wanted();
        // The block alone: what else stands there is nobody's to see.
        let edit = |before: &str, op: Option<&EditCrontab>| Edit {
            text: Some((before.to_owned(), wanted.clone())),
            ops: op.cloned().map(Op::EditCrontab).into_iter().collect(),
            ..Edit::default()
        };
        match seen {
            CrontabSeen::Listed { block: None, into, .. } => {
                let attributes = vec![Attribute::new("user", (), self.user.as_str())];
                Diff::Create(Edit { attributes, ..edit("", Some(into)) })
            }
            CrontabSeen::Listed { block: Some(block), set_above, into, .. } if *block == wanted => {
                if !set_above {
                    return Diff::Same;
                }
                let attributes = vec![Attribute::new("above all variables", false, true)];
                let ops = vec![Op::EditCrontab(into.clone())];
                Diff::Update(Edit { attributes, text: None, ops })
            }
            CrontabSeen::Listed { block: Some(block), into, .. } => Diff::Update(edit(block, Some(into))),
            CrontabSeen::Wrong(why) => Diff::Refuse(format!("the crontab of {}: {why}", self.user)),
            // `checks` has an error, so nothing comes of it.
            CrontabSeen::Not(_) | CrontabSeen::Missing => Diff::Create(edit("", None)),
        }
    }

    fn checks(&self, seen: &CrontabSeen, _: Option<&CrontabSeen>) -> Vec<Finding> {
        let (message, remedy) = match seen {
            // R31
            CrontabSeen::Missing => ("there is no crontab on PATH".into(), "apt-get install cron"),
            CrontabSeen::Not(why) => (
                format!("the crontab of {} cannot be read: {why}", self.user),
                "/etc/cron.allow and /etc/cron.deny decide who may have a crontab (crontab(1)); or set `scheduler: systemd`",
            ),
            CrontabSeen::Listed { .. } | CrontabSeen::Wrong(_) => return Vec::new(),
        };
        let address = Address::new(Self::NAME, &self.key());
        vec![Finding::new(Severity::Error, address, message).remedy(remedy)]
    }

    fn removal(&self, seen: &CrontabSeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        match seen {
            CrontabSeen::Listed { block: None, .. } | CrontabSeen::Missing => Removal::Quiet,
            CrontabSeen::Wrong(why) | CrontabSeen::Not(why) => Removal::Forget(why.clone()),
            CrontabSeen::Listed { block: Some(block), out, .. } => Removal::Delete(Edit {
                text: Some((block.clone(), String::new())),
                ops: vec![Op::EditCrontab(out.clone())],
                ..Edit::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crontab(command: &str) -> Crontab {
        let schedule = "@daily".parse().unwrap();
        let line =
            CrontabLine { name: "rlvm-home", whose: "job home of web01", schedule: &schedule, command };
        Crontab::new("me".parse().unwrap(), &[line]).unwrap()
    }

    fn block(command: &str) -> String {
        crontab(command).wanted()
    }

    /// Returns the whole crontab after the change.
    fn written(edit: &Edit, now: Option<&str>) -> String {
        let [Op::EditCrontab(op)] = &edit.ops[..] else { panic!("{edit:?}") };
        op.after(now).unwrap()
    }

    #[test]
    fn as_cron_reads_it() {
        // R43
        assert_eq!(
            block("date +%F"),
            "# BEGIN rlvm: what is changed by hand from here to END is put back\n\
             # job home of web01\n\
             @daily export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; date +\\%F\n\
             # END rlvm\n"
        );
        let exact =
            r"eval 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; date +\''\%F'";
        assert!(block(r"date +\%F").contains(exact), "{}", block(r"date +\%F"));
    }

    #[test]
    fn foreign_lines_are_kept_byte_for_byte_and_shown_nowhere() {
        let it = crontab("true");
        for rest in ["", "PASSWORD=hunter2\n\n# x\n* * * * * y\n", "a=b \r\n", "# hunter2", "\n\n"] {
            let Diff::Create(edit) = it.diff(&it.seen(Some(rest))) else { panic!("{rest:?}") };
            let whole = format!("{}{rest}", block("true"));
            assert_eq!(written(&edit, Some(rest)), whole);
            let there = it.seen(Some(&whole));
            assert_eq!(it.diff(&there), Diff::Same);
            let Removal::Delete(out) = it.removal(&there, &|_| false) else { panic!("{rest:?}") };
            assert_eq!(written(&out, Some(&whole)), rest);
            let said = format!("{edit:?}{out:?}{}", serde_json::to_string(&there).unwrap());
            assert!(!said.contains("hunter2"), "{said}");
        }
        let Diff::Create(edit) = it.diff(&it.seen(None)) else { panic!() };
        assert_eq!(written(&edit, None), block("true"));
    }

    #[test]
    fn the_block_is_put_back_at_the_top() {
        let (it, own) = (crontab("true"), block("true"));
        for (text, wanted) in [
            (block("evil"), own.clone()),
            (format!("X=1\n{}Y=2\n", block("evil")), format!("{own}X=1\nY=2\n")),
        ] {
            let Diff::Update(edit) = it.diff(&it.seen(Some(&text))) else { panic!("{text}") };
            assert_eq!(written(&edit, Some(&text)), wanted);
            assert_eq!(edit.text, Some((block("evil"), own.clone())));
        }
    }

    #[test]
    fn a_block_below_variables_is_moved_to_the_top() {
        let (it, own) = (crontab("true"), block("true"));
        for (above, moves) in [
            ("HOME=/elsewhere\n", true),
            ("# mine\n SHELL = /bin/dash\n", true),
            ("\"MAILTO\"=me\n", true),
            ("# A=1\n\n5 4 * * * env A=1 x\n@daily A=1 x\n", false),
        ] {
            let text = format!("{above}{own}B=2\n");
            match it.diff(&it.seen(Some(&text))) {
                Diff::Update(edit) if moves => {
                    let after = written(&edit, Some(&text));
                    assert_eq!(after, format!("{own}{above}B=2\n"));
                    assert_eq!(it.diff(&it.seen(Some(&after))), Diff::Same);
                }
                Diff::Same if !moves => {}
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_changed_safely_is_refused() {
        let it = crontab("true");
        for (text, words) in [
            ("# BEGIN rlvm\n", "line 1 opens a block"),
            ("* * * * * x", "no newline"),
            ("A=1\\r\n", "carriage return"),
        ] {
            let seen = it.seen(Some(text));
            let Diff::Refuse(why) = it.diff(&seen) else { panic!("{text}") };
            assert!(why.contains(words), "{why}");
            assert!(matches!(it.removal(&seen, &|_| false), Removal::Forget(_)));
        }
    }

    #[test]
    fn what_is_missing_is_an_error_with_a_remedy() {
        let it = crontab("true");
        for seen in [CrontabSeen::Missing, CrontabSeen::Not("`crontab -l` says: no".into())] {
            let found = it.checks(&seen, None);
            assert!(found[0].severity == Severity::Error && found[0].remedy.is_some(), "{found:?}");
        }
        assert_eq!(it.removal(&CrontabSeen::Missing, &|_| false), Removal::Quiet);
    }
}
