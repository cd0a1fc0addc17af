//! Looking, against programs that stand in for docker, podman, compose and systemctl.

#![expect(clippy::disallowed_methods, reason = "stand-ins for programs are files")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;
use crate::host::{Host as _, Real};

/// Says what stops a thing on a host with these programs alone: their names, and what they are in sh.
fn steps_with(programs: &[(&str, &str)], stop: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, script) in programs {
        let file = dir.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // What starts programs is needed too; no container engine comes with it.
    for name in ["setpriv", "setsid"] {
        let found = ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(name)).find(|it| it.exists());
        std::os::unix::fs::symlink(found.expect("apt-get install util-linux"), dir.path().join(name))
            .unwrap();
    }
    let host = Real::open(Path::new("/"), dir.path().to_str().unwrap()).unwrap();
    let (kind, value) = stop.split_once(' ').unwrap();
    let value = value.parse().unwrap();
    let stop = match kind {
        "systemd" => Stop::Systemd(value),
        "container" => Stop::Container(value),
        _ => Stop::Compose(value),
    };
    match steps(host.looker().as_ref(), &stop) {
        Ok(steps) => steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(err) => format!("error: {err:#}"),
    }
}

/// Docker 28.2, as far as it is asked.
const DOCKER: &str = "case \"$*\" in\n--version) echo 'Docker version 28.2.2, build e6534b4';;\n\
    'ps --all --format {{.Names}}') echo web; echo old;;\n\
    'container inspect --format '*' -- web') echo 'running false ';;\n\
    'container inspect --format '*' -- old') echo 'exited false ';;\n\
    'compose version') echo 'Docker Compose version v2.26.1';;\n\
    'compose --project-directory /usr ps --services --filter status=running') echo app; echo db;;\n\
    'compose --project-directory /usr ps --services --filter status=restarting') echo;;\n\
    'compose --project-directory /etc ps '*) echo 'no configuration file provided: not found' >&2; exit 14;;\n\
    *) echo \"unasked: $*\" >&2; exit 1;;\nesac";
const DORMANT: &str = "case \"$*\" in --version) echo 'Docker version 28.2.2, build e6534b4';; *) \
    echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1;; esac";
/// Podman 4.3, which has no `compose`.
const PODMAN: &str = "case \"$*\" in\n--version) echo 'podman version 4.3.1';;\n\
    'ps --all --format {{.Names}}') echo web; echo shop;;\n\
    'container inspect --format '*' -- web') echo 'running false ';;\n\
    'container inspect --format '*' -- shop') echo 'running true shop.service';;\n\
    *) echo \"Error: unrecognized command \\`podman $1\\`\" >&2; exit 125;;\nesac";

#[test]
fn containers_are_looked_for_where_they_may_be() {
    // R57
    let docker = [("docker", DOCKER)];
    let (both, emulated) =
        ([("docker", DOCKER), ("podman", PODMAN)], [("docker", PODMAN), ("podman", PODMAN)]);
    let web = "docker stop -- web\n#   undone by: docker start -- web";
    for (programs, stop, expected) in [
        (&docker[..], "container web", web),
        (&docker, "container old", ""),
        (&docker, "container gone", "error: docker has no container gone; `docker ps --all` lists them"),
        (&docker, "container -f", "error: \"-f\" is no name of a container"),
        (&[], "container web", "error: neither docker nor podman is there"),
        (&both, "container web", "error: docker and podman both have a container web"),
        (&both, "container old", ""),
        (&both, "container shop", "error: the unit shop.service keeps the container shop"),
        // What podman-docker puts in docker's place.
        (&emulated, "container web", &web.replace("docker", "podman")),
        (&[("docker", DORMANT)], "container web", "error: cannot ask docker for the container web"),
    ] {
        let said = steps_with(programs, stop);
        assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{stop}: {said}");
    }
}

#[test]
fn projects_are_stopped_by_the_compose_that_is_there() {
    // R57
    let old = [("docker", DORMANT), ("docker-compose", "case $1 in version) ;; *) echo app;; esac")];
    for (programs, stop, expected) in [
        (
            &[("docker", DOCKER), ("podman", PODMAN)][..],
            "compose /usr",
            "docker compose --project-directory /usr stop app db\n#   undone by: docker compose --project-directory \
             /usr start app db",
        ),
        (&old, "compose /usr", "docker-compose --project-directory /usr stop app\n"),
        (&[("docker", DOCKER)], "compose /etc", "error: `docker compose --project-directory /etc ps"),
        (&[("podman", PODMAN)], "compose /usr", "error: no compose is there to stop /usr: apt-get install"),
        (&[("docker", DOCKER)], "compose /none", "error: /none is not there"),
        (&[], "compose none", "error: \"none\" is no directory"),
    ] {
        let said = steps_with(programs, stop);
        assert!(said.starts_with(expected), "{stop}: {said}");
    }
}

#[test]
fn a_project_that_others_than_root_can_write_is_refused() {
    if !crate::host::is_root() {
        return;
    }
    // Not in /tmp, whose directories may be anybody's.
    let project = tempfile::tempdir_in("/run").unwrap();
    let (dir, file) = (project.path(), project.path().join("compose.yaml"));
    let said = || steps_with(&[("docker", DOCKER)], &format!("compose {}", dir.display()));
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(&file, "services: {}\n").unwrap();
    assert!(said().starts_with("error: `docker compose"), "root's is asked: {}", said());
    for (path, name, good) in [(dir, "", 0o755), (&file, "/compose.yaml", 0o644)] {
        let expected = format!("error: others than root can write {}{name} (", dir.display());
        chmod(path, 0o775);
        assert!(said().starts_with(&expected), "{}", said());
        chmod(path, good);
        std::os::unix::fs::chown(path, Some(12345), None).unwrap();
        assert!(said().starts_with(&expected), "{}", said());
        std::os::unix::fs::chown(path, Some(0), None).unwrap();
    }
    fs::rename(&file, dir.join("other")).unwrap();
    std::os::unix::fs::symlink("other", &file).unwrap();
    assert!(said().contains("compose.yaml is no plain file"), "{}", said());
}

#[test]
fn a_manager_that_cannot_be_asked_is_an_error() {
    let none = "echo 'Failed to connect to bus: Host is down' >&2; exit 1";
    let said = steps_with(&[("systemctl", none)], "systemd shop");
    assert!(said.starts_with("error: `systemctl show -p ") && said.ends_with("Host is down"), "{said}");
    let one = "printf 'Id=shop.service\\nLoadState=loaded\\nActiveState=active\\nCanStart=yes\\n'";
    let said = steps_with(&[("systemctl", one)], "systemd shop");
    assert_eq!(said, "systemctl stop -- shop.service\n#   undone by: systemctl start -- shop.service");
}
