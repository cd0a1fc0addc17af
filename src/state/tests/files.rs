//! What included files may not say, and how large a state may become.

use super::*;

/// Reads a main file and what it includes.
fn read_two(main: &str, included: &str) -> Result<Loaded, Problems> {
    load("main.yaml", &mut |name| Ok(if name == "main.yaml" { main } else { included }.to_owned()))
}

/// Says what a value is, as far as another kind of value cannot take its place.
fn sort(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "map",
        Value::Array(_) => "list",
        Value::Null => "nothing",
        _ => "word",
    }
}

static RULES: LazyLock<shape::Rules> = LazyLock::new(|| shape::Rules::new().unwrap());

/// Lists what an included file is told by itself.
fn problems_of_part(text: &str) -> Problems {
    let (mut files, mut problems) = (tree::Files::default(), Vec::new());
    let file = files.add("part.yaml", text.to_owned());
    let node = yaml::parse(file, &files, &mut size::SizeLimit::default(), &mut problems).unwrap();
    problems.extend(shape::check_fragment(&node, &RULES, &files).problems);
    Problems::new(problems)
}

#[test]
fn a_wrong_shape_in_an_included_file_is_reported_wherever_it_is() {
    for good in [WEB01, NAS] {
        let good = serde_json::to_value(state(good)).unwrap();
        let mut all = Vec::new();
        pointers(&good, "", &mut all);
        for pointer in &all {
            for wrong in [json!("x"), json!(["x"]), json!({ "x": "x" }), json!(null)] {
                let mut part = good.clone();
                let place = part.pointer_mut(pointer).unwrap();
                if sort(place) == sort(&wrong) {
                    continue;
                }
                *place = wrong;
                // Some keys take one word or a list of words.
                if !VALIDATOR.is_valid(&part) {
                    assert!(
                        problems_of_part(&part.to_string()).has_errors(),
                        "{pointer} is accepted: {part}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_replaces_a_malformed_part_does_not_hide_it() {
    let good = serde_json::to_value(state(WEB01)).unwrap();
    let mut main = good.clone();
    main["include"] = json!(["part.yaml"]);
    for key in ["directories", "destinations", "jobs", "notify", "ssh", "log"] {
        let mut part = good.clone();
        part[key] = json!(["x"]);
        let problems = read_two(&main.to_string(), &part.to_string()).unwrap_err();
        assert!(problems.iter().all(|it| it.file == "part.yaml"), "{key}: {problems}");
    }
}

#[test]
fn a_malformed_include_in_an_included_file_is_reported() {
    for include in ["other.yaml", "{ a: other.yaml }", "[[other.yaml]]", "''", ""] {
        let problems = read_two(
            "version: 1\nhost: web01\ninclude: [part.yaml]\n",
            &format!("include: {include}\ndirectories: {{ /srv/a: {{}} }}\n"),
        )
        .unwrap_err();
        let first = problems.iter().next().unwrap();
        assert_eq!((first.file.as_str(), first.line), ("part.yaml", 1), "{include}: {problems}");
    }
}

#[test]
fn an_included_file_may_leave_out_what_others_say() {
    let good = serde_json::to_value(state(WEB01)).unwrap();
    let mut all = Vec::new();
    pointers(&good, "", &mut all);
    for pointer in &all {
        let mut part = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let Some(Value::Object(map)) = part.pointer_mut(parent) else { continue };
        map.remove(&key.replace("~1", "/").replace("~0", "~"));
        let problems = problems_of_part(&part.to_string());
        assert!(!problems.has_errors(), "{pointer}: {problems}");
    }
    let part = "vars: { when: 1h }\njobs: { etc: { timeout: '${when}', to: ['${when}'] } }";
    let main = "version: 1\nhost: web01\ninclude: [part.yaml]\nvars: { when: 2h }\n\
                jobs: { etc: { sources: [{ path: /etc }], to: [disk] } }\n\
                destinations: { disk: { local: { path: /mnt }, password_file: /p } }\n";
    assert_eq!(read_two(main, part).unwrap().warnings.to_string(), "");
}

#[test]
fn a_small_file_does_not_become_a_large_state() {
    let long = "x".repeat(100_000);
    let repeat = |text: &str, count: usize| vec![text; count].join(", ");
    let jobs: String = (0..1000).fold(String::new(), |jobs, n| format!("{jobs}j{n}: {{ profile: p }}, "));
    let nested = format!("{}{long}{}", "&A [".repeat(60), "]".repeat(60));
    let nested = (0..60).fold(nested, |text, n| text.replacen("&A", &format!("&a{n}"), 1));
    let values = [
        format!("x: [&a {long}, {}]", repeat("*a", 1000)),
        format!("x: {}\n", [nested.as_str(); 8].join("\ny: ")).replacen("y:", "z:", 1),
        format!("vars: {{ a: {long} }}\nrlvm_path: /{}", "${a}".repeat(1000)),
        format!("vars: {{ a: {long} }}\nx: [{}]", repeat("'${a}b'", 1000)),
        format!("vars: {{ a: {long} }}\nx:{}", "\n- ${a}".repeat(1000)),
        format!("defaults: {{ hooks: {{ before: [{{ run: {long} }}] }} }}\njobs: {{ {jobs} }}"),
        format!("profiles: {{ p: {{ hooks: {{ before: [{{ run: {long} }}] }} }} }}\njobs: {{ {jobs} }}"),
    ];
    for value in values {
        let said = read(&format!("version: 1\nhost: web01\n{value}")).unwrap_err();
        let large = said.iter().filter(|it| it.message.contains("the state grows beyond")).count();
        let shown: String = said.to_string().chars().take(2000).collect();
        assert_eq!(large, 1, "{shown}");
    }
}

#[test]
fn a_long_line_is_not_repeated_for_each_problem() {
    let list = "x, ".repeat(100_000);
    let problems =
        read(&format!("version: 1\nhost: web01\nlog: {{ a: 1, keep: [{list}], b: 2 }}")).unwrap_err();
    assert!(problems.iter().count() > 1);
    for problem in &problems {
        assert!(problem.source_line.len() < 1000, "{}", problem.source_line.len());
    }
    let text = problems.to_string();
    assert!(text.contains("a: 1, keep") && text.contains("], b: 2"), "{text}");
}
