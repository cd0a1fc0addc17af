//! Asks a person to confirm what a restore in place replaces, and remembers what was confirmed.
//!
//! A restore that continues at another destination compares again. It asks again only if it would replace something that the
//! confirmed comparison did not show.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};

use super::{RestoreVerb, ask, attempt::Goal, compare::files, decide::Decided};
use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
    },
    host::{Fate, Stamp},
};

/// What a person has confirmed.
#[derive(Default)]
pub(super) struct Consent(Option<Confirmed>);

/// What a confirmed comparison showed.
struct Confirmed {
    /// The files that are replaced, and as what they were shown.
    replaced: HashMap<Vec<u8>, Stamp>,
    /// The directories that get their owner and mode back.
    directories: HashSet<String>,
}

impl Confirmed {
    fn of(decided: &Decided) -> Self {
        Self {
            replaced: replaced(decided).map(|(path, stamp)| (path.to_vec(), stamp)).collect(),
            directories: decided.comparison.directories_set_back.iter().cloned().collect(),
        }
    }

    /// Says whether nothing else is replaced now.
    fn covers(&self, decided: &Decided) -> bool {
        replaced(decided).all(|(path, stamp)| self.replaced.get(path) == Some(&stamp))
            && decided.comparison.directories_set_back.iter().all(|it| self.directories.contains(it))
    }
}

fn replaced(decided: &Decided) -> impl Iterator<Item = (&[u8], Stamp)> {
    decided.fates.iter().filter_map(|(path, fate)| match fate {
        Fate::Replace(stamp) => Some((path.as_slice(), *stamp)),
        _ => None,
    })
}

impl RestoreVerb {
    /// Asks, unless `--yes` is given or all of it was confirmed before.
    pub(super) fn confirmed(
        &self,
        context: &Context<'_>,
        goal: &Goal,
        decided: &Decided,
        consent: &mut Consent,
    ) -> Result<bool> {
        if self.yes || consent.0.as_ref().is_some_and(|it| it.covers(decided)) {
            return Ok(true);
        }
        let environment = context.environment;
        if !environment.in_terminal || !environment.err_terminal || self.json {
            let message = "a restore in place needs a confirmation, and there is no terminal to ask on";
            bail!(Failure::new(Exit::Usage, message).help("check what rlvm printed, then add --yes"));
        }
        let question = match decided.comparison.differing {
            count if count > 0 && !goal.only_missing => {
                format!("Overwrite {}?", files(count, "file"))
            }
            _ => "Restore in place?".into(),
        };
        let yes = ask::confirmed(context, &question)?;
        if yes {
            consent.0 = Some(Confirmed::of(decided));
        }
        Ok(yes)
    }
}
