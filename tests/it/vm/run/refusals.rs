//! One thing fails, the others do not.

use super::{SOURCES, quick, standin};

/// Three places, in the order of their names.
fn three(more: &str) -> String {
    let place = |name: &str| {
        format!(
            "  {name}: {{ local: {{ path: /vault/{name} }}, password_file: /etc/rlvm/{name}.pass, generate_password: true }}\n"
        )
    };
    format!(
        "destinations:\n{}{}{}jobs:\n  all: {{ sources: {SOURCES}, to: [a, b, c] }}\n{more}",
        place("a"),
        place("b"),
        place("c")
    )
}

#[test]
fn one_destination_that_fails_or_is_incomplete_stops_no_other() {
    // R54, R60
    let (vm, before) = quick(&three(""));
    for (round, bad) in ["a", "c", "b"].into_iter().enumerate() {
        standin::knob(&vm, &format!("backup /vault/{bad} fail 1\n"));
        let ran = vm.expect(8, &["run", "all"]);
        let summary = ran.stderr + &ran.stdout;
        assert!(summary.contains(bad) && summary.contains("the test wants backup to fail"), "{summary}");
        before.is_back(&vm);
        // The others have one more each.
        let stored: Vec<usize> =
            ["a", "b", "c"].map(|name| standin::stored(&vm, &format!("/vault/{name}")).len()).into();
        let want: Vec<usize> = ["a", "b", "c"]
            .map(|name| ["a", "c", "b"][..=round].iter().filter(|bad| **bad != name).count())
            .into();
        assert_eq!(stored, want);
    }
    // All of them.
    standin::knob(&vm, "backup * fail 1\n");
    vm.expect(8, &["run", "all"]);
    before.is_back(&vm);
    let records = vm.ok("cat /var/lib/rlvm/records/*.jsonl | wc -l");
    assert_eq!(records, "4\n");

    // R59: what could not be read in full is no good backup.
    standin::knob(&vm, "backup /vault/b partial\n");
    let ran = vm.expect(8, &["run", "all"]);
    assert!(ran.stderr.contains('b'), "{ran:?}");
    before.is_back(&vm);
}

#[test]
fn a_source_that_is_not_there_fails_its_job_before_anything_is_stored() {
    // R55, R59
    let more = "  gone: { sources: [{ path: /data/gone }, { path: /data }], to: [a] }
  below: { sources: [{ lvm: { volume: vg0/srv, paths: [/srv/gone] } }], to: [b] }
";
    let (vm, before) = quick(&three(more));
    for (job, path) in [("gone", "/data/gone"), ("below", "/srv/gone")] {
        let ran = vm.expect(1, &["run", job]);
        assert!(ran.stderr.contains(path), "{ran:?}");
        before.is_back(&vm);
    }
    assert_eq!(standin::of_calls(&vm, "backup", "argv").len(), 0);
    let ran = vm.run("rlvm run --all");
    assert!(matches!(ran.code, Some(1 | 8)), "{ran:?}");
    assert_eq!(standin::stored(&vm, "/vault/c").len(), 1, "the good job ran");
    before.is_back(&vm);
}

#[test]
fn what_is_not_frozen_for_one_job_is_live_for_the_others() {
    // R55, R57: its hook fails, so nothing of it is frozen.
    let more = "  bad: { sources: [{ lvm: { volume: vg0/home } }], to: [a], hooks: { before: [{ run: \"exit 1\" }] } }\n";
    let (vm, before) =
        quick(&three(more).replace("{ lvm: { volume: vg0/home } }, { path: /data }", "{ path: /data }"));
    let ran = vm.expect(1, &["run", "--all"]);
    assert!(ran.stderr.contains("bad failed (1 of 2 jobs)"), "{ran:?}");
    before.is_back(&vm);
    for name in ["a", "b", "c"] {
        let stored = standin::stored(&vm, &format!("/vault/{name}"));
        assert!(stored.len() == 1 && stored[0]["tags"] == serde_json::json!(["rlvm:job=all"]), "{stored:?}");
    }
}
