//! Builds restic's command lines for a repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LOOK, LOOK_HERE, forget::LIST};
use crate::{
    effect::{Arg, Cmd, NotReadOnly, Private, Query},
    model::{HostPath, SecretFile, Span, UserName},
};

/// What a call needs beside the repository, its password and the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Means {
    /// The pinned restic; the one on `PATH` if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<HostPath>,
    /// Whether who works with it is who calls rlvm, without root: then nobody has to become somebody else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// Flags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Arg>,
    /// Variables of its environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Arg>,
    /// Secrets of its environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Private>,
    /// The directory of restic's cache that calls other than the first look use. Without one they fetch again what they
    /// have fetched before: a `prune` of a remote repository makes 40 times as many requests.
    #[serde(skip)]
    pub cache: Option<HostPath>,
}

/// A repository that another one is made like, so that copies between the two share what they store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// The repository in restic's words.
    pub location: Arg,
    /// The file with its password.
    pub password: SecretFile,
    /// What a call of it needs.
    #[serde(default)]
    pub means: Means,
}

/// How a repository is reached: where it is, by which password, as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// The repository in restic's words, byte for byte.
    pub location: Arg,
    /// The file with its password.
    pub password: &'a SecretFile,
    /// The user that works with it.
    pub user: &'a UserName,
    /// What else the call needs.
    pub means: &'a Means,
}

/// What is stored, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup<'a> {
    /// The host that it is of.
    pub host: &'a str,
    /// What it is tagged with.
    pub tags: &'a [String],
    /// The paths.
    pub paths: &'a [HostPath],
    /// Patterns of what is left out.
    pub exclude: &'a [String],
    /// Whether it stays on the file systems of the paths.
    pub one_file_system: bool,
    /// Other flags.
    pub flags: &'a [String],
    /// Where restic keeps its cache, and what it works on.
    pub cache: &'a HostPath,
    /// How long it may take.
    pub seconds: u64,
}

/// The variable that holds a password which the user that restic runs as may not read from its file.
pub const PASSWORD: &str = "RESTIC_PASSWORD";
/// The variable that names a repository whose address holds a secret.
const REPOSITORY: &str = "RESTIC_REPOSITORY";
/// The same of the repository that is copied from.
const FROM_REPOSITORY: &str = "RESTIC_FROM_REPOSITORY";
/// How ssh is called: an option that two repositories cannot both have.
const SSH: &str = "sftp.command=";

impl Access<'_> {
    /// Reads the repository's configuration, which proves the password, and changes nothing.
    ///
    /// # Errors
    ///
    /// Never, as long as the call stands in the reviewed list.
    pub fn look(&self) -> Result<Query, NotReadOnly> {
        let cmd = self.call(&["cat", "config", "--no-lock", "--no-cache"]);
        Query::new(cmd.ok(&[0, 1, 10, 11, 12]).timeout(self.limit()))
    }

    /// Lists the repository's locks, and takes none.
    ///
    /// # Errors
    ///
    /// Never, as long as the call stands in the reviewed list.
    pub fn locks(&self) -> Result<Query, NotReadOnly> {
        Query::new(self.call(&["list", "locks", "--no-lock", "--no-cache"]).timeout(self.limit()))
    }

    /// Says how long a look may take. A local one waits for nobody but the key derivation, whose work was measured out on
    /// the machine that made the repository: on a slower one it takes longer.
    pub(super) fn limit(&self) -> u64 {
        if matches!(self.location, Arg::Path(_)) { LOOK_HERE } else { LOOK }
    }

    /// Makes the repository; with the chunker's parameters of another one, if copies come from there.
    pub fn init(&self, like: Option<&Original>) -> Cmd {
        match like {
            None => self.call(&["init", "--no-cache"]),
            Some(original) => self.with_original(&["init", "--no-cache", "--copy-chunker-params"], original),
        }
    }

    /// Calls restic for this repository and another one.
    fn with_original(&self, words: &[&str], original: &Original) -> Cmd {
        let ours = ssh_of(&self.means.flags);
        let theirs = ssh_of(&original.means.flags);
        // The option holds for both. Where they differ, ssh's configuration says for each what it would have said.
        let both = ours.is_some() && theirs.is_some() && ours != theirs;
        let mut means = self.means.clone();
        means.flags = without_ssh(&means.flags, both);
        // Each is a flag and its value; one that both have is said once. restic takes no option twice.
        for pair in without_ssh(&original.means.flags, both).chunks(2) {
            if !means.flags.chunks(2).any(|ours| ours == pair) {
                means.flags.extend_from_slice(pair);
            }
        }
        for (name, value) in &original.means.variables {
            means.variables.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let secrets =
            original.means.secrets.iter().cloned().map(|secret| secret.renamed(REPOSITORY, FROM_REPOSITORY));
        means.secrets.extend(secrets);
        let cmd = Access { means: &means, ..self.clone() }.call(words);
        let named = means.secrets.iter().any(|secret| secret.variable() == Some(FROM_REPOSITORY));
        let cmd = if named { cmd } else { add(cmd.arg("--from-repo"), &original.location) };
        cmd.arg("--from-password-file").path(&original.password.0)
    }

    /// Stores paths, and prints a JSON object a line.
    pub fn backup(&self, of: &Backup<'_>) -> Cmd {
        let cmd = self.call(&["backup", "--json"]).arg("--cache-dir").path(of.cache);
        let cmd = cmd.args(["--host", of.host]);
        let cmd = of.tags.iter().fold(cmd, |cmd, tag| cmd.arg("--tag").arg(tag));
        let cmd = if of.one_file_system { cmd.arg("--one-file-system") } else { cmd };
        let cmd = of.exclude.iter().fold(cmd, |cmd, pattern| cmd.arg(format!("--exclude={pattern}")));
        let cmd = of.flags.iter().fold(cmd, Cmd::arg).arg("--");
        let cmd = of.paths.iter().fold(cmd, Cmd::path);
        // Its packs are written there before they are sent; /tmp may be frozen, and small.
        cmd.env("TMPDIR", Arg::Path(of.cache.clone())).ok(&[0, 3]).timeout(of.seconds).stoppable()
    }

    /// Copies to here what another repository has of a host and a job.
    pub fn copy(&self, from: &Original, host: &str, tag: &str, cache: &HostPath, seconds: u64) -> Cmd {
        let cmd = self.with_original(&["copy"], from).arg("--cache-dir").path(cache);
        let cmd = cmd.args(["--host", host, "--tag", tag]).env("TMPDIR", Arg::Path(cache.clone()));
        cmd.timeout(seconds).stoppable()
    }

    /// Removes the locks that restic takes for stale. It errs ([`super::LockJudge`]): call it only if all of them may go.
    pub fn unlock(&self) -> Cmd {
        self.call(&["unlock", "--no-cache"]).timeout(120).stoppable()
    }

    /// Calls restic with the cache that there is.
    pub(super) fn call_cached(&self, words: &[&str]) -> Cmd {
        match &self.means.cache {
            Some(cache) => self.call(words).arg("--cache-dir").path(cache),
            None => self.call(&[words, &["--no-cache"]].concat()),
        }
    }

    pub(super) fn call(&self, words: &[&str]) -> Cmd {
        let Means { engine, flags, variables, secrets, .. } = self.means;
        let cmd = program(engine.as_ref()).args(words.iter().copied());
        let named = secrets.iter().any(|secret| secret.variable() == Some(REPOSITORY));
        let cmd = if named { cmd } else { add(cmd.arg("--repo"), &self.location) };
        let given = secrets.iter().any(|secret| secret.variable() == Some(PASSWORD));
        let cmd = if given { cmd } else { cmd.arg("--password-file").path(&self.password.0) };
        let cmd = self.means.run_as(cmd, self.user).private(secrets);
        let cmd = flags.iter().fold(cmd, add);
        variables.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value.clone()))
    }
}

/// How long a prune may take, in seconds.
pub(super) const PRUNE: u64 = 24 * 3600;

/// The policy for a client's repository: snapshots that are older than so long go.
///
/// As the client's account: what root writes the account could not read (restic#1788). The password is root's, and
/// reaches the child by its environment. Of each host and its tags by themselves: a compromised client could name any, and a job
/// that has stopped keeps its last backups while its neighbour goes on (rlvm tags each with its job). The length counts
/// from the newest snapshot that is not of the future (tried with 0.14, 0.18 and 0.19).
pub struct Older<'a> {
    /// Where the repository is.
    pub repository: &'a HostPath,
    /// Its password.
    pub password: &'a SecretFile,
    /// Whose it is.
    pub account: &'a UserName,
    /// The pinned restic.
    pub engine: Option<&'a HostPath>,
    /// What is kept.
    pub keep: Span,
}

impl Older<'_> {
    /// Forgets the snapshots, and removes what only they held.
    pub fn forget(&self) -> Cmd {
        self.call(&[]).arg("--prune").timeout(PRUNE).stoppable()
    }

    /// Asks which snapshots would go, and takes no lock.
    pub fn foresee(&self) -> Cmd {
        self.call(&["--dry-run", "--json", "--no-lock"]).ok(&[0, 1, 10, 11, 12]).timeout(LIST)
    }

    fn call(&self, first: &[&str]) -> Cmd {
        let cmd = program(self.engine).arg("forget").args(first.iter().copied());
        // restic knows years, months, days and hours: the state has whole hours alone.
        let keep = format!("{}h", self.keep.seconds() / 3600);
        let cmd = cmd.arg("--repo").path(self.repository).arg("--keep-within").arg(keep);
        let cmd = cmd.args(["--keep-tag", "protected", "--group-by", "host,tags", "--no-cache"]);
        let (name, file) = (PASSWORD.to_owned(), self.password.clone());
        cmd.private(&[Private::File { name, file }]).user(self.account)
    }
}

impl Means {
    /// Has a command run as the user that works with a repository.
    #[must_use]
    pub fn run_as(&self, cmd: Cmd, user: &UserName) -> Cmd {
        if self.own { cmd } else { cmd.user(user) }
    }
}

/// Starts a call of the pinned restic, or of the one on `PATH`.
pub(super) fn program(engine: Option<&HostPath>) -> Cmd {
    engine.map_or_else(|| Cmd::new("restic"), Cmd::at)
}

/// Takes the words out of what restic says as JSON, since 0.18, of how it ended.
pub fn plain(stderr: &str) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let line = |line: &str| match serde_json::from_str::<Said>(line) {
        Ok(said) => said.message,
        Err(_) => line.to_owned(),
    };
    stderr.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn add(cmd: Cmd, arg: &Arg) -> Cmd {
    match arg {
        Arg::Word(word) => cmd.arg(word),
        Arg::Path(path) => cmd.path(path),
    }
}

fn is_ssh(arg: &Arg) -> bool {
    matches!(arg, Arg::Word(word) if word.starts_with(SSH))
}

fn ssh_of(flags: &[Arg]) -> Option<&Arg> {
    flags.iter().find(|arg| is_ssh(arg))
}

/// Leaves out how ssh is called, with its `-o`.
fn without_ssh(flags: &[Arg], leave: bool) -> Vec<Arg> {
    let mut kept: Vec<Arg> = Vec::new();
    for arg in flags {
        if leave && is_ssh(arg) {
            kept.pop();
        } else {
            kept.push(arg.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access<'a>(
        location: Arg,
        password: &'a SecretFile,
        user: &'a UserName,
        means: &'a Means,
    ) -> Access<'a> {
        Access { location, password, user, means }
    }

    #[test]
    fn calls_name_the_password_file_and_the_user() {
        let password = SecretFile("/etc/p w".parse().unwrap());
        let backup: UserName = "backup".parse().unwrap();
        let means = Means::default();
        let local = access(Arg::Path("/srv/r".parse().unwrap()), &password, &backup, &means);
        assert_eq!(
            local.init(None).to_string(),
            "runuser -u backup -- restic init --no-cache --repo /srv/r --password-file '/etc/p w'"
        );
        assert!(local.look().is_ok() && local.locks().is_ok());
        let means = Means { engine: "/opt/restic/1.0/restic".parse().ok(), ..means };
        let pinned = access(Arg::Word("s3:x/y".into()), &password, &backup, &means);
        assert!(
            pinned
                .look()
                .is_ok_and(|query| query.cmd().to_string().contains("-- /opt/restic/1.0/restic cat config"))
        );
    }

    #[test]
    fn an_address_with_a_password_is_in_the_environment_alone() {
        let secret = |name: &str| Private::Url {
            name: name.into(),
            before: "rest:https://".into(),
            user: SecretFile("/u".parse().unwrap()),
            password: SecretFile("/p".parse().unwrap()),
            after: "b.lan/r".into(),
        };
        let (password, root) = (SecretFile("/k".parse().unwrap()), UserName::root());
        let means = Means { secrets: vec![secret(REPOSITORY)], ..Means::default() };
        let location = Arg::Word("rest:https://b.lan/r".into());
        let rest = access(location.clone(), &password, &root, &means);
        assert_eq!(
            rest.init(None).to_string(),
            r#"RESTIC_REPOSITORY="rest:https://$(cat /u):$(cat /p)@b.lan/r" restic init --no-cache --password-file /k"#
        );
        let original = Original { location, password: password.clone(), means: means.clone() };
        let like = rest.init(Some(&original)).to_string();
        assert!(like.contains("RESTIC_FROM_REPOSITORY=") && !like.contains("--from-repo"), "{like}");
    }

    #[test]
    fn a_copys_repository_is_made_like_its_origin() {
        // R41
        let (password, root) = (SecretFile("/k".parse().unwrap()), UserName::root());
        let ssh = |host: &str| vec![Arg::Word("-o".into()), Arg::Word(format!("sftp.command=ssh {host}"))];
        let means = |flags| Means { flags, ..Means::default() };
        let original = |flags| Original {
            location: Arg::Path("/srv/v".parse().unwrap()),
            password: SecretFile("/v".parse().unwrap()),
            means: means(flags),
        };
        for (ours, theirs, expected) in [
            (vec![], vec![], ""),
            (ssh("a"), vec![], " -o 'sftp.command=ssh a'"),
            (vec![], ssh("b"), " -o 'sftp.command=ssh b'"),
            (ssh("a"), ssh("a"), " -o 'sftp.command=ssh a'"),
            (ssh("a"), ssh("b"), ""),
        ] {
            let means = means(ours);
            let copy = access(Arg::Word("sftp:a:/r".into()), &password, &root, &means);
            let expected = format!(
                "restic init --no-cache --copy-chunker-params --repo sftp:a:/r --password-file /k{expected} \
                 --from-repo /srv/v --from-password-file /v"
            );
            assert_eq!(copy.init(Some(&original(theirs))).to_string(), expected);
        }
    }
}
