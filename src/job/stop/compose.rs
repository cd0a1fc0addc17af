//! Projects of compose.

use anyhow::{Result, bail};

use super::{answer, ask, container::engines, step};
use crate::{
    effect::{Cmd, Step},
    host::Observe,
    model::HostPath,
    source::Engine,
};

/// The states of containers whose services are stopped. A paused one is left as it is.
const UP: [&str; 2] = ["running", "restarting"];
/// What a project's file is called; the first that is there counts, with what is written over it.
const FILES: [[&str; 2]; 4] = [
    ["docker-compose.yml", "docker-compose.override.yml"],
    ["docker-compose.yaml", "docker-compose.override.yaml"],
    ["compose.yml", "compose.override.yml"],
    ["compose.yaml", "compose.override.yaml"],
];

/// A way to call compose.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tool {
    words: &'static [&'static str],
    /// Whether it is compose 1, which looks for the project's file where it is started and nowhere else.
    is_first: bool,
}

pub(super) fn steps(host: &dyn Observe, directory: &str) -> Result<Vec<Step>> {
    let Ok(directory) = directory.parse::<HostPath>() else {
        bail!("{directory:?} is no directory of a compose project; write the absolute path");
    };
    let files = files(host, &directory)?;
    let tools = tools(host)?;
    if tools.is_empty() {
        bail!(
            "no compose is there to stop {directory}: apt-get install docker-compose, or name its containers: `container: NAME`"
        );
    }
    let mut steps = Vec::new();
    for tool in &tools {
        let call = || call(tool, &directory, &files);
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

/// Finds the project's files.
fn files(host: &dyn Observe, directory: &HostPath) -> Result<Vec<HostPath>> {
    for names in FILES {
        let mut found = Vec::new();
        for name in names {
            let file = directory.join(name)?;
            if host.lies(&file)?.is_some() {
                found.push(file);
            } else if found.is_empty() {
                break;
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    bail!("there is no compose file in {directory}; name the directory that compose.yaml lies in")
}

/// Lists the ways to call compose that are there, one for each container engine.
fn tools(host: &dyn Observe) -> Result<Vec<Tool>> {
    let version = |words: &[&'static str]| -> Result<Option<String>> {
        if host.program_path(words[0]).is_none() {
            return Ok(None);
        }
        let output = answer(host, Cmd::new(words[0]).args(words[1..].iter().copied()).arg("version"))?;
        Ok((output.code == Some(0)).then_some(output.stdout))
    };
    let engines = engines(host)?;
    let mut tools = Vec::new();
    let docker: &[&[&str]] = &[&["docker", "compose"], &["docker-compose"]];
    // Without docker, docker-compose is what podman calls.
    let ways = docker.iter().filter(|_| engines.contains(&Engine::Docker));
    for words in ways {
        if let Some(said) = version(words)? {
            tools.push(Tool { words, is_first: is_first(&said) });
            break;
        }
    }
    if engines.contains(&Engine::Podman) && version(&["podman", "compose"])?.is_some() {
        tools.push(Tool { words: &["podman", "compose"], is_first: false });
    }
    Ok(tools)
}

/// Says whether it is compose 1.
fn is_first(version: &str) -> bool {
    version.starts_with("docker-compose version 1.")
}

fn call(tool: &Tool, directory: &HostPath, files: &[HostPath]) -> Cmd {
    let cmd = Cmd::new(tool.words[0]).args(tool.words[1..].iter().copied());
    let cmd = cmd.arg("--project-directory").path(directory);
    let files = files.iter().filter(|_| tool.is_first);
    files.fold(cmd, |cmd, file| cmd.arg("--file").path(file))
}

/// Reads what `ps --services` prints.
fn services(text: &str) -> Result<Vec<String>> {
    let mut services: Vec<String> =
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    services.sort();
    services.dedup();
    // Compose 1 does not know `--`.
    if let Some(bad) =
        services.iter().find(|name| name.starts_with('-') || name.contains(char::is_whitespace))
    {
        bail!("compose lists a service {bad:?}, which is no name");
    }
    Ok(services)
}

fn decide(services: &[String], call: &dyn Fn() -> Cmd) -> Option<Step> {
    let cmd = |verb: &str| call().arg(verb).args(services.iter().map(String::as_str));
    (!services.is_empty()).then(|| step(cmd("stop"), cmd("start")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Tool = Tool { words: &["docker", "compose"], is_first: false };
    const FIRST: Tool = Tool { words: &["docker-compose"], is_first: true };

    fn steps_of(tool: &Tool, listed: &str) -> String {
        let path = |text: &str| text.parse::<HostPath>().unwrap();
        let files = [path("/srv/a b/compose.yaml")];
        let steps = decide(&services(listed).unwrap(), &|| call(tool, &path("/srv/a b"), &files));
        steps.map(|step| step.to_string()).unwrap_or_default()
    }

    #[test]
    fn just_the_services_that_run_are_put_back() {
        // R57
        assert_eq!(
            steps_of(&SECOND, "web\ndb\n\nweb\n"),
            "docker compose --project-directory '/srv/a b' stop db web\n#   undone by: docker compose \
             --project-directory '/srv/a b' start db web"
        );
        assert_eq!(
            steps_of(&FIRST, "db\n"),
            "docker-compose --project-directory '/srv/a b' --file '/srv/a b/compose.yaml' stop db\n#   undone by: \
             docker-compose --project-directory '/srv/a b' --file '/srv/a b/compose.yaml' start db"
        );
        // `ps --services` of nothing is an empty line.
        assert_eq!(steps_of(&SECOND, "\n\n"), "");
        assert!(services("-v\n").is_err() && services("no such\n").is_err());
    }

    #[test]
    fn versions_as_they_are_told() {
        // Debian 12 has 1.29, Debian 13 2.26; the second printed nothing else.
        assert!(is_first("docker-compose version 1.29.2, build unknown\ndocker-py version: 5.0.3\n"));
        assert!(
            !is_first("Docker Compose version v2.26.1\n") && !is_first("Docker Compose version 2.26.1-4\n")
        );
    }
}
