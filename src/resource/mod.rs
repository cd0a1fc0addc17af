//! Defines the kinds of resources, one file per kind. A new kind is its file and one line in the list below.
//!
//! Each kind says what is declared, how it is observed ([`Kind::observe`]), and, pure, which changes make the host
//! match ([`Kind::diff`]), which findings to report ([`Kind::checks`]), whether rlvm can get at it ([`Kind::way`]) and how
//! it is removed ([`Kind::removal`]). [`Resource::judge`] puts the first three together.
//! `plan` decides for all kinds alike whether a resource may be touched at all: who created it, whether it was
//! adopted, whether it is protected. What is only looked at is a `Check` (`check.rs`).

mod account;
mod authorized_keys;
mod check;
mod cron;
mod crontab;
mod difference;
mod directory;
mod engine;
mod finding;
mod identity;
mod job_flags;
mod judgement;
mod known_hosts;
mod leftover_access;
mod logrotate;
mod look;
mod managed_block;
mod managed_file;
mod other_backups;
mod program;
mod quota;
mod removal;
mod repository;
mod scheduling;
mod secret;
mod sources;
mod ssh;
mod ssh_agent;
mod ssh_config;
mod ssh_key;
mod sshd_config;
mod undeclared;
mod unit;
mod writable;

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use account::{Account, AccountSeen, MIGHTY, NewGroup, NewUser};
pub use authorized_keys::{AuthorizedKeys, AuthorizedKeysSeen, HomeEntry, StrangeEntry};
pub use cron::{CRON_PATH, CronFile, CronLine, CronSpec};
pub use crontab::{Crontab, CrontabLine, CrontabSeen};
pub use difference::{Attribute, Diff, Edit};
pub use directory::{Directory, DirectorySeen, DirectorySpec, There};
pub use engine::{Engine, EngineSeen, ExposedDirectory, ProgramSeen};
pub use finding::{Finding, Severity};
pub use identity::{Identity, Overlap};
pub use job_flags::JobFlags;
pub use judgement::{Judgement, Reachability};
pub use known_hosts::{Known, KnownHosts};
pub use leftover_access::LeftoverAccess;
pub use logrotate::{Frequency, LogrotateFile, LogrotateSeen, LogrotateSpec, NewFile, Su};
pub use look::{Cost, Look, Looks, NotSeen};
pub use managed_block::ManagedBlock;
pub use managed_file::{FileSeen, ManagedFile};
pub use other_backups::{OtherBackup, OtherBackups};
pub use program::{LOGROTATE, Program};
pub use quota::Quota;
pub use removal::{OnRemove, Removal, RemovalRule};
pub use repository::{Location, Machine, Remote, Repository, RepositorySeen, RepositoryState, has_process};
pub use scheduling::{CronDaemon, Scheduling, SchedulingSeen, Starter};
pub use secret::{Role, Secret, SecretSeen};
pub use sources::{JobSources, Sources, Unsound};
pub use ssh::{Access, AuthorizedKey, ClientPrune, SshAgentSpec, SshHostSpec, SshKeySpec, SshUserSpec};
pub use ssh_agent::AgentSeen;
pub use ssh_config::{SshConfig, SshConfigHost};
pub use ssh_key::{NewKey, PublicSeen, SshKey, SshKeySeen};
pub use sshd_config::{Freed, OtherSshd, Says, Setting, Sshd, SshdConfig, SshdSeen, Unread};
pub use undeclared::{Undeclared, UndeclaredSeen};
pub use unit::{Loaded, Manager, OwnManager, Unit, UnitSeen, Wants};
pub use writable::Writable;

use crate::{
    host::Observe,
    model::{Address, HostPath, Name},
};

/// One kind of resource.
pub trait Kind: Clone + PartialEq + Serialize + DeserializeOwned {
    /// The kind's name in addresses.
    const NAME: &'static str;
    /// What was seen of it on the host. It is kept in saved plans and told by `observe`: no secret in it.
    type Seen: Clone + PartialEq + Serialize + DeserializeOwned;

    /// Tells it from others of its kind.
    fn key(&self) -> Cow<'_, str>;

    /// Where it stands in the file system; the directories above are needed, and nothing is made below a mount
    /// point that is not mounted.
    fn path(&self) -> Option<&HostPath>;

    /// Lists what must be in place before, beside the directories above.
    fn needs(&self) -> Vec<Address> {
        Vec::new()
    }

    /// Says what looking and acting take.
    fn cost(&self) -> Cost {
        Cost::Quick
    }

    /// Says whether it is changed while nothing else is, whatever that costs.
    fn is_alone(&self) -> bool {
        false
    }

    /// Looks at the host. `last`: what [`Kind::remember`] kept at the last apply; `leaving`: it is no longer declared.
    ///
    /// # Errors
    ///
    /// If the host cannot be looked at.
    fn observe(&self, look: &Look<'_, Self::Seen>) -> Result<Self::Seen>;

    /// Says whether there is anything.
    fn exists(&self, seen: &Self::Seen) -> bool;

    /// Says what to do so that the host is as declared. Pure.
    fn diff(&self, seen: &Self::Seen) -> Diff;

    /// Returns errors, warnings and notes to report before the next scheduled run. Pure.
    fn checks(&self, _seen: &Self::Seen, _last: Option<&Self::Seen>) -> Vec<Finding> {
        Vec::new()
    }

    /// Says whether rlvm can get at it. Pure.
    fn way(&self, _seen: &Self::Seen) -> Reachability {
        Reachability::default()
    }

    /// Returns the rule for when it is no longer declared. `plan::removal_policy` decides by it.
    fn removal_rule(&self) -> RemovalRule {
        RemovalRule::Ordinary
    }

    /// Says how rlvm removes it, if it may. `gone` are the paths that go before it. Pure.
    fn removal(&self, _seen: &Self::Seen, _gone: &dyn Fn(&HostPath) -> bool) -> Removal {
        Removal::Forget("rlvm does not remove it".into())
    }

    /// Says how rlvm closes it if it stays, for kinds with [`RemovalRule::Account`]. Pure.
    fn closing(&self, _seen: &Self::Seen) -> Removal {
        Removal::Quiet
    }

    /// Says whether it decides who is let in, and how far: then no error elsewhere delays its change or its end.
    fn lets_in(&self) -> bool {
        false
    }

    /// Says whether it stands in the state by itself, or is only needed by something that does.
    fn is_asked_for(&self) -> bool {
        true
    }

    /// Says what it is on the host, whatever it is called.
    fn identity(&self, _seen: &Self::Seen) -> Option<Identity> {
        None
    }

    /// Names the destination whose backups are lost with this host, unless a copy of this is put away elsewhere.
    fn to_put_away(&self) -> Option<&Name> {
        None
    }

    /// Names the places that it fills and nothing else at the same time, whatever its kind: what leaves one stays until
    /// what takes it is there.
    fn slots(&self) -> Vec<String> {
        Vec::new()
    }

    /// What to keep of a look for the next one; nothing for most kinds.
    fn remember(&self, _seen: &Self::Seen) -> Option<Self::Seen> {
        None
    }
}

/// Lists the kinds: each one's module file stands above, its name here.
macro_rules! kinds {
    ($($Kind:ident,)*) => {
        /// A resource of any kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Resource {
            $(
                #[doc = concat!("See [`", stringify!($Kind), "`].")]
                $Kind($Kind),
            )*
        }

        /// What was seen of a resource of any kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Seen {
            $(
                #[doc = concat!("Of a [`", stringify!($Kind), "`].")]
                $Kind(<$Kind as Kind>::Seen),
            )*
            /// The look at a resource of any kind failed: why.
            Unknown(String),
        }

        /// The names of all kinds.
        pub const KINDS: &[&str] = &[$($Kind::NAME),*];

        $(
            impl From<$Kind> for Resource {
                fn from(it: $Kind) -> Self {
                    Self::$Kind(it)
                }
            }
        )*

        impl Resource {
            /// Returns its address.
            pub fn address(&self) -> Address {
                match self { $(Self::$Kind(it) => Address::new($Kind::NAME, &it.key()),)* }
            }

            /// Says whether this is its address.
            pub fn has_address(&self, address: &Address) -> bool {
                match self { $(Self::$Kind(it) => address.kind() == $Kind::NAME && address.key() == it.key(),)* }
            }

            /// See [`Kind::path`].
            pub fn path(&self) -> Option<&HostPath> {
                match self { $(Self::$Kind(it) => it.path(),)* }
            }

            /// See [`Kind::needs`].
            pub fn needs(&self) -> Vec<Address> {
                match self { $(Self::$Kind(it) => it.needs(),)* }
            }

            /// See [`Kind::cost`].
            pub fn cost(&self) -> Cost {
                match self { $(Self::$Kind(it) => it.cost(),)* }
            }

            /// See [`Kind::is_alone`].
            pub fn is_alone(&self) -> bool {
                match self { $(Self::$Kind(it) => it.is_alone(),)* }
            }

            /// See [`Kind::observe`].
            ///
            /// # Errors
            ///
            /// If the host cannot be looked at.
            pub fn observe(&self, host: &dyn Observe, last: Option<&Seen>, leaving: bool, looks: Looks) -> Result<Seen> {
                match self {
                    $(Self::$Kind(it) => {
                        let last = match last {
                            Some(Seen::$Kind(last)) => Some(last),
                            _ => None,
                        };
                        Ok(Seen::$Kind(it.observe(&Look { host, last, leaving, looks })?))
                    })*
                }
            }

            /// See [`Kind::exists`].
            pub fn exists(&self, seen: &Seen) -> bool {
                match (self, seen) {
                    $((Self::$Kind(it), Seen::$Kind(seen)) => it.exists(seen),)*
                    _ => false,
                }
            }

            /// See [`Kind::diff`]. What was seen of another kind cannot be told: refused.
            pub fn diff(&self, seen: &Seen) -> Diff {
                match (self, seen) {
                    $((Self::$Kind(it), Seen::$Kind(seen)) => it.diff(seen),)*
                    _ => Diff::Refuse("what was observed is of another kind".into()),
                }
            }

            /// Judges it by what was seen. A resource that could not be looked at blocks what needs it.
            pub fn judge(&self, seen: &Seen, last: Option<&Seen>) -> Judgement {
                match (self, seen) {
                    $((Self::$Kind(it), Seen::$Kind(seen)) => {
                        let last = match last {
                            Some(Seen::$Kind(last)) => Some(last),
                            _ => None,
                        };
                        Judgement { diff: it.diff(seen), findings: it.checks(seen, last), way: it.way(seen) }
                    })*
                    _ => {
                        let way = Reachability { blocks: true, ..Reachability::default() };
                        Judgement { diff: self.diff(seen), findings: Vec::new(), way }
                    }
                }
            }

            /// See [`Kind::removal`].
            pub fn removal(&self, seen: &Seen, gone: &dyn Fn(&HostPath) -> bool) -> Removal {
                match (self, seen) {
                    $((Self::$Kind(it), Seen::$Kind(seen)) => it.removal(seen, gone),)*
                    _ => Removal::Forget("what was observed is of another kind".into()),
                }
            }

            /// See [`Kind::closing`].
            pub fn closing(&self, seen: &Seen) -> Removal {
                match (self, seen) {
                    $((Self::$Kind(it), Seen::$Kind(seen)) => it.closing(seen),)*
                    _ => Removal::Forget("what was observed is of another kind".into()),
                }
            }

            /// See [`Kind::removal_rule`].
            pub fn removal_rule(&self) -> RemovalRule {
                match self { $(Self::$Kind(it) => it.removal_rule(),)* }
            }

            /// See [`Kind::lets_in`].
            pub fn lets_in(&self) -> bool {
                match self { $(Self::$Kind(it) => it.lets_in(),)* }
            }

            /// See [`Kind::is_asked_for`].
            pub fn is_asked_for(&self) -> bool {
                match self { $(Self::$Kind(it) => it.is_asked_for(),)* }
            }

            /// See [`Kind::identity`].
            pub fn identity(&self, seen: &Seen) -> Option<Identity> {
                match (self, seen) {
                    $((Self::$Kind(it), Seen::$Kind(seen)) => it.identity(seen),)*
                    _ => None,
                }
            }

            /// See [`Kind::to_put_away`].
            pub fn to_put_away(&self) -> Option<&Name> {
                match self { $(Self::$Kind(it) => it.to_put_away(),)* }
            }

            /// See [`Kind::slots`].
            pub fn slots(&self) -> Vec<String> {
                match self { $(Self::$Kind(it) => it.slots(),)* }
            }

            /// See [`Kind::remember`].
            pub fn remember(&self, seen: &Seen) -> Option<Seen> {
                match (self, seen) {
                    $((Self::$Kind(it), Seen::$Kind(seen)) => it.remember(seen).map(Seen::$Kind),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    Account,
    Directory,
    Engine,
    Secret,
    Repository,
    CronFile,
    LogrotateFile,
    OtherBackups,
    Program,
    SshKey,
    SshConfig,
    KnownHosts,
    Unit,
    AuthorizedKeys,
    SshdConfig,
    Quota,
    JobFlags,
    LeftoverAccess,
    Crontab,
    Writable,
    Undeclared,
    Sources,
    Scheduling,
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_makes_all_others_large() {
        // Ten thousand directories are as large as so many of the largest kind.
        assert!(size_of::<Resource>() <= 160, "{}: box what is rare", size_of::<Resource>());
        assert!(size_of::<Seen>() <= 192, "{}: box what is rare", size_of::<Seen>());
    }
}
