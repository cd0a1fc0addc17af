//! Names the verb of rlvm for a verb of restic, borg or borgmatic that a newcomer types.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Verbs of other tools, each with what does the same here.
const VERBS: [(&str, &str); 17] = [
    ("backup", "run"),
    ("break-lock", "sweep"),
    ("check", "verify"),
    ("config", "show"),
    ("create", "run"),
    ("dump", "restore"),
    ("extract", "restore"),
    ("find", "mount"),
    ("forget", "prune"),
    ("init", "apply"),
    ("ls", "snapshots` or `rlvm mount"),
    ("rcreate", "apply"),
    ("repo-create", "apply"),
    ("repo-list", "snapshots"),
    ("rlist", "snapshots"),
    ("stats", "status"),
    ("unlock", "sweep"),
];

/// Adds a tip to clap's error about an unknown verb, in place of verbs that are only spelt alike.
pub(super) fn add(error: &mut clap::Error) {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return };
    let Some(tip) = tip(typed) else { return };
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

fn tip(typed: &str) -> Option<String> {
    let verb = VERBS.iter().find(|(known, _)| *known == typed).map(|(_, verb)| verb)?;
    Some(format!("in rlvm this is `rlvm {verb}`"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn verbs_of_other_tools_lead_to_ours() {
        let ours = Cli::command();
        let known = |name: &str| ours.get_subcommands().any(|it| it.get_name() == name);
        for (typed, verb) in VERBS {
            assert!(!known(typed), "{typed} is a verb of rlvm");
            for word in verb.split("` or `rlvm ") {
                assert!(known(word.split(' ').next().unwrap()), "{word}");
            }
            let mut error = Cli::try_parse_from(["rlvm", typed]).unwrap_err();
            add(&mut error);
            let said = error.to_string();
            assert!(said.contains(&format!("tip: in rlvm this is `rlvm {verb}`")), "{said}");
            assert_eq!(said.matches("tip").count(), 1, "{said}");
        }
        let mut error = Cli::try_parse_from(["rlvm", "aply"]).unwrap_err();
        add(&mut error);
        assert!(error.to_string().contains("'apply'"), "{error}");
    }
}
