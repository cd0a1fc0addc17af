//! Expands logrotate rules: those of the state, and the rule for rlvm's own logs (R44).

use super::{
    Declared, Expanded,
    schedules::{Starts, Timed, take},
};
use crate::{
    effect::{Owner, quote},
    model::{BadText, HostPath, Mode, Name, OneOrMore, Personal, Scope},
    resource::{DirectorySpec, Frequency, LOGROTATE, LogrotateFile, LogrotateSpec, Program, Su},
    state::State,
};

/// The rule for rlvm's own logs.
const OWN: &str = "rlvm";

/// What rotates a user's logs: the system's logrotate reads no rule of a user's.
const ROTATION: &str = "rlvm-logrotate";

pub(super) fn add(state: &State, scope: &Scope, expanded: &mut Expanded) {
    for (name, spec) in &state.logrotate {
        let whose = format!("logrotate rule {name} of {}", state.host);
        let declared = |file| Declared { adopt: spec.adopt, protect: spec.protect, ..Declared::plain(file) };
        take(expanded, &format!("logrotate.{name}"), rule(scope, name, &whose, spec).map(declared));
    }
    // Without jobs rlvm logs nothing; a host's rule is there before the first job is, and stays after the last.
    if scope.personal().is_none() || writes_logs(state) {
        own(state, scope, expanded);
    }
    if rotates(state) {
        expanded.add(Declared::plain(Program::logrotate(!state.logrotate.is_empty())));
    }
}

fn writes_logs(state: &State) -> bool {
    state.jobs.values().any(|job| job.enabled)
}

fn rotates(state: &State) -> bool {
    writes_logs(state) || !state.logrotate.is_empty()
}

/// Writes a rule where logrotate finds it: the system's, or the one that a user's own entry calls.
fn rule(scope: &Scope, name: &Name, whose: &str, spec: &LogrotateSpec) -> Result<LogrotateFile, BadText> {
    match scope.personal() {
        None => LogrotateFile::new(name, whose, spec),
        Some(it) => LogrotateFile::of_user(&rules(it)?, Owner::of(it), name, whose, spec),
    }
}

/// Says where a user's rules are: logrotate takes a directory, and reads each file in it.
fn rules(personal: &Personal) -> Result<HostPath, BadText> {
    format!("{}/rlvm/logrotate.d", personal.config).parse()
}

/// Returns what rotates a user's logs, if there are any.
pub(super) fn rotation(state: &State, personal: &Personal) -> Option<Timed> {
    let rules = rules(personal).ok().filter(|_| rotates(state))?;
    let status = format!("{}/rlvm/logrotate.status", personal.state);
    Some(Timed {
        place: "logrotate".into(),
        name: ROTATION.into(),
        whose: format!("logs of {}", state.host),
        schedule: "@daily".parse().ok()?,
        jitter: None,
        user: personal.user.clone(),
        command: format!("{LOGROTATE} --state {} {}", quote(&status), quote(rules.as_str())),
        starts: Starts::Rotation,
        adopt: false,
        protect: false,
    })
}

fn own(state: &State, scope: &Scope, expanded: &mut Expanded) {
    let directory = &state.log.directory;
    let declared = expanded.implied(directory.clone(), Mode::new(0o750));
    let address = declared.resource.address();
    expanded.resources.entry(address).or_insert(declared);
    // logrotate skips a directory that others may write, unless it is told as whom to work there.
    let spec = state.directories.get(directory).filter(|spec| spec.mode().bits() & 0o022 != 0);
    let su = spec
        .filter(|_| scope.personal().is_none())
        .map(DirectorySpec::owner)
        .map(|Owner { user, group }| Su { user, group });
    let rule = format!("{directory}/*.log").parse().and_then(|pattern| {
        let spec = LogrotateSpec {
            paths: OneOrMore::of(pattern, []),
            frequency: Frequency::Daily,
            keep: state.log.keep,
            compress: true,
            delay_compress: true,
            missing_ok: true,
            copy_truncate: false,
            su,
            create: None,
            adopt: false,
            protect: false,
        };
        let name: Name = OWN.parse()?;
        rule(scope, &name, &format!("rlvm's own logs on {}", state.host), &spec).map(Declared::plain)
    });
    take(expanded, "log.directory", rule);
}
