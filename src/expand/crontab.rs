//! Expands schedules without root: a block in the user's own crontab.

use super::{
    Declared, Expanded,
    schedules::{Timed, take},
};
use crate::{
    effect::quote,
    model::Personal,
    resource::{Crontab, CrontabLine},
};

/// Declares the block, if there is anything to start. What is to run as somebody else has been refused.
pub(super) fn add(all: &[Timed], personal: &Personal, expanded: &mut Expanded) {
    let own: Vec<&Timed> = all.iter().filter(|timed| timed.user == personal.user).collect();
    if own.is_empty() {
        return;
    }
    let moved = moved(personal);
    let commands: Vec<String> = own.iter().map(|timed| format!("{moved}{}", timed.command)).collect();
    let lines = own.iter().zip(&commands);
    let lines: Vec<CrontabLine<'_>> = lines
        .map(|(timed, command)| CrontabLine {
            name: &timed.name,
            whose: &timed.whose,
            schedule: &timed.schedule,
            command,
        })
        .collect();
    // One block is one resource: what is said of one entry holds for all.
    let adopt = own.iter().any(|timed| timed.adopt);
    let protect = own.iter().any(|timed| timed.protect);
    let declared = |crontab| Declared { adopt, protect, ..Declared::plain(crontab) };
    take(expanded, "scheduler", Crontab::new(personal.user.clone(), &lines).map(declared));
}

/// Says where the user's things are, if not where cron's rlvm would look: cron knows nothing of a session's variables.
fn moved(personal: &Personal) -> String {
    let Personal { home, config, state, data, cache, .. } = personal;
    let places = [
        ("XDG_CONFIG_HOME", config, ".config"),
        ("XDG_STATE_HOME", state, ".local/state"),
        ("XDG_DATA_HOME", data, ".local/share"),
        ("XDG_CACHE_HOME", cache, ".cache"),
    ];
    let moved = places.iter().filter(|(_, place, usual)| place.as_str() != format!("{home}/{usual}"));
    moved.map(|(name, place, _)| format!("export {name}={}; ", quote(place.as_str()))).collect()
}
