//! `rlvm restic`: shows which restic is used and which versions are installed, and installs the pinned one.

use std::fmt::Write;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    apply::Apply,
    context::{Context, Search},
    exit::{Exit, Failure},
    kept::Kept,
    plan::Allow,
};
use crate::{
    effect::Query,
    host::{Host as _, Observe, Real, Store},
    model::{HostPath, Release, Scope},
    resource::Engine,
    restic::{OLDEST, Version, ask_version},
    state::ResticPin,
};

/// Show which restic is used, or install the pinned version
#[derive(Debug, Subcommand)]
pub(super) enum ResticVerb {
    Version(VersionVerb),
    List(List),
    Install(Install),
}

/// Show which restic is used, and whether it is new enough
///
/// Shows the pinned restic if the state pins one, else the restic on PATH. Uses the state that was applied last, unless
/// --state names another. Exits 1 if there is none or if it is too old.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm restic version
  rlvm restic version --json | jq -r .path")]
pub(super) struct VersionVerb {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// List the versions of restic that rlvm installed
///
/// The next apply removes a version that is no longer pinned, if rlvm installed it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm restic list
  rlvm restic list --json | jq -r '.versions[] | select(.used | not) | .path'")]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Install the pinned restic and nothing else
///
/// Does the same as `rlvm apply --target restic:VERSION`, without asking: fetches the file, checks its sha256, and
/// installs it beside other versions, never over the system's restic.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm restic install
  rlvm restic install --state state/ --root /mnt/image --host web01

In the state:
  restic:
    version: 0.18.0
    sha256: …                       the published one of the file that is fetched
    url: https://mirror.lan/restic/restic_0.18.0_linux_amd64.bz2")]
pub(super) struct Install {
    /// Use no network: only a `file:///` address can be installed
    #[arg(long)]
    offline: bool,
}

/// Where the restic that is used comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum From {
    Pinned,
    Path,
}

/// The restic that is used.
#[derive(Debug, Serialize)]
struct Used {
    format_version: &'static str,
    from: From,
    path: Option<String>,
    version: Option<String>,
    oldest: String,
    /// What is wrong with it.
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listed {
    format_version: &'static str,
    versions: Vec<ListedVersion>,
}

#[derive(Debug, Serialize)]
struct ListedVersion {
    version: Release,
    path: HostPath,
    installed: bool,
    used: bool,
    managed: bool,
}

impl ResticVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        match self {
            Self::Version(version) => version.run(context),
            Self::List(list) => list.run(context),
            Self::Install(install) => install.run(context),
        }
    }
}

impl VersionVerb {
    fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        let used = used(host.looker().as_ref(), pin(context, &host)?.as_ref(), &context.scope()?)?;
        let exit = if used.problem.is_none() { Exit::Ok } else { Exit::Failed };
        if self.json {
            context.printer.json(&used)?;
            return Ok(exit);
        }
        if let (Some(version), Some(path)) = (&used.version, &used.path) {
            let from = if used.from == From::Pinned { "pinned" } else { "from PATH" };
            context.printer.print(&format!("restic {version}, {from}: {path}\n"))?;
        }
        match used.problem {
            Some(problem) => bail!(Failure::new(exit, problem).help(match used.from {
                From::Pinned => "rlvm restic install",
                From::Path => "apt-get install restic, or pin one in the state: `restic: { version: … }`",
            })),
            None => Ok(exit),
        }
    }
}

/// Finds the pin of the state that is named, else of the one that was applied.
fn pin(context: &Context<'_>, host: &Real) -> Result<Option<ResticPin>> {
    if context.global.state.is_some() {
        return Ok(context.state(None, Search::EtcOnly)?.state.restic);
    }
    let kept = Kept::read(&Store::new(host, &context.home()?))?;
    Ok(kept.and_then(|kept| kept.state.restic))
}

/// Looks which restic is used, and asks it for its version.
fn used(host: &dyn Observe, pin: Option<&ResticPin>, scope: &Scope) -> Result<Used> {
    let Some(pin) = pin else {
        let path = host.program_path("restic");
        let said = path.as_ref().map(|_| ask(host, &ask_version(None)?)).transpose()?.flatten();
        let problem = match (&path, said) {
            (None, _) => Some("there is no restic on PATH".into()),
            (Some(path), None) => Some(format!("{path} does not say which version it is")),
            (Some(_), Some(said)) if said < OLDEST => {
                Some(format!("restic is {said}, and at least {OLDEST} is needed"))
            }
            _ => None,
        };
        return Ok(Used::new(From::Path, path, said, problem));
    };
    let path = Engine::path_of(pin.version, scope)?;
    let shown = Some(path.to_string());
    if let Some(why) = Engine::distrust(host, &path)? {
        let problem = format!("restic {} is pinned, and {why}", pin.version);
        return Ok(Used::new(From::Pinned, shown, None, Some(problem)));
    }
    let said = ask(host, &ask_version(Some(&path))?)?;
    let [major, minor, patch] = pin.version.numbers();
    let problem = match said {
        None => Some(format!("{path} does not say which version it is")),
        Some(said) if said != Version(major, minor, patch) => {
            Some(format!("{path} says that it is {said}, and {} is pinned", pin.version))
        }
        Some(_) => None,
    };
    Ok(Used::new(From::Pinned, shown, said, problem))
}

fn ask(host: &dyn Observe, query: &Query) -> Result<Option<Version>> {
    let output = host.query(query).context("cannot ask restic for its version")?;
    Ok(Version::read(&output.stdout))
}

impl Used {
    fn new(from: From, path: Option<String>, said: Option<Version>, problem: Option<String>) -> Self {
        let (version, oldest) = (said.map(|it| it.to_string()), OLDEST.to_string());
        Self { format_version: "1.0", from, path, version, oldest, problem }
    }
}

impl List {
    fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.host()?;
        let pin = pin(context, &host)?.map(|pin| pin.version);
        let ledger = context.ledger(&Store::new(&host, &context.home()?))?;
        let looker = host.looker();
        let scope = context.scope()?;
        let names = looker.names(&Engine::directory(&scope)?)?;
        let mut versions: Vec<Release> =
            names.iter().filter_map(|name| name.parse().ok()).chain(pin).collect();
        versions.sort_unstable();
        versions.dedup();
        let mut listed = Vec::new();
        for version in versions {
            let path = Engine::path_of(version, &scope)?;
            let address = Engine::address_of(version);
            let installed = looker.entry(&path)?.file().is_some();
            if !installed && pin != Some(version) {
                continue; // A directory that something else left.
            }
            let managed = ledger.as_ref().is_some_and(|(ledger, _)| ledger.entries.contains_key(&address));
            listed.push(ListedVersion { version, path, installed, used: pin == Some(version), managed });
        }
        if self.json {
            context.printer.json(&Listed { format_version: "1.0", versions: listed })?;
            return Ok(Exit::Ok);
        }
        if listed.is_empty() {
            context.printer.say("No restic is pinned or installed by rlvm: the one on PATH is used.\n")?;
        }
        let mut text = String::new();
        for ListedVersion { version, path, installed, used, managed } in &listed {
            let what = match (used, installed, managed) {
                (true, true, _) => "used",
                (true, false, _) => "pinned, and not installed: rlvm restic install",
                (false, _, true) => "not used: goes with the next apply",
                (false, _, false) => "not used, and not rlvm's to remove",
            };
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{:8} {path}  {what}", version.to_string());
        }
        context.printer.print(&text)?;
        Ok(Exit::Ok)
    }
}

impl Install {
    fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let found = context.state(None, Search::EtcOnly)?;
        let Some(pin) = &found.state.restic else {
            let help = "pin one: `restic: { version: …, sha256: … }`, or use the one on PATH as it is";
            bail!(Failure::new(Exit::Failed, "the state pins no restic").help(help));
        };
        let allow = Allow::only(Engine::address_of(pin.version), self.offline);
        let apply = Apply { state: None, yes: true, json: false, json_into: None, allow };
        apply.run_on(context, None, Some(found))
    }
}
