//! Stops and starts systemd units.

use anyhow::{Result, bail};

use super::{ask, step};
use crate::{
    effect::{Cmd, Step},
    host::Observe,
};

/// What is asked of each unit. Those that an older systemd does not know it leaves out.
const PROPERTIES: &str = "Id,LoadState,ActiveState,CanStart,TriggeredBy,UpheldBy,RequiredBy,RequisiteOf,BoundBy,ConsistsOf,\
PropagatesStopTo";
/// The properties that name what is stopped together with a unit, and not started together with it.
const TAKES: [&str; 5] = ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"];
/// How names of units end (systemd.unit(5)).
const ENDINGS: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

/// A unit, as `systemctl show` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unit {
    id: String,
    load: String,
    active: String,
    can_start: bool,
    /// What starts it when something happens: sockets, timers.
    triggered_by: Vec<String>,
    /// What starts it whenever it is down.
    upheld_by: Vec<String>,
    /// What is stopped together with it.
    takes: Vec<String>,
}

impl Unit {
    /// Says whether it is up, or about to be: one that fails and is tried again and again is `activating`.
    fn is_up(&self) -> bool {
        !matches!(self.active.as_str(), "inactive" | "failed" | "deactivating")
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.triggered_by.iter().chain(&self.upheld_by).chain(&self.takes)
    }
}

pub(super) fn steps(host: &dyn Observe, word: &str) -> Result<Vec<Step>> {
    let units = around(&name(word)?, &|names| {
        let cmd = Cmd::new("systemctl").args(["show", "-p", PROPERTIES, "--"]);
        Ok(read(&ask(host, cmd.args(names.iter().map(String::as_str)))?))
    })?;
    decide(&units)
}

/// Returns the full name of one unit. Nothing that systemctl would take for several.
fn name(word: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\@-".contains(&byte);
    if !word.bytes().all(plain) {
        bail!("{word:?} is no name of a unit; `systemctl list-units` lists them");
    }
    let whole = if ENDINGS.iter().any(|end| word.len() > end.len() && word.ends_with(end)) {
        word.to_owned()
    } else {
        format!("{word}.service")
    };
    if whole.contains("@.") {
        bail!(
            "{whole} is a template; name its instances: `systemctl list-units '{}'`",
            whole.replace("@.", "@*.")
        );
    }
    Ok(whole)
}

/// Reads what `systemctl show` prints: units with an empty line between, of each a name and a value a line.
fn read(text: &str) -> Vec<Unit> {
    let unit = |block: &str| {
        let value = |name: &str| {
            let mut fields = block.lines().filter_map(|line| line.split_once('='));
            fields.find(|(it, _)| *it == name).map_or("", |(_, value)| value)
        };
        let list = |name: &str| value(name).split_whitespace().map(ToOwned::to_owned).collect();
        Unit {
            id: value("Id").into(),
            load: value("LoadState").into(),
            active: value("ActiveState").into(),
            can_start: value("CanStart") == "yes",
            triggered_by: list("TriggeredBy"),
            upheld_by: list("UpheldBy"),
            takes: TAKES.iter().flat_map(|name| value(name).split_whitespace()).map(Into::into).collect(),
        }
    };
    text.split("\n\n").map(unit).filter(|unit| !unit.id.is_empty() && !unit.active.is_empty()).collect()
}

/// Lists a unit and all that has to do with its stop: the unit itself comes first.
fn around(name: &str, ask: &dyn Fn(&[String]) -> Result<Vec<Unit>>) -> Result<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    let mut next = vec![name.to_owned()];
    while !next.is_empty() {
        let answer = ask(&next)?;
        if answer.len() != next.len() {
            bail!("`systemctl show` does not tell of all of: {}", next.join(" "));
        }
        units.extend(answer);
        // A unit that is down takes nothing with it.
        let known = |name: &&String| !units.iter().any(|unit| unit.id == **name);
        next = match &units[..] {
            [first] if !first.is_up() => first.triggered_by.iter().filter(known).cloned().collect(),
            [first, ..] if !first.is_up() => Vec::new(),
            all => all.iter().flat_map(Unit::names).filter(known).cloned().collect(),
        };
        next.sort();
        next.dedup();
    }
    Ok(units)
}

/// Says what is stopped and started again: in one call each, so that systemd puts it in order. A socket has to be there
/// before its service (`already active, refusing`), so services come last.
fn decide(units: &[Unit]) -> Result<Vec<Step>> {
    let Some(first) = units.first() else { return Ok(Vec::new()) };
    let id = &first.id;
    match first.load.as_str() {
        "not-found" => bail!("there is no unit {id}; `systemctl list-unit-files` lists them"),
        "error" | "bad-setting" if !first.is_up() => {
            bail!("systemd cannot read {id}; `systemctl status {id}` says why")
        }
        _ => {}
    }
    let mut all: Vec<&Unit> = Vec::new();
    let holders: Vec<&String> = units.iter().flat_map(|unit| &unit.upheld_by).collect();
    for unit in units.iter().filter(|unit| unit.is_up() || unit.active == "deactivating") {
        let name = &unit.id;
        if holders.contains(&name) {
            bail!("{name} would start {id} again at once (`Upholds=`); stop {name} in its place");
        }
        if name.ends_with(".target") {
            bail!(
                "stopping {id} stops the target {name}, and starting that starts what was down; name its units"
            );
        }
        if unit.is_up() && !unit.can_start {
            bail!(
                "{name} would be stopped and could not be started again; `systemctl status {name}` says more"
            );
        }
        all.push(unit);
    }
    all.sort_by_key(|unit| unit.id.ends_with(".service"));
    let cmd = |verb: &str, units: &[&Unit]| {
        Cmd::new("systemctl").args([verb, "--"]).args(units.iter().map(|unit| unit.id.as_str()))
    };
    let up: Vec<&Unit> = all.iter().copied().filter(|unit| unit.is_up()).collect();
    Ok(match (&all[..], &up[..]) {
        ([], _) => Vec::new(),
        // On its way down: it is waited for.
        (all, []) => vec![Step::run(cmd("stop", all).timeout(super::PATIENCE).whole())],
        (all, up) => vec![step(cmd("stop", all), cmd("start", up))],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units as `systemctl show` prints them, each of a few words: `Id ActiveState property=value…`.
    fn said(rows: &[&str]) -> Vec<Unit> {
        let blocks: Vec<String> = rows
            .iter()
            .map(|row| {
                let mut words = row.split(' ');
                let (id, active) = (words.next().unwrap(), words.next().unwrap());
                let rest: Vec<String> = words.map(|word| word.replace('+', " ")).collect();
                let can = if row.contains("CanStart") { "" } else { "CanStart=yes\n" };
                let load = if row.contains("LoadState") { "" } else { "LoadState=loaded\n" };
                format!("Id={id}\n{load}ActiveState={active}\n{can}{}\n", rest.join("\n"))
            })
            .collect();
        read(&blocks.join("\n"))
    }

    fn steps_of(rows: &[&str]) -> String {
        let all = said(rows);
        let ask = |names: &[String]| {
            Ok(names.iter().filter_map(|name| all.iter().find(|unit| unit.id == *name)).cloned().collect())
        };
        match around(&all[0].id, &ask).and_then(|units| decide(&units)) {
            Ok(steps) => steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Err(err) => format!("error: {err}"),
        }
    }

    #[test]
    fn names() {
        for (word, expected) in [
            ("shop", "shop.service"),
            ("shop.timer", "shop.timer"),
            ("getty@tty1", "getty@tty1.service"),
            (".service", ".service.service"),
            ("shop.d", "shop.d.service"),
            ("srv-a\\x2db.mount", "srv-a\\x2db.mount"),
        ] {
            assert_eq!(name(word).unwrap(), expected);
        }
        for word in ["shop*", "getty@", "getty@.service", "/srv", "a b", "shop[1]"] {
            assert!(name(word).is_err(), "{word}");
        }
    }

    #[test]
    fn what_is_up_is_put_back_and_what_is_down_is_left() {
        // R57
        let both = "systemctl stop -- a.service\n#   undone by: systemctl start -- a.service";
        for state in ["active", "activating", "reloading", "refreshing"] {
            assert_eq!(steps_of(&[&format!("a.service {state}")]), both, "{state}");
        }
        for state in ["inactive", "failed"] {
            assert_eq!(steps_of(&[&format!("a.service {state}")]), "", "{state}");
        }
        assert_eq!(steps_of(&["a.service deactivating"]), "systemctl stop -- a.service");
        assert_eq!(steps_of(&["a.service inactive LoadState=masked CanStart=no"]), "");
    }

    #[test]
    fn what_would_start_it_again_is_stopped_too() {
        assert_eq!(
            steps_of(&[
                "a.service active TriggeredBy=a.timer+a.socket",
                "a.socket active",
                "a.timer inactive"
            ]),
            "systemctl stop -- a.socket a.service\n#   undone by: systemctl start -- a.socket a.service"
        );
        // Down itself, and not started; but its timer would.
        assert_eq!(
            steps_of(&["a.service inactive TriggeredBy=a.timer RequiredBy=b.service", "a.timer active"]),
            "systemctl stop -- a.timer\n#   undone by: systemctl start -- a.timer"
        );
        assert!(
            steps_of(&["a.service active UpheldBy=b.service", "b.service active"])
                .starts_with("error: b.service")
        );
        assert!(
            steps_of(&["a.service active UpheldBy=b.service", "b.service inactive"]).contains("-- a.service")
        );
    }

    #[test]
    fn what_is_stopped_with_it_is_started_with_it() {
        // systemd stops what requires a unit, and does not start it again.
        assert_eq!(
            steps_of(&[
                "db.service active RequiredBy=shop.service+off.service ConsistsOf=db-log.service",
                "shop.service active BoundBy=front.service",
                "off.service inactive TriggeredBy=off.socket",
                "off.socket active",
                "db-log.service active",
                "front.service active RequiredBy=db.service",
            ]),
            "systemctl stop -- off.socket db.service db-log.service shop.service front.service\n\
             #   undone by: systemctl start -- off.socket db.service db-log.service shop.service front.service"
        );
        assert!(
            steps_of(&["a.service active RequiredBy=b.target", "b.target active"])
                .contains("stops the target b.target")
        );
        assert!(
            steps_of(&["a.service active RequiredBy=b.scope", "b.scope active CanStart=no"])
                .contains("b.scope would be")
        );
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for (row, words) in [
            ("a.service inactive LoadState=not-found CanStart=no", "error: there is no unit a.service"),
            ("a.service inactive LoadState=bad-setting CanStart=no", "error: systemd cannot read a.service"),
            (
                "a.service active LoadState=masked CanStart=no",
                "error: a.service would be stopped and could not be",
            ),
        ] {
            assert!(steps_of(&[row]).starts_with(words), "{}", steps_of(&[row]));
        }
        assert!(around("a.service", &|_| Ok(read("garbage\n"))).is_err());
    }
}
