//! The notification history: which notifications were sent, and which problems prevent sending. It is kept between
//! runs and survives a reboot.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::status::{Level, Remark};
use crate::{
    model::{Name, Span},
    state::{Occasion, State},
};

/// The version of the format. A larger one may add.
pub const VERSION: u32 = 1;

/// What something is told about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct About {
    /// What of it.
    pub kind: Kind,
    /// The job; none if it is about a destination as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Name>,
    /// The destination; none if it is about a job as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Name>,
}

/// What of a job or destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// That it is stored.
    Run,
    /// That its old backups are removed.
    Prune,
    /// That it was stored when it was time.
    Due,
    /// That it is found well.
    Verify,
    /// That it was verified when it was time.
    VerifyDue,
}

impl Kind {
    /// Returns the occasion that trouble with it is.
    pub const fn occasion(self) -> Occasion {
        match self {
            Self::Run | Self::Prune => Occasion::Failure,
            Self::Due => Occasion::Overdue,
            Self::Verify | Self::VerifyDue => Occasion::Verify,
        }
    }
}

/// All that notifiers were told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// [`VERSION`].
    #[serde(default)]
    pub format_version: u32,
    /// By notifier.
    #[serde(default)]
    pub notifiers: BTreeMap<Name, Known>,
}

/// What a notifier knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Trouble that has not ended, for all that is known.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// Why it cannot be told anything, since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Silent>,
}

/// Trouble that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// With what.
    #[serde(flatten)]
    pub about: About,
    /// Since when, UTC, as RFC 3339 has it.
    pub since: String,
    /// When it was told last; none if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
}

/// Why a notifier cannot be told anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// Since when.
    pub since: String,
    /// Why, the last time.
    pub why: String,
}

/// What becomes known of a notifier once it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// There is trouble, of which it was told or not.
    Trouble {
        /// With what.
        about: About,
        /// Since when.
        since: String,
        /// Whether it is told.
        tells: bool,
    },
    /// There is none any more.
    Well(About),
}

impl Told {
    /// Reads what was kept; nothing is known if it is damaged or of another format: then trouble is told once more.
    pub fn read(bytes: &[u8]) -> Self {
        let read: Option<Self> = serde_json::from_slice(bytes).ok();
        read.filter(|it| it.format_version == VERSION).unwrap_or_default()
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// Never: it holds nothing that JSON does not know.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(&Self { format_version: VERSION, ..self.clone() })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Finds the trouble that a notifier knows of.
    pub fn trouble(&self, notifier: &Name, about: &About) -> Option<&Trouble> {
        self.notifiers.get(notifier)?.troubles.iter().find(|it| it.about == *about)
    }

    /// Notes what a notifier was told, or could not be told. What was not told is told the next time.
    pub fn note(&mut self, notifier: &Name, marks: &[Mark], result: &Result<(), String>, now: &str) {
        let known = self.notifiers.entry(notifier.clone()).or_default();
        for mark in marks {
            known.mark(mark, result.is_ok(), now);
        }
        known.troubles.sort_by(|a, b| a.about.cmp(&b.about));
    }

    /// Notes whether a notifier could be told something, whatever it was.
    pub fn heard(&mut self, notifier: &Name, result: &Result<(), String>, now: &str) {
        let known = self.notifiers.entry(notifier.clone()).or_default();
        known.silent = result.as_ref().err().map(|why| Silent {
            since: known.silent.as_ref().map_or_else(|| now.to_owned(), |silent| silent.since.clone()),
            why: why.clone(),
        });
    }

    /// Forgets what the state does not declare any more.
    pub fn forget(&mut self, state: &State) {
        self.notifiers.retain(|name, _| state.notify.contains_key(name));
        for known in self.notifiers.values_mut() {
            known.troubles.retain(|it| {
                it.about.job.as_ref().is_none_or(|job| state.jobs.contains_key(job))
                    && it.about.destination.as_ref().is_none_or(|it| {
                        state.destinations.contains_key(it) || prunes(state).any(|client| client == *it)
                    })
            });
        }
    }

    /// Says which notifiers cannot be told anything: nobody else would.
    pub fn remarks(&self, state: &State) -> Vec<Remark> {
        let declared = self.notifiers.iter().filter(|(name, _)| state.notify.contains_key(name));
        let silent = declared.filter_map(|(name, known)| Some((name, known.silent.as_ref()?)));
        let remark = |(name, silent): (&Name, &Silent)| Remark {
            about: "notify".into(),
            level: Level::Warning,
            message: format!(
                "{name} cannot be told anything since {}: {}; try `rlvm notify test {name}`",
                minute(&silent.since),
                silent.why
            ),
        };
        silent.map(remark).collect()
    }
}

impl Known {
    fn mark(&mut self, mark: &Mark, was_told: bool, now: &str) {
        match mark {
            Mark::Trouble { about, since, tells } => {
                let told = (*tells && was_told).then(|| now.to_owned());
                match self.troubles.iter_mut().find(|it| it.about == *about) {
                    Some(there) => there.told = told.or_else(|| there.told.take()),
                    None => {
                        self.troubles.push(Trouble { about: about.clone(), since: since.clone(), told });
                    }
                }
            }
            Mark::Well(about) if was_told => self.troubles.retain(|it| it.about != *about),
            Mark::Well(_) => {}
        }
    }
}

/// Lists the clients whose old backups this server removes, as they are named in what is told.
fn prunes(state: &State) -> impl Iterator<Item = Name> + '_ {
    let pruned = state.ssh.users.iter().filter(|(_, spec)| spec.prune.is_some());
    pruned.filter_map(|(account, _)| account.as_str().replace('.', "-").parse().ok())
}

/// Says whether it is time to tell of a trouble again. One that was told in the future is told now: a clock was wrong.
pub(super) fn is_time(trouble: Option<&Trouble>, repeat: Span, now: Timestamp) -> bool {
    let told = trouble.and_then(|it| it.told.as_ref()?.parse::<Timestamp>().ok());
    told.is_none_or(|told| {
        let passed = now.as_second() - told.as_second();
        passed < 0 || u64::try_from(passed).is_ok_and(|passed| passed >= repeat.seconds())
    })
}

/// Shortens a time to the minute, for people: `2026-11-21 02:30 UTC`.
pub(super) fn minute(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(kind: Kind) -> About {
        About { kind, job: Some("system".parse().unwrap()), destination: Some("vault".parse().unwrap()) }
    }

    fn state() -> State {
        let yaml = "version: 1\nhost: web01\ndestinations: { vault: { local: { path: /a }, password_file: /p } }\n\
             notify: { ops: { webhook: { url: 'https://a.lan/x' } } }\n\
             jobs: { system: { to: [vault], sources: [{ path: /etc }], notify: [ops] } }\n";
        crate::state::load("state", &mut |_| Ok(yaml.to_owned())).unwrap().state
    }

    #[test]
    fn what_was_not_told_stays_open_and_a_reboot_forgets_nothing() {
        let (ops, now) = ("ops".parse().unwrap(), "2026-11-21T02:30:00Z");
        let trouble = |tells| Mark::Trouble { about: about(Kind::Run), since: now.into(), tells };
        let mut told = Told::default();
        told.note(&ops, &[trouble(true)], &Err("dead".into()), now);
        assert_eq!(told.trouble(&ops, &about(Kind::Run)).unwrap().told, None);
        told.note(&ops, &[trouble(true)], &Ok(()), now);
        let mut told = Told::read(&told.bytes().unwrap());
        assert_eq!(told.trouble(&ops, &about(Kind::Run)).unwrap().told.as_deref(), Some(now));
        // One that is not told again keeps when it was.
        told.note(&ops, &[trouble(false)], &Ok(()), "2026-11-21T03:30:00Z");
        assert_eq!(told.trouble(&ops, &about(Kind::Run)).unwrap().told.as_deref(), Some(now));
        told.note(&ops, &[Mark::Well(about(Kind::Run))], &Err("dead".into()), now);
        assert!(told.trouble(&ops, &about(Kind::Run)).is_some());
        told.note(&ops, &[Mark::Well(about(Kind::Run))], &Ok(()), now);
        assert!(told.trouble(&ops, &about(Kind::Run)).is_none());
        assert_eq!(Told::read(b"{\"format_version\":2}"), Told::default());
        assert_eq!(Told::read(b"{\"format_ver"), Told::default());
    }

    #[test]
    fn a_notifier_that_fails_is_said_until_it_works() {
        // R78
        let (ops, first, later) = ("ops".parse().unwrap(), "2026-11-20T02:30:00Z", "2026-11-21T02:30:00Z");
        let mut told = Told::default();
        told.heard(&ops, &Err("https://a.lan answered 404".into()), first);
        told.heard(&ops, &Err("https://a.lan: no answer in time".into()), later);
        told.heard(&"gone".parse().unwrap(), &Err("x".into()), later);
        let remarks = told.remarks(&state());
        assert_eq!(remarks.len(), 1);
        assert_eq!(
            remarks[0].message,
            "ops cannot be told anything since 2026-11-20 02:30 UTC: https://a.lan: no answer in time; \
             try `rlvm notify test ops`"
        );
        told.heard(&ops, &Ok(()), later);
        assert!(told.remarks(&state()).is_empty());
        told.forget(&state());
        assert_eq!(told.notifiers.len(), 1);
    }

    #[test]
    fn the_same_is_told_again_after_a_while() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let trouble = |told: Option<&str>| Trouble {
            about: about(Kind::Due),
            since: String::new(),
            told: told.map(Into::into),
        };
        let (now, day) = (at("2026-11-21T02:30:00Z"), "24h".parse().unwrap());
        for (told, expected) in [
            (None, true),
            (Some("2026-11-21T02:29:00Z"), false),
            (Some("2026-11-20T02:30:01Z"), false),
            (Some("2026-11-20T02:30:00Z"), true),
            (Some("2026-11-22T00:00:00Z"), true),
            (Some("nonsense"), true),
        ] {
            assert_eq!(is_time(Some(&trouble(told)), day, now), expected, "{told:?}");
        }
        assert!(is_time(None, day, now));
    }
}
