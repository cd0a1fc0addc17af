//! `rlvm show`: the state as it is understood.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{
    context::{Context, Search},
    exit::Exit,
};
use crate::state::to_yaml;

/// Print the state as it is understood: includes, variables, defaults and profiles applied
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm show                       this host's state, as YAML that is a state again
  rlvm show --json | jq .jobs")]
pub(super) struct Show {
    /// The state: a file, or a directory with hosts/<host name>.yaml in it
    state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let found = context.state(self.state.as_deref(), Search::HereToo)?;
        if self.json {
            context.printer.json(&found.state)?;
        } else {
            context.printer.print(&to_yaml(&found.state)?)?;
        }
        Ok(Exit::Ok)
    }
}
