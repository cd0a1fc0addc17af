//! Prints the progress and the results of a verification.

use anyhow::{Context as _, Result};

use super::{
    drill::LISTING,
    place::Place,
    world::{making, private},
};
use crate::{
    cli::{context::Context, exit::Exit},
    effect::{Op, Owner},
    model::{HostPath, RunId},
    verify::{Checked, DrillRecord, Outcome, Read},
};

/// What to do where something is broken.
const DAMAGED: &str = "other destinations are not concerned; what restic says of such damage: \
                       https://restic.readthedocs.io/en/stable/077_troubleshooting.html";

/// Tells what came of a destination.
pub(super) fn tell(context: &Context<'_>, checked: &Checked) -> Result<()> {
    let name = &checked.destination;
    match &checked.error {
        None => {
            let (read, seconds) = (checked.read.words(), checked.seconds);
            context.printer.say(&format!("{name}: no damage found, {read}, {seconds:.0} s\n"))?;
        }
        Some(why) => {
            complain(context, &format!("{name}: {}: {why}", word(checked.outcome)));
        }
    }
    for drill in &checked.drills {
        tell_drill(context, checked, drill)?;
    }
    if checked.outcome == Outcome::Damaged {
        context.printer.note(&format!("help: {DAMAGED}\n"));
    }
    Ok(())
}

fn tell_drill(context: &Context<'_>, checked: &Checked, drill: &DrillRecord) -> Result<()> {
    let whose = format!("{} at {}", drill.job, checked.destination);
    let snapshot = drill.snapshot.get(..8).unwrap_or(&drill.snapshot);
    if let Some(why) = &drill.error {
        complain(context, &format!("{whose}: drill: {}: {why}", word(drill.outcome)));
        return Ok(());
    }
    for (path, why) in &drill.unlike {
        complain(context, &format!("{whose}: drill: {path} of {snapshot}: {why}"));
    }
    if drill.unlike.is_empty() {
        let images = match drill.images {
            0 => String::new(),
            1 => ", 1 machine image well".into(),
            count => format!(", {count} machine images well"),
        };
        let DrillRecord { files, bytes, compared, .. } = drill;
        context.printer.say(&format!(
            "{whose}: {files} files of {snapshot} restored ({bytes} bytes) and as they were, {compared} compared with the \
             live file{images}\n"
        ))?;
    }
    Ok(())
}

/// Prints an error. What a client called its paths is its own word: nothing of it moves a cursor.
fn complain(context: &Context<'_>, error: &str) {
    let safe = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    let error: String = error.chars().map(safe).collect();
    context.printer.note(&format!("error: {error}\n"));
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Well => "well",
        Outcome::Damaged => "damaged",
        Outcome::Unreachable => "unreachable",
        Outcome::Failed => "not verified",
    }
}

/// Prints the commands, and runs none. What a drill draws is known when the backup is listed.
pub(super) fn show(
    context: &Context<'_>,
    places: &[(Place, Read)],
    cache: &HostPath,
    run: &RunId,
) -> Result<Exit> {
    let own = context.scope()?.personal().map(Owner::of);
    for (number, (place, read)) in places.iter().enumerate() {
        let (access, repository) = (place.repository.access(), &place.repository);
        let path = private(cache, run, number)?;
        let make = making(cache, &path, &repository.user, own.as_ref());
        let make: String = make.iter().map(|op| format!("{op}\n")).collect();
        let check = access.check(read.flag().as_deref(), &path);
        let remove = Op::RemoveStaging { path };
        let text = format!("# {}: {}\n{make}{check}\n{remove}\n", place.name, read.words());
        context.printer.print(&text)?;
        for part in &place.jobs {
            let Some(files) = part.files else { continue };
            let newest = access.snapshots(&part.hosts, &part.names, LISTING).context("cannot ask restic")?;
            let what = format!("{files} files of the newest of these are drawn, restored and compared");
            context.printer.print(&format!(
                "# {} at {}: {what}\n{}\n",
                part.name,
                place.name,
                newest.cmd()
            ))?;
        }
    }
    Ok(Exit::Ok)
}
