//! Defines the command line. Each verb has one small file. All printing, progress and exit codes are here.

mod after;
mod apply;
mod ask;
mod behind;
mod cache;
mod context;
mod exit;
mod extras;
mod free;
mod hints;
mod journaled;
mod kept;
mod ledger;
mod list;
mod locks;
mod metrics;
mod mount;
mod notify;
mod observe;
mod output;
mod personal;
mod plan;
mod progress;
mod prune;
mod queue;
mod records;
mod report;
mod rescue;
mod restic;
mod restore;
mod run;
mod scheduler;
mod secret;
mod show;
mod snapshots;
mod ssh;
mod ssh_agent;
mod status;
mod sweep;
mod user_facts;
mod validate;
mod verify;
mod why;

use std::{ffi::OsString, path::PathBuf, time::SystemTime};

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum, error::ErrorKind};
use jiff::tz::TimeZone;

pub use self::personal::Xdg;
use self::{
    context::Context,
    exit::{Exit, wants_root},
    output::{MaskedStderr, Printer, is_broken_pipe},
};
use crate::host::Web;

/// Where programs are looked for when nobody says.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `main` knows of the world outside: nothing below reads it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Environment {
    /// Where programs are looked for.
    pub path: String,
    /// `RLVM_HOME`: where the ledger is.
    pub home: Option<String>,
    /// Where the caller's own things are; only asked without root.
    pub own: Xdg,
    /// `CREDENTIALS_DIRECTORY`: where systemd put this process's credentials.
    pub credentials: Option<String>,
    /// How the network is reached.
    pub web: Web,
    /// `RUST_LOG`: what is logged to standard error.
    pub log: Option<String>,
    /// Whether `NO_COLOR` is set, or the terminal has none.
    pub no_color: bool,
    /// Who became root by sudo.
    pub sudo_uid: Option<u32>,
    /// The time.
    pub now: SystemTime,
    /// The caller's time zone, by which times are shown: `TZ`, else /etc/localtime.
    pub zone: TimeZone,
    /// Whether standard input is a terminal.
    pub in_terminal: bool,
    /// Whether standard output is a terminal.
    pub out_terminal: bool,
    /// Whether standard error is a terminal.
    pub err_terminal: bool,
}

/// Plan and apply for host backups: compare one YAML file with this host, show the difference, make the changes.
#[derive(Debug, Parser)]
#[command(name = "rlvm", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  rlvm validate state/            check all of this host's state, every problem at once
  rlvm plan                       show what differs on this host
  rlvm apply                      make it so, after asking
  rlvm plan --out night.plan && rlvm apply night.plan

The state is the [STATE] argument, else --state, else $RLVM_STATE, else ./state, else /etc/rlvm/state.
A directory means its hosts/<host name>.yaml.

Without root it is your own set-up: the state is also found in ~/.config/rlvm/state, not in /etc/rlvm/state;
rlvm's own files are in ~/.local/state/rlvm (the XDG variables move them), and entries in your crontab.

Exit codes:
  0  fine                             5  the saved plan is stale
  1  failed                           6  refused by a guard
  2  plan --detailed-exitcode:        7  some resources failed, the rest
     changes pending                     converged
  3  the state is invalid             8  backup incomplete
  4  another rlvm holds the lock      9  status, verify: something is not well
                                     64  wrong usage
                                   130, 143  ended by a signal")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The state: a file, or a directory with hosts/<host name>.yaml in it
    // An id of its own: verbs have a positional argument that is called `state`.
    #[arg(id = "state_option", long = "state", global = true)]
    #[arg(value_name = "PATH", env = "RLVM_STATE", hide_env_values = true)]
    state: Option<PathBuf>,
    /// Act as this host instead of the machine's own name
    #[arg(long, global = true, value_name = "NAME")]
    host: Option<String>,
    /// Treat the tree below DIR as /, with the users of its own etc/passwd
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide_default_value = true)]
    root: PathBuf,
    /// Use colours: on a terminal, always, or never (`NO_COLOR` works too)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", value_enum)]
    color: When,
    /// Print less: only results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more: each command as it runs (-vv: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Validate(validate::Validate),
    Plan(plan::PlanVerb),
    Apply(apply::Apply),
    Observe(observe::ObserveVerb),
    Show(show::Show),
    #[command(subcommand)]
    Ledger(ledger::LedgerVerb),
    Schema(extras::SchemaVerb),
    Run(run::RunVerb),
    Sweep(sweep::SweepVerb),
    Why(why::WhyVerb),
    List(list::ListVerb),
    Snapshots(snapshots::SnapshotsVerb),
    Status(status::StatusVerb),
    Prune(prune::PruneVerb),
    Verify(verify::VerifyVerb),
    Restore(restore::RestoreVerb),
    Mount(mount::MountVerb),
    #[command(subcommand)]
    Notify(notify::NotifyVerb),
    Report(report::ReportVerb),
    RescueKit(rescue::RescueVerb),
    #[command(subcommand)]
    Secret(secret::SecretVerb),
    #[command(subcommand)]
    Ssh(ssh::SshVerb),
    #[command(subcommand)]
    SshAgent(ssh_agent::AgentVerb),
    #[command(subcommand)]
    Restic(restic::ResticVerb),
    Completions(extras::Completions),
    Man(extras::Man),
}

/// Runs the command line and returns the exit code.
pub fn main(args: impl Iterator<Item = OsString>, environment: &Environment) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(mut err) => {
            hints::add(&mut err);
            let exit = match err.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Ok,
                _ => Exit::Usage,
            };
            // Nobody is left to tell if standard error is closed.
            drop(err.print());
            return exit as u8;
        }
    };
    start_log(&cli.global, environment);
    let exit = match run(&cli, environment) {
        Ok(exit) => exit,
        Err(err) if is_broken_pipe(&err) => Exit::Ok,
        Err(err) => {
            let printer = Printer::new(&cli.global, environment);
            printer.error(&err);
            if wants_root(&err) {
                printer.note("help: it needs root: sudo rlvm …\n");
            }
            Exit::of(&err)
        }
    };
    behind::settle();
    exit as u8
}

fn run(cli: &Cli, environment: &Environment) -> Result<Exit> {
    let context = Context::new(&cli.global, environment);
    match &cli.verb {
        Verb::Validate(verb) => verb.run(&context),
        Verb::Plan(verb) => verb.run(&context),
        Verb::Apply(verb) => verb.run(&context),
        Verb::Observe(verb) => verb.run(&context),
        Verb::Show(verb) => verb.run(&context),
        Verb::Ledger(verb) => verb.run(&context),
        Verb::Schema(verb) => verb.run(&context),
        Verb::Run(verb) => verb.run(&context),
        Verb::Sweep(verb) => verb.run(&context),
        Verb::Why(verb) => verb.run(&context),
        Verb::List(verb) => verb.run(&context),
        Verb::Snapshots(verb) => verb.run(&context),
        Verb::Status(verb) => verb.run(&context),
        Verb::Prune(verb) => verb.run(&context),
        Verb::Verify(verb) => verb.run(&context),
        Verb::Restore(verb) => verb.run(&context),
        Verb::Mount(verb) => verb.run(&context),
        Verb::Notify(verb) => verb.run(&context),
        Verb::Report(verb) => verb.run(&context),
        Verb::RescueKit(verb) => verb.run(&context),
        Verb::Secret(verb) => verb.run(&context),
        Verb::Ssh(verb) => verb.run(&context),
        Verb::SshAgent(verb) => verb.run(&context),
        Verb::Restic(verb) => verb.run(&context),
        Verb::Completions(verb) => verb.run(&context),
        Verb::Man(verb) => verb.run(&context),
    }
}

/// Logs to standard error what `RUST_LOG` or `-v` asks for.
fn start_log(global: &Global, environment: &Environment) {
    let by_flag = match global.verbose {
        0 => None,
        1 => Some("rlvm=debug".to_owned()),
        _ => Some("trace".to_owned()),
    };
    let Some(filter) = by_flag.or_else(|| environment.log.clone()) else { return };
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| MaskedStderr);
    let colour = environment.err_terminal && !environment.no_color && global.color != When::Never;
    // A second start in one process (tests) keeps the first.
    drop(log.with_ansi(colour).without_time().try_init());
}
