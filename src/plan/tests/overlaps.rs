//! Two accounts that are one directory on the host, or of which one lies in the other.

use serde_json::json;

use super::*;
use crate::{
    model::OneOrMore,
    resource::{Access, AuthorizedKey, AuthorizedKeys, SshUserSpec},
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

fn account(user: &str, directory: &str) -> AuthorizedKeys {
    let spec = SshUserSpec {
        directory: directory.parse().unwrap(),
        access: Access::Sftp,
        authorized_keys: OneOrMore::of(AuthorizedKey { key: KEY.parse().unwrap(), from: None }, []),
        prune: None,
        adopt: false,
        protect: false,
        on_remove: OnRemove::Default,
    };
    AuthorizedKeys::new(user.parse().unwrap(), &spec).unwrap()
}

/// What is seen of an account whose directory has these marks, and whose keys are not there yet.
fn seen(things: &[&str], within: &[&str], holds: &[&str]) -> Seen {
    let place = json!({ "things": things, "within": within, "holds": holds });
    Seen::AuthorizedKeys(serde_json::from_value(json!({ "file": "absent", "place": place })).unwrap())
}

/// Plans two accounts in /a and /b, and a third; says what is changed, and of which account there is an error.
fn plan(a: Seen, b: Seen, known: &[(&str, &str)]) -> (String, Option<String>) {
    let world = World {
        declared: [("a", "/a"), ("b", "/b"), ("c", "/c")]
            .map(|it| Declared::plain(account(it.0, it.1)))
            .into(),
        known: known.iter().map(|(user, at)| entry(account(user, at), Origin::Made)).collect(),
        seen: BTreeMap::from([("a", a), ("b", b), ("c", seen(&["c"], &["/"], &[]))]),
        options: Options::default(),
    };
    let plan = world.plan();
    assert!(!plan.stopped && plan.findings.iter().filter(|it| it.is_error()).count() < 2, "{plan:?}");
    let changed: Vec<&str> = plan.changes.iter().map(|it| it.address.key()).collect();
    let bad = plan.findings.iter().find(|it| it.is_error());
    (
        changed.join(" "),
        bad.map(|it| format!("{}: {}", it.address.replace("authorized_keys:", ""), it.message)),
    )
}

#[test]
fn of_two_in_one_directory_the_newcomer_stops() {
    for (known, changed, bad) in [
        (&[("a", "/a")][..], "a c", "b: /b is the same directory"),
        (&[("b", "/b")], "b c", "a: /a is the same directory"),
        (&[], "a c", "b: /b is the same directory"),
        // One that moves is the newcomer, and its keys, which may name the new directory, stay as they are.
        (&[("a", "/x"), ("b", "/b")], "b c", "a: /a is the same directory"),
        (&[("a", "/a"), ("b", "/x")], "a c", "b: /b is the same directory"),
        // Both are there: a key that is replaced is replaced.
        (&[("a", "/a"), ("b", "/b")], "a b c", "b: /b is the same directory"),
    ] {
        let (did, said) = plan(seen(&["1"], &["/"], &[]), seen(&["1", "2"], &["/"], &[]), known);
        assert_eq!(did, changed, "{known:?}");
        assert!(said.as_deref().is_some_and(|it| it.starts_with(bad)), "{known:?}: {said:?}");
    }
}

#[test]
fn message_names_the_kind_of_overlap() {
    let known = [("a", "/a")];
    for (a, b, bad) in [
        (seen(&["1"], &["/"], &[]), seen(&["2"], &["1", "/"], &[]), Some("b: /b lies in /a of")),
        (
            seen(&["2"], &["1", "/"], &[]),
            seen(&["1"], &["/"], &[]),
            Some("b: /b contains, or leads to, /a of"),
        ),
        (seen(&["1"], &["/"], &[]), seen(&["2"], &["/"], &["1"]), Some("b: /b contains, or leads to, /a of")),
        (
            seen(&["1"], &["0", "/"], &[]),
            seen(&["2"], &["/"], &["0"]),
            Some("b: /b contains, or leads to, /a of"),
        ),
        (seen(&["2"], &["/"], &["1"]), seen(&["1"], &["/"], &[]), Some("b: /b lies in /a of")),
        // Both see the same third thing.
        (seen(&["1"], &["/"], &["dev"]), seen(&["2"], &["/"], &["dev"]), None),
        (seen(&["1"], &["/"], &[]), seen(&["2"], &["/"], &[]), None),
    ] {
        let (did, said) = plan(a, b, &known);
        assert_eq!(did, if bad.is_some() { "a c" } else { "a b c" }, "{bad:?}");
        assert_eq!(said.is_some(), bad.is_some(), "{said:?}");
        assert!(
            bad.is_none_or(|bad| said.as_deref().is_some_and(|it| it.starts_with(bad))),
            "{bad:?}: {said:?}"
        );
    }
}
