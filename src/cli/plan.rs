//! `rlvm plan`: shows the differences and the changes that apply would make.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::{
    context::{Context, Planned, Search},
    exit::{Exit, Failure},
    observe::Observation,
    scheduler::settle,
};
use crate::{
    host::Store,
    model::Address,
    plan::{
        Options, Plan, Survey, changed_definitions, decide, history,
        json::PlanJson,
        saved::{RestsOn, Saved},
        show,
    },
    resource::{Looks, Severity},
};

/// Show what differs on this host, and what apply would do
///
/// Changes nothing: not a file, not a lock, not a repository. Exits 0 whether there are changes or not, unless
/// --detailed-exitcode is given; 1 if the plan has errors, 6 if a guard refuses something.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm plan
  rlvm plan --detailed-exitcode; echo $?     0: nothing to do, 2: changes pending
  rlvm plan --out night.plan && rlvm apply night.plan
  rlvm plan --json | jq '.changes[] | select(.actions | index(\"delete\")) | .address'
  rlvm observe > web01.json                  on the host, and elsewhere:
  rlvm plan --host web01 --observed web01.json

The signs: + create, ~ change, - remove, = adopt, × forget (stop managing; it stays).")]
pub(super) struct PlanVerb {
    /// The state: a file, or a directory with hosts/<host name>.yaml in it
    state: Option<PathBuf>,
    /// Save the plan for `rlvm apply FILE`
    #[arg(long, value_name = "FILE", conflicts_with = "observed")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print one line per change
    #[arg(long, conflicts_with = "json")]
    summary: bool,
    /// Exit 2 if there are changes
    #[arg(long)]
    detailed_exitcode: bool,
    /// Plan against what `rlvm observe` printed, not against this machine
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
    #[command(flatten)]
    allow: Allow,
}

/// What plan and apply may be allowed.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_field_names, clippy::struct_excessive_bools, reason = "a field is named as its flag")]
pub(super) struct Allow {
    /// Limit to this resource and what it needs, like `repository:vault` (can be repeated)
    #[arg(long = "target", value_name = "ADDRESS")]
    targets: Vec<Address>,
    /// Take over things that exist and differ
    #[arg(long)]
    adopt: bool,
    /// Allow a plan that removes more than half of what is managed
    #[arg(long)]
    allow_mass_removal: bool,
    /// Open every repository, also local ones that have not changed since rlvm verified them
    #[arg(long)]
    refresh: bool,
    /// Leave out what needs the network, and assume that it is as it was last seen
    #[arg(long, conflicts_with = "refresh")]
    offline: bool,
}

impl Allow {
    /// Allows one resource, and what it needs.
    pub(super) fn only(target: Address, offline: bool) -> Self {
        let targets = vec![target];
        Self { targets, adopt: false, allow_mass_removal: false, refresh: false, offline }
    }

    /// Returns what is decided by.
    pub(super) fn options(&self) -> Options {
        let Self { targets, adopt, allow_mass_removal, .. } = self.clone();
        Options { targets, adopt, allow_mass_removal }
    }

    /// Returns how to look.
    pub(super) fn looks(&self) -> Looks {
        Looks { refresh: self.refresh, offline: self.offline }
    }
}

impl PlanVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        if let Some(file) = &self.observed {
            return self.off_host(context, file);
        }
        let host = context.host()?;
        let home = context.home()?;
        let store = Store::new(&host, &home);
        let (mut found, ledger) = context.state_and_ledger(self.state.as_deref(), Search::HereToo, &store)?;
        settle(context, &host, &mut found.state)?;
        let user_facts = context.user_facts(&host, &found.state)?;
        let scope = context.scope()?;
        let basis = Context::basis(found.state, &user_facts, &scope, ledger.map(|(ledger, _)| ledger));
        let options = self.allow.options();
        let Planned { survey, seen, applied, plan } =
            context.plan(&host, &basis, &options, self.allow.looks())?;
        self.print(context, &plan)?;
        if let Some(out) = &self.out {
            let rests_on = RestsOn {
                root: host.root().display().to_string(),
                state: basis.state.clone(),
                applied,
                source: found.path.display().to_string(),
                revision: host.revision(&found.path),
                options,
                offline: self.allow.offline,
            };
            let saved = Saved::new(&plan, &survey, &seen, rests_on)?;
            context.files.write(out, &saved.text()?)?;
            let shown = out.display();
            context.printer.remark(&format!("Saved to {shown}. To apply just this: rlvm apply {shown}\n"));
        }
        let exit = exit_of(&plan, self.detailed_exitcode);
        // The process ends here: taking ten thousand resources apart piece by piece would only cost time.
        std::mem::forget((survey, seen, plan));
        std::mem::forget(basis);
        Ok(exit)
    }

    /// Plans against what was observed elsewhere.
    fn off_host(&self, context: &Context<'_>, file: &std::path::Path) -> Result<Exit> {
        let text = context.files.read(file)?;
        let observation = Observation::read(&text).with_context(|| format!("{}", file.display()))?;
        let mut found = context.state_as(self.state.as_deref(), Search::HereToo, &observation.scope)?;
        if observation.host != found.state.host {
            let (theirs, ours) = (&observation.host, &found.state.host);
            let message = format!("{} was observed on {theirs}, and the state is of {ours}", file.display());
            bail!(Failure::new(Exit::Refused, message));
        }
        found.state.scheduler.get_or_insert(observation.scheduler);
        found.state.home = observation.home;
        let basis =
            Context::basis(found.state, &observation.user_facts, &observation.scope, observation.ledger);
        let options = self.allow.options();
        let survey = Survey::new(&basis.expanded, &basis.ledger, &options.targets)?;
        let mut seen = observation.seen;
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        for item in &survey.items {
            match seen.remove(item.address) {
                Some(seen) => all.push(seen),
                None => missing.push(item.address.as_str()),
            }
        }
        if !missing.is_empty() {
            let message = format!("{} says nothing of {}", file.display(), missing.join(", "));
            bail!(Failure::new(Exit::Failed, message).help("observe again with this very state"));
        }
        let ledger = basis.known.then_some(&basis.ledger);
        let mut plan = decide(&basis.state.host, ledger, &survey, &all, &basis.expanded.findings, &options);
        plan.definitions = changed_definitions(observation.applied.as_ref(), &basis.state, &options)?;
        plan.findings.extend(history::of_backups(observation.applied.as_ref(), &basis.state, &options));
        self.print(context, &plan)?;
        Ok(exit_of(&plan, self.detailed_exitcode))
    }

    fn print(&self, context: &Context<'_>, plan: &Plan) -> Result<()> {
        let printer = &context.printer;
        match (self.json, self.summary) {
            (true, _) => printer.json(&PlanJson::from(plan)),
            (false, true) => printer.print(&show::summary(plan, printer.style)),
            (false, false) => printer.print(&show::text(plan, printer.style)),
        }
    }
}

/// Returns the exit code of a plan: the same value that is printed.
pub(super) fn exit_of(plan: &Plan, detailed: bool) -> Exit {
    if plan.has(Severity::Refusal) {
        Exit::Refused
    } else if plan.has(Severity::Error) {
        Exit::Failed
    } else if detailed && !plan.is_empty() {
        Exit::Changes
    } else {
        Exit::Ok
    }
}
