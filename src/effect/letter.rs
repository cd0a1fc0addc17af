//! A message to a notifier, as data: an HTTP request or a mail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cmd;
use crate::model::{HostName, HostPath, SecretFile, Server, Url};

/// What is sent to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letter {
    /// An address is called.
    Post(Post),
    /// A mail is sent.
    Mail(Mail),
}

/// Where the address is that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// Here: it is no secret.
    Plain(Url),
    /// In a file: only `host` reads it, and says no more of it than scheme and host.
    Secret(SecretFile),
}

/// A call of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The address.
    pub to: Where,
    /// What is put behind its path: `/fail`.
    pub suffix: &'static str,
    /// The file with a token, for `Authorization: Bearer`.
    pub token: Option<SecretFile>,
    /// Headers, ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// What is posted; if nothing, it is only asked for.
    pub body: Option<String>,
}

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Whom it is from, if it is not for sendmail to say.
    pub from: Option<String>,
    /// Whom it is for.
    pub to: Vec<String>,
    /// All of it, headers first, lines that end as Unix has it, ASCII.
    pub text: String,
    /// What sends it.
    pub by: Carrier,
}

/// What sends a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The host's sendmail.
    Sendmail {
        /// Where the caller is at home, for what has its configuration there.
        home: Option<HostPath>,
    },
    /// A server.
    Server {
        /// The name of the server. Its certificate must be for this name.
        host: Server,
        /// Its port.
        port: u16,
        /// How what is said to it is encrypted.
        tls: Tls,
        /// Whom to log in as, and the file with the password.
        login: Option<(String, SecretFile)>,
        /// What this host calls itself.
        own_name: HostName,
    },
}

/// How what is said to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Tls {
    /// After a word in clear, which the server must answer.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all.
    None,
}

impl Mail {
    /// Builds the call of sendmail(8) that sends it: a lone dot is no end (`-i`), and what begins with a dash no flag.
    pub fn sendmail(&self, home: Option<&HostPath>, seconds: u64) -> Cmd {
        let mut cmd = Cmd::new("sendmail").arg("-i");
        if let Some(from) = &self.from {
            cmd = cmd.arg("-f").arg(from);
        }
        cmd = cmd.arg("--").args(self.to.iter().map(String::as_str));
        if let Some(home) = home {
            cmd = cmd.env("HOME", super::Arg::Path(home.clone()));
        }
        // Half a mail is worse than a late one: it goes on if rlvm is killed.
        cmd.whole().input(&self.text).timeout(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sendmail_gets_addresses_as_words_of_their_own() {
        let by = Carrier::Sendmail { home: None };
        let mail =
            Mail { from: Some("a@b".into()), to: vec!["c@d".into(), "root".into()], text: "x".into(), by };
        assert_eq!(mail.sendmail(None, 9).to_string(), "printf %s x | sendmail -i -f a@b -- c@d root");
        let home = "/home/ann".parse().unwrap();
        let cmd = Mail { from: None, ..mail }.sendmail(Some(&home), 9);
        assert_eq!(cmd.to_string(), "printf %s x | HOME=/home/ann sendmail -i -- c@d root");
    }
}
