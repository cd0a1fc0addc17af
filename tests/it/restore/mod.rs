//! `rlvm restore` and `rlvm mount`, with real restics: what comes back, what is overwritten, what is said.

#![expect(clippy::unwrap_used, reason = "tests look at the machine")]

mod honest;
mod kinds;
mod old_renames;
mod places;
mod safety;
mod shown;
mod table;
mod talk;

use serde_json::Value;

use crate::{
    lab::{Lab, restics},
    support::require,
};

const NEAR: &str = "/srv/backup/near";
const FAR: &str = "/srv/backup/far";
const TREE: &str = include_str!("tree.py");

/// A job that stores /srv/www at two places, stored once.
fn stored(lab: Lab) -> Lab {
    lab.state(&format!(
        "destinations:\n  \
           near: {{ local: {{ path: {NEAR} }}, password_file: /etc/rlvm/near.pass, generate_password: true }}\n  \
           far: {{ local: {{ path: {FAR} }}, password_file: /etc/rlvm/far.pass, generate_password: true }}\n\
         jobs:\n  \
           web: {{ sources: [{{ path: /srv/www }}], to: [near, far] }}\n"
    ));
    lab.repository(NEAR, "/etc/rlvm/near.pass");
    lab.repository(FAR, "/etc/rlvm/far.pass");
    lab.apply();
    lab.expect(0, &["run", "web"]);
    lab
}

/// A few files, stored.
fn site() -> Lab {
    let lab = Lab::new();
    site_on(&lab);
    stored(lab)
}

fn site_on(lab: &Lab) {
    lab.file("/srv/www/index.html", "hello\n");
    lab.file_of("/srv/www/shop/a b 'c'.html", "shop\n", 33, 0o640);
    lab.file("/srv/www/shop/logo", "logo\n");
}

/// Tells all of a tree.
#[track_caller]
fn tell(lab: &Lab, top: &str) -> String {
    lab.ok(&["python3", "-c", TREE, "tell", top])
}

/// Returns the last object that was printed.
#[track_caller]
fn record(stdout: &str) -> Value {
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["type"], "record", "{stdout}");
    last
}

/// Lists what is left of any restore.
fn left(lab: &Lab) -> String {
    lab.ok(&[
        "sh",
        "-c",
        "find / /srv /home /var/tmp -xdev -maxdepth 3 -name '.rlvm-restore*'; ls /var/lib/rlvm/journal",
    ])
}

#[test]
fn every_kind_of_file_comes_back_as_it_was() {
    // R75
    require("/usr/bin", "python3", "python3");
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        lab.ok(&["python3", "-c", TREE, "make", "/srv/www"]);
        let holes = ["python3", "-c", TREE, "tell", "/srv/www", "holes"];
        let lab = stored(lab);
        let before = lab.ok(&holes);
        for kind in [
            "w\\xc3\\xb6rld",
            "\\n",
            "\\xe9",
            "device 7 99",
            "holes",
            "posix_acl_default",
            "-rwsr-xr-x",
            "links 2",
        ] {
            assert!(before.contains(kind), "{kind} is not in the tree: {before}");
        }
        let ran = lab.expect(0, &["restore", "web", "--target", "/srv/out dir", "--json"]);
        let mut after = lab.ok(&["python3", "-c", TREE, "tell", "/srv/out dir/srv/www", "holes"]);
        if version.version < rlvm::restic::Version(0, 15, 0) {
            // It fills the holes of sparse files.
            after = after.replace(" full\n", " holes\n");
            assert_eq!(after, before.replace(" full\n", " holes\n"), "{}", version.dir);
        } else {
            assert_eq!(after, before, "{}", version.dir);
        }
        let record = record(&ran.stdout);
        assert_eq!((&record["status"], &record["destination"]), (&"success".into(), &"near".into()));
        assert_eq!(record["unrestored"], serde_json::json!([]));
        assert_eq!(lab.ok(&["stat", "-c", "%a %u", "/srv/out dir"]), "700 0\n");
        assert_eq!(lab.ok(&["ls", "-A", "/srv/out dir"]), "srv\n");
        assert_eq!(left(&lab), "");

        // Put back over half of it, with names that no command line can say.
        lab.ok(&[
            "sh",
            "-c",
            "cd /srv/www; rm -r sub latin*; echo other > plain; chmod 777 empty; echo mine > mine",
        ]);
        lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        lab.ok(&["rm", "/srv/www/mine"]);
        lab.ok(&["touch", "-d", "@1111111111.111111111", "/srv/www"]);
        let full = |text: String| text.replace(" holes\n", "\n").replace(" full\n", "\n");
        // The other name of a file that was as it was is another file's now.
        let links = |text: String| {
            text.lines()
                .filter(|it| !it.contains("plain") && !it.contains("hard"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(links(full(lab.ok(&holes))), links(full(before.clone())), "{}", version.dir);

        // Only what is missing is fetched, by names that are patterns to restic, and nothing that they would match.
        lab.ok(&["sh", "-c", "cd /srv/www; rm 'st*r[1]?\\x' 'colon: x' ./-dash quote*; echo mine > 'steer1?x'; echo mine > big"]);
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--only-missing", "--yes", "--json"]);
        assert_eq!(self::record(&ran.stdout)["placed"], 4, "{ran:?}");
        assert_eq!(
            (lab.read("/srv/www/steer1?x"), lab.read("/srv/www/big")),
            ("mine\n".into(), "mine\n".into())
        );
        lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        lab.ok(&["sh", "-c", "rm '/srv/www/steer1?x'; touch -d @1111111111.111111111 /srv/www"]);
        assert_eq!(links(full(lab.ok(&holes))), links(full(before)), "{}", version.dir);
        assert_eq!(left(&lab), "");
    }
}

#[test]
fn in_place_shows_asks_and_removes_nothing() {
    // R75
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        site_on(&lab);
        let lab = stored(lab);
        let before = tell(&lab, "/srv/www");
        let ran = lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        assert!(ran.stdout.contains("All files are there and unchanged."), "{ran:?}");
        assert_eq!(tell(&lab, "/srv/www"), before);

        lab.ok(&["sh", "-c", "cd /srv/www; echo changed > index.html; rm shop/logo; echo mine > shop/mine"]);
        let changed = tell(&lab, "/srv/www");
        // Nobody to ask: nothing is done.
        let ran = lab.expect(64, &["restore", "web", "--in-place"]);
        assert!(
            ran.stdout.contains("1 missing file (5 B) will be created")
                && ran.stdout.contains("will be OVERWRITTEN:"),
            "{ran:?}"
        );
        assert!(ran.stdout.contains("/srv/www/index.html") && ran.stderr.contains("--yes"), "{ran:?}");
        assert_eq!(tell(&lab, "/srv/www"), changed);

        lab.expect(0, &["restore", "web", "--in-place", "--only-missing", "--yes"]);
        assert_eq!(lab.read("/srv/www/index.html"), "changed\n");
        assert_eq!(
            (lab.read("/srv/www/shop/logo"), lab.read("/srv/www/shop/mine")),
            ("logo\n".into(), "mine\n".into())
        );

        // A path of it alone.
        lab.ok(&["sh", "-c", "cd /srv/www; echo other > shop/logo"]);
        lab.expect(0, &["restore", "web", "--in-place", "--yes", "--path", "/srv/www/shop"]);
        assert_eq!(
            (lab.read("/srv/www/index.html"), lab.read("/srv/www/shop/logo")),
            ("changed\n".into(), "logo\n".into())
        );
        lab.expect(0, &["restore", "web", "--in-place", "--yes"]);
        lab.ok(&["rm", "/srv/www/shop/mine"]);
        let times = |text: &str| {
            text.lines().filter(|it| !it.contains(" d")).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(times(&tell(&lab, "/srv/www")), times(&before));
        assert_eq!(left(&lab), "");
    }
}
