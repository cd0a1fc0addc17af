//! Logrotate rules: the user's own, and the one for rlvm's logs, which nobody has to ask for (R44).

use super::{Declared, Expanded, resources::implied, schedules::take};
use crate::{
    model::{Mode, Name, OneOrMore},
    resource::{Frequency, LogrotateFile, LogrotateSpec, Su},
    state::State,
};

/// The rule for rlvm's own logs.
const OWN: &str = "rlvm";

pub(super) fn add(state: &State, expanded: &mut Expanded) {
    for (name, spec) in &state.logrotate {
        let whose = format!("logrotate rule {name} of {}", state.host);
        let declared = |file| Declared { adopt: spec.adopt, protect: spec.protect, ..Declared::plain(file) };
        take(expanded, &format!("logrotate.{name}"), LogrotateFile::new(name, &whose, spec).map(declared));
    }
    own(state, expanded);
}

fn own(state: &State, expanded: &mut Expanded) {
    let directory = &state.log.directory;
    let declared = implied(directory.clone(), Mode::new(0o750));
    let address = declared.resource.address();
    expanded.resources.entry(address).or_insert(declared);
    // logrotate skips a directory that others may write, unless it is told as whom to work there.
    let spec = state.directories.get(directory).filter(|spec| spec.mode.bits() & 0o022 != 0);
    let su = spec.map(|spec| Su { user: spec.owner.clone(), group: spec.group.clone() });
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
        LogrotateFile::new(&name, &format!("rlvm's own logs on {}", state.host), &spec).map(Declared::plain)
    });
    take(expanded, "log.directory", rule);
}
