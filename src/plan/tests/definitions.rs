//! Which change of a state is a change of a definition, under which address.

use crate::{
    plan::{Action, Options, changed_definitions},
    state::State,
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";

fn state(sections: &str) -> State {
    let yaml = format!("version: 1\nhost: h\n{sections}\n");
    crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
}

fn changes(before: &str, after: &str, options: &Options) -> Vec<String> {
    let changed = changed_definitions(Some(&state(before)), &state(after), options).unwrap();
    let word = |action: &Action| match action {
        Action::Create => "+",
        Action::Update => "~",
        Action::Forget => "×",
        other => panic!("no such change of a definition: {other:?}"),
    };
    changed.iter().map(|change| format!("{} {}", word(&change.actions[0]), change.address)).collect()
}

#[test]
fn each_definition_that_changes_is_shown() {
    let client = |prune: &str| {
        format!(
            "ssh: {{users: {{web01: {{directory: /srv/web01, authorized_keys: [{{key: '{KEY}'}}]{prune}}}}}}}"
        )
    };
    let prune = |file: &str| {
        client(&format!(", access: append_only, prune: {{password_file: {file}, keep_within: 90d}}"))
    };
    let usb =
        |path: &str| format!("destinations: {{usb: {{local: {{path: {path}}}, password_file: /etc/p}}}}");
    let job = |source: &str| {
        format!("{}\njobs: {{web: {{sources: [{{path: {source}}}], to: [usb]}}}}", usb("/mnt/usb"))
    };
    let cases = [
        (usb("/mnt/usb"), usb("/mnt/usb"), vec![]),
        (usb("/mnt/usb"), usb("/mnt/other"), vec!["~ destination:usb"]),
        (String::new(), usb("/mnt/usb"), vec!["+ destination:usb"]),
        (usb("/mnt/usb"), String::new(), vec!["× destination:usb"]),
        (job("/etc"), job("/home"), vec!["~ job:web"]),
        (job("/etc"), usb("/mnt/usb"), vec!["× job:web"]),
        (client(""), prune("/etc/a"), vec!["+ client:web01"]),
        (prune("/etc/a"), prune("/etc/b"), vec!["~ client:web01"]),
        (prune("/etc/a"), client(""), vec!["× client:web01"]),
        (
            "ssh: {agent: {socket: /run/a}}".into(),
            "ssh: {agent: {socket: /run/b}}".into(),
            vec!["~ setting:ssh.agent"],
        ),
        (
            "metrics: {textfile: /var/a.prom}".into(),
            "metrics: {textfile: /var/b.prom}".into(),
            vec!["~ setting:metrics"],
        ),
        // What can be seen on the host is shown as a resource.
        (String::new(), client(""), vec![]),
        (String::new(), "directories: {/srv: {owner: root, mode: '0755'}}".into(), vec![]),
    ];
    for (before, after, expected) in cases {
        assert_eq!(changes(&before, &after, &Options::default()), expected, "{before}\n{after}");
        // Apply of some resources writes down no definition.
        let targets = vec!["directory:/srv".parse().unwrap()];
        assert!(changes(&before, &after, &Options { targets, ..Options::default() }).is_empty());
    }
}
