//! Values in, values out.

use proptest::prelude::*;

use super::*;

#[test]
fn shown_as_typed() {
    let path: HostPath = "/it's".parse().unwrap();
    let backup: UserName = "backup".parse().unwrap();
    let file = Private::File { name: "KEY".into(), file: SecretFile("/etc/k y".parse().unwrap()) };
    for (cmd, expected) in [
        (Cmd::new("lvs").arg("vg/data"), "lvs vg/data"),
        (Cmd::new("echo").path(&path), r"echo '/it'\''s'"),
        (Cmd::new("true").env("A", Arg::Word("b c".into())), "A='b c' true"),
        (Cmd::new("true").user(&UserName::root()), "true"),
        (Cmd::new("cat").input("a b\n"), "printf %s 'a b\n' | cat"),
        (Cmd::at(&"/opt/restic/1.0/restic".parse().unwrap()).arg("init"), "/opt/restic/1.0/restic init"),
        (
            Cmd::new("id").private(std::slice::from_ref(&file)).user(&backup),
            r#"KEY="$(cat '/etc/k y')" runuser -u backup -- id"#,
        ),
        (
            Cmd::new("id").private(&[Private::All(SecretFile("/etc/e".parse().unwrap())), file]),
            r#"KEY="$(cat '/etc/k y')" sh -c 'set -a; . "$0"; exec "$@"' /etc/e id"#,
        ),
        (Cmd::new("id").env("A", Arg::Word("b".into())).user(&backup), "runuser -u backup -- env A=b id"),
    ] {
        assert_eq!(cmd.to_string(), expected);
    }
}

#[test]
fn an_unlisted_exit_code_is_a_failure() {
    let cmd = Cmd::new("test").ok(&[0, 1]);
    assert!(cmd.accepts(0) && cmd.accepts(1) && !cmd.accepts(2));
    assert!(!Cmd::new("test").accepts(1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    /// What is printed, pasted into `sh`, gives the same words.
    #[test]
    fn a_shell_reads_back_the_same_words(words in prop::collection::vec("[^\0]{0,12}", 1..4)) {
        let cmd = words.iter().fold(Cmd::new("printf").arg("%s\\0"), Cmd::arg);
        #[expect(clippy::disallowed_methods, reason = "asks a real shell")]
        let out = std::process::Command::new("sh").arg("-c").arg(cmd.to_string()).output().unwrap();
        let expected: String = words.iter().map(|w| format!("{w}\0")).collect();
        prop_assert_eq!(String::from_utf8(out.stdout).unwrap(), expected);
    }
}
