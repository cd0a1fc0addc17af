//! What a whole state means, and that schema and types agree.

mod files;

use std::sync::LazyLock;

use jsonschema::{Validator, error::ValidationErrorKind as Kind};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::*;

const POLICY: &str = include_str!("../../state/common/policy.yaml");
const WEB01: &str = include_str!("../../tests/samples/web01.yaml");
const NAS: &str = include_str!("../../state/hosts/nas.yaml");

/// Reads a text; what it includes is the policy.
fn read(text: &str) -> Result<Loaded, Problems> {
    load("hosts/web01.yaml", &mut |name| Ok(if name == "common/policy.yaml" { POLICY } else { text }.into()))
}

fn state(text: &str) -> State {
    read(text).unwrap_or_else(|problems| panic!("{problems}")).state
}

fn problems(text: &str) -> String {
    read(text).map_or_else(|problems| problems.to_string(), |loaded| loaded.warnings.to_string())
}

#[test]
fn an_exclude_in_a_home_directory_says_what_to_write() {
    let of = |pattern: &str| {
        problems(&format!(
            "version: 1\nhost: web01\ndestinations: {{ a: {{ local: {{ path: /srv/a }}, password_file: /p }} }}\n\
             jobs: {{ j: {{ sources: [{{ path: /home }}], to: [a], exclude: [\"{pattern}\"] }} }}\n"
        ))
    };
    for (pattern, rest) in [("~/.cache", "/.cache"), ("$HOME/tmp", "/tmp"), ("!~/keep", "/keep"), ("~", "")] {
        let said = of(pattern);
        assert!(said.contains(&format!("the pattern `{pattern}` excludes nothing")), "{pattern}: {said}");
        assert!(
            said.contains(&format!("write the path: `/root{rest}`, or `/home/*{rest}`")),
            "{pattern}: {said}"
        );
    }
    for pattern in ["/home/*/.cache", "*~", "~backup", "$HOMES", ".cache"] {
        assert_eq!(of(pattern), "", "{pattern}");
    }
}

/// A state with these words in it.
fn with(text: &str) -> State {
    state(&format!("version: 1\nhost: web01\n{text}"))
}

fn job(text: &str, name: &str) -> Job {
    let disk = "destinations: { disk: { local: { path: /mnt }, password_file: /p } }\n";
    with(&format!("{disk}{text}")).jobs.remove(&name.parse::<Name>().unwrap()).unwrap()
}

#[test]
fn a_key_is_found_twice_in_small_and_large_maps_in_any_order() {
    for count in [2, 3, 8, 9, 40] {
        for falling in [false, true] {
            let key = |n: u32| format!("v{:02}", if falling { count - n } else { n });
            let vars: Vec<String> = (0..count).map(|n| format!("{}: a", key(n))).collect();
            let whole =
                |vars: &[String]| format!("version: 1\nhost: web01\nvars: {{ {} }}\n", vars.join(", "));
            assert!(!problems(&whole(&vars)).contains("twice"), "{count} {falling}");
            let again = format!("`{}` stands there twice", key(0));
            let twice: Vec<String> = vars.iter().chain(&vars[..1]).cloned().collect();
            assert!(problems(&whole(&twice)).contains(&again), "{count} {falling}");
        }
    }
}

#[test]
fn a_job_is_its_own_words_over_the_profile_over_defaults() {
    let text = "
defaults: { nice: 1, timeout: 1h, to: [disk], retention: { daily: 1 }, hooks: { after: [{ run: a }] } }
profiles: { p: { timeout: 2h, jitter: 2m, retention: { weekly: 2 }, hooks: { before: [{ run: b }] } } }
jobs: { j: { profile: p, jitter: 3m, sources: [{ path: /etc }], hooks: { before: [{ run: c }] } } }";
    let job = job(text, "j");
    assert_eq!(job.nice, Some(1));
    assert_eq!(job.timeout.map(|span| span.to_string()), Some("2h".into()));
    assert_eq!(job.jitter.map(|span| span.to_string()), Some("3m".into()));
    // Stands for itself; all else is merged by key, and lists are replaced.
    assert_eq!(job.retention, serde_json::from_value(json!({ "weekly": 2 })).unwrap());
    assert_eq!(job.hooks.after.len(), 1);
    assert_eq!(job.hooks.before.iter().map(|hook| hook.run.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_disabled_job_is_kept_as_such() {
    // R13
    let text = "jobs: { j: { enabled: false, sources: [{ path: /etc }], to: [disk], schedule: '@daily' } }";
    assert!(!job(text, "j").enabled);
}

#[test]
fn the_file_goes_over_what_it_includes() {
    let own = "include: [../common/policy.yaml]\nversion: 1\nhost: web01\nlog: { keep: 3 }\nnotify: { inbox: { on: [success] } }\n";
    let state = state(own);
    assert_eq!((state.log.keep, state.log.directory.as_str()), (3, "/var/log/rlvm"));
    let inbox = &state.notify[&"inbox".parse::<Name>().unwrap()];
    assert_eq!(&inbox.on[..], [Occasion::Success]);
    assert!(inbox.email.is_some());
}

#[test]
fn variables_are_replaced_and_the_shell_keeps_its_own() {
    let text = "
vars: { a: /srv, keep: 3 }
log: { keep: '${keep}' }";
    assert!(problems(&format!("version: 1\nhost: web01\n{text}")).contains("`keep` must be a number"));
    let text = "
vars: { a: /srv, keep: 3 }
log:
  keep: ${keep}
  directory: ${a}/log
rlvm_path: '/x/$${a}'
cron: { c: { schedule: '@daily', command: 'echo ${a} ${HOME} $${a}' } }";
    let state = with(text);
    assert_eq!((state.log.keep, state.log.directory.as_str()), (3, "/srv/log"));
    assert_eq!(state.rlvm_path.as_str(), "/x/${a}");
    let command = state.cron.values().next().unwrap().command.as_str();
    assert_eq!(command, "echo /srv ${HOME} ${a}");
}

#[test]
fn yaml_has_its_plain_meaning() {
    // R16
    let state = with(
        "directories: { /srv/no: { owner: no, group: &g adm }, /srv/1e3: { group: *g } }\nlog: { keep: 014 }",
    );
    let dirs: Vec<_> = state
        .directories
        .iter()
        .map(|(path, dir)| (path.as_str(), dir.group.as_ref().map_or("", |group| group.as_str())))
        .collect();
    assert_eq!(dirs, [("/srv/1e3", "adm"), ("/srv/no", "adm")]);
    assert_eq!(state.log.keep, 14);
}

#[test]
fn a_state_of_another_host_can_be_shown_where_it_says_so() {
    // R17
    let loaded = read("version: 1\nhost: web02\n").unwrap();
    let problem = loaded.error(&["host"], "this is web01", None);
    assert_eq!((problem.line, problem.column, problem.source_line.as_str()), (2, 7, "host: web02"));
}

#[test]
fn what_is_written_reads_as_the_same() {
    let text = "
rlvm_path: '/x/$${a}'
cron:
  a: { schedule: '@daily', command: 'no' }
  b: { schedule: '@daily', command: '0750' }
  c: { schedule: '@daily', command: '1e3' }
  d: { schedule: '@daily', command: '~' }
  e: { schedule: '@daily', command: 'echo ${HOME} $${b} $$${b}: # x' }
  f: { schedule: '@daily', command: '- [a' }
  g: { schedule: '@daily', command: 'true' }
  h: { schedule: '@daily', command: '0o17' }
  i: { schedule: '@daily', command: '0x1f' }
  j: { schedule: '@daily', command: '.5' }";
    let state = with(text);
    let written = to_yaml(&state).unwrap();
    assert_eq!(self::state(&written), state, "{written}");
}

#[test]
fn every_key_is_described() {
    fn walk(schema: &Value, path: &str) {
        for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
            assert!(text.len() > 10, "{path}/{key} needs a doc comment");
        }
        match schema {
            Value::Object(map) => map.iter().for_each(|(key, below)| walk(below, &format!("{path}/{key}"))),
            Value::Array(items) => items.iter().for_each(|below| walk(below, path)),
            _ => {}
        }
    }
    walk(&schema(), "");
}

#[test]
fn every_format_has_its_parser() {
    fn walk(schema: &Value) {
        if let Some(format) = schema.get("format").and_then(Value::as_str) {
            let known = crate::model::FORMATS.iter().any(|known| known.name == format);
            // Bounds stand for the integers' own formats.
            assert!(known, "{format} is in no list");
        }
        match schema {
            Value::Object(map) => map.values().for_each(walk),
            Value::Array(items) => items.iter().for_each(walk),
            _ => {}
        }
    }
    walk(&schema());
}

/// A change to a state: where, and what.
#[derive(Clone, Debug)]
enum Mutation {
    Drop,
    Rename(&'static str),
    Replace(Value),
    Copy(Index),
}

fn mutation() -> impl Strategy<Value = (Index, Mutation)> {
    let names = ["path", "x", "local", "s3", "sources", "keep", "mode", "to", "url", "email", "profile"];
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(300),
        json!(5_000_000_000_u64),
        json!(0.5),
        json!(""),
        json!("x"),
        json!("/x"),
        json!("@daily"),
        json!([]),
        json!({}),
        json!(["x"]),
        json!({ "path": "/x" }),
    ];
    let change = prop_oneof![
        Just(Mutation::Drop),
        proptest::sample::select(names.to_vec()).prop_map(Mutation::Rename),
        proptest::sample::select(values.to_vec()).prop_map(Mutation::Replace),
        any::<Index>().prop_map(Mutation::Copy),
    ];
    (any::<Index>(), change)
}

/// Lists the JSON pointers of all that is in a value.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    let mut below = |key: &str, value: &Value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        into.push(at.clone());
        pointers(value, &at, into);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| below(&place.to_string(), value));
        }
        _ => {}
    }
}

fn mutate(root: &mut Value, place: Index, mutation: &Mutation) {
    let mut all = Vec::new();
    pointers(root, "", &mut all);
    let pointer = place.get::<String>(&all);
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    let copied = if let Mutation::Copy(from) = mutation {
        root.pointer(from.get::<String>(&all)).cloned()
    } else {
        None
    };
    match (root.pointer_mut(parent).unwrap(), mutation) {
        (Value::Object(map), Mutation::Drop) => drop(map.remove(&key)),
        (Value::Object(map), Mutation::Rename(name)) => {
            let value = map.remove(&key).unwrap_or_default();
            map.insert((*name).into(), value);
        }
        (Value::Array(items), Mutation::Drop | Mutation::Rename(_)) => {
            drop(items.remove(key.parse().unwrap()));
        }
        (parent, Mutation::Replace(_) | Mutation::Copy(_)) => {
            let new =
                if let Mutation::Replace(new) = mutation { new.clone() } else { copied.unwrap_or_default() };
            match parent {
                Value::Object(map) => drop(map.insert(key, new)),
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = new,
                _ => {}
            }
        }
        _ => {}
    }
}

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| shape::validator(&schema()).unwrap());

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(has_null),
        Value::Array(items) => items.iter().any(has_null),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    // R15
    #[test]
    fn schema_and_types_agree(first in any::<bool>(), changes in proptest::collection::vec(mutation(), 0..4)) {
        let mut value = serde_json::to_value(state(if first { WEB01 } else { NAS })).unwrap();
        for (place, change) in &changes {
            mutate(&mut value, *place, change);
        }
        let validator = &*VALIDATOR;
        let fits = validator.is_valid(&value);
        let mut bare = value.clone();
        load::strip(&mut bare);
        let typed = serde_json::from_value::<State>(bare);
        if fits {
            prop_assert!(typed.is_ok(), "the schema accepts what the types refuse: {:?}\n{value}", typed.err());
        } else if typed.is_ok() && !has_null(&value) {
            // What types cannot say: a range within a type, one of two keys; what is gone when it was applied; and
            // serde reads a struct from a list as well.
            for error in validator.iter_errors(&value) {
                let known = matches!(
                    error.kind(),
                    Kind::Minimum { .. } | Kind::Maximum { .. } | Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. }
                ) || error.instance().is_array()
                    || error.instance_path().as_str().ends_with("/profile");
                prop_assert!(known, "the types accept what the schema refuses: {error}\n{value}");
            }
        }
        // JSON is YAML.
        let text = serde_json::to_string(&value).unwrap();
        match read(&text) {
            Ok(loaded) => {
                prop_assert!(fits);
                let written = to_yaml(&loaded.state).unwrap();
                let again: serde_yaml::Value = serde_yaml::from_str(&written).unwrap();
                prop_assert!(validator.is_valid(&serde_json::to_value(again).unwrap()));
                prop_assert_eq!(state(&written), loaded.state);
            }
            Err(problems) => prop_assert!(!problems.to_string().contains("a fault of rlvm"), "{problems}"),
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "([a-z]{1,5}|[-:{}\\[\\]&*!|>'\"#%@$ ]|\n *|\t|version: 1\nhost: a\n){0,30}") {
        let _ = problems(&text);
    }
}
