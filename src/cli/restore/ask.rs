//! Asks questions on a terminal. Each answer is one line, so any terminal will do. A restore starts after the last answer.

use std::{
    io::BufRead as _,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};

use super::one_line;
use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
    },
    host::interrupted,
};

/// How many choices are shown at once.
const SHOWN: usize = 20;

/// How often it is asked whether a signal came.
const TICK: Duration = Duration::from_millis(50);

/// Reads a line; nothing at the end. A signal that is watched does not end a read, so the read is left behind.
fn read() -> Result<Option<String>> {
    let (send, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        drop(send.send(read.map(|length| (length > 0).then_some(line))));
    });
    loop {
        match heard.recv_timeout(TICK) {
            Ok(read) => return Ok(read?),
            Err(RecvTimeoutError::Timeout) if interrupted().is_some() => bail!("stopped by a signal"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

/// Asks for a line; an empty one takes what is proposed.
pub(super) fn line(context: &Context<'_>, question: &str, proposed: Option<&str>) -> Result<String> {
    let hint = proposed.map(|it| format!(" [{it}]")).unwrap_or_default();
    context.printer.note(&format!("{question}{hint}: "));
    let Some(answer) = read()? else {
        bail!(Failure::new(Exit::Usage, "no answer on the terminal: nothing was restored"));
    };
    let answer = answer.trim();
    Ok(if answer.is_empty() { proposed.unwrap_or_default().to_owned() } else { answer.to_owned() })
}

/// Has one of several chosen by its number.
pub(super) fn choice(context: &Context<'_>, question: &str, all: &[String]) -> Result<usize> {
    let mut shown = 0;
    loop {
        if shown < all.len() {
            let until = (shown + SHOWN).min(all.len());
            for (number, text) in all.iter().enumerate().take(until).skip(shown) {
                context.printer.note(&format!("  {:>3}  {}\n", number + 1, one_line(text)));
            }
            shown = until;
        }
        let more =
            if shown < all.len() { format!(" (m: {} more)", all.len() - shown) } else { String::new() };
        let answer = line(context, &format!("{question}{more}"), Some("1"))?;
        match number(&answer, all.len()) {
            Some(index) => return Ok(index),
            None if answer == "m" && shown < all.len() => {}
            None => context.printer.note(&format!("  type a number from 1 to {}\n", all.len())),
        }
    }
}

/// Reads a number of a list.
fn number(answer: &str, count: usize) -> Option<usize> {
    let number: usize = answer.parse().ok()?;
    (1..=count).contains(&number).then(|| number - 1)
}

/// Asks for a yes. Only the whole word is one.
pub(super) fn confirmed(context: &Context<'_>, question: &str) -> Result<bool> {
    Ok(line(context, &format!("{question} Type `yes` to confirm"), None)? == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_list() {
        for (answer, expected) in
            [("1", Some(0)), ("3", Some(2)), ("0", None), ("4", None), ("", None), ("-1", None)]
        {
            assert_eq!(number(answer, 3), expected, "{answer}");
        }
    }
}
