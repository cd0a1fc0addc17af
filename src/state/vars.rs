//! Replaces `${name}` by the variable of `vars`.
//!
//! `$${name}` is the text `${name}`. In shell text (a hook's `run`, a cron entry's `command`) an undeclared name is
//! left to the shell. Anywhere else it is an error.

use std::collections::BTreeMap;

use super::{
    problem::Problem,
    size::{SizeLimit, TooLarge},
    suggest,
    tree::{Files, Node, Place, What},
};

/// The declared variables, and which were used.
pub(super) struct Vars<'a> {
    values: BTreeMap<String, Var>,
    size: &'a mut SizeLimit,
}

struct Var {
    at: Place,
    text: String,
    plain: bool,
    used: bool,
}

/// The keys whose values are shell.
const SHELL: [&str; 2] = ["run", "command"];

/// Says whether the value of a key is shell, in which a `${…}` that is not declared is the shell's own.
pub(super) fn is_shell(key: &str) -> bool {
    SHELL.contains(&key)
}

impl<'a> Vars<'a> {
    /// Takes the variables out of a state's tree. Their shape is checked with everything else's.
    pub(super) fn of(
        root: &Node,
        files: &Files,
        size: &'a mut SizeLimit,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut values = BTreeMap::new();
        for entry in root.get("vars").map_or(&[][..], Node::entries) {
            let What::Scalar { text, plain } = &entry.value.what else { continue };
            if text.contains("${") {
                let problem = files.error(entry.value.at, "a variable cannot be made of others");
                problems.push(problem.help("write the value out"));
            }
            let var = Var { at: entry.at, text: text.clone(), plain: *plain, used: false };
            values.insert(entry.key.clone(), var);
        }
        Self { values, size }
    }

    /// Replaces the variables in a tree; keys stay as they are.
    pub(super) fn replace(
        &mut self,
        node: &mut Node,
        shell: bool,
        files: &Files,
        wrong: &mut dyn FnMut(Place, Problem),
    ) {
        match &mut node.what {
            // One problem says that the state is too large.
            _ if self.size.is_exceeded() => {}
            What::Scalar { text, .. } if !text.as_bytes().windows(2).any(|two| two == b"${") => {}
            What::Scalar { text, plain } => {
                let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
                // A number that stands for a whole plain word stays a number.
                if let Some(var) = whole.filter(|_| *plain).and_then(|name| self.values.get_mut(name))
                    && self.size.add_text(&var.text).is_ok()
                {
                    var.used = true;
                    (*text, *plain) = (var.text.clone(), var.plain);
                    return;
                }
                match self.text(text, shell) {
                    Ok(new) => (*text, *plain) = (new, false),
                    Err(problem) => {
                        wrong(node.at, files.error(node.at, problem.0).help(problem.1));
                        // Something that parses as little as possible would only be reported again.
                        (*text, *plain) = (text.replace("${", "$"), false);
                    }
                }
            }
            What::List(items) => {
                for item in items {
                    self.replace(item, shell, files, wrong);
                }
            }
            What::Map(entries) => {
                for entry in entries {
                    let shell = is_shell(&entry.key);
                    self.replace(&mut entry.value, shell, files, wrong);
                }
            }
        }
    }

    /// Replaces the variables in one text; an error is what is wrong, and what to do.
    fn text(&mut self, text: &str, shell: bool) -> Result<String, (String, String)> {
        let mut done = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, after) = (&rest[..start], &rest[start + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                done.push_str(before);
                done.push_str("${");
                rest = after;
                continue;
            }
            done.push_str(before);
            let name = after.find('}').map(|end| &after[..end]);
            match name.and_then(|name| self.values.get_mut(name)) {
                Some(var) => {
                    self.size.add_text(&var.text).map_err(TooLarge::said)?;
                    var.used = true;
                    done.push_str(&var.text);
                    rest = &after[name.map_or(0, str::len) + 1..];
                }
                None if shell => {
                    done.push_str("${");
                    rest = after;
                }
                None => return Err(self.undefined(name)),
            }
        }
        done.push_str(rest);
        Ok(done)
    }

    fn undefined(&self, name: Option<&str>) -> (String, String) {
        let Some(name) = name else {
            return ("`${` is never closed".into(), "write `$${` if the text itself is meant".into());
        };
        let message = format!("the variable `{}` is not declared", name.escape_debug());
        let names = self.values.keys().map(String::as_str);
        let remedy = match suggest::nearest(name, names) {
            Some(near) => format!("did you mean `${{{near}}}`?"),
            None => "declare it below `vars:`, or write `$${` if the text itself is meant".into(),
        };
        (message, remedy)
    }

    /// Warns of variables of the main file that nothing uses; an included file's are meant for other hosts too.
    pub(super) fn unused(&self, files: &Files, problems: &mut Vec<Problem>) {
        for (name, var) in self.values.iter().filter(|(_, var)| !var.used && var.at.file == 0) {
            let problem =
                files.warning(var.at, format!("the variable `{}` is never used", name.escape_debug()));
            problems.push(problem.help("take it out"));
        }
    }
}
