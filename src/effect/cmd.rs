//! A call of a program, as data.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::model::{HostPath, Name, SecretFile, UserName};

/// One word of a command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arg {
    /// A word, passed as it is.
    Word(String),
    /// A path of the managed host. Below another root, `host` passes where it lies.
    Path(HostPath),
}

impl Arg {
    /// Returns the word, or the path as it is on the managed host.
    pub fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Path(path) => path.as_str(),
        }
    }
}

/// Secrets of a child's environment. Only `host` reads them, when it starts the child: no value here holds one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Private {
    /// All variables of a file of `NAME=value` lines.
    All(SecretFile),
    /// One variable: what a file holds, without the newline at its end.
    File {
        /// The variable.
        name: String,
        /// The file.
        file: SecretFile,
    },
    /// One variable: an address with the user and password that two files hold, percent-encoded by `host`. In what is
    /// printed they stand as they are.
    Url {
        /// The variable.
        name: String,
        /// What stands before the user: `rest:https://`.
        before: String,
        /// The file that holds the user.
        user: SecretFile,
        /// The file that holds the password.
        password: SecretFile,
        /// What stands behind the `@`.
        after: String,
    },
    /// One variable: a credential that systemd keeps (systemd.exec(5), `LoadCredential=`).
    Credential {
        /// The variable.
        name: String,
        /// The credential.
        credential: Name,
    },
}

/// How variables begin that rlvm says itself: one from a file would have other backups opened than were printed.
const OWN: [&str; 3] = ["RESTIC_REPOSITORY", "RESTIC_PASSWORD", "RESTIC_FROM_"];

/// Says whether rlvm sets a variable itself.
pub fn is_own(variable: &str) -> bool {
    OWN.iter().any(|own| variable.starts_with(own))
}

/// Says whether a variable may come from a secret's file: those that restic, rclone and their libraries take.
///
/// An unprivileged user may own that file, and a program that is about to become that user gets its environment while
/// it is still root's: `LD_PRELOAD` and its like (ld.so(8)) must not come from there.
pub fn is_credential(variable: &str) -> bool {
    const PREFIXES: [&str; 9] =
        ["AWS_", "AZURE_", "B2_", "GOOGLE_", "OS_", "RCLONE_", "RESTIC_", "ST_", "SWIFT_"];
    const NAMES: [&str; 8] = [
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "all_proxy",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    if is_own(variable) {
        return false;
    }
    let plain = variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && (NAMES.contains(&variable) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix)))
}

/// A program call: the very words that the kernel gets, no shell between.
///
/// The child's environment is just what is named here, beside a fixed `PATH`, `HOME` and locale; its input is
/// null, or a few words. An exit code that is not listed in `ok` is a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cmd {
    program: Arg,
    args: Vec<Arg>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, Arg>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    private: Vec<Private>,
    /// Programs that start it, each with its words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    by: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    /// Whether it takes `--root DIR`, and below another root gets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rooted: bool,
    /// Whether it goes on to its end when rlvm is killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
    /// Whether it is asked to end when rlvm is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stoppable: bool,
    ok: Vec<i32>,
    /// In seconds.
    timeout: u64,
}

/// How long a command may take if nothing else is said, in seconds.
const TIMEOUT: u64 = 600;

impl Cmd {
    /// Starts a command line with the program's name, looked up in `PATH`.
    pub fn new(program: &str) -> Self {
        Self::of(Arg::Word(program.into()))
    }

    /// Starts a command line with the program's path on the managed host.
    pub fn at(program: &HostPath) -> Self {
        Self::of(Arg::Path(program.clone()))
    }

    fn of(program: Arg) -> Self {
        let (args, env, private, by, user) = (Vec::new(), BTreeMap::new(), Vec::new(), Vec::new(), None);
        let (input, rooted, whole, stoppable) = (None, false, false, false);
        Self {
            program,
            args,
            env,
            private,
            by,
            user,
            input,
            rooted,
            whole,
            stoppable,
            ok: vec![0],
            timeout: TIMEOUT,
        }
    }

    /// Adds a word.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(Arg::Word(arg.into()));
        self
    }

    /// Adds words.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(|arg| Arg::Word(arg.into())));
        self
    }

    /// Adds a path of the managed host.
    #[must_use]
    pub fn path(mut self, path: &HostPath) -> Self {
        self.args.push(Arg::Path(path.clone()));
        self
    }

    /// Sets a variable of the child's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: Arg) -> Self {
        self.env.insert(name.into(), value);
        self
    }

    /// Adds secrets to the child's environment.
    #[must_use]
    pub fn private(mut self, secrets: &[Private]) -> Self {
        self.private.extend_from_slice(secrets);
        self
    }

    /// Has another program start it: `nice -n 10`, `chroot DIR`. Those that come first come last here.
    #[must_use]
    pub fn by<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.by.splice(0..0, words.into_iter().map(ToOwned::to_owned));
        self
    }

    /// Runs it as a user, with that user's groups. `root` is left out: it is who runs it anyway.
    #[must_use]
    pub fn user(mut self, user: &UserName) -> Self {
        self.user = Some(user.clone()).filter(|user| *user != UserName::root());
        self
    }

    /// Gives it something to read: a few words, no secret.
    #[must_use]
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Says that it takes `--root DIR` as useradd and systemctl do: below another root it works there, and its paths
    /// are that tree's.
    #[must_use]
    pub fn rooted(mut self) -> Self {
        self.rooted = true;
        self
    }

    /// Has it go on to its end when rlvm is killed: something short that half done is worse than done, as an account in
    /// one file of three.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Has it asked to end, by SIGINT, when rlvm is asked to: something long that leaves all as it should be then.
    #[must_use]
    pub fn stoppable(mut self) -> Self {
        self.stoppable = true;
        self
    }

    /// Lists the exit codes that mean success.
    #[must_use]
    pub fn ok(mut self, codes: &[i32]) -> Self {
        self.ok = codes.into();
        self
    }

    /// Sets how long it may take, in seconds; then its process group is killed.
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = seconds;
        self
    }

    /// Returns the program's name, without the directory that it is in.
    pub fn name(&self) -> &str {
        match &self.program {
            Arg::Word(name) => name,
            Arg::Path(path) => path.name(),
        }
    }

    /// Returns the program: a name to look up in `PATH`, or a path.
    pub fn program(&self) -> &Arg {
        &self.program
    }

    /// Returns the words after the program's name.
    pub fn words(&self) -> &[Arg] {
        &self.args
    }

    /// Returns the variables that are set.
    pub fn variables(&self) -> &BTreeMap<String, Arg> {
        &self.env
    }

    /// Returns the secrets of the child's environment.
    pub fn secrets(&self) -> &[Private] {
        &self.private
    }

    /// Returns what it reads; nothing if none.
    pub fn given(&self) -> Option<&str> {
        self.input.as_deref()
    }

    /// Returns the words of the programs that start it.
    pub fn starters(&self) -> &[String] {
        &self.by
    }

    /// Returns the user to run it as, if not the caller.
    pub fn run_as(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    /// Says whether an exit code means success.
    pub fn accepts(&self, code: i32) -> bool {
        self.ok.contains(&code)
    }

    /// Says whether below another root it gets `--root DIR` as its first words.
    pub fn is_rooted(&self) -> bool {
        self.rooted
    }

    /// Says whether it goes on to its end when rlvm is killed.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Says whether it is asked to end when rlvm is.
    pub fn is_stoppable(&self) -> bool {
        self.stoppable
    }

    /// Returns how long it may take, in seconds.
    pub fn time_limit(&self) -> u64 {
        self.timeout
    }
}

/// Writes the line that a person can paste into `sh`. Secrets are read there from where they are; a whole file of them
/// by the user that it belongs to, whose words it is, never by the shell that the line is pasted into.
impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(input) = &self.input {
            write!(f, "printf %s {} | ", quote(input))?;
        }
        // runuser keeps the environment (util-linux 2.38).
        for secret in &self.private {
            secret.fmt(f)?;
        }
        for word in &self.by {
            write!(f, "{} ", quote(word))?;
        }
        if let Some(user) = &self.user {
            write!(f, "runuser -u {} -- ", quote(user.as_str()))?;
        }
        let files: Vec<&HostPath> = self.private.iter().filter_map(Private::whole_file).collect();
        let started = self.user.is_some() || !self.by.is_empty() || !files.is_empty();
        if started && !self.env.is_empty() {
            f.write_str("env ")?;
        }
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quote(value.text()))?;
        }
        for file in files {
            write!(f, "sh -c 'set -a; . \"$0\"; exec \"$@\"' {} ", quote(file.as_str()))?;
        }
        f.write_str(&quote(self.program.text()))?;
        for arg in &self.args {
            write!(f, " {}", quote(arg.text()))?;
        }
        Ok(())
    }
}

impl Private {
    /// Lists the files that it is read from.
    pub fn files(&self) -> Vec<&SecretFile> {
        match self {
            Self::All(file) | Self::File { file, .. } => vec![file],
            Self::Url { user, password, .. } => vec![user, password],
            Self::Credential { .. } => Vec::new(),
        }
    }

    /// Names the variable that it sets, if that is known.
    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::All(_) => None,
            Self::File { name, .. } | Self::Url { name, .. } | Self::Credential { name, .. } => Some(name),
        }
    }

    /// Gives the variable that it sets another name, if it is this one.
    #[must_use]
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        if let Self::File { name, .. } | Self::Url { name, .. } | Self::Credential { name, .. } = &mut self
            && name == from
        {
            to.clone_into(name);
        }
        self
    }

    fn whole_file(&self) -> Option<&HostPath> {
        if let Self::All(file) = self { Some(&file.0) } else { None }
    }
}

/// Writes what sets the one variable before a command.
impl fmt::Display for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(_) => Ok(()),
            Self::File { name, file } => write!(f, "{name}=\"$(cat {})\" ", quote(file.0.as_str())),
            Self::Url { name, before, user, password, after } => {
                let (user, password) = (quote(user.0.as_str()), quote(password.0.as_str()));
                write!(f, "{name}=\"{before}$(cat {user}):$(cat {password})@{after}\" ")
            }
            Self::Credential { name, credential } => {
                let plain = format!("/etc/credstore/{credential}");
                let sealed = format!("--name={credential} /etc/credstore.encrypted/{credential} -");
                write!(f, "{name}=\"$(cat {plain} 2>/dev/null || systemd-creds decrypt {sealed})\" ")
            }
        }
    }
}

/// Quotes a word for `sh`, if it needs it.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
