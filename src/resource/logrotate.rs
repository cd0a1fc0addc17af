//! Logrotate rules, one file each in /etc/logrotate.d.

use std::borrow::Cow;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FileSeen, Finding, Kind, Look, ManagedFile, Severity, managed_file::kind_is};
use crate::{
    effect::Owner,
    host::Entry,
    model::{
        Address, BadText, GroupName, HostPath, Mode, Name, OneOrMore, PathPattern, UserName,
        field::{is_default, is_yes, yes},
    },
};

/// A logrotate rule of your own; rlvm's own logs get one without being asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the YAML")]
pub struct LogrotateSpec {
    /// The logs: absolute paths, `*` and `?` allowed; at least one.
    pub paths: OneOrMore<PathPattern>,
    /// How often they are rotated. Default: daily.
    #[serde(default)]
    pub frequency: Frequency,
    /// How many old logs are kept. Default: 14.
    #[serde(default = "LogrotateSpec::keep")]
    pub keep: u32,
    /// Compresses old logs. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub compress: bool,
    /// Leaves the newest old log uncompressed until the next rotation, for programs that still write it. Default:
    /// false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delay_compress: bool,
    /// A missing log is no error. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub missing_ok: bool,
    /// Copies the log and empties it in place, for programs that never reopen theirs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copy_truncate: bool,
    /// The user and group that rotate; needed where the directory can be written by a group. Default: root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub su: Option<Su>,
    /// How logrotate creates the new, empty log. Default: logrotate does not; the program creates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<NewFile>,
    /// Takes over an existing file of this name that differs. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// Refuses every plan that would remove it, until an apply without `protect`. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protect: bool,
}

impl LogrotateSpec {
    const fn keep() -> u32 {
        14
    }
}

/// How often logs are rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Frequency {
    /// Every hour, if logrotate itself runs as often.
    Hourly,
    /// Every day.
    #[default]
    Daily,
    /// Every week.
    Weekly,
    /// Every month.
    Monthly,
    /// Every year.
    Yearly,
}

/// A user and a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Su {
    /// The user, by name.
    pub user: UserName,
    /// The group, by name.
    pub group: GroupName,
}

/// How a new file is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct NewFile {
    /// Its permission bits in octal, in quotes.
    pub mode: Mode,
    /// The user that owns it.
    pub user: UserName,
    /// The group that owns it.
    pub group: GroupName,
}

/// A logrotate rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogrotateFile {
    file: ManagedFile,
    /// Directories of its logs that it does not `su` for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    directories: Vec<HostPath>,
}

/// What was seen of a logrotate rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogrotateSeen {
    /// The file.
    pub file: FileSeen,
    /// Directories of its logs that others than root may write, with `user group` as `su` wants it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<(HostPath, String)>,
}

impl LogrotateFile {
    /// Writes the file `name` in `/etc/logrotate.d`, saying whose rule it is.
    ///
    /// # Errors
    ///
    /// If a path cannot be taken apart.
    pub fn new(name: &Name, whose: &str, spec: &LogrotateSpec) -> Result<Self, BadText> {
        let path = format!("/etc/logrotate.d/{name}").parse()?;
        let directories = if spec.su.is_some() { Vec::new() } else { directories(spec) };
        Ok(Self { file: ManagedFile::of_root(path, render(whose, spec)), directories })
    }

    /// Writes the file `name` in a directory of a user's own, who calls logrotate without root: it then minds nobody
    /// else's writing there (logrotate 3.21).
    ///
    /// # Errors
    ///
    /// If the name is none of a file.
    pub fn of_user(
        dir: &HostPath,
        owner: Owner,
        name: &Name,
        whose: &str,
        spec: &LogrotateSpec,
    ) -> Result<Self, BadText> {
        let file = ManagedFile::of(dir.join(name.as_str())?, owner, render(whose, spec));
        Ok(Self { file, directories: Vec::new() })
    }
}

/// Writes a rule in logrotate's words (logrotate(8)).
fn render(whose: &str, spec: &LogrotateSpec) -> String {
    let paths: Vec<String> = spec.paths.iter().map(|path| format!("\"{path}\"")).collect();
    let frequency = match spec.frequency {
        Frequency::Hourly => "hourly",
        Frequency::Daily => "daily",
        Frequency::Weekly => "weekly",
        Frequency::Monthly => "monthly",
        Frequency::Yearly => "yearly",
    };
    let mut words = vec![frequency.to_owned(), format!("rotate {}", spec.keep)];
    words.push(if spec.compress { "compress" } else { "nocompress" }.into());
    if spec.delay_compress {
        words.push("delaycompress".into());
    }
    words.push(if spec.missing_ok { "missingok" } else { "nomissingok" }.into());
    words.push("notifempty".into());
    if spec.copy_truncate {
        words.push("copytruncate".into());
    }
    if let Some(NewFile { mode, user, group }) = &spec.create {
        words.push(format!("create {mode} {user} {group}"));
    }
    if let Some(Su { user, group }) = &spec.su {
        words.push(format!("su {user} {group}"));
    }
    let head = format!("# {whose}; made by rlvm, which puts back what is changed by hand.\n");
    let body: String = words.iter().map(|word| format!("    {word}\n")).collect();
    format!("{head}{} {{\n{body}}}\n", paths.join(" "))
}

/// Lists the directories that the paths name without a pattern.
fn directories(spec: &LogrotateSpec) -> Vec<HostPath> {
    let dir = |path: &str| {
        let (dir, _) = path.rsplit_once('/')?;
        if dir.contains(['*', '?', '[']) { None } else { dir.parse().ok() }
    };
    let mut found: Vec<HostPath> = spec.paths.iter().filter_map(|path| dir(path.as_str())).collect();
    found.sort_unstable();
    found.dedup();
    found
}

impl Kind for LogrotateFile {
    const NAME: &'static str = "logrotate";
    type Seen = LogrotateSeen;

    kind_is!(file, file);

    fn key(&self) -> Cow<'_, str> {
        self.file.path.name().into()
    }

    fn observe(&self, look: &Look<'_, LogrotateSeen>) -> Result<LogrotateSeen, anyhow::Error> {
        let mut open = Vec::new();
        for dir in self.directories.iter().filter(|_| !look.leaving) {
            if let Entry::Directory(meta) = look.host.entry(dir)?
                && (meta.mode.bits() & 0o002 != 0 || meta.mode.bits() & 0o020 != 0 && meta.group != "root")
            {
                open.push((dir.clone(), format!("{} {}", meta.owner, meta.group)));
            }
        }
        Ok(LogrotateSeen { file: self.file.observe(look.host)?, open })
    }

    fn checks(&self, seen: &LogrotateSeen, _: Option<&LogrotateSeen>) -> Vec<Finding> {
        // R44: logrotate skips such a rule, and says so only in its own log.
        let address = Address::new(Self::NAME, &self.key());
        let say = |(dir, su): &(HostPath, String)| {
            let (user, group) = su.split_once(' ').unwrap_or((su, su));
            let message = format!("logrotate will skip it: others than root may write {dir}");
            let remedy = format!("say as whom to rotate: `su: {{ user: {user}, group: {group} }}`");
            Finding::new(Severity::Warning, &address, message).remedy(remedy)
        };
        seen.open.iter().map(say).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> LogrotateSpec {
        serde_json::from_value(json).unwrap()
    }

    fn text(json: serde_json::Value) -> String {
        let file = LogrotateFile::new(&"shop".parse().unwrap(), "rule shop", &spec(json)).unwrap();
        assert_eq!((&*file.key(), file.file.path.as_str()), ("shop", "/etc/logrotate.d/shop"));
        file.file.text
    }

    #[test]
    fn as_logrotate_reads_it() {
        // R44; that logrotate accepts it is asked of logrotate itself in tests/it.
        let head = "# rule shop; made by rlvm, which puts back what is changed by hand.\n";
        assert_eq!(
            text(
                serde_json::json!({"paths": ["/var/log/shop/*.log"], "su": {"user": "shop", "group": "adm"}})
            ),
            format!(
                "{head}\"/var/log/shop/*.log\" {{\n    daily\n    rotate 14\n    compress\n    missingok\n    notifempty\n    su shop adm\n}}\n"
            )
        );
        assert_eq!(
            text(serde_json::json!({
                "paths": ["/a.log", "/b c.log"], "frequency": "weekly", "keep": 2, "compress": false,
                "delay_compress": true, "missing_ok": false, "copy_truncate": true,
                "create": {"mode": "0640", "user": "root", "group": "adm"},
            })),
            format!(
                "{head}\"/a.log\" \"/b c.log\" {{\n    weekly\n    rotate 2\n    nocompress\n    delaycompress\n    nomissingok\n    notifempty\n    copytruncate\n    create 0640 root adm\n}}\n"
            )
        );
    }

    #[test]
    fn a_directory_that_others_may_write_needs_su() {
        let shop = spec(serde_json::json!({"paths": ["/var/log/shop/*.log", "/var/*/x", "/var/log/shop/y"]}));
        assert_eq!(directories(&shop), ["/var/log/shop".parse().unwrap()]);
        let file = LogrotateFile::new(&"shop".parse().unwrap(), "x", &shop).unwrap();
        let open = vec![("/var/log/shop".parse().unwrap(), "shop adm".to_owned())];
        let found = file.checks(&LogrotateSeen { file: FileSeen::Absent, open }, None);
        assert_eq!(
            found[0].remedy.as_deref(),
            Some("say as whom to rotate: `su: { user: shop, group: adm }`")
        );
    }
}
