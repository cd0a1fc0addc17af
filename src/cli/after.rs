//! Sends notifications after a run, a prune, a verification or a `notify watch`.
//!
//! A notifier that fails never changes the result of a run. It causes a warning, and rlvm keeps the failure for
//! `status`.

use anyhow::Result;
use jiff::Timestamp;

use super::{context::Context, records};
use crate::{
    effect::Letter,
    host::{self, Log, Real, Store, Telling, Tries, random_id},
    job::Record,
    model::Name,
    plan::show::Paint,
    report::{
        letter::{self, Facts, Sender, begins, ends},
        message::{Message, Tail, lines_of},
        notice::{Item, Notice, What, decide, signals},
        told::{Kind, Mark, Told},
    },
    state::{Job, Notifier, Occasion, State},
};

/// The directory of what is kept of it.
const NOTIFY: &str = "notify";
/// What was told.
const TOLD: &str = "told.json";
/// Who is writing that down.
const LOCK: &str = "lock";
/// How much of a log is looked at for its last lines, in bytes.
const TAIL: u64 = 1 << 16;

/// Something for a notifier.
struct Parcel {
    notifier: Name,
    letter: Letter,
    /// What the notifier then knows.
    marks: Vec<Mark>,
}

/// What runs are told to begin.
pub(super) struct Begun {
    names: Vec<Name>,
    telling: Telling,
}

/// Tells what watches for silence that these jobs begin. Nobody waits for it.
pub(super) fn begin(host: &Real, state: &State, jobs: &[(&Name, &Job)]) -> Begun {
    let named = |name: &&Name| jobs.iter().any(|(_, job)| job.notify.contains(name));
    let all = state.notify.iter().filter(|(name, _)| named(name));
    let (names, letters): (Vec<Name>, Vec<Letter>) =
        all.filter_map(|(name, notifier)| Some((name.clone(), begins(notifier)?))).unzip();
    Begun { telling: host.deliver(&letters, Tries::Once), names }
}

impl Begun {
    /// Sees how that went, so that no end is told before its beginning.
    pub(super) fn end(self, context: &Context<'_>, host: &Real, state: &State) {
        if self.names.is_empty() {
            return;
        }
        let results = self.telling.wait().into_iter().map(words);
        let named = self.names.into_iter().zip(results);
        let all: Vec<Noted> = named.map(|(name, result)| (name, Vec::new(), result.map(drop))).collect();
        let now = now(context, None);
        // Whether it can be kept is said at the end.
        drop(keep(context, host, state, &all, &now.to_string()));
    }
}

/// Tells all that are to be told of something, and keeps what was told. Returns what went wrong with it, which was
/// printed too.
pub(super) fn after(context: &Context<'_>, host: &Real, state: &State, what: What<'_>) -> Vec<String> {
    if state.notify.is_empty() {
        return Vec::new();
    }
    let problems = match tell(context, host, state, what) {
        Ok(problems) => problems,
        Err(err) => vec![format!("some notifications may not have been sent: {err:#}")],
    };
    for problem in &problems {
        let word = context.printer.err_style().paint(Paint::Changed, "warning");
        context.printer.note(&format!("{word}: {problem}\n"));
    }
    problems
}

/// Reads what was told.
pub(super) fn told(context: &Context<'_>, host: &Real) -> Result<Told> {
    let store = Store::new(host, &context.home()?.join(NOTIFY)?);
    Ok(store.read(TOLD)?.map(|bytes| Told::read(&bytes)).unwrap_or_default())
}

/// A notifier, what it then knows, and whether it was told.
pub(super) type Noted = (Name, Vec<Mark>, Result<(), String>);

/// Sends letters to notifiers, side by side; returns how each went.
pub(super) fn send(host: &Real, letters: &[Letter]) -> Vec<Result<String, String>> {
    host.deliver(letters, Tries::Thrice).wait().into_iter().map(words).collect()
}

fn words(told: host::Told) -> Result<String, String> {
    let host::Told { to, result, seconds } = told;
    result.map(|how| format!("{to} {how}, {seconds} s")).map_err(|why| format!("{to}: {why}"))
}

fn tell(context: &Context<'_>, host: &Real, state: &State, what: What<'_>) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let now = now(context, ended(what));
    let earlier = earlier(context, host, what).unwrap_or_else(|err| {
        problems.push(format!("cannot read run records; the start of the failure is unknown: {err:#}"));
        Vec::new()
    });
    // What is not known is told once more.
    let known = told(context, host).unwrap_or_else(|err| {
        problems
            .push(format!("cannot read the notification history; some notifications may repeat: {err:#}"));
        Told::default()
    });
    let (id, scope) = (random_id()?, context.scope()?);
    let sender = Sender { host: &state.host, now, id: &id, home: scope.personal().map(|own| &own.home) };
    let (mut noted, mut parcels) = (Vec::new(), Vec::new());
    for Notice { notifier: name, items, marks } in decide(state, what, &earlier, &known, now) {
        let notifier = state.notify.get(&name).filter(|_| !items.is_empty());
        let write = |notifier: &Notifier| {
            let message = message(host, state, notifier, &items, what);
            letter::letter(notifier, &message, facts(&items, what), &sender)
        };
        match notifier.and_then(write) {
            Some(letter) => parcels.push(Parcel { notifier: name, letter, marks }),
            None => noted.push((name, marks, Ok(()))),
        }
    }
    for signal in signals(state, what) {
        let write =
            |notifier| ends(notifier, signal.well, &message(host, state, notifier, &signal.items, what));
        let letter = state.notify.get(&signal.notifier).and_then(write);
        parcels.extend(letter.map(|letter| Parcel { notifier: signal.notifier, letter, marks: Vec::new() }));
    }
    let unsent = noted.len();
    let letters: Vec<Letter> = parcels.iter().map(|parcel| parcel.letter.clone()).collect();
    for (parcel, result) in parcels.into_iter().zip(send(host, &letters)) {
        problems
            .extend(result.as_ref().err().map(|why| format!("{} could not be told: {why}", parcel.notifier)));
        noted.push((parcel.notifier, parcel.marks, result.map(drop)));
    }
    if let Err(err) = keep_all(context, host, state, &noted, unsent, &now.to_string()) {
        problems
            .push(format!("cannot write the notification history; some notifications will repeat: {err:#}"));
    }
    Ok(problems)
}

/// Keeps what was told: of the first so many nothing was to be sent.
fn keep_all(
    context: &Context<'_>,
    host: &Real,
    state: &State,
    noted: &[Noted],
    unsent: usize,
    now: &str,
) -> Result<()> {
    change(context, host, |told| {
        for (place, (name, marks, result)) in noted.iter().enumerate() {
            told.note(name, marks, result, now);
            if place >= unsent {
                told.heard(name, result, now);
            }
        }
        told.forget(state);
    })
}

/// Keeps how notifiers could be told something.
pub(super) fn keep(
    context: &Context<'_>,
    host: &Real,
    state: &State,
    noted: &[Noted],
    now: &str,
) -> Result<()> {
    keep_all(context, host, state, noted, 0, now)
}

/// Changes what is kept, one process after the other.
fn change(context: &Context<'_>, host: &Real, change: impl FnOnce(&mut Told)) -> Result<()> {
    let store = Store::new(host, &context.home()?.join(NOTIFY)?);
    let _held = records::held(&store, LOCK)?;
    let before = store.read(TOLD)?;
    let mut told = before.as_deref().map(Told::read).unwrap_or_default();
    change(&mut told);
    let bytes = told.bytes()?;
    if before.as_deref() == Some(&bytes) { Ok(()) } else { store.replace(TOLD, &bytes) }
}

fn message(host: &Real, state: &State, notifier: &Notifier, items: &[Item], what: What<'_>) -> Message {
    let lines = notifier.lines();
    let run = if let What::Run(record) = what { Some(record.run.as_str()) } else { None };
    let failed =
        |item: &&Item| item.occasion == Occasion::Failure && item.about.kind == Kind::Run && run.is_some();
    let mut jobs: Vec<&Name> =
        items.iter().filter(failed).filter_map(|item| item.about.job.as_ref()).collect();
    if notifier.is_watch() {
        jobs = items.iter().filter(|_| run.is_some()).filter_map(|item| item.about.job.as_ref()).collect();
    }
    jobs.dedup();
    let tail = |job: &&Name| {
        let log = state.log.directory.join(&format!("{job}.log")).ok().filter(|_| lines > 0)?;
        let text = Log::tail(host, &log, TAIL).ok()?;
        Some(Tail { lines: lines_of(&text, run, lines), log })
    };
    let tails: Vec<Tail> = jobs.iter().filter_map(tail).collect();
    Message::new(&state.host, items, &state.log.directory, &tails)
}

fn facts<'a>(items: &'a [Item], what: What<'a>) -> Facts<'a> {
    match what {
        What::Run(record) => Facts { items, record: Some(record), checks: &[] },
        What::Verified(checks) => Facts { items, record: None, checks },
        _ => Facts { items, ..Facts::default() },
    }
}

/// Reads the records before.
fn earlier(context: &Context<'_>, host: &Real, what: What<'_>) -> Result<Vec<Record>> {
    let this = match what {
        What::Run(record) => Some(&record.run),
        What::Broken(..) | What::Looked(_) => None,
        What::Pruned(_) | What::Verified(_) => return Ok(Vec::new()),
    };
    let mut runs = records::all(context, host)?.runs;
    runs.retain(|record| Some(&record.run) != this);
    Ok(runs)
}

/// Says when it happened.
fn ended(what: What<'_>) -> Option<&str> {
    match what {
        What::Run(record) => Some(&record.ended),
        What::Verified(checks) => checks.last().map(|it| it.ended.as_str()),
        What::Looked(status) => Some(&status.time),
        What::Broken(..) | What::Pruned(_) => None,
    }
}

pub(super) fn now(context: &Context<'_>, ended: Option<&str>) -> Timestamp {
    let began = || Timestamp::try_from(context.environment.now).unwrap_or_default();
    let now = ended.and_then(|it| it.parse().ok()).unwrap_or_else(began);
    now.round(jiff::Unit::Second).unwrap_or(now)
}
