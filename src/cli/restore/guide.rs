//! Asks a person on a terminal which job, snapshot and paths to restore, and where to.

use std::fmt::Write;

use anyhow::Result;

use super::{
    ask::{choice, line},
    compare::{files, within},
    nodes::{Node, held},
    one_line,
    places::{Candidate, Has, when},
    wish::Wish,
    world::World,
};
use crate::{
    host::Sort,
    model::{HostPath, Name, UserName},
    restic::Listed,
    state::Job,
};

/// How many entries of a directory are shown.
const SHOWN: usize = 40;

/// Has a job chosen.
pub(super) fn job(world: &World<'_>) -> Result<Name> {
    let jobs: Vec<&Name> = world.state.jobs.keys().collect();
    if let [one] = jobs.as_slice() {
        return Ok((*one).clone());
    }
    let of = |name: &&Name| {
        let sources: Vec<String> = world.state.jobs[*name]
            .sources
            .iter()
            .flat_map(|it| it.paths())
            .map(ToString::to_string)
            .collect();
        format!("{name}  {}", sources.join(" "))
    };
    world.context.printer.note("Jobs:\n");
    let index = choice(world.context, "Which job", &jobs.iter().map(of).collect::<Vec<_>>())?;
    Ok(jobs[index].clone())
}

/// Has a snapshot chosen, the newest first; returns where it is, and its id.
pub(super) fn snapshot(
    world: &World<'_>,
    (name, job): (&Name, &Job),
    has: &[Has],
    from: Option<&Name>,
) -> Result<Option<(Name, String)>> {
    let (hosts, jobs) = (world.hosts(), World::jobs(name, job));
    let mut all: Vec<(&Name, &Listed)> = Vec::new();
    for Has { place, all: listed } in has.iter().filter(|it| from.is_none_or(|from| it.place.name == *from)) {
        let ours = listed.iter().flatten().filter(|it| it.is_of(&hosts, &jobs));
        all.extend(ours.map(|it| (&place.name, it)));
    }
    // Stable: of one moment the nearest place comes first.
    all.sort_by_key(|(_, it)| std::cmp::Reverse(it.time()));
    if all.is_empty() {
        return Ok(None);
    }
    let text = |(place, it): &(&Name, &Listed)| {
        let size = it.summary.map(|it| indicatif::HumanBytes(it.total_bytes_processed).to_string());
        format!(
            "{}  {:>10}  {} at {place}",
            when(world, it),
            size.unwrap_or_default(),
            it.id.get(..8).unwrap_or(&it.id)
        )
    };
    world.context.printer.note(&format!("Snapshots of {name}:\n"));
    let index = choice(world.context, "Which snapshot", &all.iter().map(text).collect::<Vec<_>>())?;
    Ok(Some((all[index].0.clone(), all[index].1.id.clone())))
}

/// Has a path chosen, by walking through the snapshot.
pub(super) fn path(world: &World<'_>, from: &Candidate<'_>) -> Result<Vec<Wish>> {
    let root = UserName::root();
    let nodes = held(world, &from.place.access(&root), &from.snapshot.id, &[])?.nodes;
    let mut at: Option<String> = match from.snapshot.paths.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    };
    loop {
        let entries: Vec<&Node> = match &at {
            Some(at) => nodes.iter().filter(|node| parent(&node.path) == Some(at.as_str())).collect(),
            None => nodes.iter().filter(|node| from.snapshot.paths.contains(&node.path)).collect(),
        };
        show(world, &nodes, at.as_deref(), &entries);
        let answer = line(
            world.context,
            "A number to open it, `..` to go up, a path, or `.` to restore all of it",
            Some("."),
        )?;
        match answer.as_str() {
            "." => return at.map_or_else(|| Ok(Vec::new()), |at| Ok(vec![wish(&at)?])),
            ".." => {
                let top = at.as_ref().is_none_or(|at| from.snapshot.paths.contains(at));
                at = if top { None } else { at.as_deref().and_then(parent).map(ToOwned::to_owned) };
            }
            _ => {
                let by_number =
                    answer.parse::<usize>().ok().and_then(|number| entries.get(number.checked_sub(1)?));
                let found = by_number.copied().or_else(|| nodes.iter().find(|node| node.path == answer));
                match found {
                    Some(node) if node.sort == Sort::Directory => at = Some(node.path.clone()),
                    Some(node) if node.is_plain() => return Ok(vec![wish(&node.path)?]),
                    Some(_) => {
                        world
                            .context
                            .printer
                            .note("  this name cannot be typed here: choose its directory\n");
                    }
                    None => world.context.printer.note("  the snapshot has no such path\n"),
                }
            }
        }
    }
}

fn wish(path: &str) -> Result<Wish> {
    Wish::read(path.as_bytes()).map_err(anyhow::Error::msg)
}

fn show(world: &World<'_>, nodes: &[Node], at: Option<&str>, entries: &[&Node]) {
    let size = |dir: &str| nodes.iter().filter(|it| within(&it.path, dir)).map(|it| it.size).sum::<u64>();
    let count = |dir: &str| {
        nodes.iter().filter(|it| it.sort != Sort::Directory && within(&it.path, dir)).count() as u64
    };
    let human = |bytes| indicatif::HumanBytes(bytes).to_string();
    let mut text = match at {
        Some(at) => format!("{}: {} of {}\n", one_line(at), files(count(at), "file"), human(size(at))),
        None => "The snapshot:\n".to_owned(),
    };
    // Writing into a String cannot fail.
    for (number, node) in entries.iter().enumerate().take(SHOWN) {
        let slash = if node.sort == Sort::Directory { "/" } else { "" };
        let name = if at.is_none() { &node.path } else { node.path.rsplit('/').next().unwrap_or_default() };
        let _ =
            writeln!(text, "  {:>3}  {:>10}  {}{slash}", number + 1, human(size(&node.path)), one_line(name));
    }
    if entries.len() > SHOWN {
        let _ = writeln!(text, "       and {} more: type the path", entries.len() - SHOWN);
    }
    world.context.printer.note(&text);
}

fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        (_, "") => None,
        ("", _) => Some("/"),
        (dir, _) => Some(dir),
    }
}

/// Has it said where to: a directory, or nothing for in place.
pub(super) fn target(world: &World<'_>, job: &Name, snapshot: &Listed) -> Result<Option<HostPath>> {
    let proposed = format!("/var/tmp/restored-{job}-{}", snapshot.id.get(..8).unwrap_or_default());
    loop {
        let answer = line(
            world.context,
            "Target directory, or `in place` to overwrite the original files",
            Some(&proposed),
        )?;
        if matches!(answer.as_str(), "in place" | "in-place") {
            return Ok(None);
        }
        match answer.parse() {
            Ok(path) => return Ok(Some(path)),
            Err(bad) => world.context.printer.note(&format!("  {bad}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents() {
        for (path, expected) in [("/a/b", Some("/a")), ("/a", Some("/")), ("/", None), ("", None)] {
            assert_eq!(parent(path), expected, "{path}");
        }
    }
}
