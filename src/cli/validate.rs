//! `rlvm validate`: prints all problems of a state at once.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    context::{Context, Search},
    exit::Exit,
};
use crate::state::{Defaults, Problems};

/// Check a state and list all problems, each with its place and a remedy
///
/// Does not look at this host. Exits 0 if the state is valid, 3 if not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm validate                          this host's state
  rlvm validate state/hosts/web01.yaml   any host's
  rlvm validate --json | jq '.problems[].message'")]
pub(super) struct Validate {
    /// The state: a file, or a directory with hosts/<host name>.yaml in it
    state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    format_version: &'a str,
    valid: bool,
    problems: &'a Problems,
}

impl Validate {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let path = context.state_path(self.state.as_deref(), Search::HereToo)?;
        let (valid, problems, files) = match context.load(&path, &Defaults::default())? {
            Ok(loaded) => (true, loaded.warnings, loaded.files),
            Err(problems) => (false, problems, Vec::new()),
        };
        if self.json {
            context.printer.json(&Report { format_version: "1.0", valid, problems: &problems })?;
        } else {
            context.printer.note(&problems.render(context.problem_style()));
        }
        let count = problems.iter().count();
        let s = if count == 1 { "" } else { "s" };
        if !valid {
            if !self.json {
                context.printer.note(&format!("\n{}: {count} problem{s}\n", path.display()));
            }
            return Ok(Exit::Invalid);
        }
        if !self.json {
            let warned = if count == 0 { String::new() } else { format!(", {count} warning{s}") };
            context.printer.say(
                &format!("{}: valid ({} files{warned})\n", path.display(), files.len())
                    .replace("(1 files", "(1 file"),
            )?;
        }
        Ok(Exit::Ok)
    }
}
