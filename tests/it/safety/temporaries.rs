//! What stands where rlvm puts things together before they are in place: `NAME.rlvm-new~`.

use std::fs;

use nix::{sys::stat::Mode, unistd::mkfifo};

use rlvm::effect::temporary;

use super::{link, says};
use crate::support::{BACKUP, Scratch};

type Plant = fn(&Scratch, &str);

const CRON: &str = "cron:\n  night: { schedule: \"@daily\", command: \"true\" }\n";
const REPO: &str = "directories:\n  /srv/theirs/repo: { owner: backup, group: backup, mode: \"0750\" }\n";
const VAULT: &str = "destinations:\n  vault: { local: { path: /srv/theirs/r }, password_file: /srv/theirs/v, generate_password: true }\n\
                     jobs:\n  job: { user: backup, sources: [{ path: /srv }], to: [vault] }\n";
const KEY: &str = "ssh:\n  keys: { /srv/theirs/k: { owner: backup } }\n";

/// What is declared, what it is made as, and its address.
const MADE: [(&str, &str, &str); 4] = [
    (CRON, "/etc/cron.d/night", "cron:night"),
    (REPO, "/srv/theirs/repo", "directory:/srv/theirs/repo"),
    (VAULT, "/srv/theirs/v", "secret:/srv/theirs/v"),
    (KEY, "/srv/theirs/k", "ssh_key:/srv/theirs/k"),
];

fn machine(state: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.dir("/victim", 0, 0o700);
    scratch.file_of("/victim/kept", "kept\n", 0, 0o600);
    scratch.dir("/srv/theirs", BACKUP, 0o755);
    scratch.state(state);
    scratch
}

#[test]
fn what_somebody_planted_there_is_left_alone_and_named() {
    let plants: [(Plant, &str); 5] = [
        (
            |it, at| link(it, at, "/victim/kept", BACKUP),
            "is nothing that rlvm left: look at it and remove it",
        ),
        (|it, at| link(it, at, "/victim", BACKUP), "is nothing that rlvm left"),
        (|it, at| fs::hard_link(it.at("/victim/kept"), it.at(at)).unwrap(), "is nothing that rlvm left"),
        (|it, at| mkfifo(&it.at(at), Mode::from_bits_truncate(0o666)).unwrap(), "is nothing that rlvm left"),
        (|it, at| it.file(&format!("{at}/content"), "theirs\n"), "seems left over: "),
    ];
    for (state, path, address) in MADE {
        for (plant, words) in plants {
            let scratch = machine(state);
            let new = temporary(&path.parse().unwrap());
            plant(&scratch, &new);
            let planted = scratch.tree();
            let planted = planted.iter().filter(|(at, _)| at.starts_with(&new) || at.starts_with("/victim"));
            let name = new.rsplit('/').next().unwrap();
            says(&scratch, &["apply", "--yes"], 7, &[address, name, words]);
            let tree = scratch.tree();
            for (at, what) in planted {
                assert_eq!(tree.get(at), Some(what), "{at}");
            }
            assert!(!scratch.at(path).exists(), "{path} was not made");
            assert!(!scratch.managed().contains(&address.to_owned()), "what is not there is not managed");
        }
    }
}

#[test]
fn what_a_crash_left_there_is_taken_away() {
    for (state, path, _) in MADE {
        let plants: [Plant; 2] =
            [|it, at| it.file(at, "half a fi"), |it, at| fs::create_dir(it.at(at)).unwrap()];
        for plant in plants {
            let scratch = machine(state);
            let new = temporary(&path.parse().unwrap());
            plant(&scratch, &new);
            scratch.apply();
            assert!(scratch.at(path).exists() && !scratch.at(&new).exists(), "{path}");
            scratch.plan_is_empty();
        }
    }
}
