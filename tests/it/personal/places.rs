//! Where a user's things are, and to whom they belong.

use std::{fs, os::unix::fs::MetadataExt};

use super::{
    FOREIGN, ME, STATE, apply, as_me, crontab, lab, mine, nothing_to_do, rlvm, says, set_crontab, state,
    the_rest,
};
use crate::lab::{Lab, restics};

/// Returns to whom something belongs, and its mode.
fn of(lab: &Lab, path: &str) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(lab.at(path)).unwrap_or_else(|err| panic!("{path}: {err}"));
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn a_users_backups_are_set_up_below_the_users_home() {
    let lab = lab();
    state(&lab, STATE);
    set_crontab(&lab, FOREIGN);
    let (before, rest) = (lab.tree_hash(), the_rest(&lab));
    // R23, R24
    let said = says(&lab, &["plan", "--detailed-exitcode"], 2, &["+ crontab:me", "+ repository:vault"]);
    assert!(!said.contains("runuser") && !said.contains("/nonsense"), "{said}");
    assert_eq!(lab.tree_hash(), before);
    apply(&lab);
    nothing_to_do(&lab);
    assert_eq!(the_rest(&lab), rest);
    for (path, mode) in [
        ("/home/me/.local/state/rlvm", 0o700),
        ("/home/me/.local/state/rlvm/ledger.json", 0o600),
        ("/home/me/.local/state/rlvm/state.json", 0o600),
        ("/home/me/.local/state/rlvm/log", 0o750),
        ("/home/me/.secrets", 0o700),
        ("/home/me/.secrets/vault", 0o600),
        ("/home/me/backups/vault", 0o700),
        ("/home/me/.config/rlvm/logrotate.d/rlvm", 0o644),
    ] {
        assert_eq!(of(&lab, path), (ME.0, ME.1, mode), "{path}");
    }
    assert_eq!(of(&lab, "/home/me/backups/vault/config").0, ME.0);
    // What counts is shown, and is what the night runs by.
    let shown: serde_json::Value = serde_json::from_str(&rlvm(&lab, &["show", "--json"]).stdout).unwrap();
    assert_eq!(shown["jobs"]["docs"]["user"], "me");
    assert_eq!(shown["log"]["directory"], "/home/me/.local/state/rlvm/log");
    says(&lab, &["ledger", "list"], 0, &["crontab:me", "repository:vault"]);
    says(&lab, &["restic", "version"], 0, &["from PATH"]);
    // A plan made elsewhere comes to the same, by whoever makes it.
    let seen = rlvm(&lab, &["observe"]).stdout;
    assert!(!seen.contains("nonsense"), "{seen}");
    mine(&lab, "/home/me/web01.json", &seen);
    let observed = ["--host", "web01", "--state", "/home/me/.config/rlvm/state", "plan", "--observed"];
    says(&lab, &[&observed[..], &["/home/me/web01.json"]].concat(), 0, &["No changes."]);
    // A saved plan is the user's too.
    state(&lab, &STATE.replace("30 2", "31 2"));
    says(&lab, &["plan", "--out", "night.plan"], 0, &["~ crontab:me", "31 2 * * *"]);
    says(&lab, &["apply", "night.plan"], 0, &[]);
    nothing_to_do(&lab);
}

#[test]
fn what_leaves_the_state_leaves_the_home() {
    // R46
    let lab = lab();
    set_crontab(&lab, FOREIGN);
    state(&lab, STATE);
    apply(&lab);
    state(&lab, "");
    says(&lab, &["apply", "--yes", "--allow-mass-removal"], 0, &["- crontab:me"]);
    assert_eq!(crontab(&lab).as_deref(), Some(FOREIGN));
    assert!(lab.at("/home/me/backups/vault/config").is_file() && lab.at("/home/me/.secrets/vault").is_file());
    assert!(!lab.at("/home/me/.config/rlvm/logrotate.d/rlvm").exists());
    nothing_to_do(&lab);
}

#[test]
fn the_xdg_variables_move_it_and_cron_is_told() {
    let lab = lab();
    state(&lab, STATE);
    mine(
        &lab,
        "/home/me/etc/rlvm/state/hosts/web01.yaml",
        &lab.read("/home/me/.config/rlvm/state/hosts/web01.yaml"),
    );
    let run = |args: &[&str]| {
        let variables = [
            "env",
            "XDG_STATE_HOME=/home/me/var",
            "XDG_CONFIG_HOME=/home/me/etc/",
            "XDG_DATA_HOME=data",
            "rlvm",
        ];
        lab.ran(&mut as_me(&lab, &[&variables[..], args].concat()))
    };
    let ran = run(&["apply", "--yes"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        lab.at("/home/me/var/rlvm/ledger.json").is_file()
            && lab.at("/home/me/etc/rlvm/logrotate.d/rlvm").is_file()
    );
    assert!(!lab.at("/home/me/.local").exists() && !lab.at("/home/me/data").exists());
    let entries = crontab(&lab).unwrap();
    assert!(
        entries.contains(
            "; export XDG_CONFIG_HOME=/home/me/etc; export XDG_STATE_HOME=/home/me/var; /usr/local"
        ),
        "{entries}"
    );
    assert_eq!(run(&["plan", "--detailed-exitcode"]).code, Some(0));
    // RLVM_HOME moves rlvm's own alone.
    for (home, listed) in [("/home/me/other", false), ("/home/me/var/rlvm", true)] {
        let home = format!("RLVM_HOME={home}");
        let ran = lab.ran(&mut as_me(&lab, &["env", &home, "rlvm", "ledger", "list"]));
        assert_eq!(ran.stdout.contains("crontab:me"), listed, "{ran:?}");
    }
}

#[test]
fn keys_and_a_pinned_restic_are_the_users() {
    let lab = lab();
    let restic = restics().into_iter().find(|it| it.version.1 == 18).unwrap();
    let program = format!("{}/restic", restic.dir);
    let digest = lab.ok(&["sha256sum", &program]);
    let digest = digest.split_once(' ').unwrap().0;
    let rest = the_rest(&lab);
    let pin = format!("restic: {{ version: 0.18.0, sha256: {digest}, url: \"file://{program}\" }}\n");
    state(&lab, &format!("{pin}{STATE}ssh:\n  keys: {{ /home/me/.ssh/id_rlvm: {{}} }}\n"));
    apply(&lab);
    nothing_to_do(&lab);
    let pinned = "/home/me/.local/share/rlvm/restic/0.18.0/restic";
    assert_eq!(of(&lab, pinned), (ME.0, ME.1, 0o755));
    assert_eq!(of(&lab, "/home/me/.ssh/id_rlvm"), (ME.0, ME.1, 0o600));
    assert_eq!(of(&lab, "/home/me/.ssh/id_rlvm.pub"), (ME.0, ME.1, 0o644));
    assert!(lab.read("/home/me/.ssh/id_rlvm.pub").ends_with("me@web01\n"));
    says(&lab, &["restic", "version"], 0, &[pinned]);
    says(&lab, &["restic", "list"], 0, &["used"]);
    assert_eq!(the_rest(&lab), rest);
}
