//! `rlvm report`: writes an HTML page about the backups of this host or of several hosts.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::{
    context::Context,
    exit::{Exit, Failure},
    kept::applied,
    status::look,
};
use crate::{
    host::Host as _,
    report::{
        page::{latest, page},
        read::read,
        status::Status,
    },
};

/// Write an HTML page about the backups of this host, or of several hosts
///
/// The page is one file without network and scripts, for screens, phones and paper. It shows the time at which it was
/// made.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm report --html backups.html
  rlvm report --html - > /srv/www/backups.html
  for host in web01 db01; do ssh $host rlvm status --json > $host.json; done
  rlvm report --html fleet.html --from web01.json db01.json

FILE is written whole or not at all, with mode 0600, since the page names hosts, jobs and places. For a web server,
write to - and choose the mode yourself. The exit code says whether the page was written. `rlvm status` says whether
the backups are well.")]
pub(super) struct ReportVerb {
    /// Write the page to FILE; - is standard output
    #[arg(long, value_name = "FILE", required = true)]
    html: PathBuf,
    /// Read the output of `status --json` of one or several hosts, and ask no repository
    #[arg(long, value_name = "STATUS.json", num_args = 1..)]
    from: Vec<PathBuf>,
}

impl ReportVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let all = if self.from.is_empty() { vec![own(context)?] } else { given(context, &self.from)? };
        let text = page(&all, context.now()?);
        if self.html == Path::new("-") {
            context.printer.print(&text)?;
        } else {
            context.files.write(&self.html, &text)?;
        }
        Ok(Exit::Ok)
    }
}

/// Reads statuses; of those of one host the latest counts.
fn given(context: &Context<'_>, files: &[PathBuf]) -> Result<Vec<Status>> {
    let mut all = Vec::new();
    for file in files {
        let text = context.files.read(file)?;
        all.push(
            read(&text).map_err(|bad| Failure::new(Exit::Failed, format!("{}: {bad}", file.display())))?,
        );
    }
    let (all, twice) = latest(all);
    for host in twice {
        context.printer.note(&format!("warning: several statuses of {host}: the latest counts\n"));
    }
    Ok(all)
}

/// Asks this host.
fn own(context: &Context<'_>) -> Result<Status> {
    let host = context.host()?;
    if host.looker().is_tree() {
        let message = "backups are looked at only on the running system, not with --root";
        return Err(Failure::new(Exit::Usage, message)
            .help("--from makes a page of what others have said")
            .into());
    }
    look(context, &host, &applied(context, &host)?)
}
