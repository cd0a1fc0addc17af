//! Statuses to make pages of: all well, all bad, many hosts, long names.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Returns the moment that was so many hours ago: the page counts from its own clock.
fn ago(hours: i64) -> String {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    (now - SignedDuration::from_hours(hours)).to_string()
}

fn status(host: &str, hours: i64, lines: &[Value], remarks: &[(&str, &str, &str)]) -> Value {
    let levels = ["ok", "warning", "critical"];
    let rank = |level: &Value| levels.iter().position(|it| level == it).unwrap_or(0);
    let worst = lines.iter().map(|line| rank(&line["level"])).max().unwrap_or(0);
    let remarks: Vec<Value> = remarks
        .iter()
        .map(|(about, level, message)| json!({ "about": about, "level": level, "message": message }))
        .collect();
    json!({ "format_version": "1.0", "rlvm_version": "0.1.0", "host": host, "time": ago(hours), "level": levels[worst],
            "lines": lines, "remarks": remarks })
}

/// A backup that is as it should be.
fn well(job: &str, destination: &str, seed: u64) -> Value {
    let mut bytes = 20_000_000_000 + seed * 7_000_000_000;
    let sizes: Vec<Value> = (0..45_u64)
        .map(|day| {
            bytes += (day * 7_919_000 + seed * 104_729_000) % 900_000_000;
            if day % 13 == 9 {
                bytes -= 4_000_000_000;
            }
            json!({ "time": ago(24 * (44 - i64::try_from(day).unwrap()) + 9), "bytes": bytes })
        })
        .collect();
    json!({ "job": job, "destination": destination, "level": "ok", "copy": destination == "offsite",
            "judged": [{ "verdict": "fresh", "level": "ok", "message": "stored for Wed 02:30" }],
            "newest": ago(9), "newest_id": "9f86d081884c7d65", "oldest": ago(24 * 182),
            "snapshots": 31, "bytes": bytes, "due": ago(10), "next": ago(-14), "verified": ago(80), "drilled": ago(79), "seconds": 184.2, "added": 213_000_000,
            "sizes": sizes })
}

fn bad(job: &str, destination: &str, verdict: &str, level: &str, message: &str) -> Value {
    let mut line = well(job, destination, 3);
    line["level"] = level.into();
    line["judged"] = json!([{ "verdict": verdict, "level": level, "message": message },
                            { "verdict": "never_verified", "level": "warning", "message": "never verified; every 30 days is asked for" }]);
    line["newest"] = ago(94).into();
    line["failing_since"] = ago(70).into();
    line["overdue_seconds"] = 333_000.into();
    line.as_object_mut().unwrap().remove("verified");
    line.as_object_mut().unwrap().remove("drilled");
    line
}

fn gone(job: &str, destination: &str) -> Value {
    json!({ "job": job, "destination": destination, "level": "critical",
            "judged": [{ "verdict": "unreachable", "level": "critical",
                         "message": "ssh: connect to host nas.lan port 2222: Connection refused" }] })
}

fn broken(host: &str) -> Value {
    let lines = vec![
        gone("system", "nas"),
        bad(
            "system",
            "vault",
            "failing",
            "critical",
            "each run has failed since Monday 02:30: wrong password",
        ),
        bad("shop", "vault", "shrinking", "warning", "1.2 GiB, and those before had 44 GiB"),
        json!({ "job": "shop", "destination": "offsite", "copy": true, "level": "critical",
                "judged": [{ "verdict": "not_initialised", "level": "critical", "message": "there is no repository" }] }),
    ];
    let remarks = [
        ("drift", "warning", "3 changes are pending"),
        ("secret", "warning", "the password of vault was never put away: rlvm secret show vault"),
        ("notify", "warning", "the webhook admins has failed since Sunday"),
    ];
    status(host, 0, &lines, &remarks)
}

fn long() -> Value {
    let name = |letter: &str| format!("{letter}{}", "-very-long-name".repeat(4));
    let message = format!("could not read /srv/{}/<b>&amp;\"{}", "x".repeat(200), "y".repeat(90));
    let lines = ["a", "b"].iter().flat_map(|job| {
        ["p", "q", "r", "s", "t", "u"]
            .map(|place| bad(&name(job), &name(place), "incomplete", "warning", &message))
    });
    let host = format!("h{}.example.com", "-long".repeat(9));
    status(&host, 0, &lines.collect::<Vec<_>>(), &[("drift", "warning", &message)])
}

/// Lists the scenes, each with the statuses that its page is made of.
pub(super) fn all() -> Vec<(&'static str, Vec<Value>)> {
    let calm = |host: &str, seed| {
        let lines = vec![
            well("system", "vault", seed),
            well("system", "offsite", seed + 1),
            well("shop", "vault", seed + 2),
        ];
        status(host, 0, &lines, &[])
    };
    let mut many: Vec<Value> = (1..=24_u64).map(|number| calm(&format!("web{number:02}"), number)).collect();
    many[3] = broken("web04");
    many[11]["time"] = ago(24 * 20).into();
    many[17] = status("web18", 0, &[bad("system", "vault", "overdue", "warning", "3 days late")], &[]);
    let scene = |name, status| (name, vec![status]);
    vec![
        scene("well", calm("web01", 1)),
        scene("broken", broken("web01")),
        scene("long", long()),
        scene("empty", status("web01", 0, &[], &[])),
        ("many", many),
    ]
}
