//! `rlvm list`: lists the jobs and their next start times.

use anyhow::{Context as _, Result};
use clap::Args;
use jiff::{Timestamp, Zoned, civil::DateTime, tz::TimeZone};
use serde::{Serialize, Serializer};

use super::{context::Context, exit::Exit, kept::applied};
use crate::{
    host::zone_of,
    model::{Name, Schedule, UserName},
    report::words::columns,
    source::Source,
    state::Job,
};

/// List the jobs with their next times, sources and destinations
///
/// Times are in the host's time zone. Uses the state that was applied last, unless --state names another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm list
  rlvm list --json | jq -r '.jobs[] | select(.enabled) | .next'
  rlvm list --state state/        of a state that is not applied yet")]
pub(super) struct ListVerb {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct List {
    format_version: &'static str,
    jobs: Vec<Line>,
}

/// A job.
#[derive(Serialize)]
struct Line {
    name: Name,
    enabled: bool,
    user: UserName,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<Schedule>,
    /// When it comes next, if it does: not if it is disabled, runs by hand or at boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<When>,
    sources: Vec<String>,
    to: Vec<Name>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    copy: Vec<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prune: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_prune: Option<When>,
}

/// A time with its offset.
#[derive(Clone)]
pub(super) struct When(pub(super) Zoned);

impl Serialize for When {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0.strftime("%Y-%m-%dT%H:%M:%S%:z"))
    }
}

impl When {
    /// Returns the first time after another one. One that a clock put forward skips is as much later, and of one that
    /// comes twice it is the first.
    pub(super) fn next(schedule: &Schedule, after: DateTime, zone: &TimeZone) -> Option<Self> {
        Self::all(schedule, after, zone).next()
    }

    /// Lists all times after another one.
    pub(super) fn all(schedule: &Schedule, after: DateTime, zone: &TimeZone) -> impl Iterator<Item = Self> {
        let civil = std::iter::successors(schedule.next(after), |last| schedule.next(*last));
        civil.filter_map(|it| it.to_zoned(zone.clone()).ok()).map(Self)
    }

    /// Writes it for people.
    pub(super) fn short(&self) -> String {
        self.0.strftime("%a %Y-%m-%d %H:%M").to_string()
    }
}

/// Returns the time zone by which the host's schedules are meant.
pub(super) fn schedule_zone(context: &Context<'_>) -> TimeZone {
    zone_of(&context.global.root)
}

/// Returns the host's own time of day.
pub(super) fn now(context: &Context<'_>) -> Result<DateTime> {
    let now = Timestamp::try_from(context.environment.now).context("the clock is beyond all calendars")?;
    Ok(now.to_zoned(schedule_zone(context)).datetime())
}

impl ListVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let state = applied(context, &context.host()?)?;
        let zone = &schedule_zone(context);
        let now = now(context)?;
        let jobs: Vec<Line> = state.jobs.iter().map(|(name, job)| line(name, job, now, zone)).collect();
        if self.json {
            context.printer.json(&List { format_version: "1.0", jobs })?;
        } else if jobs.is_empty() {
            context.printer.say("no jobs\n")?;
        } else {
            context.printer.print(&table(&jobs))?;
        }
        Ok(Exit::Ok)
    }
}

fn line(name: &Name, job: &Job, now: DateTime, zone: &TimeZone) -> Line {
    let next = |schedule: Option<&Schedule>| When::next(schedule.filter(|_| job.enabled)?, now, zone);
    Line {
        name: name.clone(),
        enabled: job.enabled,
        user: job.user.clone(),
        schedule: job.schedule.clone(),
        next: next(job.schedule.as_ref()),
        sources: job.sources.iter().map(short).collect(),
        to: job.to.clone(),
        copy: job.copy.keys().cloned().collect(),
        prune: job.prune.schedule.clone(),
        next_prune: next(job.prune.schedule.as_ref()),
    }
}

/// Names a source: a path says what it is, all else its kind too.
pub(super) fn short(source: &Source) -> String {
    let all = || "(all)".to_owned();
    let what = match source {
        Source::Path(path) => return path.0.to_string(),
        Source::Lvm(lvm) => lvm.volume.to_string(),
        Source::Btrfs(btrfs) => btrfs.subvolume.to_string(),
        Source::Volume(volume) => volume.name.to_string(),
        Source::Mysql(mysql) => mysql.database.as_ref().map_or_else(all, ToString::to_string),
        Source::Postgres(postgres) => postgres.database.as_ref().map_or_else(all, ToString::to_string),
        Source::Sqlite(file) => file.0.to_string(),
        Source::Vm(vm) => vm.name.to_string(),
    };
    format!("{}:{what}", source.key())
}

/// Writes a line each, in columns.
fn table(jobs: &[Line]) -> String {
    let head = ["JOB", "ENABLED", "SCHEDULE", "NEXT", "SOURCES", "DESTINATIONS", "USER"];
    let rows: Vec<[String; 7]> =
        std::iter::once(head.map(str::to_owned)).chain(jobs.iter().map(row)).collect();
    columns(&rows).join("\n") + "\n"
}

fn row(job: &Line) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let copies = job.copy.iter().map(|name| format!("{name} (copy)"));
    let places: Vec<String> = job.to.iter().map(ToString::to_string).chain(copies).collect();
    [
        job.name.to_string(),
        if job.enabled { "yes" } else { "no" }.into(),
        or_dash(job.schedule.as_ref().map(ToString::to_string)),
        or_dash(job.next.as_ref().map(When::short)),
        job.sources.join(", "),
        places.join(", "),
        job.user.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(zone: &TimeZone, now: &str) -> Vec<Line> {
        let yaml = "version: 1\nhost: web01\ndestinations:\n  \
             a: { local: { path: /a }, password_file: /p }\n  b: { local: { path: /b }, password_file: /p }\njobs:\n  \
             db: { to: [a], sources: [{ btrfs: { subvolume: /srv/db } }, { path: /srv/x }], schedule: '@reboot', user: backup }\n  \
             off: { to: [a], sources: [{ path: /etc }], schedule: '@daily', enabled: false }\n  \
             web: { to: [a], copy: { b: { from: a } }, sources: [{ path: /etc }, { lvm: { volume: vg0/root, snapshot_size: 2G } }], schedule: '30 2 * * *' }\n";
        let state = crate::state::load("state", &mut |_| Ok(yaml.to_owned())).unwrap().state;
        let now = now.parse().unwrap();
        state.jobs.iter().map(|(name, job)| line(name, job, now, zone)).collect()
    }

    #[test]
    fn a_line_each() {
        let shown = table(&lines(&TimeZone::UTC, "2026-11-21T02:30"));
        let expected = "\
JOB  ENABLED  SCHEDULE    NEXT                  SOURCES                       DESTINATIONS  USER
db   yes      @reboot     -                     btrfs:/srv/db, /srv/x          a             backup
off  no       @daily      -                     /etc                          a             root
web  yes      30 2 * * *  Sun 2026-11-22 02:30  /etc, lvm:vg0/root            a, b (copy)   root
";
        let squeezed = |text: &str| text.split(' ').filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&shown), squeezed(expected));
        let starts: Vec<Option<usize>> = shown.lines().skip(2).map(|line| line.find("/etc")).collect();
        assert_eq!(starts[0], starts[1], "{shown}");
    }

    #[test]
    fn the_hosts_own_time_of_day() {
        // The clock is put forward at 2:00 on 29 March 2026, and back at 3:00 on 25 October: POSIX's words, no file needed.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (now, expected) in [
            ("2026-01-01T12:00", "2026-01-02T02:30:00+01:00"),
            ("2026-07-01T12:00", "2026-07-02T02:30:00+02:00"),
            ("2026-03-28T12:00", "2026-03-29T03:30:00+02:00"),
            ("2026-10-24T12:00", "2026-10-25T02:30:00+02:00"),
        ] {
            let json = serde_json::to_value(&lines(&zone, now)[2]).unwrap();
            assert_eq!(json["next"], expected, "{now}");
        }
    }
}
