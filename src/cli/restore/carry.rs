//! Carries out a restore: tries one destination after the other, until one has restored all files.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{
    Asked, RestoreVerb,
    attempt::{
        Fetched, Goal, Prepared, Put, fetch, has_room, is_mounted, places_to_work, prepare, put,
        user_who_cannot_set_owners,
    },
    compare::files,
    consent::Consent,
    copies::{compare_contents, compare_links},
    one_line,
    places::{Candidate, when},
    stage::Stage,
    target::make_target,
    tell::{Record, Teller},
    world::World,
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        queue::{Queue, Use},
        sweep,
    },
    effect::Op,
    host::{Act as _, Sort, interrupted, watch_signals},
    model::{Mode, UserName},
    source::Source,
};

/// What came of one place.
enum Turn {
    /// The comparison was only to be shown.
    Shown,
    /// Nothing is to be put in place: all is there as it was, or nothing can be put there.
    Settled(Box<Prepared>),
    /// A person said no.
    Declined,
    /// It was restored into a private directory.
    Fetched(Box<(Prepared, Fetched)>),
}

/// What follows a comparison in place.
enum Next {
    /// Nothing: it was only to be shown.
    Shown,
    /// Nothing: there is nothing to put in place.
    Settled,
    /// Nothing: a person said no.
    Declined,
    /// The restore.
    Restore,
}

/// What came of all places.
enum Best<'a> {
    /// The comparison was only to be shown.
    Shown,
    /// Nothing is to be put in place.
    Settled(Box<(&'a Candidate<'a>, Prepared)>),
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
        if !self.printed
            && let Err(err) = sweep::sweep_all(world.context, world.host, !self.json)
        {
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
        let settled = matches!(best, Ok(Best::Settled(_)));
        let mut made = false;
        let done = match best {
            Ok(Best::Fetched(fetched)) => {
                let (from, what, fetched) = *fetched;
                made = stage.keep(&Op::RemoveDir { path: goal.base.clone() })?;
                let put = put(world, &what, fetched, goal);
                put.map(|put| Some(record(asked, from, &what, put, since)))
            }
            Ok(Best::Settled(settled)) => {
                let (from, what) = *settled;
                Ok(Some(record(asked, from, &what, Put::nothing(&what, goal), since)))
            }
            Ok(Best::Shown | Best::Declined) => Ok(None),
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
        if settled && record.status == "success" && !self.json {
            teller.line("Nothing was restored.");
            return Ok(Exit::Ok);
        }
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
        let mut consent = Consent::default();
        let mut last = None;
        for (number, from) in all.iter().enumerate() {
            let name = &from.place.name;
            let time = when(world, from.snapshot);
            let id = from.snapshot.id.get(..8).unwrap_or_default();
            teller.line(&format!("{}: snapshot {id} of {time}, from {name}", asked.job));
            let tried = self.once(world, stage, from, asked, (teller, &mut consent));
            match tried {
                Ok(Turn::Settled(_)) if best.is_some() => break,
                Ok(Turn::Shown) => return Ok(Best::Shown),
                Ok(Turn::Settled(what)) => return Ok(Best::Settled(Box::new((from, *what)))),
                // A `no` counts for all destinations.
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
            (None, None) => Ok(Best::Shown),
        }
    }

    /// Restores from one place into a private directory.
    fn once(
        &self,
        world: &World<'_>,
        stage: &Stage<'_>,
        from: &Candidate<'_>,
        asked: &Asked,
        (teller, consent): (&Teller, &mut Consent),
    ) -> Result<Turn> {
        let goal = &asked.goal;
        let mut what = prepare(world, from, &asked.wishes, goal)?;
        is_mounted(world, goal, &what.wishes)?;
        let fetched = self.look_closer(world, stage, from, &mut what, goal, teller)?;
        if goal.in_place {
            match self.next(world, from, (&what, fetched.as_ref()), goal, (teller, consent))? {
                Next::Shown => return Ok(Turn::Shown),
                Next::Settled => return Ok(Turn::Settled(Box::new(what))),
                Next::Declined => return Ok(Turn::Declined),
                Next::Restore => {}
            }
        } else if let Some(user) = user_who_cannot_set_owners(world, from, &what)? {
            let name = &from.place.name;
            teller.warn(&format!(
                "restic reads {name} as user {user}, who cannot set file owners: all restored files will belong to {user}"
            ));
        }
        let there = what.decided.comparison.unchanged(true);
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

    /// Shows a comparison in place, and says what follows: asks a person, unless there is nothing to ask.
    fn next(
        &self,
        world: &World<'_>,
        from: &Candidate<'_>,
        (what, fetched): (&Prepared, Option<&Fetched>),
        goal: &Goal,
        (teller, consent): (&Teller, &mut Consent),
    ) -> Result<Next> {
        let comparison = &what.decided.comparison;
        let of = files(comparison.files, "file");
        let head = format!("{of} ({}) in the backup:\n", indicatif::HumanBytes(comparison.bytes));
        let text = format!("{head}{}", comparison.text(goal.only_missing));
        // Nobody confirms what was not shown.
        teller.compared(comparison, &text, self.printed || !self.yes)?;
        let empty = comparison.is_empty(goal.only_missing);
        let settled = empty && comparison.blocked.is_empty();
        if empty || self.printed {
            is_whole(fetched, from)?;
        }
        if self.printed && !settled {
            self.may_be_overwritten(world, from, what)?;
            let dirs = places_to_work(world, goal, &what.wishes)?;
            if let (Some(dir), None) = (dirs.first(), fetched) {
                has_room(world, dir, comparison.needed(goal.only_missing), goal)?;
            }
        }
        if empty {
            if !settled {
                places_to_work(world, goal, &what.wishes)?;
            }
            match comparison.not_compared {
                _ if !settled => {}
                0 => teller.line("All files are there and unchanged."),
                _ => teller.line("No difference was found."),
            }
        }
        Ok(match () {
            () if self.printed => Next::Shown,
            () if empty => Next::Settled,
            () => {
                self.may_be_overwritten(world, from, what)?;
                let yes = self.confirmed(world.context, goal, &what.decided, consent)?;
                if yes { Next::Restore } else { Next::Declined }
            }
        })
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
            && refused_to(world, from, what)?.is_none()
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
            make_target(world, stage, from, &goal.base)?;
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
        let Some(user) = refused_to(world, from, what)? else { return Ok(()) };
        let message = format!(
            "cannot restore in place from {}: restic reads it as user {user}, who cannot set file owners",
            from.place.name
        );
        bail!(
            Failure::new(Exit::Refused, message)
                .help("restore to a --target, set the owners, and copy the files")
        );
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
        one_line(&first.path),
        one_line(&first.why)
    )
}

/// Names who restic works as, if nothing is restored in place by that user. A user's own restore lists what it cannot give back.
fn refused_to(world: &World<'_>, from: &Candidate<'_>, what: &Prepared) -> Result<Option<UserName>> {
    Ok(from.place.works_as().and(user_who_cannot_set_owners(world, from, what)?))
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
