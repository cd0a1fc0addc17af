//! Formats times, durations and sizes for people.

use std::fmt::Write;

use jiff::{Timestamp, tz::TimeZone};

use crate::restic::Found;

/// Units of time, each with its length in seconds.
const LENGTHS: [(&str, i64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
/// Units of data: powers of 1024, as restic's.
const SIZES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Writes a time as a host's own clock has it, to the minute.
pub fn at(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M").to_string()
}

/// Writes a time to the second: what stands in a list that one is picked from.
pub fn at_second(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S").to_string()
}

/// Writes a length of time in its two largest units: `2d 3h`, `40s`.
pub fn length(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let Some(first) = LENGTHS.iter().position(|(_, length)| seconds >= *length) else { return "0s".into() };
    let (unit, length) = LENGTHS[first];
    let mut text = format!("{}{unit}", seconds / length);
    if let Some((unit, smaller)) = LENGTHS.get(first + 1)
        && seconds % length / smaller > 0
    {
        let _ = write!(text, " {}{unit}", seconds % length / smaller);
    }
    text
}

/// Writes a size: `1.2 GiB`.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
pub fn size(bytes: u64) -> String {
    let mut shown = bytes as f64;
    let mut unit = 0;
    // What would be rounded to 1024.0 is one of the next.
    while shown >= 1023.95 && unit + 1 < SIZES.len() {
        shown /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{shown:.1} {}", SIZES[unit]) }
}

/// Says what is the matter with a repository that did not say what it holds.
pub fn trouble(found: &Found) -> String {
    let plain = |why: &str| why.strip_prefix("Fatal: ").unwrap_or(why).to_owned();
    match found {
        Found::Absent => "there is no repository: run rlvm plan, then rlvm apply".into(),
        Found::WrongPassword => "wrong password: the password file does not open it".into(),
        Found::Damaged(why) => format!("damaged: {}", plain(why)),
        Found::Locked => "locked by something else".into(),
        Found::Unreachable(why) => format!("unreachable: {}", plain(why)),
        Found::Ready { .. } => "it says nothing of its snapshots".into(),
    }
}

/// Puts rows into columns, a line each, two blanks between; nothing stands behind the last word of a line.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |place: usize| rows.iter().map(|row| row[place].chars().count()).max().unwrap_or(0) + 2;
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes() {
        for (seconds, expected) in
            [(-5, "0s"), (0, "0s"), (40, "40s"), (61, "1m 1s"), (7200, "2h"), (86_400 * 2 + 11_000, "2d 3h")]
        {
            assert_eq!(length(seconds), expected);
        }
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
