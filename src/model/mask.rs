//! Masks passwords in URLs, because programs repeat the URLs that they were given in their output.

use std::borrow::Cow;

/// Schemes whose address may name a user alone, which is no secret.
const USERS: [&str; 2] = ["sftp", "ssh"];

/// Replaces user and password of every address in a text by `***`.
///
/// No mask goes across white space or a quotation mark, so JSON stays JSON.
pub fn mask_passwords(text: &str) -> Cow<'_, str> {
    mask(text, &|_| "***".into())
}

/// Masks as [`mask_passwords`] does, a `*` for each character, so that each word stays in its column.
pub fn mask_in_place(text: &str) -> Cow<'_, str> {
    mask(text, &|user_info| "*".repeat(user_info.chars().count()))
}

fn mask<'a>(text: &'a str, by: &dyn Fn(&str) -> String) -> Cow<'a, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + "://".len());
        masked.push_str(before);
        rest = after;
        if let Some(at) = user_info(after)
            && (after[..at].contains(':') || !USERS.contains(&scheme(&before[..start])))
        {
            masked.push_str(&by(&after[..at]));
            rest = &after[at..];
        }
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Returns the scheme that a text ends with.
fn scheme(before: &str) -> &str {
    let start = before.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    before.get(start..).unwrap_or_default()
}

/// Finds the `@` that ends user and password, in what follows `://`.
fn user_info(after: &str) -> Option<usize> {
    let ends = |c: char| c.is_whitespace() || "\"'`<>".contains(c);
    let next_address = after.find("://").map_or(after.len(), |at| at - scheme(&after[..at]).len());
    let word = &after[..after.find(ends).unwrap_or(after.len()).min(next_address)];
    let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
    // A password may hold `@` and `/`, though it should not. A path that holds `@` is masked with it: too much is safe.
    match authority.split_once(':') {
        None => authority.rfind('@'),
        // The address of a host in brackets, without a user.
        Some(_) if authority.starts_with('[') => None,
        Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => None,
        Some(_) => word.rfind('@'),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn user_and_password_of_every_address_are_masked() {
        for (text, masked) in [
            ("rest:https://me:pw@host/a and sftp://b@c", "rest:https://***@host/a and sftp://b@c"),
            (
                "https://u:p@a, https://v:q@b; s3:http://w:r@c:9000/x",
                "https://***@a, https://***@b; s3:http://***@c:9000/x",
            ),
            ("https://u:p:q@r@host", "https://***@host"),
            ("https://token@host/x", "https://***@host/x"),
            ("sftp://b:pw@c", "sftp://***@c"),
            ("https://u:p/w@host/x", "https://***@host/x"),
            ("https://u:p?w@host", "https://***@host"),
            ("curl 'https://u:p@a' \"https://v:q@b\"", "curl 'https://***@a' \"https://***@b\""),
            (r#"{"a":"https://u:p@h","b":"x@y"}"#, r#"{"a":"https://***@h","b":"x@y"}"#),
            ("https://u:p@a->https://v:q@b", "https://***@a->https://***@b"),
            ("(https://u:p@a,rest:https://v:q@b)", "(https://***@a,rest:https://***@b)"),
            ("https://u:p@w/x@host/y", "https://***@host/y"),
        ] {
            assert_eq!(mask_passwords(text), masked);
        }
    }

    #[test]
    fn what_holds_no_password_stays() {
        for text in [
            "",
            "a@b",
            "://",
            "https://host/a@b",
            "https://host:8080/a@b",
            "https://[::1]:80/a@b",
            "sftp://me@nas:2222//repo",
            "R=\"rest:https://$(cat /p/user):$(cat /p/word)@host/\" restic",
        ] {
            assert_eq!(mask_passwords(text), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_password_is_left_wherever_addresses_stand(
            gaps in proptest::collection::vec("[ ,;()>\n]{1,3}[a-z.:]{0,8}[ (\n]", 1..6),
            password in "[A-Z0-9:/@?#%=+-]{0,6}SECRET[A-Z0-9:/@?#%=+-]{0,6}",
        ) {
            prop_assume!(!password.contains("://"));
            let text: String = gaps.iter().map(|gap| format!("{gap}rest:https://me:x{password}@host/repo")).collect();
            let masked = mask_passwords(&text);
            prop_assert!(!masked.contains("SECRET"), "{masked}");
            prop_assert_eq!(masked.matches("***@host/repo").count(), gaps.len());
            let json = serde_json::json!({ "text": text, "next": "a@b" }).to_string();
            let read: serde_json::Value = serde_json::from_str(&mask_passwords(&json)).unwrap();
            prop_assert_eq!(&read["next"], "a@b");
        }
    }
}
