//! Fills in the defaults of a user's own state. The types have the defaults of a host.
//!
//! The defaults are added to the YAML before the types are read, so that show, plan and the applied state agree.

use serde_json::{Map, Value, json};

use crate::model::{GroupName, HostPath, UserName};

/// What counts where a state says nothing. By default, and for a host's, what its types say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// To whom things belong, and as whom they run.
    pub owner: Option<(UserName, GroupName)>,
    /// Where rlvm writes its own logs.
    pub logs: Option<HostPath>,
}

impl Defaults {
    /// Puts in what is missing.
    pub(super) fn put_into(&self, state: &mut Value) {
        let Some(root) = state.as_object_mut() else { return };
        if let Some((user, group)) = &self.owner {
            put(entries(root, "directories"), "owner", user.as_str());
            put(entries(root, "directories"), "group", group.as_str());
            put(entries(root, "jobs"), "user", user.as_str());
            put(entries(root, "cron"), "user", user.as_str());
            if let Some(ssh) = root.get_mut("ssh").and_then(Value::as_object_mut) {
                put(entries(ssh, "keys"), "owner", user.as_str());
            }
        }
        if let Some(logs) = &self.logs {
            let log = root.entry("log").or_insert_with(|| json!({}));
            put(log.as_object_mut(), "directory", logs.as_str());
        }
    }
}

/// Lists what a section declares.
fn entries<'a>(
    of: &'a mut Map<String, Value>,
    section: &str,
) -> impl IntoIterator<Item = &'a mut Map<String, Value>> {
    let section = of.get_mut(section).and_then(Value::as_object_mut);
    section.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut)
}

fn put<'a>(all: impl IntoIterator<Item = &'a mut Map<String, Value>>, key: &str, value: &str) {
    for one in all {
        one.entry(key).or_insert_with(|| value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{load, load_with};

    const STATE: &str = "version: 1
host: web01
directories: { /a: {}, /b: { owner: root, group: adm } }
jobs: { j: { sources: [{ path: /a }], to: [v] }, k: { sources: [{ path: /a }], to: [v], user: root } }
destinations: { v: { local: { path: /r }, password_file: /p } }
cron: { c: { schedule: \"@daily\", command: \"true\" } }
ssh: { keys: { /k: {} } }
";

    fn shown(defaults: &Defaults, text: &str) -> Value {
        let loaded = load_with("state", defaults, &mut |_| Ok(text.to_owned()));
        serde_json::to_value(loaded.unwrap_or_else(|err| panic!("{err}")).state).unwrap()
    }

    #[test]
    fn what_is_not_said_is_the_users() {
        let owner = Some(("me".parse().unwrap(), "users".parse().unwrap()));
        let it = Defaults { owner, logs: Some("/home/me/log".parse().unwrap()) };
        let state = shown(&it, STATE);
        for (place, expected) in [
            ("/directories/~1a/owner", "me"),
            ("/directories/~1a/group", "users"),
            ("/directories/~1b/owner", "root"),
            ("/directories/~1b/group", "adm"),
            ("/jobs/j/user", "me"),
            ("/jobs/k/user", "root"),
            ("/cron/c/user", "me"),
            ("/ssh/keys/~1k/owner", "me"),
            ("/log/directory", "/home/me/log"),
        ] {
            assert_eq!(state.pointer(place), Some(&json!(expected)), "{place}");
        }
        let said = shown(&it, &format!("{STATE}log: {{ directory: /l, keep: 3 }}\n"));
        assert_eq!(said["log"], json!({ "directory": "/l", "keep": 3, "records": "400d" }));
        let said = shown(&it, &format!("{STATE}log: {{ keep: 3 }}\n"));
        assert_eq!(said["log"], json!({ "directory": "/home/me/log", "keep": 3, "records": "400d" }));
    }

    #[test]
    fn a_hosts_state_stays_as_it_is() {
        let plain = load("state", &mut |_| Ok(STATE.into())).unwrap_or_else(|err| panic!("{err}")).state;
        assert_eq!(shown(&Defaults::default(), STATE), serde_json::to_value(plain).unwrap());
    }
}
