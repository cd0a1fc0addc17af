//! Stops and starts compose projects.

use anyhow::{Result, bail};

use super::{answer, ask, container::engines, step};
use crate::{
    effect::{Cmd, Step},
    host::{Entry, Meta, Observe, is_root},
    model::HostPath,
    source::Engine,
};

/// The states of containers whose services are stopped. A paused one is left as it is.
const UP: [&str; 2] = ["running", "restarting"];
/// The files that compose reads of its own accord.
const FILES: [&str; 9] = [
    ".env",
    "compose.override.yaml",
    "compose.override.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];
/// A way to call compose, version 1 or 2.
type Tool = &'static [&'static str];

pub(super) fn steps(host: &dyn Observe, directory: &str) -> Result<Vec<Step>> {
    let Ok(directory) = directory.parse::<HostPath>() else {
        bail!("{directory:?} is no directory of a compose project; write the absolute path");
    };
    if host.lies(&directory)?.is_none() {
        bail!("{directory} is not there; name the directory that compose.yaml lies in");
    }
    if is_root()
        && let Some(why) = distrust(host, &directory)?
    {
        bail!(
            "{why}; compose does as root what its files say: chown root, chmod go-w, or name its containers: `container: NAME`"
        );
    }
    let tools = tools(host)?;
    if tools.is_empty() {
        bail!(
            "no compose is there to stop {directory}: apt-get install docker-compose, or name its containers: `container: NAME`"
        );
    }
    let mut steps = Vec::new();
    for tool in &tools {
        let call = || call(tool, &directory);
        let mut listed = String::new();
        for state in UP {
            let filter = format!("status={state}");
            listed += &ask(host, call().args(["ps", "--services", "--filter", &filter]))?;
            listed.push('\n');
        }
        steps.extend(decide(&services(&listed)?, &call));
    }
    Ok(steps)
}

/// Says which file of a project others than root can write, if any. Compose looks for files in the directory and in those
/// above, so these count too.
fn distrust(host: &dyn Observe, directory: &HostPath) -> Result<Option<String>> {
    let real = host.lies(directory)?.unwrap_or_else(|| directory.clone());
    for dir in std::iter::once(real.clone()).chain(real.ancestors()) {
        let entry = host.entry(&dir)?;
        let Some(meta) = entry.directory() else { return Ok(Some(format!("{dir} is {}", entry.noun()))) };
        let sticky = dir != real && meta.mode.bits() & 0o1000 != 0;
        if !meta.trusted || (meta.mode.bits() & 0o022 != 0 && !sticky) {
            return Ok(Some(format!(
                "others than root can write {dir} ({}:{} {})",
                meta.owner, meta.group, meta.mode
            )));
        }
        for name in FILES {
            let file = dir.join(name)?;
            match host.entry(&file)? {
                Entry::Absent | Entry::Directory(_) => {}
                Entry::File(meta) if meta.trusted && meta.mode.bits() & 0o022 == 0 => {}
                Entry::File(meta) => {
                    let Meta { owner, group, mode, .. } = meta;
                    return Ok(Some(format!("others than root can write {file} ({owner}:{group} {mode})")));
                }
                _ => return Ok(Some(format!("{file} is no plain file"))),
            }
        }
    }
    Ok(None)
}

/// Lists the ways to call compose that are there, one for each container engine.
fn tools(host: &dyn Observe) -> Result<Vec<Tool>> {
    let works = |tool: &Tool| -> Result<bool> {
        if host.program_path(tool[0]).is_none() {
            return Ok(false);
        }
        let cmd = Cmd::new(tool[0]).args(tool[1..].iter().copied()).arg("version");
        Ok(answer(host, cmd)?.code == Some(0))
    };
    let engines = engines(host)?;
    let of = |engine: Engine| -> &[Tool] {
        match engine {
            _ if !engines.contains(&engine) => &[],
            Engine::Docker => &[&["docker", "compose"], &["docker-compose"]],
            // It calls a docker-compose of its own accord (podman-compose(1) does not know the flags used here).
            Engine::Podman => &[&["podman", "compose"]],
        }
    };
    let mut tools = Vec::new();
    for engine in [Engine::Docker, Engine::Podman] {
        for tool in of(engine) {
            if works(tool)? {
                tools.push(*tool);
                break;
            }
        }
    }
    Ok(tools)
}

/// Both versions look for the project's file in the directory, and in those above (tried with 1.29).
fn call(tool: Tool, directory: &HostPath) -> Cmd {
    Cmd::new(tool[0]).args(tool[1..].iter().copied()).arg("--project-directory").path(directory)
}

/// Reads what `ps --services` prints.
fn services(text: &str) -> Result<Vec<String>> {
    let mut services: Vec<String> =
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    services.sort();
    services.dedup();
    if let Some(bad) =
        services.iter().find(|name| name.starts_with('-') || name.contains(char::is_whitespace))
    {
        bail!("compose lists a service {bad:?}, which is no name");
    }
    Ok(services)
}

/// Says what stops the services that are up, and what starts just these again.
fn decide(services: &[String], call: &dyn Fn() -> Cmd) -> Option<Step> {
    let cmd = |verb: &str| call().arg(verb).args(services.iter().map(String::as_str));
    (!services.is_empty()).then(|| step(cmd("stop"), cmd("start")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps_of(tool: Tool, listed: &str) -> String {
        let directory: HostPath = "/srv/a b".parse().unwrap();
        let steps = decide(&services(listed).unwrap(), &|| call(tool, &directory));
        steps.map(|step| step.to_string()).unwrap_or_default()
    }

    #[test]
    fn just_the_services_that_run_are_put_back() {
        // R57
        assert_eq!(
            steps_of(&["docker", "compose"], "web\ndb\n\nweb\n"),
            "docker compose --project-directory '/srv/a b' stop db web\n#   undone by: docker compose \
             --project-directory '/srv/a b' start db web"
        );
        assert_eq!(
            steps_of(&["docker-compose"], "db\n"),
            "docker-compose --project-directory '/srv/a b' stop db\n#   undone by: \
             docker-compose --project-directory '/srv/a b' start db"
        );
        // `ps --services` of nothing is an empty line.
        assert_eq!(steps_of(&["docker", "compose"], "\n\n"), "");
        assert!(services("-v\n").is_err() && services("no such\n").is_err());
    }
}
