//! root's agent, the real one: started, given keys on a terminal, asked, stopped. Nobody else's is touched.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
};

use super::{inside, said};
use crate::support::{Ran, Scratch, require};

const SOCKET: &str = "/root/.ssh/agent.sock";
const STATE: &str = "version: 1\nhost: web01\nssh:\n  keys: { /root/.ssh/id_rlvm: {} }\n  agent: { socket: /root/.ssh/agent.sock }\n";
const PASSPHRASE: &str = "canary-passphrase-0xBEEF";

/// A machine that is the running system, with a key that has a passphrase.
fn machine() -> Scratch {
    let on = Scratch::new();
    on.file("/etc/rlvm/state/hosts/web01.yaml", STATE);
    on.dir("/root/.ssh", 0, 0o700);
    require(on.search_path(), "ssh-keygen", "openssh-client");
    let make = ["-q", "-t", "ed25519", "-N", PASSPHRASE, "-C", "root@web01", "-f", "root/.ssh/id_rlvm"];
    let status = Command::new("ssh-keygen").args(make).current_dir(on.root()).status();
    assert!(status.unwrap().success());
    on
}

fn rlvm(on: &Scratch, args: &[&str]) -> Ran {
    inside(on, "", &[&["/rlvm", "--host", "web01"], args].concat())
}

/// Stops the agent, whatever became of the test.
struct Stop<'a>(&'a Scratch);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        drop(rlvm(self.0, &["ssh-agent", "stop"]));
    }
}

/// Calls rlvm on a terminal, and types when it asks.
fn typed(on: &Scratch, args: &[&str], asked: &str, answer: &str) -> Ran {
    require(on.search_path(), "script", "bsdutils");
    let root = on.root();
    let line = format!(
        "unshare --mount --propagation private sh -euc '{}' sh {} {} '' /rlvm --host web01 {}",
        super::ENTER,
        root.display(),
        env!("CARGO_BIN_EXE_rlvm"),
        args.join(" ")
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("SHELL", "/bin/sh");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = Vec::new();
    let mut byte = [0];
    while output.read(&mut byte).unwrap() == 1 {
        seen.push(byte[0]);
        if String::from_utf8_lossy(&seen).ends_with(asked) {
            writeln!(input, "{answer}").unwrap();
        }
    }
    let code = child.wait().unwrap().code();
    Ran { code, stdout: String::from_utf8_lossy(&seen).into_owned(), stderr: String::new() }
}

#[test]
fn a_key_with_a_passphrase_from_boot_to_night() {
    // R29
    let on = machine();
    let _stop = Stop(&on);
    let lacks = |words: &str| said(&rlvm(&on, &["plan"]), 1, &["error: ssh_key:/root/.ssh/id_rlvm", words]);
    lacks("/root/.ssh/id_rlvm has a passphrase, and no agent is running at /root/.ssh/agent.sock");
    lacks("help: rlvm ssh-agent start; then rlvm ssh-agent add");
    said(&rlvm(&on, &["ssh-agent", "status"]), 1, &["no agent is running", "missing: /root/.ssh/id_rlvm"]);
    said(&rlvm(&on, &["ssh-agent", "add"]), 1, &["the agent is not ready", "rlvm ssh-agent start"]);

    said(&rlvm(&on, &["ssh-agent", "start"]), 0, &["The agent is running at /root/.ssh/agent.sock, process"]);
    said(&rlvm(&on, &["ssh-agent", "start"]), 0, &["is running at /root/.ssh/agent.sock already"]);
    lacks("the agent at /root/.ssh/agent.sock does not hold it");
    said(&rlvm(&on, &["ssh-agent", "add"]), 64, &["asked for on a terminal"]);
    let wrong = typed(&on, &["ssh-agent", "add"], "id_rlvm: ", "");
    said(&wrong, 1, &["not given to the agent: /root/.ssh/id_rlvm"]);
    let added = typed(&on, &["ssh-agent", "add"], "id_rlvm: ", PASSPHRASE);
    said(&added, 0, &["Identity added: /root/.ssh/id_rlvm"]);

    let mut list = Command::new("ssh-keygen");
    list.args(["-l", "-f", "root/.ssh/id_rlvm.pub"]).current_dir(on.root());
    let listed = String::from_utf8(list.output().unwrap().stdout).unwrap();
    let print = listed.split(' ').nth(1).unwrap();
    let status = rlvm(&on, &["ssh-agent", "status"]);
    said(&status, 0, &["running at /root/.ssh/agent.sock and holds 1 key\n", print, " root@web01\n"]);
    let json = said(&rlvm(&on, &["ssh-agent", "status", "--json"]), 0, &[print]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["ready"], json["missing"].as_array().unwrap().len()), (&true.into(), 0));
    said(&rlvm(&on, &["ssh-agent", "add"]), 0, &["holds every declared key"]);
    said(&rlvm(&on, &["apply", "--yes"]), 0, &["Apply complete"]);
    let everything = said(&rlvm(&on, &["plan", "--json"]), 0, &[]) + &added.stdout + &status.stdout;
    assert!(!everything.contains(PASSPHRASE) && !everything.contains("PRIVATE KEY"));

    said(&rlvm(&on, &["ssh-agent", "stop"]), 0, &["The agent is stopped"]);
    assert!(!on.at(SOCKET).exists());
    said(&rlvm(&on, &["ssh-agent", "stop"]), 0, &["No agent that rlvm started is running"]);
    lacks("no agent is running");
}

#[test]
fn a_dead_ones_socket_is_removed_and_a_live_one_is_left_alone() {
    let on = machine();
    let _stop = Stop(&on);
    // Nobody listens any more.
    drop(UnixListener::bind(on.at(SOCKET)).unwrap());
    on.own(SOCKET, 0, 0o600);
    said(&rlvm(&on, &["plan"]), 1, &["has a passphrase, and no agent answers at /root/.ssh/agent.sock"]);
    said(&rlvm(&on, &["ssh-agent", "start"]), 0, &["process"]);
    let agent: serde_json::Value = serde_json::from_str(&on.read("/run/rlvm/ssh-agent.json")).unwrap();
    // Another process of that number is none of ours.
    let other = agent.to_string().replace(&agent["start"].to_string(), "1");
    fs::write(on.at("/run/rlvm/ssh-agent.json"), other).unwrap();
    said(&rlvm(&on, &["ssh-agent", "stop"]), 0, &["No agent that rlvm started is running"]);
    said(&rlvm(&on, &["ssh-agent", "status"]), 1, &["the agent is running at"]);
    fs::write(on.at("/run/rlvm/ssh-agent.json"), agent.to_string()).unwrap();
    said(&rlvm(&on, &["ssh-agent", "stop"]), 0, &["The agent is stopped"]);
}

#[test]
fn what_somebody_put_at_the_sockets_place_is_left_alone() {
    for (plant, words) in [
        ((|on: &Scratch| on.file_of(SOCKET, "x", 0, 0o600)) as fn(&Scratch), "is a file, no socket"),
        (
            |on| {
                drop(UnixListener::bind(on.at(SOCKET)).unwrap());
                on.own(SOCKET, 33, 0o600);
            },
            "belongs to www-data, not to root",
        ),
        (
            |on| {
                drop(UnixListener::bind(on.at(SOCKET)).unwrap());
                on.own(SOCKET, 0, 0o666);
            },
            "is open to others than root",
        ),
    ] {
        let on = machine();
        let _stop = Stop(&on);
        plant(&on);
        said(&rlvm(&on, &["plan"]), 1, &["/root/.ssh/id_rlvm has a passphrase, and", words]);
        if !words.contains("open to") {
            said(&rlvm(&on, &["ssh-agent", "start"]), 1, &["look at it and remove it"]);
            assert!(fs::symlink_metadata(on.at(SOCKET)).is_ok());
        }
    }
    // A directory that others may write is no place for it.
    let on = machine();
    on.own("/root/.ssh", 0, 0o777);
    said(&rlvm(&on, &["ssh-agent", "start"]), 1, &["others may write it"]);
}

#[test]
fn in_a_tree_it_is_deferred() {
    let on = machine();
    on.state_text(STATE);
    let words = "note: ssh_key:/root/.ssh/id_rlvm: deferred: it has a passphrase";
    said(&on.rlvm(&["plan"]), 0, &[words]);
    on.apply();
    on.plan_is_empty();
    said(&on.rlvm(&["ssh-agent", "start"]), 64, &["--root names a tree"]);
}
