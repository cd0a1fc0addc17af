//! Checks notifiers: invalid addresses, and passwords that would travel unencrypted.

use super::Check;
use crate::{
    effect::Tls,
    state::{Email, MessageFormat, Notifier, Webhook},
};

impl Check<'_> {
    pub(super) fn notifiers(&mut self) {
        for (name, Notifier { webhook, email, .. }) in &self.state.notify {
            if let Some(webhook) = webhook {
                self.webhook(name.as_str(), webhook);
            }
            if let Some(email) = email {
                self.email(name.as_str(), email);
            }
        }
    }

    fn webhook(&mut self, name: &str, webhook: &Webhook) {
        let clear = webhook.url.as_ref().is_some_and(|url| url.split().0 == "http");
        if clear && webhook.token_file.is_some() {
            let path = ["notify", name, "webhook", "url"];
            self.error(
                &path,
                "the token would be sent in clear",
                "write https://, or leave `token_file` out",
            );
        }
        if webhook.format == MessageFormat::Healthchecks
            && let Some(url) = webhook.url.as_ref().filter(|url| url.as_str().ends_with("/fail"))
        {
            let message = format!("`{url}` is where failures are signalled");
            let path = ["notify", name, "webhook", "url"];
            self.error(&path, message, "write the address without `/fail`: rlvm adds it");
        }
    }

    fn email(&mut self, name: &str, email: &Email) {
        let by_smtp = email.smtp.is_some();
        let at = |key| ["notify", name, "email", key];
        for address in email.addresses().filter(|address| !is_address(address, by_smtp)) {
            self.error(&at("to"), format!("`{address}` is no mail address"), remedy(by_smtp));
        }
        if let Some(from) = email.from.as_ref().map(|it| it.as_str().trim())
            && !is_address(from, by_smtp)
        {
            self.error(&at("from"), format!("`{from}` is no mail address"), remedy(by_smtp));
        }
        let Some(smtp) = &email.smtp else { return };
        if email.from.is_none() {
            let message = "a mail server needs the address of the sender, and `from` is missing";
            self.error(&at("smtp"), message, "write `from: backup@example.org`");
        }
        let path = ["notify", name, "email", "smtp"];
        if smtp.user.is_some() != smtp.password_file.is_some() {
            self.error(&path, "`user` and `password_file` belong together", "write both, or none");
        }
        if smtp.tls == Tls::None && smtp.password_file.is_some() {
            let remedy = "write `tls: starttls`, or take `user` and `password_file` out";
            self.error(&path, "the password would be sent in clear", remedy);
        }
    }
}

fn remedy(by_smtp: bool) -> &'static str {
    if by_smtp {
        "write it like `ann@example.org`; several have commas between"
    } else {
        "write it like `ann@example.org`, or a user of this host; several have commas between"
    }
}

/// Says whether a text is an address: of a user here, or somewhere. No more than what everybody has: no quotes, no
/// comments, nothing that a program could take for a flag or another header.
fn is_address(text: &str, somewhere: bool) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (user, Some(host)),
        None => (text, None),
    };
    let named = host.map_or(!somewhere, |host| host.parse::<crate::model::HostName>().is_ok());
    named && !user.is_empty() && !user.starts_with(['-', '|', '/']) && user.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, here, somewhere) in [
            ("root", true, false),
            ("ann@example.org", true, true),
            ("root@localhost", true, true),
            ("ann+backup@a.b", true, true),
            ("", false, false),
            ("-oQ/tmp", false, false),
            ("|id@a.b", false, false),
            ("a b@c.d", false, false),
            ("Ann <ann@a.b>", false, false),
            ("ann@", false, false),
            ("@a.b", false, false),
            ("ä@a.b", false, false),
        ] {
            assert_eq!((is_address(text, false), is_address(text, true)), (here, somewhere), "{text}");
        }
    }

    fn problems(notifier: &str) -> Vec<String> {
        let yaml = format!("version: 1\nhost: web01\nnotify:\n  a: {notifier}\n");
        match crate::state::load("state", &mut |_| Ok(yaml.clone())) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(|it| it.message.clone()).collect(),
        }
    }

    #[test]
    fn what_would_be_read_by_others_or_by_nobody_is_refused() {
        let server =
            |more: &str| format!("{{ email: {{ to: a@b.c, from: d@e.f, smtp: {{ host: m.lan{more} }} }} }}");
        for (notifier, expected) in [
            ("{ email: { to: root } }".to_owned(), ""),
            ("{ email: { to: 'root, ann@b.c', from: d@e.f } }".into(), ""),
            ("{ email: { to: 'root, -f' } }".into(), "`-f` is no mail address"),
            ("{ email: { to: root, from: 'a b' } }".into(), "`a b` is no mail address"),
            (server(""), ""),
            (server(", user: u, password_file: /p"), ""),
            (server(", user: u"), "`user` and `password_file` belong together"),
            (server(", tls: none"), ""),
            (server(", tls: none, user: u, password_file: /p"), "the password would be sent in clear"),
            (
                "{ email: { to: a@b.c, smtp: { host: m.lan } } }".into(),
                "a mail server needs the address of the sender, and `from` is missing",
            ),
            (
                "{ webhook: { url: 'http://a.lan/x', token_file: /t } }".into(),
                "the token would be sent in clear",
            ),
            (
                "{ webhook: { url: 'https://a.lan/x/fail', format: healthchecks } }".into(),
                "`https://a.lan/x/fail` is where failures are signalled",
            ),
        ] {
            assert_eq!(problems(&notifier).join("; "), expected, "{notifier}");
        }
    }
}
