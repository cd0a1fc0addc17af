//! Prints a run as a shell script, for `--dry-run`. Pasted into a shell, it does what the run would do, undo
//! included.

use std::fmt::Write;

use super::{JobRun, Run};
use crate::effect::Step;

/// Writes the commands of a run, in order, each one line; what undoes it comes at its place at the end.
pub fn script(run: &Run) -> String {
    let mut out = String::new();
    let line = |out: &mut String, text: &str| {
        let _ = writeln!(out, "{text}");
    };
    line(&mut out, &format!("# run {}", run.id));
    for job in run.jobs.iter().filter(|job| !job.unfit.is_empty()) {
        for unfit in &job.unfit {
            line(&mut out, &format!("# job {} cannot run: {}; {}", job.name, unfit.message, unfit.remedy));
        }
    }
    let jobs: Vec<&JobRun> = run.jobs.iter().filter(|job| job.unfit.is_empty()).collect();
    steps(&mut out, "prepare", run.prepare.iter());
    for job in &jobs {
        section(
            &mut out,
            &format!("job {}: hooks before", job.name),
            job.before.iter().map(|hook| &hook.cmd),
        );
        steps(&mut out, &format!("job {}: stop", job.name), job.stop.iter());
    }
    let hold = |word: &str| run.held.iter().map(|at| format!("fsfreeze --{word} {at}")).collect::<Vec<_>>();
    if !run.frozen.is_empty() {
        line(&mut out, "\n# freeze");
        for text in hold("freeze") {
            line(&mut out, &text);
        }
        run.frozen.iter().for_each(|it| line(&mut out, &it.step.act.to_string()));
        for text in hold("unfreeze") {
            line(&mut out, &text);
        }
    }
    let frozen: Vec<&&JobRun> = jobs.iter().filter(|job| job.is_frozen).collect();
    for job in &frozen {
        undo(&mut out, &format!("job {}: start again", job.name), job.stop.iter());
    }
    if let Some(view) = &run.view {
        line(&mut out, "\n# store, with what is frozen in its place, in mounts that nobody else sees");
        line(&mut out, "unshare --mount --propagation private sh <<'VIEW'");
        view.mounts.iter().for_each(|cmd| line(&mut out, &cmd.to_string()));
        let frozen = jobs.iter().filter(|job| !job.needs.is_empty());
        frozen.flat_map(|job| &job.stores).for_each(|store| line(&mut out, &store.cmd.to_string()));
        line(&mut out, &view.unmount.to_string());
        line(&mut out, "VIEW");
    }
    undo(&mut out, "remove the snapshots", run.frozen.iter().map(|it| &it.step));
    let live = jobs.iter().filter(|job| job.needs.is_empty());
    section(&mut out, "store", live.flat_map(|job| &job.stores).map(|store| &store.cmd));
    for job in jobs.iter().filter(|job| !job.is_frozen) {
        undo(&mut out, &format!("job {}: start again", job.name), job.stop.iter());
    }
    undo(&mut out, "undo", run.prepare.iter());
    for job in &jobs {
        section(&mut out, &format!("job {}: copy", job.name), job.copies.iter().map(|(_, copy)| &copy.cmd));
        for (what, hooks) in
            [("after success", &job.after), ("after failure", &job.failed), ("at the end", &job.finally)]
        {
            let what = format!("job {}: hooks {what}", job.name);
            if hooks.is_empty() {
                continue;
            }
            line(&mut out, &format!("\n# {what}"));
            // What runs after a failure is not to be pasted with the rest.
            let comment = if what.ends_with("failure") { "# " } else { "" };
            for hook in hooks {
                line(&mut out, &format!("{comment}{}", hook.cmd));
            }
        }
    }
    out
}

fn section<'a, T: std::fmt::Display + 'a>(out: &mut String, title: &str, lines: impl Iterator<Item = &'a T>) {
    let lines: Vec<String> = lines.map(ToString::to_string).collect();
    if !lines.is_empty() {
        let _ = writeln!(out, "\n# {title}\n{}", lines.join("\n"));
    }
}

fn steps<'a>(out: &mut String, title: &str, steps: impl Iterator<Item = &'a Step>) {
    section(out, title, steps.map(|step| &step.act));
}

fn undo<'a>(out: &mut String, title: &str, steps: impl Iterator<Item = &'a Step>) {
    let mut undo: Vec<_> = steps.filter_map(|step| step.undo.as_ref()).collect();
    undo.reverse();
    section(out, title, undo.into_iter());
}
