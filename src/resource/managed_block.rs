//! Shared code of the kinds that are a block of lines in a user's own file: ssh's configuration, its known hosts.
//!
//! The block is at the top of the file, between two marker lines. The other lines belong to the user and are kept
//! byte for byte. The file's owner and mode are kept too, as long as ssh would read the file and nobody else could
//! write it.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Account, Attribute, Diff, Edit, FileSeen, Removal};
use crate::{
    effect::{Content, Op, Owner},
    host::Observe,
    model::{Address, GroupName, HostPath, Mode, UserName},
};

/// A block of lines in a file of a user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedBlock {
    /// Where the file is.
    pub path: HostPath,
    /// Whose it is.
    pub user: UserName,
    /// Its group where there is no file yet.
    #[serde(default = "GroupName::root", skip_serializing_if = "is_roots")]
    pub group: GroupName,
    /// Its permission bits where there is no file yet.
    pub mode: Mode,
    /// The lines of the block, each with its newline.
    pub text: String,
}

/// What every first line of a block begins with.
const BEGIN: &str = "# BEGIN rlvm";
/// The rest of it, where the file was there before.
pub(super) const IN_A_FILE: &str = ": what is changed by hand from here to END is put back";
/// The rest of it, where it was not: the file goes with the block, if nothing else stands in it then.
const OWN_FILE: &str = ", which made this file: what is changed by hand from here to END is put back";
/// The last line of a block.
const END: &str = "# END rlvm";

/// A file's text, in three parts.
pub(super) struct Parts<'a> {
    pub(super) before: &'a str,
    pub(super) block: Option<&'a str>,
    pub(super) after: &'a str,
}

fn is_roots(group: &GroupName) -> bool {
    *group == GroupName::root()
}

impl ManagedBlock {
    /// Looks at the file.
    pub(super) fn observe(&self, host: &dyn Observe) -> Result<FileSeen> {
        FileSeen::look(host, &self.path, &self.owner(), |bytes| {
            String::from_utf8(bytes)
                .map_err(|_| "is no UTF-8: its lines could not be kept as they are".into())
        })
    }

    /// Lists what the file's owner needs.
    pub(super) fn needs(&self) -> Vec<Address> {
        Account::needs(&self.user, &self.group)
    }

    /// Says whether there is a block, or something else that is never written over.
    pub(super) fn exists(&self, seen: &FileSeen) -> bool {
        match seen {
            FileSeen::Absent => false,
            FileSeen::File { text, .. } => parts(text).map_or(true, |parts| parts.block.is_some()),
            FileSeen::Other(_) => true,
        }
    }

    /// Says what to do so that the block is as declared.
    pub(super) fn diff(&self, seen: &FileSeen) -> Diff {
        let (owner, group, mode, text) = match seen {
            FileSeen::Absent => return Diff::Create(self.creation()),
            FileSeen::Other(what) => return Diff::Refuse(what.clone()),
            FileSeen::File { owner, group, mode, text } => (owner, group, *mode, text),
        };
        let parts = match parts(text) {
            Ok(parts) => parts,
            Err(why) => return Diff::Refuse(format!("{}: {why}", self.path)),
        };
        let wanted = self.wanted(&parts);
        let (keep, kept_mode) = self.kept(owner, group, mode);
        let creating = parts.block.is_none();
        let mut attributes = Vec::new();
        if creating || keep.user.as_str() != owner {
            attributes.push(Attribute::new("owner", owner.as_str(), keep.user.as_str()));
        }
        if creating || kept_mode != mode {
            attributes.push(Attribute::new("mode", mode.to_string(), kept_mode.to_string()));
        }
        if attributes.is_empty() && wanted == *text {
            return Diff::Same;
        }
        let ops =
            vec![self.edit(Some(text), Some(Content { text: wanted.clone(), owner: keep, mode: kept_mode }))];
        let edit = Edit { attributes, text: (wanted != *text).then(|| (text.clone(), wanted)), ops };
        if creating { Diff::Create(edit) } else { Diff::Update(edit) }
    }

    /// Says how the block goes, and the file with it if rlvm made it and nothing else stands in it.
    pub(super) fn removal(&self, seen: &FileSeen) -> Removal {
        let (owner, group, mode, text) = match seen {
            FileSeen::Absent => return Removal::Quiet,
            FileSeen::Other(what) => return Removal::Forget(what.clone()),
            FileSeen::File { owner, group, mode, text } => (owner, group, *mode, text),
        };
        let parts = match parts(text) {
            Ok(parts) => parts,
            Err(why) => return Removal::Forget(format!("{}: {why}", self.path)),
        };
        let Some(block) = parts.block else { return Removal::Quiet };
        let left = format!("{}{}", parts.before, parts.after);
        let (owner, mode) = self.kept(owner, group, mode);
        let stays = !left.is_empty() || !is_own(block);
        let op = self.edit(Some(text), stays.then(|| Content { text: left.clone(), owner, mode }));
        Removal::Delete(Edit { attributes: Vec::new(), text: Some((text.clone(), left)), ops: vec![op] })
    }

    /// Lists the lines that are not the block's, with their numbers.
    pub(super) fn foreign<'a>(&self, seen: &'a FileSeen) -> Vec<(usize, &'a str)> {
        let FileSeen::File { text, .. } = seen else { return Vec::new() };
        let Ok(Parts { before, block, after }) = parts(text) else { return Vec::new() };
        let skipped = before.lines().count() + block.map_or(0, |block| block.lines().count());
        let behind = after.lines().enumerate().map(|(index, line)| (skipped + index + 1, line));
        before.lines().enumerate().map(|(index, line)| (index + 1, line)).chain(behind).collect()
    }

    /// Returns the whole text as it shall be: the block first, then all else as it was.
    fn wanted(&self, parts: &Parts<'_>) -> String {
        let begin = if parts.block.is_some_and(is_own) { OWN_FILE } else { IN_A_FILE };
        format!("{}{}{}", framed(begin, &self.text), parts.before, parts.after)
    }

    /// Returns the owner and mode to write a file with that is there: its own, unless ssh would not read it, or
    /// others could write it.
    fn kept(&self, owner: &str, group: &str, mode: Mode) -> (Owner, Mode) {
        let reads = |mode: Mode| match owner {
            owner if owner == self.user.as_str() => mode.bits() & 0o400 != 0,
            "root" => mode.bits() & 0o004 != 0,
            _ => false,
        };
        let mode_kept = if reads(mode) && mode.bits() & 0o022 == 0 { mode } else { self.mode };
        // What is closed to all but its owner must be the user's.
        let stays_roots = owner == "root" && reads(mode) && reads(mode_kept);
        let user = if stays_roots { UserName::root() } else { self.user.clone() };
        let group = group.parse().unwrap_or_else(|_| self.group.clone());
        (Owner { user, group }, mode_kept)
    }

    fn owner(&self) -> Owner {
        Owner { user: self.user.clone(), group: self.group.clone() }
    }

    fn creation(&self) -> Edit {
        let owner = self.owner();
        let text = framed(OWN_FILE, &self.text);
        let attributes = vec![
            Attribute::new("owner", (), owner.user.as_str()),
            Attribute::new("group", (), owner.group.as_str()),
            Attribute::new("mode", (), self.mode.to_string()),
        ];
        let ops = vec![self.edit(None, Some(Content { text: text.clone(), owner, mode: self.mode }))];
        Edit { attributes, text: Some((String::new(), text)), ops }
    }

    fn edit(&self, before: Option<&String>, after: Option<Content>) -> Op {
        Op::EditFile { path: self.path.clone(), before: before.cloned(), after }
    }
}

/// Says whether rlvm made the file that the block stands in.
fn is_own(block: &str) -> bool {
    block.strip_prefix(BEGIN).is_some_and(|rest| rest.starts_with(','))
}

/// Writes a block: its lines between the two that say whose they are.
pub(super) fn framed(begin: &str, text: &str) -> String {
    format!("{BEGIN}{begin}\n{text}{END}\n")
}

/// Finds the block. An error says which line is wrong.
pub(super) fn parts(text: &str) -> Result<Parts<'_>, String> {
    let (mut begin, mut end) = (None, None);
    let mut at = 0;
    for (index, whole) in text.split_inclusive('\n').enumerate() {
        // An editor may have put a carriage return there.
        let (line, number) = (whole.trim_end(), index + 1);
        let opens =
            line.strip_prefix(BEGIN).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ',']));
        match (opens, line == END, begin, end) {
            (true, _, None, _) => begin = Some((at, number)),
            (true, _, Some((_, first)), _) => {
                return Err(format!(
                    "line {number} opens a second block of rlvm's after that of line {first}"
                ));
            }
            (_, true, Some(_), None) => end = Some(at + whole.len()),
            (_, true, ..) => return Err(format!("line {number} closes a block of rlvm's that is not open")),
            _ => {}
        }
        at += whole.len();
    }
    match (begin, end) {
        (None, _) => Ok(Parts { before: text, block: None, after: "" }),
        (Some((from, _)), Some(to)) => {
            Ok(Parts { before: &text[..from], block: Some(&text[from..to]), after: &text[to..] })
        }
        (Some((_, number)), None) => {
            Err(format!("line {number} opens a block of rlvm's, and no line `{END}` closes it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> ManagedBlock {
        let (path, user) = ("/home/me/.ssh/config".parse().unwrap(), "me".parse().unwrap());
        let group = GroupName::root();
        ManagedBlock { path, user, group, mode: Mode::new(0o600), text: "Host a\n".into() }
    }

    fn seen(owner: &str, mode: u32, text: &str) -> FileSeen {
        let mode = Mode::new(mode);
        FileSeen::File { owner: owner.into(), group: "users".into(), mode, text: text.into() }
    }

    fn first(own: &str) -> String {
        format!("{BEGIN}{own}\nHost a\n{END}\n")
    }

    /// Returns the text, owner and mode that are written.
    fn written(edit: &Edit) -> (String, String, String) {
        let [Op::EditFile { after: Some(Content { text, owner, mode }), before, .. }] = &edit.ops[..] else {
            panic!("{edit:?}")
        };
        // What is written over is what was looked at.
        let shown = edit.text.as_ref().map(|(before, _)| before.as_str());
        assert!(shown.is_none_or(|shown| before.as_deref().unwrap_or_default() == shown));
        (text.clone(), owner.to_string(), mode.to_string())
    }

    #[test]
    fn foreign_lines_are_kept_byte_for_byte() {
        for rest in ["", "Host b\n", "no newline at the end", "a\r\nb\r\n", "\n\n\t \n", "# END rlvm not\n"] {
            let Diff::Create(edit) = block().diff(&seen("me", 0o644, rest)) else { panic!("{rest:?}") };
            let whole = format!("{}{rest}", first(IN_A_FILE));
            assert_eq!(written(&edit), (whole.clone(), "me:users".into(), "0644".into()));
            let there = seen("me", 0o644, &whole);
            assert_eq!(block().diff(&there), Diff::Same);
            assert!(block().exists(&there) && !block().exists(&seen("me", 0o644, rest)));
            let Removal::Delete(edit) = block().removal(&there) else { panic!("{rest:?}") };
            assert_eq!(written(&edit).0, rest);
        }
    }

    #[test]
    fn a_file_that_rlvm_made_goes_if_nothing_else_is_in_it() {
        let Diff::Create(edit) = block().diff(&FileSeen::Absent) else { panic!("not made") };
        assert_eq!(written(&edit), (first(OWN_FILE), "me:root".into(), "0600".into()));
        let Removal::Delete(edit) = block().removal(&seen("me", 0o600, &first(OWN_FILE))) else { panic!() };
        let before = Some(first(OWN_FILE));
        assert_eq!(edit.ops, [Op::EditFile { path: block().path, before, after: None }]);
        let more = format!("{}Host b\n", first(OWN_FILE));
        assert_eq!(block().diff(&seen("me", 0o600, &more)), Diff::Same);
        let Removal::Delete(edit) = block().removal(&seen("me", 0o600, &more)) else { panic!() };
        assert_eq!(written(&edit).0, "Host b\n");
    }

    #[test]
    fn the_block_is_put_back_at_the_top() {
        let (own, edited) = (first(IN_A_FILE), first(IN_A_FILE).replace("Host a", "Host evil"));
        for (text, wanted) in [
            (edited.clone(), own.clone()),
            (format!("Host b\n{edited}Host c"), format!("{own}Host b\nHost c")),
            (format!("Host b\n{own}"), format!("{own}Host b\n")),
            (own.replace('\n', "\r\n"), own.clone()),
        ] {
            let Diff::Update(edit) = block().diff(&seen("me", 0o600, &text)) else { panic!("{text}") };
            assert_eq!((written(&edit).0, edit.text), (wanted.clone(), Some((text, wanted))));
        }
    }

    #[test]
    fn owner_and_mode_are_kept_unless_ssh_or_safety_says_no() {
        for (owner, mode, expected) in [
            ("me", 0o600, None),
            ("me", 0o444, None),
            ("root", 0o644, None),
            ("me", 0o664, Some(("me:users", "0600"))),
            ("me", 0o000, Some(("me:users", "0600"))),
            ("root", 0o600, Some(("me:users", "0600"))),
            // Root's, at 0600, would be closed to the user.
            ("root", 0o666, Some(("me:users", "0600"))),
            ("root", 0o664, Some(("me:users", "0600"))),
            ("other", 0o644, Some(("me:users", "0600"))),
            ("4711", 0o600, Some(("me:users", "0600"))),
        ] {
            let diff = block().diff(&seen(owner, mode, &first(IN_A_FILE)));
            match (diff, expected) {
                (Diff::Same, None) => {}
                (Diff::Update(edit), Some((owner, mode))) => {
                    let (text, by, bits) = written(&edit);
                    assert_eq!((text, by.as_str(), bits.as_str()), (first(IN_A_FILE), owner, mode));
                }
                (diff, _) => panic!("{owner} {mode:o}: {diff:?}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_written_is_as_declared_and_the_users_to_read(
            owner in proptest::sample::select(vec!["me", "root", "other", "4711"]),
            mode in 0_u32..0o10000,
            declared in proptest::sample::select(vec![0o600_u32, 0o644]),
            there in proptest::bool::ANY,
        ) {
            let block = ManagedBlock { mode: Mode::new(declared), ..block() };
            let text = if there { first(IN_A_FILE) } else { "Host b\n".into() };
            let (text, by, bits) = match block.diff(&seen(owner, mode, &text)) {
                Diff::Same => (text, format!("{owner}:users"), Mode::new(mode)),
                Diff::Create(edit) | Diff::Update(edit) => {
                    let (text, by, bits) = written(&edit);
                    (text, by, bits.parse().unwrap())
                }
                other => panic!("{other:?}"),
            };
            let by = by.split(':').next().unwrap();
            assert_eq!(block.diff(&seen(by, bits.bits(), &text)), Diff::Same, "{by} {bits}");
            let read = if by == "me" { 0o400 } else { 0o004 };
            assert!(matches!(by, "me" | "root") && bits.bits() & read != 0, "{by} {bits}");
            assert_eq!(bits.bits() & 0o022, 0, "{by} {bits}");
        }
    }

    #[test]
    fn lines_that_do_not_belong_together_are_refused_by_number() {
        let own = first(IN_A_FILE);
        for (text, words) in [
            ("a\n# BEGIN rlvm\nb\n".to_owned(), "line 2 opens a block of rlvm's, and no line"),
            (format!("{own}{own}"), "line 4 opens a second block of rlvm's after that of line 1"),
            ("a\n# END rlvm\n".to_owned(), "line 2 closes a block"),
            (format!("{own}# END rlvm"), "line 4 closes a block"),
        ] {
            let there = seen("me", 0o600, &text);
            let Diff::Refuse(why) = block().diff(&there) else { panic!("{text}") };
            assert!(why.contains(words), "{why}");
            assert!(block().exists(&there) && matches!(block().removal(&there), Removal::Forget(_)));
        }
        assert!(matches!(block().diff(&FileSeen::Other("a FIFO".into())), Diff::Refuse(_)));
    }

    #[test]
    fn foreign_lines_have_the_numbers_that_an_editor_shows() {
        let text = format!("x\n{}y\nz", first(IN_A_FILE));
        assert_eq!(block().foreign(&seen("me", 0o600, &text)), [(1, "x"), (5, "y"), (6, "z")]);
    }
}
