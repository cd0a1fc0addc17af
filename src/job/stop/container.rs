//! Stops and starts containers of docker and podman.

use anyhow::{Context, Result, bail};

use super::{ask, step};
use crate::{
    effect::{Cmd, Step},
    host::Observe,
    source::Engine,
};

/// What is asked of a container. podman's `ps` has the state only for people (`Up 3 minutes`), so both are inspected.
const FORMAT: &str =
    r#"{{.State.Status}} {{.HostConfig.AutoRemove}} {{index .Config.Labels "PODMAN_SYSTEMD_UNIT"}}"#;

/// Returns the program of a container engine.
pub(super) const fn program(engine: Engine) -> &'static str {
    match engine {
        Engine::Docker => "docker",
        Engine::Podman => "podman",
    }
}

/// Lists the container engines that are there. What Debian's podman-docker puts in docker's place is podman.
///
/// # Errors
///
/// If they cannot be asked.
pub(super) fn engines(host: &dyn Observe) -> Result<Vec<Engine>> {
    let mut found = Vec::new();
    if host.program_path("docker").is_some() && is_docker(&ask(host, Cmd::new("docker").arg("--version"))?) {
        found.push(Engine::Docker);
    }
    if host.program_path("podman").is_some() {
        found.push(Engine::Podman);
    }
    Ok(found)
}

/// Says whether what calls itself so is docker.
fn is_docker(version: &str) -> bool {
    !version.starts_with("podman")
}

pub(super) fn steps(host: &dyn Observe, name: &str) -> Result<Vec<Step>> {
    if !is_name(name) {
        bail!("{name:?} is no name of a container; `docker ps --all` and `podman ps --all` list them");
    }
    let mut seen = Vec::new();
    for engine in engines(host)? {
        let said = look(host, engine, name).with_context(|| {
            let program = program(engine);
            format!(
                "cannot ask {program} for the container {name}; if it is not in use: apt-get remove {program}"
            )
        });
        seen.push((engine, said?));
    }
    decide(name, &seen)
}

/// Says what one container engine tells of a container; nothing if it has none of that name.
fn look(host: &dyn Observe, engine: Engine, name: &str) -> Result<Option<String>> {
    let cmd = || Cmd::new(program(engine));
    let names = ask(host, cmd().args(["ps", "--all", "--format", "{{.Names}}"]))?;
    if !lists(&names, name) {
        return Ok(None);
    }
    ask(host, cmd().args(["container", "inspect", "--format", FORMAT, "--", name])).map(Some)
}

/// Says whether a list of names has one; docker also writes those that others link it by, after commas.
fn lists(names: &str, name: &str) -> bool {
    names.lines().flat_map(|line| line.split(',')).any(|it| it.trim() == name)
}

/// Both container engines take these names, and no others.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Says what stops a container, by what each container engine told of it.
///
/// A paused one is left as it is: its processes write nothing, and stopping it would wake it up first.
fn decide(name: &str, seen: &[(Engine, Option<String>)]) -> Result<Vec<Step>> {
    let having: Vec<(Engine, &str)> =
        seen.iter().filter_map(|(engine, said)| Some((*engine, said.as_deref()?))).collect();
    let (engine, said) = match having[..] {
        [one] => one,
        [] if seen.is_empty() => bail!("neither docker nor podman is there, so there is no container {name}"),
        [] => {
            let asked: Vec<&str> = seen.iter().map(|(engine, _)| program(*engine)).collect();
            let list: Vec<String> = asked.iter().map(|program| format!("`{program} ps --all`")).collect();
            bail!("{} has no container {name}; {} lists them", asked.join(" nor "), list.join(" or "))
        }
        _ => bail!("docker and podman both have a container {name}; rename one: `podman rename {name} NEW`"),
    };
    let mut words = said.split_whitespace();
    let (state, removed, unit) = (words.next().unwrap_or_default(), words.next(), words.next());
    match state {
        "created" | "configured" | "initialized" | "exited" | "stopped" | "dead" | "removing" | "paused" => {
            return Ok(Vec::new());
        }
        // One that ends and is started again and again would be, in the midst of the run.
        "running" | "restarting" | "stopping" => {}
        other => {
            bail!("{} says {other:?} of the container {name}, which means nothing to rlvm", program(engine))
        }
    }
    if let Some(unit) = unit {
        bail!(
            "the unit {unit} keeps the container {name} and would start it again; stop that: `systemd: {unit}`"
        );
    }
    if removed == Some("true") {
        bail!("the container {name} goes when it is stopped (--rm); make it without --rm, or stop its unit");
    }
    let cmd = |verb: &str| Cmd::new(program(engine)).args([verb, "--", name]);
    Ok(vec![step(cmd("stop"), cmd("start"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps_of(docker: Option<&str>, podman: Option<&str>) -> String {
        let said = |said: Option<&str>| said.map(ToOwned::to_owned);
        match decide("web", &[(Engine::Docker, said(docker)), (Engine::Podman, said(podman))]) {
            Ok(steps) => steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Err(err) => format!("error: {err}"),
        }
    }

    #[test]
    fn what_runs_is_put_back_and_what_does_not_is_left() {
        // R57
        let both = |program: &str| format!("{program} stop -- web\n#   undone by: {program} start -- web");
        assert_eq!(steps_of(Some("running false \n"), None), both("docker"));
        assert_eq!(steps_of(Some("restarting false \n"), None), both("docker"));
        assert_eq!(steps_of(None, Some("running false \n")), both("podman"));
        for state in ["created", "exited", "paused", "initialized", "stopped", "dead"] {
            assert_eq!(steps_of(None, Some(&format!("{state} false \n"))), "", "{state}");
        }
    }

    #[test]
    fn what_could_not_be_put_back_is_not_stopped() {
        for (docker, podman, words) in [
            (None, None, "error: docker nor podman has no container web"),
            (Some("running false \n"), Some("exited false \n"), "error: docker and podman both have"),
            (Some("running true \n"), None, "error: the container web goes when it is stopped"),
            (None, Some("running true web.service\n"), "error: the unit web.service keeps the container web"),
            (None, Some("floating false \n"), "error: podman says \"floating\""),
        ] {
            assert!(steps_of(docker, podman).starts_with(words), "{}", steps_of(docker, podman));
        }
        assert!(decide("web", &[]).unwrap_err().to_string().starts_with("neither docker nor podman"));
    }

    #[test]
    fn words_of_real_tools() {
        // Docker 28.2 and podman 4.3.
        assert!(is_docker("Docker version 28.2.2, build e6534b4\n") && !is_docker("podman version 4.3.1\n"));
        assert!(
            lists("one\nshop/db,web\n", "web")
                && lists("one\n", "one")
                && !lists("web2\n", "web")
                && !lists("", "")
        );
        assert!(is_name("shop_db-1.a") && !is_name("-x") && !is_name("a b") && !is_name(""));
    }
}
