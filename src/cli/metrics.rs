//! Writes the status as a file for the textfile collector of Prometheus' node-exporter.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{context::Context, status};
use crate::{
    effect::{Op, Owner},
    host::{Act as _, Entry, Host as _, Real, interrupted},
    model::{HostPath, Mode},
    report::{metrics, status::Status},
    state::State,
};

/// Asks all repositories and writes the file that the state names, if it names one.
///
/// # Errors
///
/// If it cannot be written. That the backups are not well is no error.
pub(super) fn write(context: &Context<'_>, host: &Real, state: &State) -> Result<()> {
    let Some(file) = &state.metrics.textfile else { return Ok(()) };
    put(context, host, file, &status::look(context, host, state)?)
}

/// The same at the end of a verb, where a failure is only a warning. Who was asked to end does not begin it.
pub(super) fn after(context: &Context<'_>, host: &Real, state: &State) {
    if interrupted().is_some() {
        return;
    }
    if let Err(err) = write(context, host, state) {
        context.printer.note(&format!("warning: metrics: {err:#}\n"));
    }
}

/// Writes a file for everybody to read, new and then in place: the collector finds a whole one at any time. Its temporary
/// name is none that it would read.
pub(super) fn put(context: &Context<'_>, host: &Real, file: &HostPath, status: &Status) -> Result<()> {
    if matches!(host.looker().entry(file)?, Entry::Other(_)) {
        // A device or a FIFO: it is written into, and nothing takes its place.
        return context.files.write(Path::new(file.as_str()), &metrics::text(status));
    }
    let owner = context.scope()?.personal().map_or_else(Owner::root, Owner::of);
    let text = metrics::text(status);
    let write = Op::WriteFile { path: file.clone(), text, owner, mode: Mode::new(0o644) };
    host.act(&write).with_context(|| format!("cannot write the metrics to {file}"))
}
