//! Draws sizes over time as a small picture, with a text that describes it.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::words::esc;
use crate::report::{
    status::{Line, Size},
    words::size,
};

/// The picture's size, in its own units.
const WIDTH: f64 = 200.0;
const HEIGHT: f64 = 40.0;
/// What stays free around the line, so that it is not cut.
const EDGE: f64 = 3.0;
/// How many points are drawn at the most: more are nowhere to be seen.
const POINTS: usize = 120;

/// Draws the sizes of a line's snapshots, the oldest first; nothing if there are less than two. `id` is nobody else's on
/// the page.
pub(super) fn spark(line: &Line, id: &str) -> String {
    let all = &line.sizes;
    let (Some(first), Some(last), true) = (all.first(), all.last(), all.len() > 1) else {
        return String::new();
    };
    let least = all.iter().map(|it| it.bytes).min().unwrap_or(0);
    let most = all.iter().map(|it| it.bytes).max().unwrap_or(0);
    let title = format!("Sizes of {} at {}", line.job, line.destination);
    let day = |size: &Size| esc(size.time.get(..10).unwrap_or(&size.time));
    let desc = format!(
        "{} snapshots, from {} on {} to {} on {}; the smallest {}, the largest {}",
        all.len(),
        size(first.bytes),
        day(first),
        size(last.bytes),
        day(last),
        size(least),
        size(most)
    );
    let points = points(all, most);
    let mut path = String::new();
    for (place, (x, y)) in points.iter().enumerate() {
        // Writing into a String cannot fail.
        let _ = write!(path, "{}{x:.1} {y:.1}", if place == 0 { "M" } else { "L" });
    }
    let (x, y) = points.last().copied().unwrap_or_default();
    let left = points.first().map_or(0.0, |it| it.0);
    let floor = HEIGHT - EDGE;
    format!(
        "<svg class=\"spark\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}t {id}d\">\
         <title id=\"{id}t\">{}</title><desc id=\"{id}d\">{desc}</desc>\
         <path class=\"area\" d=\"{path}L{x:.1} {floor:.1}L{left:.1} {floor:.1}Z\"/>\
         <path class=\"line\" d=\"{path}\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/></svg>",
        esc(&title)
    )
}

/// Places the sizes: by their times if all are times in order, else one after the other; the floor is nothing.
#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn points(all: &[Size], most: u64) -> Vec<(f64, f64)> {
    let step = all.len().div_ceil(POINTS).max(1);
    // The last one is always among them.
    let chosen: Vec<&Size> = all.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev().collect();
    let times: Option<Vec<i64>> =
        chosen.iter().map(|it| it.time.parse::<Timestamp>().ok().map(Timestamp::as_second)).collect();
    let times = times.filter(|all| all.is_sorted() && all.first() < all.last());
    let places: Vec<f64> = match times {
        Some(times) => times.iter().map(|at| (at - times[0]) as f64).collect(),
        None => (0..chosen.len()).map(|at| at as f64).collect(),
    };
    let last = places.last().copied().filter(|it| *it > 0.0).unwrap_or(1.0);
    let top = if most == 0 { 1.0 } else { most as f64 };
    let x = |place: f64| EDGE + place / last * (WIDTH - 2.0 * EDGE);
    let y = |bytes: u64| HEIGHT - EDGE - bytes as f64 / top * (HEIGHT - 2.0 * EDGE);
    places.iter().zip(chosen).map(|(place, size)| (x(*place), y(size.bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(all: &[(&str, u64)]) -> Vec<Size> {
        all.iter().map(|(time, bytes)| Size { time: (*time).into(), bytes: *bytes }).collect()
    }

    #[test]
    fn by_time_and_from_nothing_up() {
        let all = sizes(&[
            ("2026-11-01T00:00:00Z", 100),
            ("2026-11-02T00:00:00Z", 50),
            ("2026-11-05T00:00:00Z", 0),
        ]);
        assert_eq!(points(&all, 100), [(3.0, 3.0), (51.5, 20.0), (197.0, 37.0)]);
        // What is no time, or of one moment, is placed in turn.
        let all = sizes(&[("x", 1), ("2026-11-02T00:00:00Z", 1), ("y", 1)]);
        assert_eq!(points(&all, 1).iter().map(|it| it.0).collect::<Vec<_>>(), [3.0, 100.0, 197.0]);
        let all = sizes(&[("x", 0), ("x", 0)]);
        assert_eq!(points(&all, 0), [(3.0, 37.0), (197.0, 37.0)]);
    }

    #[test]
    fn of_many_some_and_the_last() {
        let all: Vec<Size> = (0..1000).map(|at| Size { time: String::new(), bytes: at }).collect();
        let points = points(&all, 999);
        assert!(points.len() <= POINTS && points.last() == Some(&(197.0, 3.0)), "{points:?}");
    }
}
