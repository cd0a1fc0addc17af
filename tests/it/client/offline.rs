//! Without a network: what needs it is left out, and said to be.

use super::{give_passwords, says};
use crate::lab::Lab;

const STATE: &str = "destinations:
  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/vault.pass }
  offsite: { s3: { endpoint: \"http://s3.lan:3900\", bucket: web, prefix: web01, path_style: true, plain_http: true }, password_file: /etc/rlvm/offsite.pass, env_file: /etc/rlvm/s3.env }
jobs:
  home: { sources: [{ path: /home }], to: [vault, offsite], schedule: \"@daily\" }
";

#[test]
fn a_plan_works_unplugged_and_says_what_it_left_out() {
    let lab = Lab::new();
    give_passwords(&lab);
    lab.file_of("/etc/rlvm/s3.env", "AWS_ACCESS_KEY_ID=web\nAWS_SECRET_ACCESS_KEY=web\n", 0, 0o600);
    lab.state(STATE);
    let s3 = lab.s3();
    lab.bucket("web");
    lab.apply();
    lab.plan_is_empty();
    lab.unplug();
    let left = "note: repository:offsite: not looked at: --offline";
    let before = lab.tree_hash();
    says(&lab, &["plan", "--offline", "--detailed-exitcode"], 0, &[left, "No changes."]);
    says(&lab, &["observe", "--offline"], 0, &["repository:offsite"]);
    says(&lab, &["plan"], 1, &["error: repository:offsite: unreachable: "]);
    assert_eq!(lab.tree_hash(), before);
    // The rest can be applied; a repository that nobody has seen is neither made nor taken for made.
    lab.state(
        &STATE.replace("offsite:", "elsewhere:").replace("web01", "web02").replace("offsite]", "elsewhere]"),
    );
    lab.expect(0, &["apply", "--yes", "--offline"]);
    assert!(!lab.managed().contains(&"repository:elsewhere".to_owned()));
    lab.plug();
    says(&lab, &["plan"], 0, &["+ repository:elsewhere"]);
    drop(s3);
}

#[test]
fn a_plan_that_was_saved_offline_is_applied_offline() {
    let lab = Lab::new();
    give_passwords(&lab);
    lab.state("destinations:\n  vault: { local: { path: /srv/r }, password_file: /etc/rlvm/vault.pass }\n  far: { rest: { url: \"https://rest.lan:8000/r\" }, password_file: /etc/rlvm/rest.pass }\n");
    lab.unplug();
    lab.expect(0, &["plan", "--offline", "--out", "/var/lib/night.plan"]);
    lab.expect(0, &["apply", "/var/lib/night.plan"]);
    assert!(lab.at("/srv/r/config").is_file());
}
