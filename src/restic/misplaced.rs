//! Finds files of a local repository that restic takes for others: in another directory than their name says, or with
//! capital letters in the name.
//!
//! restic lists the files of all directories of `data` and reads only their names, as hexadecimal digits of either case.
//! So a copy of a pack in another directory, or named in capitals, is the same pack a second time. `restic prune` takes
//! the second for one that no index names and removes it by its id, which is the good pack (tried with 0.14.0, 0.18.0 and
//! 0.19.1). A client that can only add can upload such a file, without the password.

/// The directories of a repository that hold files named by their ids.
pub const NAMED_BY_ID: [&str; 5] = ["data", "index", "keys", "locks", "snapshots"];

/// Says whether a file is one that restic takes for another. `directory` is where it lies in the repository, such as
/// `data/0a` or `index`.
pub fn is_misplaced(directory: &str, name: &str) -> bool {
    if !is_id(name) {
        // What has another name is no file to restic.
        return false;
    }
    let is_in_place = match directory.strip_prefix("data/") {
        Some(first) => first.len() == 2 && name.starts_with(first),
        None => directory != "data",
    };
    !is_in_place || name.bytes().any(|it| it.is_ascii_uppercase())
}

/// Says whether a name is an id. restic passes over files with other names.
pub fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|it| it.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_restic_takes_for_others() {
        let id = "0a".repeat(32);
        let capitals = id.to_uppercase();
        for (directory, name, expected) in [
            ("data/0a", id.as_str(), false),
            ("data/0b", &id, true),
            ("data/0", &id, true),
            ("data/0A", &id, true),
            ("data/0A", &capitals, true),
            ("data/0a", &capitals, true),
            ("data", &id, true),
            ("index", &id, false),
            ("snapshots", &capitals, true),
            ("index/0a", &id, false),
            // What an upload leaves that broke.
            ("data/0a", &format!("{id}-tmp-1"), false),
            ("data/0a", &id[1..], false),
        ] {
            assert_eq!(is_misplaced(directory, name), expected, "{directory}/{name}");
        }
    }
}
