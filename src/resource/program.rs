//! A program that scheduled jobs call. rlvm checks that it exists, and does not install it.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Finding, Look, Severity, check::Check, scheduling::is_program};
use crate::model::{Address, HostPath, field::is_default};

/// A program that must be there when it is time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Where.
    pub at: HostPath,
    /// The package that brings it; none if it is rlvm itself, or several do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Whether something that the state declares by itself does nothing without it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub essential: bool,
}

impl Program {
    /// Names where rlvm itself is to be.
    pub fn rlvm(at: HostPath) -> Self {
        Self { at, package: None, essential: false }
    }

    /// Names what rotates logs. Every distribution has it there; a user's PATH may lack the directory. `essential`: the
    /// state has rules of its own, beside that for rlvm's logs.
    pub fn logrotate(essential: bool) -> Self {
        Self { at: HostPath::fixed(LOGROTATE), package: Some("logrotate".into()), essential }
    }
}

/// Where every mail server puts what takes a mail.
const SENDMAIL: &str = "/usr/sbin/sendmail";
/// Where every distribution puts logrotate.
pub const LOGROTATE: &str = "/usr/sbin/logrotate";

impl Program {
    /// Names what takes a mail.
    pub fn mailer() -> Self {
        Self { at: HostPath::fixed(SENDMAIL), package: None, essential: false }
    }

    /// Says that it is not there, and what to do.
    fn missing(&self) -> (String, String) {
        if self.at.as_str() == SENDMAIL {
            let message = format!("a notifier is to send mails by {}, and no such program is there", self.at);
            let remedy =
                "apt-get install a mail server (postfix, exim4, msmtp-mta), or say `smtp:` of the notifier";
            return (message, remedy.into());
        }
        let message = if self.at.as_str() == LOGROTATE {
            format!("no log is rotated: there is no {LOGROTATE}")
        } else {
            format!("a schedule is to call {}, and no such program is there", self.at)
        };
        let remedy = match &self.package {
            None => "install rlvm there, or say where it is: `rlvm_path: /usr/local/bin/rlvm`".into(),
            Some(package) => format!("apt-get install {package}"), // R31
        };
        (message, remedy)
    }
}

impl Check for Program {
    const NAME: &'static str = "program";
    /// Whether it is there, and can be run. In a tree it may come later: then nothing is asked.
    type Seen = bool;

    fn key(&self) -> Cow<'_, str> {
        self.at.as_str().into()
    }

    fn observe(&self, look: &Look<'_, bool>) -> Result<bool> {
        if look.host.is_tree() {
            return Ok(true);
        }
        is_program(look.host, &self.at)
    }

    fn findings(&self, seen: &bool) -> Vec<Finding> {
        if *seen {
            return Vec::new();
        }
        let address = Address::new(Self::NAME, &self.key());
        let (message, remedy) = self.missing();
        let severity = if self.essential { Severity::Error } else { Severity::Warning };
        vec![Finding::new(severity, address, message).remedy(remedy)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_told() {
        let it = Program::rlvm("/usr/bin/rlvm".parse().unwrap());
        assert!(it.findings(&true).is_empty());
        assert!(it.findings(&false)[0].message.contains("/usr/bin/rlvm"));
        for (rules, severity) in [(true, Severity::Error), (false, Severity::Warning)] {
            let found = Program::logrotate(rules).findings(&false);
            assert_eq!(
                (found[0].severity, found[0].remedy.as_deref()),
                (severity, Some("apt-get install logrotate"))
            );
        }
        assert!(
            Program::mailer().findings(&false)[0].message.contains("to send mails by /usr/sbin/sendmail")
        );
    }
}
