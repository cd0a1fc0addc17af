//! What rlvm says to people who use it for the first time: where it looks for the state, and what cannot work.

use crate::{lab::Lab, support::BACKUP};

const STATE: &str = "version: 1\nhost: web01\n";

#[test]
fn a_state_in_the_way_of_the_hosts_own_is_named() {
    let lab = Lab::new();
    lab.file("/etc/rlvm/state/hosts/web01.yaml", STATE);
    lab.file("/srv/checkout/state/hosts/other.yaml", &STATE.replace("web01", "other"));
    let plan = |dir: &str| lab.run(&["sh", "-c", &format!("cd {dir} && rlvm validate")]);
    let ran = plan("/srv/checkout");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let help = "help: rlvm reads ./state before /etc/rlvm/state: leave this directory, or pass --state /etc/rlvm/state";
    assert!(ran.stderr.contains(help), "{ran:?}");
    assert_eq!(plan("/").code, Some(0));
    // Without a file of the host there, the files that exist are named.
    lab.ok(&["rm", "/etc/rlvm/state/hosts/web01.yaml"]);
    let ran = plan("/srv/checkout");
    assert!(
        ran.stderr.contains("or the host with --host: other") && !ran.stderr.contains("./state"),
        "{ran:?}"
    );
}

#[test]
fn a_closed_password_directory_is_an_error_of_plan() {
    let lab = Lab::new();
    lab.dir("/srv/www", BACKUP, 0o755);
    lab.file_of("/srv/www/file", "x\n", BACKUP, 0o644);
    lab.dir("/srv/closed", 0, 0o700);
    let state = |file: &str| {
        lab.state(&format!(
            "destinations:\n  near: {{ local: {{ path: /srv/near }}, password_file: {file}, generate_password: true }}\n\
             jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [near], user: backup }}\n"
        ));
    };
    state("/srv/closed/near.pass");
    let plan = lab.expect(1, &["plan"]).stdout;
    let said = "backup cannot reach the password file /srv/closed/near.pass (/srv/closed is root:root 0700)";
    assert!(plan.contains(said) && plan.contains("help: give the user access to that directory"), "{plan}");
    lab.ok(&["chmod", "0711", "/srv/closed"]);
    lab.apply();
    lab.expect(0, &["run", "web"]);
}

#[test]
fn another_host_than_the_applied_one_runs_nothing() {
    let lab = Lab::new();
    lab.file("/srv/www/file", "x\n");
    lab.state(
        "destinations:\n  near: { local: { path: /srv/near }, password_file: /etc/rlvm/near.pass, generate_password: true }\n\
         jobs:\n  web: { sources: [{ path: /srv/www }], to: [near] }\n",
    );
    lab.apply();
    for verb in [&["run", "web"][..], &["status"], &["list"], &["prune"]] {
        let ran = lab.run(&[&["rlvm", "--host", "web02"], verb].concat());
        assert_eq!(ran.code, Some(6), "{ran:?}");
        assert!(ran.stderr.contains("is of host web01, and --host names web02"), "{ran:?}");
    }
    lab.ok(&["rlvm", "--host", "web01", "run", "web"]);
}

#[test]
fn a_user_who_cannot_get_into_the_repository_changes_no_working_job() {
    let lab = Lab::new();
    lab.file("/srv/www/file", "x\n");
    let state = |user: &str| {
        lab.state(&format!(
            "destinations:\n  near: {{ local: {{ path: /srv/near }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n\
             jobs:\n  web: {{ sources: [{{ path: /srv/www }}], to: [near]{user} }}\n"
        ));
    };
    state("");
    lab.apply();
    lab.expect(0, &["run", "web"]);
    // That the password file is to be the user's too makes it no note.
    state(", user: nobody");
    let error = "error: repository:near: nobody cannot write /srv/near (/srv/near is root:root 0700)";
    let plan = lab.expect(1, &["plan"]);
    assert!(plan.stdout.contains(error), "{plan:?}");
    let applied = lab.expect(7, &["apply", "--yes"]);
    assert!(applied.stderr.contains("skipped job:web: it needs repository:near"), "{applied:?}");
    // As the schedule would start it.
    let ran = lab.run(&["rlvm", "run", "web"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("web: stored at near"), "{ran:?}");
}
