//! What a client stored is given to root before its account is deleted: the next account may get its number.

use super::{FILES, WORM, entry, machine, public};
use crate::lab::Lab;

const REPO: &str = "/srv/clients/files/repo";

/// Makes an account that is to be deleted, with some files of its own.
fn stored(lab: &Lab) {
    let key = entry(lab, "files", None);
    lab.state(&format!(
        "ssh: {{ users: {{ {FILES}: {{ directory: /srv/clients/files, on_remove: delete, authorized_keys: [{key}] }} }} }}"
    ));
    lab.apply();
    for number in 0..3 {
        lab.file(&format!("{REPO}/data/{number}/file"), "stored\n");
    }
    lab.ok(&["ln", "-s", "/etc/passwd", &format!("{REPO}/data/link")]);
    lab.ok(&["chown", "-R", "-h", FILES, REPO]);
    lab.plan_is_empty();
    lab.state("ssh: {}");
}

/// Lists to whom all in the repository belongs.
fn owners(lab: &Lab) -> Vec<String> {
    let all = lab.ok(&["find", REPO, "-printf", "%U\\n"]);
    let mut all: Vec<String> = all.lines().map(ToOwned::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn is_there(lab: &Lab) -> bool {
    lab.run(&["getent", "passwd", FILES]).code == Some(0)
}

#[test]
fn all_that_an_account_stored_becomes_roots_and_apply_tells() {
    let lab = machine();
    stored(&lab);
    let passwd = lab.ok(&["stat", "-c", "%u:%g %Z", "/etc/passwd"]);
    // The client opens all of it to everybody before it goes.
    lab.ok(&["chmod", "-R", "a+rwX", REPO]);
    let ran = lab.expect(0, &["apply", "--yes", "--allow-mass-removal", "--json"]);
    // A directory of them, three with a file each, and a link; the repository itself has gone first.
    let told = format!("{{\"type\":\"apply_working\",\"address\":\"account:user/{FILES}\",\"changed\":8}}");
    assert!(ran.stdout.contains(&told), "{ran:?}");
    assert!(owners(&lab) == ["0"] && !is_there(&lab));
    assert_eq!(lab.ok(&["stat", "-c", "%a", REPO]), "700\n", "nobody else gets at what was stored");
    // It follows no link; userdel writes another file of the system's own.
    assert!(lab.ok(&["stat", "-c", "%u:%g %Z", "/etc/passwd"]).starts_with(&passwd[..3]));
}

#[test]
fn what_is_mounted_in_a_repository_is_not_given_away() {
    let lab = machine();
    stored(&lab);
    // A directory of somebody else's, and then that of another client in the repository's own place.
    lab.file_of("/srv/others/file", "another's\n", 33, 0o644);
    for at in [format!("{REPO}/data/0"), REPO.to_owned()] {
        lab.ok(&["mount", "--bind", "/srv/others", &at]);
        let ran = lab.expect(7, &["apply", "--yes", "--allow-mass-removal"]);
        let said = format!("{at} is mounted in it, and the files there may belong to other users");
        assert!(
            ran.stderr.contains(&said) && ran.stderr.contains(&format!("help: run `umount {at}`")),
            "{ran:?}"
        );
        assert_eq!(lab.ok(&["stat", "-c", "%u", "/srv/others/file"]), "33\n");
        // It is shut all the same, and stays until its files can be given.
        assert!(is_there(&lab) && lab.read("/etc/shadow").contains(&format!("{FILES}:*:")));
        lab.ok(&["umount", &at]);
        lab.ok(&["chown", "33", "/srv/others"]);
    }
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(owners(&lab) == ["0"] && !is_there(&lab));
}

/// Stands in chown's place, and notes what is in force when it is called first.
const WITNESS: &str = "#!/bin/sh
[ -e /srv/then ] || cat /etc/ssh/rlvm/keys/backup-web01-worm /etc/shadow >/srv/then
exec /srv/chown \"$@\"
";

#[test]
fn no_revocation_waits_for_a_tree_that_is_given() {
    let lab = machine();
    let account =
        |dir: &str, more: &str| format!("{{ directory: /srv/clients/{dir}, authorized_keys: [{more}] }}");
    let other = entry(&lab, "other", None);
    let both = format!("{}, {other}", entry(&lab, "worm", None));
    let leaving =
        account("files", &entry(&lab, "files", None)).replace(", auth", ", on_remove: delete, auth");
    lab.state(&format!("ssh: {{ users: {{ {FILES}: {leaving}, {WORM}: {} }} }}", account("worm", &both)));
    lab.apply();
    lab.file(&format!("{REPO}/data/file"), "stored\n");
    lab.ok(&["chown", "-R", FILES, REPO]);
    let chown = lab.ok(&["sh", "-c", "readlink -f $(command -v chown)"]);
    lab.ok(&["cp", chown.trim(), "/srv/chown"]);
    lab.file_of("/srv/witness", WITNESS, 0, 0o755);
    lab.ok(&["mount", "--bind", "/srv/witness", chown.trim()]);
    // One account goes with its tree, and one key of another account is revoked.
    lab.state(&format!("ssh: {{ users: {{ {WORM}: {} }} }}", account("worm", &entry(&lab, "worm", None))));
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(owners(&lab) == ["0"] && !is_there(&lab));
    let then = lab.read("/srv/then");
    let key = public(&lab, "other");
    assert!(!then.contains(key.split(' ').nth(1).unwrap()), "the other's key was still let in: {then}");
    let shadow = then.lines().find(|line| line.starts_with(&format!("{FILES}:"))).unwrap();
    assert_eq!(shadow.split(':').nth(7), Some("1"), "{shadow}");
}

/// Stands in chown's place, gives one file, and kills rlvm.
const KILLER: &str = "#!/bin/sh
if [ -e /srv/kill ]; then
  rm /srv/kill; /srv/chown -h 0:0 /srv/clients/files/repo/data/1/file; kill -9 $PPID; exit
fi
exec /srv/chown \"$@\"
";

#[test]
fn killed_while_it_gives_a_tree_the_next_apply_ends_it() {
    // R48
    let lab = machine();
    stored(&lab);
    let chown = lab.ok(&["sh", "-c", "readlink -f $(command -v chown)"]);
    lab.ok(&["cp", chown.trim(), "/srv/chown"]);
    lab.file_of("/srv/killer", KILLER, 0, 0o755);
    lab.file("/srv/kill", "");
    lab.ok(&["mount", "--bind", "/srv/killer", chown.trim()]);
    let ran = lab.rlvm(&["apply", "--yes", "--allow-mass-removal"]);
    assert!(ran.code.is_none() || ran.code == Some(137), "{ran:?}");
    assert!(is_there(&lab) && owners(&lab).len() == 2, "{:?}", owners(&lab));
    let plan = lab.expect(2, &["plan", "--detailed-exitcode", "--allow-mass-removal"]).stdout;
    assert!(plan.contains(&format!("- account:user/{FILES}")), "{plan}");
    lab.expect(0, &["apply", "--yes", "--allow-mass-removal"]);
    assert!(owners(&lab) == ["0"] && !is_there(&lab));
    lab.plan_is_empty();
}
