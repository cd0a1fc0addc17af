//! Draws progress bars on a terminal, and nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::{apply::Event, plan::Progress};

/// Shows how far looking is.
pub(super) struct LookingBar {
    bar: ProgressBar,
}

impl LookingBar {
    /// Gets ready; draws nothing before there is something slow.
    pub(super) fn new(terminal: bool) -> Self {
        let bar = ProgressBar::hidden();
        if terminal {
            let style = ProgressStyle::with_template("{spinner} looking at repositories {pos}/{len} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_draw_target(super::behind::screen());
        }
        Self { bar }
    }

    /// Takes in what happened.
    pub(super) fn show(&self, progress: Progress<'_>) {
        match progress {
            Progress::Slow(0) => self.bar.set_draw_target(indicatif::ProgressDrawTarget::hidden()),
            Progress::Slow(count) => {
                self.bar.set_length(count as u64);
                self.bar.enable_steady_tick(Duration::from_millis(120));
            }
            Progress::Done(address) => {
                self.bar.set_message(address.to_owned());
                self.bar.inc(1);
            }
        }
    }

    /// Takes it off the screen.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Shows what apply is at.
pub(super) struct ApplyBar {
    bar: ProgressBar,
}

impl ApplyBar {
    /// Gets ready for so many changes.
    pub(super) fn new(terminal: bool, changes: usize) -> Self {
        let bar = ProgressBar::hidden();
        if terminal {
            let style = ProgressStyle::with_template("{spinner} [{pos}/{len}] {elapsed} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_length(changes as u64);
            bar.set_draw_target(super::behind::screen());
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self { bar }
    }

    /// Shows which change begins, and how far one is that takes long.
    pub(super) fn show(&self, event: &Event<'_>) {
        match event {
            Event::ApplyStart { address, .. } => self.bar.set_message(address.to_string()),
            Event::ApplyWorking { address, changed } => {
                self.bar.set_message(format!("{address}: {changed} files and directories changed"));
            }
            _ => {}
        }
    }

    /// A change ended: `print` writes its line while the bar is out of the way.
    pub(super) fn end_one<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.inc(1);
        self.bar.suspend(print)
    }

    /// Takes it off the screen.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
