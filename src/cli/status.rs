//! `rlvm status`: judges the backups by the snapshots in the repositories.

mod beside;

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::{
    ask::{LIMIT, ask},
    context::Context,
    exit::Exit,
    kept::applied,
    list::schedule_zone,
    metrics, records,
};
use crate::{
    expand::expand,
    host::{Host as _, Real, Store},
    model::{HostPath, Name, Span},
    report::{
        judge::{Asked, judge},
        show,
        status::{Level, Remark, Status},
    },
    resource::has_process,
    state::{Job, State},
};

/// Show how each job's backups are at each destination, the worst first
///
/// rlvm asks all repositories for their snapshots side by side, and judges them by the schedules in the state. What a
/// repository cannot know comes from the records of runs and verifications. rlvm changes nothing and locks no repository.
/// The state is the one that was applied last, unless --state names another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm status
  rlvm status || mail -s 'backups' root < /dev/null      for a monitor: 0 or 9
  rlvm status --fail-on warning --timeout 10s
  rlvm status --json | jq -r '.lines[] | select(.level != \"ok\") | .job'
  rlvm status --metrics /var/lib/prometheus/node-exporter/rlvm.prom

A backup is due when the schedule has had a time since the newest snapshot, and overdue when that is longer ago than
the job's jitter and twice what its runs take (15 minutes at least; an hour, or the job's timeout, if none is known).
Shrinking is less than half of the median of the ten before, growing more than twice of it.

Exit codes:
  0  nothing as bad as --fail-on    9  something is")]
pub(super) struct StatusVerb {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Exit 9 if something is at least this bad
    #[arg(long, value_name = "LEVEL", default_value = "critical", value_enum)]
    fail_on: FailOn,
    /// Give up on a repository after this time
    #[arg(long, value_name = "TIME", default_value = "30s")]
    timeout: Span,
    /// Write metrics for Prometheus to FILE, an absolute path, and print nothing
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    metrics: Option<HostPath>,
}

/// From which level on the exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A person should look at something.
    Warning,
    /// A backup is missing, or cannot be relied on.
    Critical,
    /// Whatever it is.
    Never,
}

impl FailOn {
    fn exit(self, level: Level) -> Exit {
        let unwell = match self {
            Self::Warning => level >= Level::Warning,
            Self::Critical => level >= Level::Critical,
            Self::Never => false,
        };
        if unwell { Exit::Unwell } else { Exit::Ok }
    }
}

impl StatusVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.running("backups are looked at")?;
        let state = applied(context, &host)?;
        let status = look_within(context, &host, &state, self.timeout.seconds())?;
        if let Some(file) = &self.metrics {
            metrics::put(context, &host, file, &status)?;
        } else if self.json {
            context.printer.json(&status)?;
        } else {
            let shown = show::text(&status, &context.environment.zone, context.printer.style);
            context.printer.print(&shown)?;
        }
        Ok(self.fail_on.exit(status.level))
    }
}

/// Asks all repositories, and judges what they say.
///
/// # Errors
///
/// If the host cannot be looked at. A repository that cannot be read is a verdict, records that cannot be a remark.
pub(super) fn look(context: &Context<'_>, host: &Real, state: &State) -> Result<Status> {
    look_within(context, host, state, LIMIT)
}

fn look_within(context: &Context<'_>, host: &Real, state: &State, limit: u64) -> Result<Status> {
    let now = context.now()?;
    let expanded = expand(state, &context.user_facts(host, state)?, &context.scope()?);
    let (records, lost) = match records::all_and_running(context, host) {
        Ok(records) => (records, None),
        Err(err) => {
            (records::Records::default(), Some(format!("the records of runs cannot be read: {err:#}")))
        }
    };
    let used: BTreeSet<&Name> =
        state.jobs.values().flat_map(|job| job.to.iter().chain(job.copy.keys())).collect();
    let hosts = state.hosts();
    let jobs: Vec<Name> = state.jobs.iter().flat_map(|(name, job)| job.names(name)).collect();
    let ledger = context.ledger(&Store::new(host, &context.home()?));
    let (said, remarks) = thread::scope(|scope| {
        let said = scope.spawn(|| ask(context, host, &expanded, &used, (&hosts, &jobs), limit));
        let mut remarks: Vec<Remark> = beside::remarks(context, host, state, &ledger);
        let lost = lost.map(|message| Remark { about: "records".into(), level: Level::Warning, message });
        remarks.extend(lost);
        (said.join(), remarks)
    });
    let said = said.map_err(|_| anyhow::anyhow!("asking the repositories failed"))?;
    let made = ledger.as_ref().ok().and_then(Option::as_ref).map(|(ledger, _)| beside::made(ledger));
    let zone = schedule_zone(context);
    let running = running(context, host, &state.jobs)?;
    let asked = Asked {
        state,
        now,
        zone: &zone,
        said: &said,
        made: &made.unwrap_or_default(),
        runs: &records.runs,
        checks: &records.checks,
        running: &running,
    };
    Ok(judge(&asked, remarks))
}

/// Lists the jobs that run now, each with the start of its run.
fn running(
    context: &Context<'_>,
    host: &Real,
    jobs: &BTreeMap<Name, Job>,
) -> Result<BTreeMap<Name, Timestamp>> {
    let (store, looker) = (Store::new(host, &context.lock_dir()?.join("jobs")?), host.looker());
    let mut running = BTreeMap::new();
    for name in jobs.keys() {
        // The lock file says who had it last. Only while that process lives is the lock asked for: a run that starts
        // must not find it taken because somebody looks.
        let Some(text) = store.read(name.as_str())? else { continue };
        let Some((process, since)) = run_of(&String::from_utf8_lossy(&text)) else { continue };
        if has_process(looker.as_ref(), process)? && store.holder(name.as_str())?.is_some() {
            running.insert(name.clone(), since);
        }
    }
    Ok(running)
}

/// Reads what a run writes into the lock of its job: `process 7 since 2026-11-21T02:30:00Z`.
fn run_of(text: &str) -> Option<(u32, Timestamp)> {
    let (process, since) = text.trim().strip_prefix("process ")?.split_once(" since ")?;
    Some((process.parse().ok()?, since.parse().ok()?))
}
