//! Provides what several verbs need: the host, its files, the state, the ledger.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::{
    Environment, Global,
    exit::{Exit, Failure},
    kept::applied_last,
    output::Printer,
    personal::defaults,
    progress::LookingBar,
};
use crate::{
    expand::{Expanded, UserFacts, expand},
    host::{CallersFiles, Host as _, Real, Store, caller, host_name, is_root, lexical},
    ledger::{self, LOG, Ledger, SNAPSHOT},
    model::{HostName, HostPath, Scope},
    plan::{Looking, Options, Plan, Survey, changed_definitions, decide, history, observe},
    resource::{Looks, Seen},
    state::{self, Defaults, Loaded, Problem, Problems, State},
};

/// Where rlvm keeps its own things if nobody says.
const HOME: &str = "/var/lib/rlvm";
/// Where a host's state is kept.
const ETC: &str = "/etc/rlvm/state";
/// Where caches are, if it is the host's set-up.
const CACHE: &str = "/var/cache/rlvm";
/// Where its lock is.
pub(super) const RUN: &str = "/run/rlvm";
/// The kept state's name.
pub(super) const KEPT: &str = "state.json";

/// What verbs have in common.
pub(super) struct Context<'a> {
    /// What was asked of every verb.
    pub(super) global: &'a Global,
    /// What `main` knows.
    pub(super) environment: &'a Environment,
    /// Prints.
    pub(super) printer: Printer,
    /// Reads what the caller names.
    pub(super) files: CallersFiles,
    since: Instant,
}

/// Where a state is looked for that nobody names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// In the current directory too: by validate, show, plan and apply, which a person calls.
    HereToo,
    /// Where it is kept alone: /etc/rlvm, or the caller's own configuration.
    EtcOnly,
}

/// A state with where it came from.
pub(super) struct Found {
    /// The state.
    pub(super) state: State,
    /// Its file.
    pub(super) path: PathBuf,
}

/// What a plan is made from.
pub(super) struct Basis {
    /// The state.
    pub(super) state: State,
    /// Its resources.
    pub(super) expanded: Expanded,
    /// The ledger; an empty one if there is none.
    pub(super) ledger: Ledger,
    /// Whether there is one.
    pub(super) known: bool,
}

/// All that a plan is made of.
pub(super) struct Planned<'a> {
    /// What there was to look at.
    pub(super) survey: Survey<'a>,
    /// What was seen.
    pub(super) seen: Vec<Seen>,
    /// The state that was applied last.
    pub(super) applied: Option<State>,
    /// The plan.
    pub(super) plan: Plan,
}

impl<'a> Context<'a> {
    /// Gets ready. Nothing is looked at yet.
    pub(super) fn new(global: &'a Global, environment: &'a Environment) -> Self {
        let printer = Printer::new(global, environment);
        let files = CallersFiles::new(environment.sudo_uid);
        Self { global, environment, printer, files, since: Instant::now() }
    }

    /// Returns the time as it is now: what has passed since rlvm was started, added to the time that it was.
    ///
    /// # Errors
    ///
    /// If the clock is beyond all calendars.
    pub(super) fn now(&self) -> Result<Timestamp> {
        let now = self.environment.now.checked_add(self.since.elapsed()).unwrap_or(self.environment.now);
        Timestamp::try_from(now).context("the clock is beyond all calendars")
    }

    /// Opens the host.
    ///
    /// # Errors
    ///
    /// If the root cannot be opened.
    pub(super) fn host(&self) -> Result<Real> {
        let host = Real::open(&self.global.root, &self.environment.path)?;
        let Environment { credentials, web, own, .. } = self.environment;
        let host = host.with_credentials(credentials.clone()).with_web(web.clone());
        // One without an account cannot plan, and yet scan for keys.
        if !matches!(self.scope(), Ok(Scope::User(_))) {
            return Ok(host);
        }
        // What ends with the session is better for what must not stay.
        let private = own.runtime().map_or_else(|| self.home(), |dir| Ok(dir.join("rlvm")?))?;
        Ok(host.with_private(private))
    }

    /// Opens the host that runs. `what` is done by it, and not for a tree below `--root`: `jobs are run`.
    ///
    /// # Errors
    ///
    /// If it is such a tree, or cannot be opened.
    pub(super) fn running(&self, what: &str) -> Result<Real> {
        let host = self.host()?;
        if host.looker().is_tree() {
            let message = format!("{what} only on the running system, not with --root");
            return Err(Failure::new(Exit::Usage, message).into());
        }
        host.check_starters()?;
        Ok(host)
    }

    /// Names the host that is meant.
    ///
    /// # Errors
    ///
    /// If the name is none.
    pub(super) fn host_name(&self) -> Result<HostName> {
        match &self.global.host {
            Some(name) => {
                name.parse().map_err(|bad| Failure::new(Exit::Usage, format!("--host: {bad}")).into())
            }
            None => host_name(),
        }
    }

    /// Returns where rlvm's own files are.
    ///
    /// # Errors
    ///
    /// If `RLVM_HOME` is no absolute path.
    pub(super) fn home(&self) -> Result<HostPath> {
        match (&self.environment.home, self.scope()?) {
            (Some(home), _) => {
                home.parse().map_err(|bad| Failure::new(Exit::Usage, format!("RLVM_HOME: {bad}")).into())
            }
            (None, Scope::Host) => Ok(HOME.parse()?),
            (None, Scope::User(personal)) => Ok(personal.state.join("rlvm")?),
        }
    }

    /// Returns where the lock is.
    ///
    /// # Errors
    ///
    /// If `RLVM_HOME` is no absolute path.
    pub(super) fn lock_dir(&self) -> Result<HostPath> {
        // A home of its own is a lock of its own: two ledgers do not share a host by accident. A user's is beside the
        // ledger too: cron's XDG_RUNTIME_DIR is not the session's, and two locks are none.
        match (&self.environment.home, self.scope()?) {
            (None, Scope::Host) => Ok(RUN.parse()?),
            _ => self.home(),
        }
    }

    /// Returns where restic's caches are, one a user.
    ///
    /// # Errors
    ///
    /// If `RLVM_HOME` is no absolute path.
    pub(super) fn cache(&self) -> Result<HostPath> {
        match (&self.environment.home, self.scope()?) {
            // A home of its own has a cache of its own, as it has a lock.
            (Some(_), _) => Ok(self.home()?.join("cache")?),
            (None, Scope::Host) => Ok(CACHE.parse()?),
            (None, Scope::User(own)) => Ok(own.cache.join("rlvm")?),
        }
    }

    /// Finds the state's file.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(super) fn state_path(&self, argument: Option<&Path>, search: Search) -> Result<PathBuf> {
        let name = self.host_name()?;
        let named = argument.or(self.global.state.as_deref());
        let kept = || -> Result<PathBuf> {
            Ok(match self.scope()?.personal() {
                None => ETC.into(),
                Some(personal) => format!("{}/rlvm/state", personal.config).into(),
            })
        };
        let candidates: Vec<PathBuf> = match named {
            Some(path) => vec![path.to_owned()],
            // A verb that a machine may call does not depend on where it is called.
            None if search == Search::EtcOnly => vec![kept()?],
            None => vec!["state".into(), kept()?],
        };
        let short = name.as_str().split('.').next().unwrap_or_default();
        let of_host =
            |dir: &Path| [name.as_str(), short].map(|it| dir.join("hosts").join(format!("{it}.yaml")));
        for candidate in &candidates {
            if !self.files.is_dir(candidate) {
                if named.is_some() || self.files.is_file(candidate) {
                    return Ok(candidate.clone());
                }
                continue;
            }
            let tried = of_host(candidate);
            if let Some(found) = tried.iter().find(|path| self.files.is_file(path)) {
                return Ok(found.clone());
            }
            let other = if named.is_none() { kept()? } else { candidate.clone() };
            let hint = match self.files.yaml_names(&candidate.join("hosts")).as_slice() {
                _ if of_host(&other).iter().any(|path| self.files.is_file(path)) => {
                    let dir = other.display();
                    format!("rlvm reads ./state before {dir}: leave this directory, or pass --state {dir}")
                }
                [] => "name the state's file itself".to_owned(),
                names => format!("name the file itself, or the host with --host: {}", names.join(", ")),
            };
            let message = format!("no state for host {name}: {} does not exist", tried[0].display());
            return Err(Failure::new(Exit::Failed, message).help(hint).into());
        }
        let here = if candidates.len() > 1 { "./state or " } else { "" };
        let message = format!("no state: there is no {here}{}", kept()?.display());
        let help = if !candidates.iter().any(|it| it == Path::new(ETC)) && self.files.is_dir(Path::new(ETC)) {
            "pass the state: --state PATH; /etc/rlvm/state belongs to the host, and only root can apply it: sudo rlvm …"
        } else {
            "copy a state from examples/ (README, \"First backup\"), or pass the path of your state: --state PATH"
        };
        Err(Failure::new(Exit::Failed, message).help(help).into())
    }

    /// Loads a state, with what counts where it says nothing; problems are returned.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub(super) fn load(
        &self,
        path: &Path,
        defaults: &Defaults,
    ) -> Result<std::result::Result<Loaded, Problems>> {
        let entry = path.to_str().context("the state's path is no UTF-8")?;
        let mut untrusted = None;
        let mut read = |name: &str| {
            let text = self.files.read(&lexical(Path::new(""), name));
            // A file that may not be trusted ends everything, whichever file named it.
            text.map_err(|err| {
                let again = anyhow::anyhow!("{err:#}");
                if Exit::of(&err) == Exit::Refused || name == entry {
                    untrusted.get_or_insert(err);
                }
                again
            })
        };
        let loaded = state::load_with(entry, defaults, &mut read);
        match untrusted {
            Some(err) => Err(err),
            None => Ok(loaded),
        }
    }

    /// Finds and loads the state for this host.
    ///
    /// # Errors
    ///
    /// If it is not there, is invalid (all problems are printed), or is another host's.
    pub(super) fn state(&self, argument: Option<&Path>, search: Search) -> Result<Found> {
        self.state_as(argument, search, &self.scope()?)
    }

    /// Finds and loads the state for this host, as that of somebody.
    ///
    /// # Errors
    ///
    /// As [`Context::state`].
    pub(super) fn state_as(&self, argument: Option<&Path>, search: Search, scope: &Scope) -> Result<Found> {
        let path = self.state_path(argument, search)?;
        let loaded = match self.load(&path, &defaults(scope)?)? {
            Ok(loaded) => loaded,
            Err(problems) => {
                self.printer.note(&problems.render(self.problem_style()));
                let count = problems.iter().count();
                let s = if count == 1 { "" } else { "s" };
                let message = format!("the state is invalid: {count} problem{s} in {}", path.display());
                return Err(Failure::new(Exit::Invalid, message).into());
            }
        };
        if !loaded.warnings.is_empty() {
            self.printer.note(&loaded.warnings.render(self.problem_style()));
        }
        self.is_for_this_host(&loaded)?;
        Ok(Found { state: loaded.state, path })
    }

    /// How problems look on standard error.
    pub(super) fn problem_style(&self) -> state::Style {
        if self.printer.err_style().colour { state::Style::Color } else { state::Style::Plain }
    }

    /// Refuses a state of another host (R17).
    fn is_for_this_host(&self, loaded: &Loaded) -> Result<()> {
        let name = self.host_name()?;
        let short = name.as_str().split('.').next().unwrap_or_default();
        let of = &loaded.state.host;
        if *of == name || of.as_str() == short {
            return Ok(());
        }
        let message = format!("this is the state of host {of}, and this machine is {name}");
        let Problem { file, line, column, .. } = loaded.error(&["host"], "", None);
        let help = format!("if you mean it: --host {of}");
        Err(Failure::new(Exit::Refused, format!("{file}:{line}:{column}: {message}")).help(help).into())
    }

    /// Finds and loads the state, and reads the ledger meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Context::state`] and [`Context::ledger`]; the state's first.
    pub(super) fn state_and_ledger(
        &self,
        argument: Option<&Path>,
        search: Search,
        store: &Store<'_>,
    ) -> Result<(Found, Option<(Ledger, u64)>)> {
        std::thread::scope(|scope| {
            let ledger = scope.spawn(|| self.ledger(store));
            let found = self.state(argument, search)?;
            let ledger = ledger.join().map_err(|_| anyhow::anyhow!("reading the ledger failed"))??;
            self.is_of_this_host(store, ledger.as_ref().map(|(ledger, _)| ledger), &found.state)?;
            Ok((found, ledger))
        })
    }

    /// Reads the ledger, with how many bytes of its log are whole.
    ///
    /// # Errors
    ///
    /// If it is unreadable.
    pub(super) fn ledger(&self, store: &Store<'_>) -> Result<Option<(Ledger, u64)>> {
        let (snapshot, log) = (store.read(SNAPSHOT)?, store.read(LOG)?);
        Ok(ledger::read(store.dir().as_str(), snapshot.as_deref(), log.as_deref())?)
    }

    /// Refuses a ledger of another host.
    ///
    /// # Errors
    ///
    /// If it is.
    pub(super) fn is_of_this_host(
        &self,
        store: &Store<'_>,
        ledger: Option<&Ledger>,
        state: &State,
    ) -> Result<()> {
        let Some(ledger) = ledger.filter(|it| it.host != state.host && !state.was.contains(&it.host)) else {
            return Ok(());
        };
        let (dir, theirs, ours) = (store.dir(), &ledger.host, &state.host);
        let message = format!("the ledger in {dir} is of host {theirs}, and the state is of {ours}");
        let help = format!(
            "if the host was renamed: `was: [{theirs}]` in the state; else it was copied here by mistake"
        );
        Err(Failure::new(Exit::Refused, message).help(help).into())
    }

    /// Looks and decides, telling a terminal how far it is.
    ///
    /// # Errors
    ///
    /// If a target is unknown, or a program that starts all others is missing.
    pub(super) fn plan<'b>(
        &self,
        host: &Real,
        of: &'b Basis,
        options: &Options,
        looks: Looks,
    ) -> Result<Planned<'b>> {
        host.check_starters()?;
        let survey = Survey::new(&of.expanded, &of.ledger, &options.targets)?;
        let looking = LookingBar::new(self.environment.err_terminal && !self.global.quiet);
        let home = self.home()?;
        // The state that was applied last may be as long as the new one: it is read while the host is looked at.
        let (seen, applied) = thread::scope(|scope| {
            let applied = scope.spawn(|| applied_last(&Store::new(host, &home)));
            let seen =
                observe(&survey, &Looking { host, looks, progress: &|progress| looking.show(progress) });
            (seen, applied.join().unwrap_or_else(|_| bail!("cannot read the state that was applied last")))
        });
        looking.end();
        let applied = applied?;
        let ledger = of.known.then_some(&of.ledger);
        let mut plan = decide(&of.state.host, ledger, &survey, &seen, &of.expanded.findings, options);
        plan.definitions = changed_definitions(applied.as_ref(), &of.state, options)?;
        plan.findings.extend(history::of_backups(applied.as_ref(), &of.state, options));
        Ok(Planned { survey, seen, applied, plan })
    }

    /// Says whose set-up it is: the host's, or the caller's own. A tree below `--root` is a host's, whoever calls.
    ///
    /// # Errors
    ///
    /// If the caller is not root, and has no account or no home.
    pub(super) fn scope(&self) -> Result<Scope> {
        if is_root() || self.global.root.components().ne(Path::new("/").components()) {
            return Ok(Scope::Host);
        }
        Ok(Scope::User(Box::new(self.environment.own.of(caller()?)?)))
    }

    /// Puts together what a plan is made from.
    pub(super) fn basis(
        state: State,
        user_facts: &UserFacts,
        scope: &Scope,
        ledger: Option<Ledger>,
    ) -> Basis {
        let expanded = expand(&state, user_facts, scope);
        let known = ledger.is_some();
        // Where there is no ledger it is as if nothing were managed.
        let ledger = ledger.unwrap_or_else(|| Ledger::new(state.host.clone(), String::new()));
        Basis { state, expanded, ledger, known }
    }
}
