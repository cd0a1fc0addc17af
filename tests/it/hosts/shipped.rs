//! `state/hosts/nas.yaml`, the example of a server, as it is.

use super::{nas_yaml, server, stored};
use crate::lab::Lab;

/// Puts the shipped state there, to the byte.
fn shipped(lab: &Lab) {
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("state/hosts/nas.yaml");
    lab.state_text(&std::fs::read_to_string(from).unwrap());
}

#[test]
fn every_line_of_the_example_works() {
    // R42
    let nas = server();
    shipped(&nas);
    nas.expect(0, &["validate"]);
    let before = nas.contents();
    nas.expect(2, &["plan", "--detailed-exitcode"]);
    assert_eq!(nas.contents(), before);
    nas.apply();
    nas.plan_is_empty();
    let all = stored(&nas);
    for line in [
        "/srv/clients/web01 root:root 755\n",
        "/srv/clients/web01/repo backup-web01:backup-web01 700\n",
        "/srv/clients/db01 root:root 755\n",
        "/srv/clients/db01/repo backup-db01:backup-db01 700\n",
    ] {
        assert!(all.contains(line), "{line}: {all}");
    }
    let keys = nas.read("/etc/ssh/rlvm/keys/backup-db01");
    assert!(keys.contains("from=\"10.0.0.12\"") && keys.contains("--append-only"), "{keys}");
}

#[test]
fn where_nothing_is_mounted_nothing_is_made() {
    // R21
    let nas = server();
    nas.ok(&["umount", "/srv/clients"]);
    shipped(&nas);
    let ran = nas.expect(7, &["apply", "--yes"]);
    assert!((ran.stdout + &ran.stderr).contains("/srv/clients must be mounted and is not"));
    assert_eq!(stored(&nas), "/srv/clients root:root 755\n");
}

#[test]
fn what_the_tests_put_into_it_is_still_the_example() {
    let text = nas_yaml("ONE", "OTHER", "");
    assert!(text.contains("- key: ONE\n") && text.contains("- key: OTHER\n"), "{text}");
    assert!(text.contains("from: 10.0.0.12") && !text.contains("ssh-ed25519"), "{text}");
}
