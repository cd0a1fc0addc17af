//! How often rlvm asks a remote repository, against plain restic that has a cache.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read the server's log themselves")]

use std::fs;

use crate::lab::Lab;

const URL: &str = "s3:http://s3.lan:3900/web/one";
/// What restic itself is called with.
const PLAIN: &str = "AWS_ACCESS_KEY_ID=AKIAWEB01 AWS_SECRET_ACCESS_KEY=web01 AWS_DEFAULT_REGION=us-east-1 restic -o s3.bucket-lookup=path";

/// Counts the requests that the server got while something was done.
fn requests(lab: &Lab, work: &dyn Fn()) -> usize {
    let count = || fs::read_to_string(lab.beside("s3.log")).unwrap().matches("HTTP/1.1\"").count();
    let before = count();
    work();
    count() - before
}

#[test]
fn verbs_use_the_cache_that_runs_have_made() {
    let lab = Lab::new();
    let _s3 = lab.s3();
    lab.bucket("web");
    for number in 0..12 {
        lab.file(&format!("/srv/www/{number}/file"), &format!("{number}\n"));
    }
    for (name, secret) in [("id", "AKIAWEB01\n"), ("secret", "web01\n"), ("pass", "hunter22\n")] {
        lab.file_of(&format!("/etc/rlvm/s3.{name}"), secret, 0, 0o600);
    }
    lab.state(
        "destinations:
  off:
    s3: { endpoint: \"http://s3.lan:3900\", bucket: web, prefix: one, path_style: true, plain_http: true }
    password_file: /etc/rlvm/s3.pass
    credentials:
      AWS_ACCESS_KEY_ID: { file: /etc/rlvm/s3.id }
      AWS_SECRET_ACCESS_KEY: { file: /etc/rlvm/s3.secret }
jobs:
  web: { sources: [{ path: /srv/www }], to: [off], retention: { last: 3 } }
",
    );
    lab.apply();
    for round in 0..5 {
        lab.file(&format!("/srv/www/{round}/file"), &format!("changed {round}\n"));
        lab.expect(0, &["run", "web"]);
    }
    let restic = |words: &str| {
        let script =
            format!("{PLAIN} --cache-dir /srv/cache -r {URL} -p /etc/rlvm/s3.pass {words} >/dev/null");
        lab.ok(&["sh", "-euc", &script]);
    };
    // Its cache is as warm as the one of the runs.
    restic("ls latest");
    let list = requests(&lab, &|| restic("snapshots --no-lock"));
    let show = requests(&lab, &|| restic("ls --no-lock latest"));
    let restore = requests(&lab, &|| restic("restore --no-lock latest --target /srv/plain"));
    for (verb, most) in [
        (&["snapshots", "web"][..], list),
        (&["status"], list),
        (&["restore", "web", "--target", "/srv/out", "--yes"], list + show + restore),
    ] {
        let asked = requests(&lab, &|| drop(lab.rlvm(verb)));
        println!("{verb:?}: {asked} requests, plain restic {most}");
        assert!(asked * 10 <= most * 12, "{verb:?}: {asked} requests, plain restic {most}");
    }
    let asked = requests(&lab, &|| drop(lab.expect(0, &["prune"])));
    // The same once more, by restic itself.
    for round in 0..2 {
        lab.file(&format!("/srv/www/{round}/file"), &format!("again {round}\n"));
        lab.expect(0, &["run", "web"]);
    }
    restic("ls latest");
    let most = requests(&lab, &|| restic("forget --keep-last 3 --prune"));
    println!("prune: {asked} requests, plain restic {most}");
    // rlvm asks before and after what would go, and forgets and prunes apart: three more openings of the repository,
    // however large that is.
    assert!(asked * 10 <= (most + 3 * list) * 12, "prune: {asked} requests, plain restic {most}");
}
