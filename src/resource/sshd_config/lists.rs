//! Tells lists of users and groups that hold for every connection (`DenyUsers`, `AllowGroups` …) from lists in a `Match`
//! block.
//!
//! `sshd -T` prints the lists for one connection. A list in a block takes the place of the same list outside of all blocks
//! (servconf.c, `copy_set_server_options`), so an account that is refused there may be accepted from another address.

use super::{
    foreign::{Groups, Setting},
    reading::{Line, Read},
    words::shut_out,
};
use crate::model::UserName;

const LISTS: [&str; 4] = ["allowusers", "denyusers", "allowgroups", "denygroups"];
/// The criteria of `Match` that are the account's own. All others depend on the connection.
const OF_ACCOUNT: [&str; 3] = ["all", "user", "group"];

fn lists(read: &Read) -> impl Iterator<Item = (String, &Line)> {
    let keyed = read.lines.iter().map(|line| (line.keyword.to_ascii_lowercase(), line));
    keyed.filter(|(keyword, _)| LISTS.contains(&keyword.as_str()))
}

/// Names the first list in a `Match` block that some connection of an account can match.
pub(super) fn list_in_block(read: &Read, user: &UserName, groups: &Groups) -> Option<String> {
    let in_blocks = lists(read).filter(|(_, line)| !line.blocks.is_empty());
    let mut settings = in_blocks.map(|(keyword, line)| Setting::of(line, keyword));
    let it = settings.find(|it| it.may_match(user, groups))?;
    Some(format!("{} sets `{} {}` only in the block `{}`", it.place, it.keyword, it.value, it.block()))
}

/// Says whether sshd refuses an account by a list outside of all blocks, both by the text and by what sshd said: sshd knows
/// better what is one word.
pub(super) fn is_refused_outside_blocks(read: &Read, user: &UserName, said: &str, groups: &[String]) -> bool {
    let outside = lists(read).filter(|(_, line)| line.blocks.is_empty());
    let lines: String = outside
        .flat_map(|(keyword, line)| line.value.split(' ').map(move |it| format!("{keyword} {it}\n")))
        .collect();
    shut_out(user, said, groups).is_some() && shut_out(user, &lines, groups).is_some()
}

/// Takes those lists out of what sshd said which hold only for some connections of an account.
pub(super) fn without_lists_of_some_connections(read: &Read, said: &str) -> String {
    let holds = |name: &str, value: &str, always: bool| {
        lists(read).any(|(keyword, line)| {
            keyword == name
                && line.blocks.iter().all(|criteria| is_of_account(criteria)) == always
                && line.value.split(' ').any(|it| it == value)
        })
    };
    let stays = |line: &&str| {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        !LISTS.contains(&name) || holds(name, value, true) || !holds(name, value, false)
    };
    said.lines().filter(stays).collect::<Vec<_>>().join("\n")
}

/// Says whether the criteria of a block depend on the account alone.
fn is_of_account(criteria: &str) -> bool {
    let mut words = criteria.split([' ', '=']);
    while let Some(word) = words.next() {
        if !OF_ACCOUNT.iter().any(|it| word.eq_ignore_ascii_case(it)) {
            return false;
        }
        if !word.eq_ignore_ascii_case("all") {
            words.next();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{
        super::reading::{
            read,
            tests::{MAIN, PART, Table},
        },
        *,
    };

    fn user() -> UserName {
        "web01".parse().unwrap()
    }

    #[test]
    fn only_a_list_outside_of_blocks_refuses_every_connection() {
        let said = "denyusers web01\nallowusers root\n";
        for (text, is_refused, in_block) in [
            ("DenyUsers git web01\n", true, None),
            ("DenyUsers web01@10.0.0.1\n", false, None),
            ("AllowUsers root\n", true, None),
            ("Match Address 127.0.0.1\nDenyUsers web01\n", false, Some(2)),
            ("Match all\nDenyUsers web01\n", false, Some(2)),
            // The list in the block takes the place of the other.
            ("DenyUsers web01\nMatch LocalPort 2205\nDenyUsers git\n", true, Some(3)),
            ("DenyUsers web01\nMatch User git\nAllowUsers git\n", true, None),
        ] {
            let read = read(&Table::of(&[(MAIN, text)]), MAIN, PART).unwrap();
            assert_eq!(is_refused_outside_blocks(&read, &user(), said, &[]), is_refused, "{text}");
            let place = in_block.map(|line| format!("{MAIN}:{line} sets "));
            let found = list_in_block(&read, &user(), &Groups::new());
            assert_eq!(found.is_some(), place.is_some(), "{text}");
            assert!(found.is_none_or(|it| it.starts_with(&place.unwrap())), "{text}");
        }
    }

    #[test]
    fn a_list_for_some_connections_refuses_not_every_login() {
        for (text, stays) in [
            ("DenyUsers web01\n", true),
            ("Match User web*\nDenyUsers web01\n", true),
            ("Match Group=clients\nDenyUsers web01\n", true),
            ("Match Address 127.0.0.1\nDenyUsers web01\n", false),
            ("Match User web01 LocalPort 22\nDenyUsers git web01\n", false),
            ("DenyUsers web01\nMatch Address 127.0.0.1\nDenyUsers web01\n", true),
            ("", true),
        ] {
            let read = read(&Table::of(&[(MAIN, text)]), MAIN, PART).unwrap();
            let left = without_lists_of_some_connections(&read, "usedns no\ndenyusers web01\n");
            assert_eq!(left.contains("denyusers"), stays, "{text}");
            assert!(left.contains("usedns no"));
        }
    }
}
