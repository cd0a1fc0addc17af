//! Prints results to standard output, and messages to standard error.

use std::io::{self, ErrorKind, Write};

use anyhow::Result;
use serde::Serialize;

use super::{
    Environment, Global, When,
    behind::{self, To},
};
use crate::{
    model::mask_passwords,
    plan::show::{Paint, Style},
};

/// Prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    /// How standard output looks.
    pub(super) style: Style,
    err_style: Style,
    quiet: bool,
}

impl Printer {
    /// Finds out how to print.
    pub(super) fn new(global: &Global, environment: &Environment) -> Self {
        let style = |terminal: bool| match global.color {
            When::Always => Style { colour: true },
            When::Never => Style { colour: false },
            When::Auto => Style { colour: terminal && !environment.no_color },
        };
        Self {
            style: style(environment.out_terminal),
            err_style: style(environment.err_terminal),
            quiet: global.quiet,
        }
    }

    /// Prints what was asked for.
    ///
    /// # Errors
    ///
    /// If it cannot be written; a closed pipe too, which ends the program without a word.
    pub(super) fn print(&self, text: &str) -> Result<()> {
        Ok(behind::print(To::Out, text.as_bytes())?)
    }

    /// Prints what a person may skip.
    ///
    /// # Errors
    ///
    /// As [`Printer::print`].
    pub(super) fn say(&self, text: &str) -> Result<()> {
        if self.quiet { Ok(()) } else { self.print(text) }
    }

    /// Prints a value as JSON on lines of its own.
    ///
    /// # Errors
    ///
    /// As [`Printer::print`].
    pub(super) fn json(&self, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.print(&text)
    }

    /// Prints to standard error, passwords in addresses masked.
    pub(super) fn note(&self, text: &str) {
        // If that is closed there is nobody to tell.
        drop(behind::print(To::Err, mask_passwords(text).as_bytes()));
    }

    /// Prints to standard error what a person may skip.
    pub(super) fn remark(&self, text: &str) {
        if !self.quiet {
            self.note(text);
        }
    }

    /// Returns how standard error looks.
    pub(super) fn err_style(&self) -> Style {
        self.err_style
    }

    /// Prints an error with what led to it.
    pub(super) fn error(&self, error: &anyhow::Error) {
        let word = self.err_style.paint(Paint::Removed, "error");
        let whole = format!("{error:#}");
        // The remedy of an error stands on a line of its own, whatever wraps it.
        self.note(&format!("{word}: {whole}\n"));
    }
}

/// Standard error for what is traced, passwords in addresses masked. Each event is one write.
pub(super) struct MaskedStderr;

impl Write for MaskedStderr {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        behind::print(To::Err, mask_passwords(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says whether an error is that the reader went away, as `head` does.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == ErrorKind::BrokenPipe))
}
