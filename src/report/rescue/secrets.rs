//! Lists the secrets that a restore needs by name, what each one opens, and whether a copy is known to exist
//! elsewhere.

use super::{Kit, paper::Paper, reach::Places};
use crate::{
    expand::Expanded,
    ledger::Ledger,
    model::{Address, HostPath, Name, UserName},
    resource::{Kind as _, Resource, Role, Secret, SshKey},
    state::State,
};

/// A secret that a rescue needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is on the host; a credential of systemd's has no path.
    pub path: Option<HostPath>,
    /// What it is called.
    pub name: String,
    /// What it is, and what it opens.
    pub opens: String,
    /// To whom it belongs.
    pub owner: Option<UserName>,
    /// The destination that it is for.
    pub destination: Option<Name>,
    /// Whether there is a copy.
    pub put_away: PutAway,
}

/// Whether there is a copy of a secret where the loss of the host does not reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutAway {
    /// rlvm made it, and has shown it.
    Shown,
    /// rlvm made it, and has never shown it.
    Never,
    /// rlvm is to make it, and has not.
    NotMade,
    /// A person made it: only that person knows.
    Unknown,
    /// It is a key that was made on the host and is meant to stay there.
    Replaceable,
    /// It is no secret.
    Public,
}

/// Lists what a rescue needs, in the order of the state's destinations.
pub fn wanted(state: &State, expanded: &Expanded, ledger: Option<&Ledger>) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for declared in expanded.resources.values() {
        match &declared.resource {
            // A client's password is that client's: this host only tidies up there. Whoever is told needs no backup.
            Resource::Secret(secret) if !matches!(secret.role, Role::Theirs | Role::Notifier) => {
                all.push(of_secret(secret, state, ledger));
            }
            Resource::SshKey(key) => all.extend(of_key(key, state)),
            _ => {}
        }
    }
    for (name, destination) in &state.destinations {
        for private in destination.access().secrets {
            if let crate::effect::Private::Credential { name: variable, credential } = private {
                all.push(Wanted {
                    path: None,
                    name: credential.to_string(),
                    opens: format!("{variable} for {name}: a credential of systemd's; what is sealed opens on the host alone"),
                    owner: None,
                    destination: Some(name.clone()),
                    put_away: PutAway::Unknown,
                });
            }
        }
    }
    all.sort_by_key(|it| it.destination.is_none());
    all
}

fn of_secret(secret: &Secret, state: &State, ledger: Option<&Ledger>) -> Wanted {
    let Secret { destination, file, role, owner, generate } = secret;
    let shared = state.destinations.iter().filter(|(_, it)| it.password_file == *file).map(|(name, _)| name);
    let opens = match role {
        Role::Password | Role::Theirs => {
            format!("the password of the repository {}", super::list(shared))
        }
        Role::Environment => format!("variables that restic needs to get at {destination}"),
        Role::Credential => format!("a credential that restic needs to get at {destination}"),
        Role::Configuration => format!("rclone's configuration, for {destination}"),
        Role::Notifier => format!("what the notifier {destination} takes; no backup needs it"),
        Role::Certificate => format!("the certificate that {destination} is known by; no secret"),
    };
    let entry = ledger.and_then(|it| it.entries.get(&Address::new(Secret::NAME, file.0.as_str())));
    let put_away = match (role, generate, entry) {
        (Role::Certificate, ..) => PutAway::Public,
        (_, false, _) => PutAway::Unknown,
        (_, true, None) => PutAway::NotMade,
        (_, true, Some(entry)) if entry.put_away => PutAway::Shown,
        (_, true, Some(_)) => PutAway::Never,
    };
    Wanted {
        path: Some(file.0.clone()),
        name: file.0.to_string(),
        opens,
        owner: Some(owner.user.clone()),
        destination: Some(destination.clone()),
        put_away,
    }
}

/// Says what a key opens; nothing if no destination's machine is reached with it.
fn of_key(key: &SshKey, state: &State) -> Option<Wanted> {
    let with_it =
        state.ssh.hosts.iter().filter(|(_, host)| host.identity.as_ref().is_some_and(|it| it.0 == key.path));
    let machines: Vec<String> = with_it.map(|(name, _)| name.to_string()).collect();
    if machines.is_empty() {
        return None;
    }
    Some(Wanted {
        path: Some(key.path.clone()),
        name: key.path.to_string(),
        opens: format!("the private key that {} lets in", machines.join(", ")),
        owner: Some(key.owner.user.clone()),
        destination: None,
        put_away: if key.make.is_some() { PutAway::Replaceable } else { PutAway::Unknown },
    })
}

impl PutAway {
    fn words(self, of: &Wanted) -> String {
        let name = of.destination.as_ref().map_or("NAME", Name::as_str);
        match self {
            Self::Shown => {
                "made by rlvm, and put away by whoever called `rlvm secret show`: where? ____________".into()
            }
            Self::Never => format!(
                "NEVER PUT AWAY: the only copy is on the host, and without it no backup can be read. Now: rlvm secret show {name}"
            ),
            Self::NotMade => "not made yet: apply makes it, and then `rlvm secret show` it".into(),
            Self::Unknown => "made by a person: a copy is kept at ____________".into(),
            Self::Replaceable => "made on the host, and no copy is needed: see below".into(),
            Self::Public => "keep a copy; it can be got from whoever keeps that server".into(),
        }
    }
}

pub(super) fn write(kit: &Kit<'_>, places: &Places, paper: &mut Paper) {
    paper.section("Secrets that you need, none of which is here");
    let all = wanted(kit.state, kit.expanded, kit.ledger);
    if all.is_empty() {
        paper.say("None: the state declares no destination.");
        return;
    }
    paper.say(
        "Put each into the file named here, in the directory of section 2, as it was on the host. Those of the places \
         that you restore from are enough.",
    );
    for it in &all {
        paper.line("");
        paper.fact(&format!("[ ] secrets/{}", places.file_of(&it.name)));
        paper.named("   opens", &it.opens);
        let owner = it.owner.as_ref().map(|owner| format!(", of {owner}")).unwrap_or_default();
        paper.named("   on the host", &format!("{}{owner}", it.name));
        paper.named("   copy", &it.put_away.words(it));
        let head = it.path.as_ref().and_then(|path| kit.keys.get(path));
        if let Some(head) = head {
            if head.encrypted {
                paper.named("   passphrase", "it has one, which is a secret too: kept at ____________");
            }
            if let Some(public) = &head.public {
                paper.named("   public half", public.as_str());
            }
        }
    }
    if all.iter().any(|it| it.put_away == PutAway::Replaceable) {
        paper.line("");
        paper.say(
            "A key that is gone is replaced: make another one, and have whoever keeps the server put its public half \
             in the place of the old one (rlvm's state there: ssh: users: … authorized_keys).",
        );
        for it in all.iter().filter(|it| it.put_away == PutAway::Replaceable) {
            paper.line("");
            paper.fact(&format!("ssh-keygen -q -t ed25519 -N '' -f secrets/{}", places.file_of(&it.name)));
        }
    }
}
