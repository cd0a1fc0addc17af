//! Keeps the ledger correct while the host changes.

use anyhow::{Context, Result};

use super::{Entry, LOG, Ledger, SNAPSHOT};
use crate::{
    host::{Appender, Store},
    model::{Address, HostName},
};

/// The ledger of a host that is being changed. Whoever has it holds the lock.
pub struct Writer<'a> {
    store: &'a Store<'a>,
    ledger: Ledger,
    log: Appender,
}

impl<'a> Writer<'a> {
    /// Begins. `whole` is how many bytes of the log are; what a crash left of a line behind them is cut off.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be written.
    pub fn begin(store: &'a Store<'a>, ledger: Ledger, whole: u64) -> Result<Self> {
        if store.read(SNAPSHOT)?.is_none() {
            store.replace(SNAPSHOT, &ledger.snapshot()?)?;
        }
        let log = store.append(LOG, whole)?;
        Ok(Self { store, ledger, log })
    }

    /// Returns the ledger as it is now.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes the host's new name. It is durable with the snapshot at the end.
    pub fn rename(&mut self, host: HostName) {
        self.ledger.host = host;
    }

    /// Writes a change down: an entry as it is now, or that it is no longer managed.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn set(&mut self, address: &Address, entry: Option<Entry>) -> Result<()> {
        let line = self.ledger.record(address, entry).context("cannot write the ledger")?;
        self.log.add(&line)
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn sync(&mut self) -> Result<()> {
        self.log.sync()
    }

    /// Ends: one snapshot, an empty log.
    ///
    /// # Errors
    ///
    /// If it cannot be written; what was written before stays good.
    pub fn finish(self) -> Result<Ledger> {
        self.store.replace(SNAPSHOT, &self.ledger.snapshot()?)?;
        self.store.append(LOG, 0)?;
        Ok(self.ledger)
    }
}
