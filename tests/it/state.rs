//! States as files: what is refused and how that reads, what is shipped, and the schema that editors get.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read their own files")]

use std::{fs, path::Path};

use rlvm::state::{Loaded, Problems, load, schema, to_yaml};

/// Reads a state below the repository's top.
fn read(dir: &str, name: &str) -> Result<Loaded, Problems> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    load(name, &mut |name| {
        fs::read_to_string(dir.join(name)).map_err(|err| match err.kind() {
            // The system's own words differ.
            std::io::ErrorKind::NotFound => anyhow::anyhow!("no such file"),
            _ => err.into(),
        })
    })
}

/// Lists the YAML files of a directory by name.
fn files(dir: &str) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let mut names: Vec<String> =
        paths.map(|path| path.file_name().unwrap().to_str().unwrap().into()).collect();
    names.sort();
    names
}

/// One snapshot a bad state: R01 to R05, R07 to R12, R14, R16 by file name, and YAML's traps.
#[test]
fn bad_states_read_well() {
    for name in files("tests/it/bad_states") {
        let text = match read("tests/it/bad_states", &name) {
            Ok(loaded) => panic!("{name} is fine, it says: {}", loaded.warnings),
            Err(problems) => problems.to_string(),
        };
        insta::assert_snapshot!(name.trim_end_matches(".yaml"), text);
    }
}

#[test]
fn what_is_shipped_is_fine() {
    let shipped = [("state/hosts", "state", "hosts/"), ("examples", "examples", "")];
    for (listed, dir, prefix) in shipped {
        let names = files(listed);
        assert!(!names.is_empty(), "{listed}");
        for name in names {
            let loaded = match read(dir, &format!("{prefix}{name}")) {
                Ok(loaded) => loaded,
                Err(problems) => panic!("{problems}"),
            };
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            let text = to_yaml(&loaded.state).unwrap();
            let again = load("again.yaml", &mut |_| Ok(text.clone())).unwrap_or_else(|err| panic!("{err}"));
            assert_eq!(again.state, loaded.state, "{name}");
            let json = serde_json::to_string(&loaded.state).unwrap();
            assert_eq!(serde_json::from_str::<rlvm::state::State>(&json).unwrap(), loaded.state, "{name}");
        }
    }
}

#[test]
fn the_schema_that_editors_get_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/state.schema.json");
    let fresh = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == fresh,
        "schema/state.schema.json is stale: cargo run -- schema > schema/state.schema.json"
    );
}
