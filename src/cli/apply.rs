//! `rlvm apply`: makes the host match the state.

mod stream;

use std::{collections::BTreeSet, io::BufRead, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::stream::Stream;
use super::{
    context::{Basis, Context, Found, Planned, Search},
    exit::{Exit, Failure},
    kept::Kept,
    plan::{Allow, exit_of},
    progress::ApplyBar,
    scheduler::settle,
};
use crate::{
    apply::{Event, Outcome, World, apply},
    host::{Lock, Real, Revision, Store, interrupted, random_id, watch_signals},
    ledger::{Ledger, Writer},
    model::Address,
    plan::{
        InForce, Options, Plan, in_force,
        saved::{Saved, moved},
    },
    resource::{Looks, Resource},
    state::State,
};

/// Make this host match the state
///
/// Prints the plan and asks on a terminal; elsewhere it needs --yes. A saved plan does not ask: it is applied as it was
/// shown, or not at all. If a change fails, apply skips and names what depends on it, and goes on with the rest. A job whose
/// new repository cannot be created keeps its previous definition.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm apply
  rlvm apply --yes --json | jq -c 'select(.type == \"apply_errored\")'
  rlvm plan --out night.plan && rlvm apply night.plan
  rlvm apply --root /mnt/image --host web01 state/")]
pub(super) struct Apply {
    /// The state: a file, or a directory with hosts/<host name>.yaml in it; or a saved plan
    pub(super) state: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Print JSON, one object per line
    #[arg(long)]
    pub(super) json: bool,
    /// Write the same JSON to a file, and text to the terminal
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(super) json_into: Option<PathBuf>,
    #[command(flatten)]
    pub(super) allow: Allow,
}

/// What is to be applied.
struct Task {
    basis: Basis,
    whole: u64,
    options: Options,
    looks: Looks,
    saved: Option<Saved>,
    source: String,
    revision: Option<Revision>,
}

/// Takes the lock, saying who has it.
pub(super) fn lock(context: &Context<'_>, host: &Real) -> Result<Lock> {
    let since = jiff::Timestamp::try_from(context.environment.now)?;
    let who = format!("process {} since {since:.0}", std::process::id());
    Store::new(host, &context.lock_dir()?).lock(&who)
}

impl Apply {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let saved = self.saved(context)?;
        if saved.is_none() && !self.yes && !context.environment.in_terminal {
            let message = "there is no terminal to ask on";
            bail!(Failure::new(Exit::Usage, message).help("say --yes, or apply a saved plan"));
        }
        let found = match &saved {
            None => Some(context.state(self.state.as_deref(), Search::HereToo)?),
            Some(_) => None,
        };
        self.run_on(context, saved, found)
    }

    /// Applies a saved plan, or a state.
    pub(super) fn run_on(
        &self,
        context: &Context<'_>,
        saved: Option<Saved>,
        found: Option<Found>,
    ) -> Result<Exit> {
        let host = context.host()?;
        let store = Store::new(&host, &context.home()?);
        let _lock = lock(context, &host)?;
        let task = self.task(context, &host, saved, found)?;
        let Planned { survey, seen, applied, plan } =
            context.plan(&host, &task.basis, &task.options, task.looks)?;
        if let Some(saved) = &task.saved {
            let id = plan.ledger.as_ref();
            let moved = saved.stale(id, applied.as_ref(), &survey, &seen)?;
            if !moved.is_empty() {
                let message =
                    format!("the saved plan is stale; since it was made these moved: {}", moved.join(", "));
                bail!(Failure::new(Exit::Stale, message).help("plan again, and look at it again"));
            }
            saved.check(&plan).map_err(|err| Failure::new(Exit::Refused, err.to_string()))?;
        }
        let mut out = Stream::open(self, context)?;
        out.planned(&plan)?;
        match exit_of(&plan, false) {
            Exit::Ok => {}
            // An error on one resource stops that resource and what needs it.
            Exit::Failed if !plan.stopped => {}
            bad => return out.refuse(&plan, bad),
        }
        if !plan.is_empty() && task.saved.is_none() && !self.yes {
            if !confirmed(context)? {
                context.printer.note("Nothing was changed.\n");
                return Ok(Exit::Failed);
            }
            let again = context.plan(&host, &task.basis, &task.options, task.looks)?;
            refuse_if_moved(&moved(&survey, &seen, &again.seen)?)?;
        }
        let outcome = carry_out(context, &host, &store, (&plan, applied.as_ref()), &task, &mut out)?;
        out.finish(&plan, &outcome)
    }

    /// Reads the argument as a saved plan, if it is one.
    fn saved(&self, context: &Context<'_>) -> Result<Option<Saved>> {
        let Some(path) = self.state.as_deref().filter(|path| context.files.is_file(path)) else {
            return Ok(None);
        };
        // A state is YAML with comments and keys; a saved plan is JSON.
        let text = context.files.read(path)?;
        if !text.trim_start().starts_with('{') {
            return Ok(None);
        }
        Saved::read(&text).with_context(|| format!("cannot apply {}", path.display())).map(Some)
    }

    fn task(
        &self,
        context: &Context<'_>,
        host: &Real,
        saved: Option<Saved>,
        found: Option<Found>,
    ) -> Result<Task> {
        let (mut state, source, rev, options) = match (&saved, found) {
            (Some(saved), _) => {
                self.check_saved(context, saved)?;
                (saved.state.clone(), saved.source.clone(), saved.revision.clone(), saved.options.clone())
            }
            (None, Some(found)) => {
                let rev = host.revision(&found.path);
                (found.state, found.path.display().to_string(), rev, self.allow.options())
            }
            (None, None) => bail!("neither a state nor a saved plan"),
        };
        settle(context, host, &mut state)?;
        let looks = saved.as_ref().map_or(self.allow.looks(), Saved::looks);
        let store = &Store::new(host, &context.home()?);
        let ledger = context.ledger(store)?;
        context.is_of_this_host(store, ledger.as_ref().map(|(ledger, _)| ledger), &state)?;
        let (ledger, whole) = match ledger {
            Some((ledger, whole)) => (Some(ledger), whole),
            None => (None, 0),
        };
        let basis =
            Context::basis(state.clone(), &context.user_facts(host, &state)?, &context.scope()?, ledger);
        Ok(Task { basis, looks, whole, options, saved, source, revision: rev })
    }

    /// Refuses a saved plan for another host or tree, and options beside it.
    fn check_saved(&self, context: &Context<'_>, saved: &Saved) -> Result<()> {
        if self.allow.options() != Options::default() {
            let message =
                "a saved plan is applied as it is: it takes no --target, --adopt or --allow-mass-removal";
            bail!(Failure::new(Exit::Usage, message));
        }
        let name = context.host_name()?;
        let short = name.as_str().split('.').next().unwrap_or_default();
        if saved.host != name && saved.host.as_str() != short {
            let message = format!("the saved plan is for host {}, and this is {name}", saved.host);
            bail!(Failure::new(Exit::Refused, message));
        }
        let root = context.host()?.root().display().to_string();
        if saved.root != root {
            let message = format!("the saved plan is for the tree {}, and this is {root}", saved.root);
            bail!(Failure::new(Exit::Refused, message));
        }
        Ok(())
    }
}

/// Does it, keeps the ledger, and keeps the state for the runner.
fn carry_out(
    context: &Context<'_>,
    host: &Real,
    store: &Store<'_>,
    (plan, applied): (&Plan, Option<&State>),
    task: &Task,
    out: &mut Stream<'_>,
) -> Result<Outcome> {
    watch_signals()?;
    let (mut outcome, missing) = if plan.is_empty() && plan.quiet.is_empty() {
        (Outcome::default(), not_as_declared(&task.basis, &task.basis.ledger))
    } else {
        let ledger = if task.basis.known {
            task.basis.ledger.clone()
        } else {
            Ledger::new(task.basis.state.host.clone(), random_id()?)
        };
        let mut writer = Writer::begin(store, ledger, task.whole)?;
        if writer.ledger().host != task.basis.state.host {
            writer.rename(task.basis.state.host.clone());
        }
        let terminal = context.environment.err_terminal && !context.global.quiet;
        let bar = ApplyBar::new(terminal, plan.all_changes().count());
        let mut watch = |event: &Event<'_>| out.event(event, &bar);
        let mut world = World { host, act: host, watch: &mut watch, stop: &|| interrupted().is_some() };
        let outcome = apply(plan, &mut writer, &mut world);
        bar.end();
        let outcome = outcome?;
        let missing = not_as_declared(&task.basis, writer.ledger());
        writer.finish()?;
        (outcome, missing)
    };
    // A part that was asked for is not what the night shall run by.
    if task.options.targets.is_empty() && !outcome.stopped {
        let InForce { state, waits } = in_force(applied, &task.basis.state, &missing);
        Kept::new(task.source.clone(), task.revision.clone(), state).keep(store)?;
        let waiting = out.defined(plan, &waits);
        outcome.done += plan.definitions.len() - waiting.len();
        outcome.skipped.extend(waiting);
    }
    Ok(outcome)
}

/// Lists the repositories that are not in the ledger as they are declared: they failed, or were not looked at.
fn not_as_declared(basis: &Basis, ledger: &Ledger) -> BTreeSet<Address> {
    let repositories = basis.expanded.resources.iter();
    let repositories = repositories.filter(|(_, it)| matches!(it.resource, Resource::Repository(_)));
    let is_there = |address: &Address, resource: &Resource| {
        ledger.entries.get(address).is_some_and(|entry| !entry.pending && entry.resource == *resource)
    };
    let missing = repositories.filter(|(address, it)| !is_there(address, &it.resource));
    missing.map(|(address, _)| address.clone()).collect()
}

/// Refuses to go on if the host changed while apply waited for an answer.
fn refuse_if_moved(moved: &[String]) -> Result<()> {
    if moved.is_empty() {
        return Ok(());
    }
    let message = format!("the host changed since the plan was shown: {}", moved.join(", "));
    Err(Failure::new(Exit::Stale, message).help("nothing was changed; run rlvm apply again").into())
}

/// Asks.
fn confirmed(context: &Context<'_>) -> Result<bool> {
    context.printer.note("\nApply these changes? Type `yes` to confirm: ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
