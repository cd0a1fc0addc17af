//! Carries out a restore: tries one destination after the other, until one has restored all files.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{
    Asked, RestoreVerb,
    ask::confirmed,
    attempt::{Fetched, Goal, Prepared, Put, fetch, has_room, is_mounted, places_to_work, prepare, put},
    compare::{Comparison, files},
    copies::{compare_contents, compare_links},
    places::{Candidate, when},
    stage::Stage,
    tell::{Record, Teller},
    world::{World, is_outside_repositories},
};
use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        queue::{Queue, Use},
        sweep,
    },
    effect::{Op, Owner},
    host::{Act as _, Host as _, Sort, Standing, interrupted, watch_signals},
    model::{Mode, UserName},
    source::Source,
};

/// What came of one place.
enum Turn {
    /// All is there as it was.
    Nothing,
    /// Nothing can be put there.
    Blocked(Box<Prepared>),
    /// A person said no.
    Declined,
    /// It was restored into a private directory.
    Fetched(Box<(Prepared, Fetched)>),
}

/// What came of all places.
enum Best<'a> {
    /// All is there as it was.
    Nothing,
    /// Nothing can be put there.
    Blocked(Box<(&'a Candidate<'a>, Prepared)>),
    /// A person said no.
    Declined,
    /// The best that there is.
    Fetched(Box<(&'a Candidate<'a>, Prepared, Fetched)>),
}

impl RestoreVerb {
    /// Tries one place after the other, and keeps the best.
    pub(super) fn carry_out(
        &self,
        world: &World<'_>,
        all: &[&Candidate<'_>],
        asked: &Asked,
        teller: &Teller,
    ) -> Result<Exit> {
        // What a dead restore has left may fill what is needed now; that it stays is no reason not to restore.
        if let Err(err) = sweep::sweep_all(world.context, world.host, !self.json) {
            teller.warn(&format!("cannot remove what interrupted runs have left: {err:#}"));
        }
        let since = Instant::now();
        let goal = &asked.goal;
        self.is_free(world, goal)?;
        let sources = world.state.jobs.values().flat_map(|job| &job.sources).flat_map(Source::paths);
        if !goal.in_place && sources.into_iter().any(|path| goal.base.is_within(path)) {
            teller.warn(&format!(
                "{} is inside a source: the next backup stores the restored files too",
                goal.base
            ));
        }
        let stage = Stage::begin(world)?;
        let best = self.best(world, &stage, all, asked, teller);
        let declined = matches!(best, Ok(Best::Declined));
        let mut made = false;
        let done = match best {
            Ok(Best::Fetched(fetched)) => {
                let (from, what, fetched) = *fetched;
                made = stage.keep(&Op::RemoveDir { path: goal.base.clone() })?;
                let put = put(world, &what, fetched, goal);
                put.map(|put| Some(record(asked, from, &what, put, since)))
            }
            Ok(Best::Blocked(blocked)) => {
                let (from, what) = *blocked;
                let comparison = &what.decided.comparison;
                let unchanged = comparison.unchanged(true);
                let put =
                    Put { placed: 0, files_placed: 0, unchanged, unrestored: comparison.blocked.clone() };
                Ok(Some(record(asked, from, &what, put, since)))
            }
            Ok(Best::Nothing | Best::Declined) => Ok(None),
            Err(err) => Err(err),
        };
        let ended = stage.end();
        // Whom restic worked as has gone through it.
        if made {
            world.host.act(&Op::SetMode { path: goal.base.clone(), mode: Mode::new(0o700) })?;
        }
        let done = match done {
            Err(_) if interrupted().is_some() => None,
            other => other?,
        };
        ended?;
        let Some(record) = done else {
            if interrupted().is_some() {
                world.context.printer.note("Stopped by a signal: nothing was restored.\n");
                return Ok(Exit::of_signal(interrupted()));
            }
            teller.line("Nothing was restored.");
            return Ok(if declined { Exit::Failed } else { Exit::Ok });
        };
        teller.end(&record)?;
        Ok(match record.status {
            "success" => Exit::Ok,
            "interrupted" => Exit::of_signal(interrupted()),
            _ => Exit::Incomplete,
        })
    }

    /// Restores from the first place that has all of it, else from the one that has most of it.
    fn best<'a>(
        &self,
        world: &World<'_>,
        stage: &Stage<'_>,
        all: &[&'a Candidate<'a>],
        asked: &Asked,
        teller: &Teller,
    ) -> Result<Best<'a>> {
        let mut best: Option<(&Candidate<'_>, Prepared, Fetched)> = None;
        let mut last = None;
        for (number, from) in all.iter().enumerate() {
            let name = &from.place.name;
            let time = when(world, from.snapshot);
            let id = from.snapshot.id.get(..8).unwrap_or_default();
            teller.line(&format!("{}: snapshot {id} of {time}, from {name}", asked.job));
            let tried = self.once(world, stage, from, asked, teller);
            match tried {
                Ok(Turn::Nothing | Turn::Declined | Turn::Blocked(_)) if best.is_some() => break,
                Ok(Turn::Nothing) => return Ok(Best::Nothing),
                Ok(Turn::Blocked(what)) => return Ok(Best::Blocked(Box::new((from, *what)))),
                Ok(Turn::Declined) => return Ok(Best::Declined),
                Ok(Turn::Fetched(fetched)) => {
                    let (what, fetched) = *fetched;
                    let lacking = fetched.unrestored.len();
                    let better = best.as_ref().is_none_or(|(_, _, best)| lacking < best.unrestored.len());
                    let worse = if better {
                        best.replace((from, what, fetched)).map(|it| it.2)
                    } else {
                        Some(fetched)
                    };
                    if let Some(worse) = worse {
                        stage.close(&Op::RemoveStaging { path: worse.staging })?;
                    }
                    if lacking == 0 {
                        break;
                    }
                    teller.warn(&format!(
                        "{name}: {} cannot be restored from this destination",
                        files(lacking as u64, "name")
                    ));
                }
                Err(err) if interrupted().is_some() || is_final(&err) && best.is_none() => return Err(err),
                Err(err) => {
                    teller.warn(&format!("cannot restore from {name}: {err:#}"));
                    last = Some(err);
                }
            }
            if let Some(next) = all.get(number + 1) {
                teller.line(&format!("continuing with {}", next.place.name));
            }
        }
        match (best, last) {
            (Some(best), _) => Ok(Best::Fetched(Box::new(best))),
            (None, Some(err)) => Err(err.context("nothing was restored")),
            (None, None) => Ok(Best::Nothing),
        }
    }

    /// Restores from one place into a private directory.
    fn once(
        &self,
        world: &World<'_>,
        stage: &Stage<'_>,
        from: &Candidate<'_>,
        asked: &Asked,
        teller: &Teller,
    ) -> Result<Turn> {
        let goal = &asked.goal;
        let mut what = prepare(world, from, &asked.wishes, goal)?;
        is_mounted(world, goal, &what.wishes)?;
        let fetched = self.look_closer(world, stage, from, &mut what, goal, teller)?;
        let comparison = &what.decided.comparison;
        if goal.in_place {
            let of = files(comparison.files, "file");
            let head = format!("{of} ({}) in the backup:\n", indicatif::HumanBytes(comparison.bytes));
            teller.compared(comparison, &format!("{head}{}", comparison.text(goal.only_missing)))?;
            if comparison.is_empty(goal.only_missing) || self.printed {
                is_whole(fetched.as_ref(), from)?;
                if self.printed {
                    return Ok(Turn::Nothing);
                }
                if !comparison.blocked.is_empty() {
                    places_to_work(world, goal, &what.wishes)?;
                    return Ok(Turn::Blocked(Box::new(what)));
                }
                teller.line(match comparison.not_compared {
                    0 => "All files are there and unchanged.",
                    _ => "No difference was found.",
                });
                return Ok(Turn::Nothing);
            }
            self.may_be_overwritten(world, from, &what)?;
            if !self.confirmed(world.context, goal, comparison)? {
                return Ok(Turn::Declined);
            }
        } else if let Some(user) = gives_to_nobody(world, from, &what)? {
            let name = &from.place.name;
            teller.warn(&format!(
                "restic reads {name} as user {user}, who cannot set file owners: all restored files will belong to {user}"
            ));
        }
        let there = comparison.unchanged(true);
        if !goal.in_place && there > 0 {
            let message = format!("{} of the backup exist in {} already", files(there, "file"), goal.base);
            bail!(
                Failure::new(Exit::Refused, message)
                    .help("rlvm overwrites nothing in a target: choose another one")
            );
        }
        let fetched = match fetched {
            Some(fetched) => fetched,
            None => self.fetched(world, stage, from, &what, goal, teller)?,
        };
        Ok(Turn::Fetched(Box::new((what, fetched))))
    }

    /// Compares files that look as they were. Returns what was fetched for that, if it is all that the restore needs.
    fn look_closer(
        &self,
        world: &World<'_>,
        stage: &Stage<'_>,
        from: &Candidate<'_>,
        what: &mut Prepared,
        goal: &Goal,
        teller: &Teller,
    ) -> Result<Option<Fetched>> {
        if !goal.in_place || goal.only_missing || what.decided.alike.is_empty() {
            return Ok(None);
        }
        if goal.compare_content {
            self.may_be_overwritten(world, from, what)?;
            let fetched = self.fetched(world, stage, from, what, goal, teller)?;
            compare_contents(world, what, &fetched)?;
            return Ok(Some(fetched));
        }
        // Where nothing can be put in place they are not compared, and what is to be restored is refused later.
        let has_links = what.decided.alike.iter().any(|it| what.nodes[it.node].sort != Sort::File);
        if has_links
            && gives_to_nobody(world, from, what)?.is_none()
            && let Ok(dirs) = places_to_work(world, goal, &what.wishes)
            && let Some(dir) = dirs.first()
        {
            watch_signals()?;
            compare_links(world, stage, from, what, dir)?;
        }
        Ok(None)
    }

    /// Restores all that is needed into a private directory.
    fn fetched(
        &self,
        world: &World<'_>,
        stage: &Stage<'_>,
        from: &Candidate<'_>,
        what: &Prepared,
        goal: &Goal,
        teller: &Teller,
    ) -> Result<Fetched> {
        // From here on a signal ends it in order.
        watch_signals()?;
        if !goal.in_place {
            self.make_target(world, stage, from, goal)?;
        }
        let dirs = places_to_work(world, goal, &what.wishes)?;
        let Some(dir) = dirs.first() else { bail!("there is no directory to work in") };
        has_room(world, dir, what.decided.comparison.needed(goal.only_missing), goal)?;
        // A restore waits for nobody; but what removes data begins after it.
        let queue = Queue::new(world.context, world.host, "rlvm restore")?;
        let turn = queue.take(&from.place.name, Use::Beside, Duration::ZERO, &|_| {})?;
        if let Err(by) = &turn {
            teller.warn(&format!(
                "{by} is using {}: this restore can fail if data that it needs is removed meanwhile",
                from.place.name
            ));
        }
        fetch(world, stage, from, what, (dir, goal), teller)
    }

    /// Refuses in place what would give files to somebody else.
    fn may_be_overwritten(&self, world: &World<'_>, from: &Candidate<'_>, what: &Prepared) -> Result<()> {
        let Some(user) = gives_to_nobody(world, from, what)? else { return Ok(()) };
        let message = format!(
            "cannot restore in place from {}: restic reads it as user {user}, who cannot set file owners",
            from.place.name
        );
        bail!(
            Failure::new(Exit::Refused, message)
                .help("restore to a --target, set the owners, and copy the files")
        );
    }

    fn confirmed(&self, context: &Context<'_>, goal: &Goal, comparison: &Comparison) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        let environment = context.environment;
        if !environment.in_terminal || !environment.err_terminal || self.json {
            let message = "a restore in place needs a confirmation, and there is no terminal to ask on";
            bail!(Failure::new(Exit::Usage, message).help("check what rlvm printed, then add --yes"));
        }
        let question = match comparison.differing {
            count if count > 0 && !goal.only_missing => {
                format!("Overwrite {}?", files(count, "file"))
            }
            _ => "Restore in place?".into(),
        };
        confirmed(context, &question)
    }

    /// Refuses a target that is not empty, unless that is meant.
    fn is_free(&self, world: &World<'_>, goal: &Goal) -> Result<()> {
        if goal.in_place {
            return Ok(());
        }
        let base = &goal.base;
        is_outside_repositories(world, base)?;
        match world.host.standing(base)? {
            Standing::Absent => Ok(()),
            Standing::Blocked(why) => {
                bail!(Failure::new(Exit::Refused, format!("cannot restore into {base}: {why}")))
            }
            Standing::There(there, _) if there.sort != Sort::Directory => {
                bail!(Failure::new(
                    Exit::Refused,
                    format!("cannot restore into {base}: it is not a directory")
                ))
            }
            Standing::There(..) if self.into_existing => Ok(()),
            Standing::There(..) => match world.host.looker().names(base)?.len() {
                0 => Ok(()),
                count => {
                    let message = format!("{base} is not empty: {}", files(count as u64, "name"));
                    let help = "choose another directory; or --into-existing, which adds files and overwrites nothing";
                    bail!(Failure::new(Exit::Refused, message).help(help))
                }
            },
        }
    }

    /// Makes the target, for nobody else to look into, unless it is there.
    fn make_target(
        &self,
        world: &World<'_>,
        stage: &Stage<'_>,
        from: &Candidate<'_>,
        goal: &Goal,
    ) -> Result<()> {
        let path = &goal.base;
        if world.host.standing(path)? != Standing::Absent {
            return Ok(());
        }
        let owner = world.context.scope()?.personal().map_or_else(Owner::root, Owner::of);
        // Whom restic works as goes through it.
        let mode = Mode::new(if from.place.works_as().is_some() { 0o711 } else { 0o700 });
        stage.open(None, &Op::RemoveTemporary { path: path.clone() })?;
        let make = Op::MakeDir { path: path.clone(), owner, mode };
        stage.open(Some(&make), &Op::RemoveDir { path: path.clone() })
    }
}

/// Checks that all that was fetched to be compared is whole. If nothing else is to be done, another place may have it.
fn is_whole(fetched: Option<&Fetched>, from: &Candidate<'_>) -> Result<()> {
    let lacking = fetched.map_or(&[][..], |it| &it.unrestored);
    let Some(first) = lacking.first() else { return Ok(()) };
    bail!(
        "{} cannot be read from {}, for example {}: {}",
        files(lacking.len() as u64, "file"),
        from.place.name,
        first.path,
        first.why
    )
}

/// Names who restic works as, if not all of it can be given back to its owners by that user.
fn gives_to_nobody<'a>(
    world: &World<'_>,
    from: &Candidate<'a>,
    what: &Prepared,
) -> Result<Option<&'a UserName>> {
    let Some(user) = from.place.works_as() else { return Ok(None) };
    let uid = world.host.looker().user(user)?.map(|entry| entry.uid);
    Ok((!what.nodes.iter().all(|node| Some(node.uid) == uid)).then_some(user))
}

/// Says whether another place would end in the same way: what was asked for is wrong, not where it comes from.
fn is_final(err: &anyhow::Error) -> bool {
    matches!(Exit::of(err), Exit::Refused | Exit::Usage)
}

fn record(asked: &Asked, from: &Candidate<'_>, what: &Prepared, put: Put, since: Instant) -> Record {
    let status = match () {
        () if interrupted().is_some() => "interrupted",
        () if put.unrestored.is_empty() => "success",
        () => "incomplete",
    };
    Record {
        format_version: 1,
        job: asked.job.clone(),
        destination: from.place.name.clone(),
        snapshot: from.snapshot.id.clone(),
        time: from.snapshot.time.clone(),
        hostname: from.snapshot.hostname.clone(),
        paths: what.wishes.iter().map(|it| it.text.clone()).collect(),
        below: asked.goal.base.clone(),
        status,
        files: what.decided.comparison.files,
        bytes: what.decided.comparison.bytes,
        placed: put.placed,
        files_placed: put.files_placed,
        unchanged: put.unchanged,
        not_compared: what.decided.comparison.not_compared,
        unrestored: put.unrestored,
        seconds: since.elapsed().as_secs_f64(),
    }
}
