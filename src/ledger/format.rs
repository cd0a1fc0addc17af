//! Defines the format of the ledger: a JSON object, and a log with one JSON object per line.
//!
//! The records of the log are numbered without gaps. Records that the snapshot contains already are skipped, because
//! a crash may come between writing the snapshot and emptying the log. A last line without its newline was cut short
//! while it was written, so its change was never begun.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Entry, LOG, Ledger, SNAPSHOT};
use crate::model::{Address, HostName};

/// The version of the format; another one is refused.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    format_version: u32,
    rlvm_version: String,
    host: HostName,
    lineage: String,
    serial: u64,
    entries: BTreeMap<Address, Entry>,
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
    rlvm_version: String,
}

/// One line of the log.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    lineage: std::borrow::Cow<'a, str>,
    serial: u64,
    address: Address,
    /// Null: it is no longer managed.
    entry: Option<Entry>,
}

/// Why a ledger cannot be used, with a way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    what: String,
    remedy: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ledger cannot be used: {}\nhelp: {}", self.what, self.remedy)
    }
}

impl std::error::Error for Unreadable {}

/// Reads a ledger. `dir` is where it is, for messages. Returns it with how many bytes of the log are whole;
/// `None` if there is none.
///
/// # Errors
///
/// If it is damaged, cut short, or of a newer rlvm.
pub fn read(
    dir: &str,
    snapshot: Option<&[u8]>,
    log: Option<&[u8]>,
) -> Result<Option<(Ledger, u64)>, Unreadable> {
    let log = log.unwrap_or_default();
    let Some(snapshot) = snapshot else {
        if log.is_empty() {
            return Ok(None);
        }
        return Err(damaged(dir, format!("{dir}/{SNAPSHOT} is gone, and {dir}/{LOG} is not")));
    };
    let mut ledger = read_snapshot(dir, snapshot)?;
    let whole = read_log(dir, log, &mut ledger)?;
    Ok(Some((ledger, whole)))
}

fn read_snapshot(dir: &str, bytes: &[u8]) -> Result<Ledger, Unreadable> {
    let snapshot: Snapshot = match serde_json::from_slice(bytes) {
        Ok(snapshot) => snapshot,
        Err(err) => {
            return Err(match serde_json::from_slice::<Version>(bytes) {
                Ok(version) if version.format_version != FORMAT => newer(dir, &version),
                _ => damaged(dir, format!("{dir}/{SNAPSHOT}: {err}")),
            });
        }
    };
    let Snapshot { format_version, rlvm_version, host, lineage, serial, entries } = snapshot;
    if format_version != FORMAT {
        return Err(newer(dir, &Version { format_version, rlvm_version }));
    }
    if let Some((address, _)) = entries.iter().find(|(address, entry)| !entry.resource.has_address(address)) {
        return Err(damaged(dir, format!("{dir}/{SNAPSHOT}: {address} stands for something else")));
    }
    Ok(Ledger { host, lineage, serial, entries })
}

fn read_log(dir: &str, log: &[u8], ledger: &mut Ledger) -> Result<u64, Unreadable> {
    let whole = log.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    for (number, line) in log[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let place = || format!("{dir}/{LOG}, line {}", number + 1);
        let record: Record<'_> =
            serde_json::from_slice(line).map_err(|err| damaged(dir, format!("{}: {err}", place())))?;
        if record.lineage != ledger.lineage {
            return Err(damaged(dir, format!("{}: it is of another ledger", place())));
        }
        if record.serial <= ledger.serial {
            continue;
        }
        if record.serial != ledger.serial + 1 {
            let (now, next) = (record.serial, ledger.serial + 1);
            return Err(damaged(dir, format!("{}: record {now} where {next} should be", place())));
        }
        ledger.serial = record.serial;
        ledger.set(record.address, record.entry);
    }
    Ok(whole as u64)
}

fn damaged(dir: &str, what: String) -> Unreadable {
    let remedy = format!(
        "bring {dir} back from a backup; or move it away and run `rlvm apply --adopt`, which takes over what is \
         there (until then removals from the state are not noticed)"
    );
    Unreadable { what, remedy }
}

fn newer(dir: &str, version: &Version) -> Unreadable {
    let Version { format_version, rlvm_version } = version;
    let what = format!(
        "{dir} was written by rlvm {rlvm_version} in format {format_version}, and this one knows {FORMAT}"
    );
    Unreadable { what, remedy: format!("use rlvm {rlvm_version} or newer") }
}

impl Ledger {
    /// Puts an entry in, or takes it out.
    pub(super) fn set(&mut self, address: Address, entry: Option<Entry>) {
        match entry {
            Some(entry) => drop(self.entries.insert(address, entry)),
            None => drop(self.entries.remove(&address)),
        }
    }

    /// Writes the whole ledger down.
    ///
    /// # Errors
    ///
    /// If an entry cannot be written as JSON, which no kind's can.
    pub fn snapshot(&self) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            format_version: u32,
            rlvm_version: &'a str,
            #[serde(flatten)]
            ledger: &'a Ledger,
        }
        let whole =
            Borrowed { format_version: FORMAT, rlvm_version: env!("CARGO_PKG_VERSION"), ledger: self };
        let mut bytes = serde_json::to_vec(&whole)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Takes a change in, and returns the log's line for it.
    ///
    /// # Errors
    ///
    /// If the entry cannot be written as JSON, which no kind's can.
    pub(super) fn record(&mut self, address: &Address, entry: Option<Entry>) -> serde_json::Result<Vec<u8>> {
        let serial = self.serial + 1;
        let record =
            Record { lineage: self.lineage.as_str().into(), serial, address: address.clone(), entry };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        let Record { address, entry, .. } = record;
        self.serial = serial;
        self.set(address, entry);
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::Origin,
        resource::{Account, OnRemove},
    };

    fn entry(name: &str) -> (Address, Entry) {
        let resource = crate::resource::Resource::from(Account::User(name.parse().unwrap()));
        let entry = Entry {
            resource,
            origin: Origin::Made,
            pending: false,
            on_remove: OnRemove::Default,
            protect: false,
            put_away: false,
            seen: None,
        };
        (entry.resource.address(), entry)
    }

    /// A ledger with `a`, its snapshot, and a log that adds `b` and drops `a`.
    fn written() -> (Vec<u8>, Vec<u8>, Ledger) {
        let mut ledger = Ledger::new("web01".parse().unwrap(), "l1".into());
        let (a, b) = (entry("a"), entry("b"));
        ledger.record(&a.0, Some(a.1)).unwrap();
        let snapshot = ledger.snapshot().unwrap();
        let mut log = ledger.record(&b.0, Some(b.1)).unwrap();
        log.extend(ledger.record(&a.0, None).unwrap());
        (snapshot, log, ledger)
    }

    fn fails(snapshot: Option<&[u8]>, log: Option<&[u8]>) -> String {
        read("/l", snapshot, log).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let (snapshot, log, ledger) = written();
        assert_eq!(read("/l", Some(&snapshot), Some(&log)), Ok(Some((ledger.clone(), log.len() as u64))));
        assert_eq!(read("/l", None, None), Ok(None));
        // A crash between snapshot and emptying the log: the log's records are known already.
        let newer = ledger.snapshot().unwrap();
        assert_eq!(read("/l", Some(&newer), Some(&log)), Ok(Some((ledger, log.len() as u64))));
    }

    #[test]
    fn a_log_cut_at_any_byte_is_an_earlier_ledger_or_that_and_a_torn_line() {
        let (snapshot, log, ledger) = written();
        let first = log.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in 0..log.len() {
            let (got, whole) = read("/l", Some(&snapshot), Some(&log[..cut])).unwrap().unwrap();
            let expected = if cut < first { 1 } else { 2 };
            assert_eq!((got.serial, whole), (expected, if cut < first { 0 } else { first as u64 }), "{cut}");
            assert_eq!(got.lineage, ledger.lineage);
        }
    }

    #[test]
    fn a_snapshot_cut_at_any_byte_is_an_error_with_a_way_out() {
        let (snapshot, log, _) = written();
        for cut in 0..snapshot.len() - 1 {
            let said = fails(Some(&snapshot[..cut]), Some(&log));
            assert!(said.contains("help: ") && said.contains("--adopt"), "{cut}: {said}");
        }
    }

    #[test]
    fn what_does_not_belong_together_is_an_error() {
        let (snapshot, log, ledger) = written();
        assert!(fails(None, Some(&log)).contains("is gone"));
        let first = log.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        assert!(fails(Some(&snapshot), Some(&log[first..])).contains("record 3 where 2 should be"));
        assert!(fails(Some(&snapshot), Some(b"rubbish\n")).contains("line 1"));
        let other = Ledger { lineage: "l2".into(), ..ledger.clone() }.snapshot().unwrap();
        assert!(fails(Some(&other), Some(&log)).contains("of another ledger"));
        let (address, _) = entry("z");
        let mut wrong = ledger;
        let moved = wrong.entries.values().next().unwrap().clone();
        wrong.entries.insert(address, moved);
        assert!(fails(Some(&wrong.snapshot().unwrap()), None).contains("stands for something else"));
    }

    #[test]
    fn a_newer_ones_ledger_is_refused_even_if_it_looks_different() {
        for text in [
            r#"{"format_version":2,"rlvm_version":"9.1","entries":[]}"#.to_owned(),
            String::from_utf8(written().0).unwrap().replacen(
                "\"format_version\":1",
                "\"format_version\":2",
                1,
            ),
        ] {
            let said = fails(Some(text.as_bytes()), None);
            assert!(said.contains("in format 2") && said.contains("or newer"), "{said}");
        }
    }

    #[test]
    fn one_of_this_format_that_makes_no_sense_is_damaged_not_newer() {
        let said = fails(Some(br#"{"format_version":1,"rlvm_version":"0.1.0"}"#), None);
        assert!(said.contains("missing field") && !said.contains("or newer"), "{said}");
    }

    /// A ledger as version 0.1.0 wrote it. It stays readable.
    #[test]
    fn an_old_sample_is_read() {
        let sample = include_bytes!("../../tests/samples/ledger-1.json");
        let (ledger, _) = read("/l", Some(sample), None).unwrap().unwrap();
        let kinds: std::collections::BTreeSet<&str> = ledger.entries.keys().map(Address::kind).collect();
        let looked_at = [
            "job_flags",
            "leftover_access",
            "other_backups",
            "program",
            "quota",
            "scheduler",
            "sources",
            "undeclared",
            "writable",
        ];
        let managed = crate::resource::KINDS.iter().copied().filter(|kind| !looked_at.contains(kind));
        assert_eq!(kinds, managed.collect(), "each managed kind is in the sample");
    }
}
