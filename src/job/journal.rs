//! Records what a run is about to open, so that it can be closed after a crash.
//!
//! Each run has one file, which its process keeps locked. A file that nobody has locked belongs to a dead run. A line
//! that is incomplete was never acted on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreRecord;
use crate::{
    effect::Op,
    host::{Held, Store},
    model::{HostName, HostPath, Name, RunId},
};

/// The version of the format.
const VERSION: u32 = 1;

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first one.
    Run {
        format_version: u32,
        run: RunId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        began: Option<i64>,
    },
    /// Something is about to be done, and this undoes it.
    Will { number: usize, undo: Op },
    /// It was undone.
    Undone(usize),
    /// A program runs: its process, which leads a session, and when it was started.
    Child { process: u32, started: u64 },
    /// A program ended by itself: it has left no lock of restic's.
    Ended(u32),
    /// A file system is held still.
    Holds(Vec<HostPath>),
    /// None is any more.
    HoldsNone,
    /// A repository is worked with: the destination.
    WorksWith(Name),
    /// These jobs of a host are run.
    Jobs { host: HostName, jobs: Vec<Name> },
    /// restic is about to store a job at a destination, at a time in seconds since 1970.
    Stores { job: Name, destination: Name, at: i64 },
    /// What that came to. The run has looked at it.
    Stored { job: Name, copy: bool, at: i64, record: Box<StoreRecord> },
}

/// The journal of this run.
pub struct Journal {
    file: Held,
    next: usize,
}

/// A job of a dead run.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftJob {
    /// Its name.
    pub name: Name,
    /// What was stored where, as far as the run has said so.
    pub destinations: Vec<StoreRecord>,
    /// What was copied where, as far as the run has said so.
    pub copies: Vec<StoreRecord>,
    /// Where it was being stored, and when each try began, in seconds since 1970.
    pub open: BTreeMap<Name, Vec<i64>>,
}

/// What a dead run has left open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    /// The run.
    pub run: Option<RunId>,
    /// When it began, in seconds since 1970; older journals do not say it.
    pub began: Option<i64>,
    /// Its programs: their processes, and when they were started.
    pub children: Vec<(u32, u64)>,
    /// Those of them that ended by themselves.
    pub ended: BTreeSet<u32>,
    /// The file systems that it held still.
    pub held: Vec<HostPath>,
    /// What undoes what it did, the last first, each with its number.
    pub undo: Vec<(usize, Op)>,
    /// The destinations that it has worked with, where its locks may be.
    pub destinations: BTreeSet<Name>,
    /// The host of the run; `None` if the dead process ran no jobs.
    pub host: Option<HostName>,
    /// Its jobs.
    pub jobs: Vec<LeftJob>,
    /// The last time that it has written down, in seconds since 1970.
    pub last: Option<i64>,
}

impl Journal {
    /// Begins the journal of a run, at a time.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn begin(store: &Store<'_>, run: &RunId, began: Timestamp) -> Result<Self> {
        let mut journal = Self { file: store.hold_new(run.as_str())?, next: 0 };
        journal.add(&Line::Run {
            format_version: VERSION,
            run: run.clone(),
            began: Some(began.as_second()),
        })?;
        Ok(journal)
    }

    /// Writes down what undoes what is about to be done.
    ///
    /// # Errors
    ///
    /// If it cannot be written: then it must not be done.
    pub fn will(&mut self, undo: &Op) -> Result<usize> {
        let number = self.next;
        self.next += 1;
        self.add(&Line::Will { number, undo: undo.clone() })?;
        Ok(number)
    }

    /// Makes durable what was written: it survives a power cut.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }

    /// Writes down that something was undone.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn undone(&mut self, number: usize) -> Result<()> {
        self.add(&Line::Undone(number))
    }

    /// Writes down that a program runs.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn child(&mut self, process: u32, started: u64) -> Result<()> {
        self.add(&Line::Child { process, started })
    }

    /// Writes down that a program ended by itself.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn ended(&mut self, process: u32) -> Result<()> {
        self.add(&Line::Ended(process))
    }

    /// Writes down which file systems are about to be held still; that none is any more if there are none.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn holds(&mut self, held: &[HostPath]) -> Result<()> {
        self.add(&if held.is_empty() { Line::HoldsNone } else { Line::Holds(held.to_vec()) })
    }

    /// Writes down that a repository is about to be worked with.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn works_with(&mut self, destination: &Name) -> Result<()> {
        self.add(&Line::WorksWith(destination.clone()))
    }

    /// Writes down which jobs of a host are run: if the run dies, a sweep says so in a record.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn jobs(&mut self, host: &HostName, jobs: &[&Name]) -> Result<()> {
        let jobs = jobs.iter().map(|name| (*name).clone()).collect();
        self.add(&Line::Jobs { host: host.clone(), jobs })
    }

    /// Writes down that restic is about to store a job at a destination. Returns the time, in seconds since 1970.
    ///
    /// The time is that of the machine's clock as it is set now, since restic writes that into the snapshot.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn stores(&mut self, job: &Name, destination: &Name) -> Result<i64> {
        self.works_with(destination)?;
        let at = Timestamp::try_from(self.file.written()?)?.as_second();
        self.add(&Line::Stores { job: job.clone(), destination: destination.clone(), at })?;
        self.sync()?;
        Ok(at)
    }

    /// Writes down what storing a job, or copying it, came to.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn stored(&mut self, job: &Name, copy: bool, record: &StoreRecord) -> Result<()> {
        let at = Timestamp::try_from(self.file.written()?)?.as_second();
        self.add(&Line::Stored { job: job.clone(), copy, at, record: Box::new(record.clone()) })?;
        self.sync()
    }

    /// Reads what the run has written down as open until now.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn left(&mut self) -> Result<Left> {
        Left::read("of this run", &self.file.read()?)
    }

    fn add(&mut self, line: &Line) -> Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.add(&bytes)
    }
}

impl Left {
    /// Reads what a run's journal says it has left open. A last line that was cut short is one that nothing was done for.
    ///
    /// # Errors
    ///
    /// If it makes no sense: then nothing is swept, since anything might be hit.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut left = Self::default();
        let mut undo = BTreeMap::new();
        for (index, line) in
            bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate()
        {
            let line: Line = serde_json::from_slice(line)
                .with_context(|| format!("line {} of the journal {name} makes no sense", index + 1))?;
            match line {
                Line::Run { format_version, run, began } => {
                    ensure!(
                        format_version == VERSION,
                        "the journal {name} was written by another version of rlvm"
                    );
                    (left.run, left.began, left.last) = (Some(run), began, began);
                }
                Line::Will { number, undo: op } => drop(undo.insert(number, op)),
                Line::Undone(number) => drop(undo.remove(&number)),
                Line::Child { process, started } => {
                    left.children.push((process, started));
                    left.ended.remove(&process);
                }
                Line::Ended(process) => drop(left.ended.insert(process)),
                Line::Holds(held) => left.held = held,
                Line::HoldsNone => left.held.clear(),
                Line::WorksWith(destination) => drop(left.destinations.insert(destination)),
                Line::Jobs { host, jobs } => {
                    left.host = Some(host);
                    for name in jobs {
                        left.job(name);
                    }
                }
                Line::Stores { job, destination, at } => {
                    left.last = Some(at);
                    left.job(job).open.entry(destination).or_default().push(at);
                }
                Line::Stored { job, copy, at, record } => {
                    left.last = Some(at);
                    let job = left.job(job);
                    job.open.remove(&record.destination);
                    if copy { &mut job.copies } else { &mut job.destinations }.push(*record);
                }
            }
        }
        left.undo = undo.into_iter().rev().collect();
        Ok(left)
    }

    /// Finds a job, or begins it.
    fn job(&mut self, name: Name) -> &mut LeftJob {
        let place = self.jobs.iter().position(|it| it.name == name).unwrap_or_else(|| {
            let (destinations, copies, open) = Default::default();
            self.jobs.push(LeftJob { name, destinations, copies, open });
            self.jobs.len() - 1
        });
        &mut self.jobs[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Cmd;

    fn text(lines: &[Line]) -> Vec<u8> {
        lines.iter().flat_map(|line| [serde_json::to_vec(line).unwrap(), b"\n".to_vec()].concat()).collect()
    }

    fn will(number: usize) -> Line {
        Line::Will { number, undo: Op::Run(Cmd::new(&format!("undo-{number}"))) }
    }

    #[test]
    fn what_is_left_is_what_was_not_undone_the_last_first() {
        let run: RunId = "0123456789ab".parse().unwrap();
        let began = Some(1_800_000_000);
        let first = Line::Run { format_version: VERSION, run: run.clone(), began };
        let at: HostPath = "/srv".parse().unwrap();
        let lines = [
            first,
            will(0),
            will(1),
            Line::Child { process: 7, started: 9 },
            Line::Child { process: 8, started: 9 },
            Line::Ended(8),
            Line::Holds(vec![at.clone()]),
            will(2),
            Line::Undone(1),
            Line::WorksWith("vault".parse().unwrap()),
            Line::WorksWith("vault".parse().unwrap()),
        ];
        let left = Left::read("x", &text(&lines)).unwrap();
        assert_eq!((left.run, left.began), (Some(run), began));
        assert_eq!(left.undo.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 0]);
        assert_eq!((left.children, left.held, left.destinations.len()), (vec![(7, 9), (8, 9)], vec![at], 1));
        assert_eq!(
            left.ended,
            BTreeSet::from([8]),
            "its lock is gone, and a lock with its number is not its own"
        );
        let again = [lines[4].clone(), lines[5].clone(), lines[4].clone()];
        assert!(Left::read("x", &text(&again)).unwrap().ended.is_empty(), "a number is used again");
        assert!(
            Left::read("x", &text(&[Line::Holds(vec!["/a".parse().unwrap()]), Line::HoldsNone]))
                .unwrap()
                .held
                .is_empty()
        );
    }

    #[test]
    fn cut_at_any_byte_it_is_read_or_refused_and_nothing_is_made_up() {
        let run: RunId = "0123456789ab".parse().unwrap();
        let whole = text(&[
            Line::Run { format_version: VERSION, run, began: None },
            will(0),
            will(1),
            Line::Undone(1),
        ]);
        for end in 0..=whole.len() {
            let left = Left::read("x", &whole[..end]).unwrap();
            assert!(left.undo.iter().all(|(number, op)| *op == Op::Run(Cmd::new(&format!("undo-{number}")))));
        }
        let mut broken = whole.clone();
        broken[5] = b'?';
        assert!(Left::read("x", &broken).is_err());
        let other = String::from_utf8(whole).unwrap().replace("\"format_version\":1", "\"format_version\":2");
        assert!(Left::read("x", other.as_bytes()).is_err());
    }
}
