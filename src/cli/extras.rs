//! Verbs for editors and packages: the schema, completions, the manual page.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, context::Context, exit::Exit};
use crate::state;

/// Print the JSON Schema of a state, for editors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm schema > state.schema.json
and at the top of a state, for an editor with a YAML language server:
  # yaml-language-server: $schema=../../schema/state.schema.json")]
pub(super) struct SchemaVerb {}

impl SchemaVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        context.printer.json(&state::schema())?;
        Ok(Exit::Ok)
    }
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm completions bash > /usr/share/bash-completion/completions/rlvm")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "rlvm", &mut script);
        context.printer.print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Ok)
    }
}

/// Print the manual page
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm man > /usr/share/man/man8/rlvm.8
  rlvm man | man -l -")]
pub(super) struct Man {}

impl Man {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).section("8").render(&mut page)?;
        context.printer.print(&String::from_utf8_lossy(&page))?;
        Ok(Exit::Ok)
    }
}
