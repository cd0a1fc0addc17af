//! The pinned restic: downloaded, checked and installed beside other versions, never over the system's own.
//!
//! The receipt beside an installed program tells whether rlvm installed it or somebody changed it: see [`Receipt`].

mod trust;

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use self::trust::ExposedDirectory;
use super::{Attribute, Cost, Diff, Edit, Finding, Kind, Look, Removal, Severity, look::names_of};
use crate::{
    effect::{Install, Op, Owner, Receipt, is_packed},
    host::{Entry, Observe, Stamp},
    model::{Address, BadText, FetchUrl, HostPath, Mode, Release, Scope, Sha256},
};

/// A pinned restic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Its version.
    pub version: Release,
    /// The published digest of the file that is fetched.
    pub sha256: Sha256,
    /// Where that file is fetched from.
    pub url: FetchUrl,
    /// Where it is installed: the directory of its version.
    pub path: HostPath,
    /// To whom it belongs.
    #[serde(default = "Owner::root", skip_serializing_if = "is_roots")]
    pub owner: Owner,
}

/// What was seen of a pinned restic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineSeen {
    /// What is at its place.
    pub program: ProgramSeen,
    /// What was written down when it was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<Receipt>>,
    /// The directories on the way that others than root can write, the nearest first.
    #[serde(default, skip_serializing_if = "<[ExposedDirectory]>::is_empty")]
    pub exposed: Box<[ExposedDirectory]>,
    /// Whether the network is left out: then nothing can be fetched from there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
}

/// What was seen at a program's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramSeen {
    /// Nothing.
    Absent,
    /// A regular file with one name.
    File {
        /// The user's name, or number.
        owner: String,
        /// The group's name, or number.
        group: String,
        /// Permission bits.
        mode: Mode,
        /// What moves when it is written: then it is read again.
        stamp: Stamp,
        /// The digest of what it holds.
        digest: Sha256,
    },
    /// Something that is never written over: what.
    Other(String),
}

/// Where a host's versions are installed, each in a directory of its own. /var may be mounted `noexec`.
const DIRECTORY: &str = "/usr/local/lib/rlvm/restic";
/// How many directories above a program are rlvm's own: `rlvm/restic/VERSION`.
const OWN: usize = 3;
/// Everybody may run it, its owner alone may write it.
const MODE: Mode = Mode::new(0o755);

impl Engine {
    /// Pins a version.
    ///
    /// # Errors
    ///
    /// Never, as long as a version is three numbers.
    pub fn new(version: Release, sha256: Sha256, url: FetchUrl, scope: &Scope) -> Result<Self, BadText> {
        let path = Self::path_of(version, scope)?;
        let owner = scope.personal().map_or_else(Owner::root, Owner::of);
        Ok(Self { version, sha256, url, path, owner })
    }

    /// Returns where versions are installed, the host's or a user's own.
    ///
    /// # Errors
    ///
    /// Never, as long as a user's own place is a path.
    pub fn directory(scope: &Scope) -> Result<HostPath, BadText> {
        match scope.personal() {
            None => Ok(HostPath::fixed(DIRECTORY)),
            Some(personal) => format!("{}/rlvm/restic", personal.data).parse(),
        }
    }

    /// Returns where a version is installed.
    ///
    /// # Errors
    ///
    /// Never, as long as a version is three numbers.
    pub fn path_of(version: Release, scope: &Scope) -> Result<HostPath, BadText> {
        format!("{}/{version}/restic", Self::directory(scope)?).parse()
    }

    /// Returns the address of a version.
    pub fn address_of(version: Release) -> Address {
        Address::new(Self::NAME, &version.to_string())
    }

    /// Names what of a program is not as declared, byte for byte; nothing, if it is.
    fn differs(&self, digest: &Sha256, receipt: Option<&Receipt>) -> Option<Attribute> {
        let declared = self.sha256.as_str();
        match receipt {
            Some(receipt) if receipt.installed == *digest && receipt.fetched == self.sha256 => None,
            // As it was installed, from something else.
            Some(receipt) if receipt.installed == *digest => {
                Some(Attribute::new("sha256", receipt.fetched.as_str(), declared))
            }
            // What is not packed is its own proof; yet how it came here is not written down.
            _ if !is_packed(&self.url) && *digest == self.sha256 => {
                Some(Attribute::new("receipt", (), format!("{}.sha256", self.path.name())))
            }
            _ => Some(Attribute::new("content", format!("sha256 {digest}"), "as it is fetched")),
        }
    }

    fn install(&self, attributes: Vec<Attribute>) -> Edit {
        let Self { path, url, sha256, version, owner } = self.clone();
        let says = vec!["restic".into(), version.to_string()];
        let op = Op::Install(Install { path, url, sha256, owner, mode: MODE, says });
        Edit { attributes, text: None, ops: vec![op] }
    }

    fn is_own(&self, dir: &HostPath) -> bool {
        self.path.ancestors().take(OWN).any(|own| own == *dir)
    }

    /// Takes rlvm's own directories from whoever else can write them, the outermost first. What they hold may be anybody's
    /// then, so the program is fetched anew.
    fn enclosed(&self, exposed: &[ExposedDirectory], edit: Edit) -> Edit {
        let (mut attributes, mut ops) = (Vec::new(), Vec::new());
        let (user, owner) = (self.owner.user.as_str(), &self.owner);
        for dir in exposed.iter().rev().filter(|dir| self.is_own(&dir.path)) {
            let path = &dir.path;
            if dir.owner != user {
                attributes.push(Attribute::new(&format!("owner of {path}"), dir.owner.as_str(), user));
            }
            if dir.mode != MODE {
                let (now, mode) = (dir.mode.to_string(), MODE.to_string());
                attributes.push(Attribute::new(&format!("mode of {path}"), now, mode));
            }
            ops.push(Op::SetOwner { path: path.clone(), owner: owner.clone() });
            ops.push(Op::SetMode { path: path.clone(), mode: MODE });
        }
        attributes.extend(edit.attributes);
        ops.extend(edit.ops);
        Edit { attributes, ops, ..edit }
    }

    fn look(&self, look: &Look<'_, EngineSeen>) -> Result<ProgramSeen> {
        let last = match look.last.map(|last| &last.program) {
            Some(ProgramSeen::File { stamp, digest, .. }) if !look.looks.refresh => Some((stamp, digest)),
            _ => None,
        };
        let (entry, digest) = match look.host.entry(&self.path)? {
            Entry::File(meta) if last.is_some_and(|(stamp, _)| *stamp == meta.stamp) => {
                (Entry::File(meta), last.map(|(_, digest)| digest.clone()))
            }
            Entry::File(_) => look.host.digest(&self.path)?,
            other => (other, None),
        };
        let path = &self.path;
        Ok(match (entry, digest) {
            (Entry::Absent, _) => ProgramSeen::Absent,
            (Entry::File(meta), _) if meta.links > 1 => {
                ProgramSeen::Other(format!("{path} has {} names (hard links)", meta.links))
            }
            (Entry::File(meta), Some(digest)) => {
                let (owner, group) = names_of(look.host, &meta, &self.owner)?;
                let (mode, stamp) = (meta.mode, meta.stamp);
                ProgramSeen::File { owner, group, mode, stamp, digest }
            }
            (Entry::Blocked(why), _) => ProgramSeen::Other(why),
            (other, _) => ProgramSeen::Other(format!("{path} is {}, no file", other.noun())),
        })
    }
}

fn is_roots(owner: &Owner) -> bool {
    *owner == Owner::root()
}

fn receipt(host: &dyn Observe, path: &HostPath) -> Result<Option<Receipt>> {
    let (_, text) = host.text(&Receipt::path_of(path)?)?;
    Ok(text.and_then(|text| Receipt::read(&String::from_utf8_lossy(&text))))
}

impl Kind for Engine {
    const NAME: &'static str = "restic";
    type Seen = EngineSeen;

    fn key(&self) -> Cow<'_, str> {
        self.version.to_string().into()
    }

    fn path(&self) -> Option<&HostPath> {
        Some(&self.path)
    }

    fn slots(&self) -> Vec<String> {
        vec!["restic".into()]
    }

    fn cost(&self) -> Cost {
        Cost::Work
    }

    fn observe(&self, look: &Look<'_, EngineSeen>) -> Result<EngineSeen> {
        let receipt = receipt(look.host, &self.path)?.map(Box::new);
        let exposed = if look.leaving { Vec::new() } else { Self::exposed(look.host, &self.path)? }.into();
        Ok(EngineSeen { program: self.look(look)?, receipt, exposed, offline: look.looks.offline })
    }

    fn exists(&self, seen: &EngineSeen) -> bool {
        seen.program != ProgramSeen::Absent
    }

    fn diff(&self, seen: &EngineSeen) -> Diff {
        let (owner, group, mode, digest) = match &seen.program {
            ProgramSeen::Absent => {
                let url = Attribute::new("url", (), self.url.to_string());
                let sha256 = Attribute::new("sha256", (), self.sha256.as_str());
                return Diff::Create(self.enclosed(&seen.exposed, self.install(vec![url, sha256])));
            }
            // Whoever can write the directory may have put there what stands in the way.
            ProgramSeen::Other(_) if seen.exposed.iter().any(|dir| self.is_own(&dir.path)) => {
                return Diff::Update(self.enclosed(&seen.exposed, self.install(Vec::new())));
            }
            ProgramSeen::Other(what) => return Diff::Refuse(what.clone()),
            ProgramSeen::File { owner, group, mode, digest, .. } => (owner, group, *mode, digest),
        };
        let mut attributes = Vec::new();
        let (user, first) = (self.owner.user.as_str(), self.owner.group.as_str());
        for (name, now, declared) in [("owner", owner, user), ("group", group, first)] {
            if now != declared {
                attributes.push(Attribute::new(name, now.as_str(), declared));
            }
        }
        if mode != MODE {
            attributes.push(Attribute::new("mode", mode.to_string(), MODE.to_string()));
        }
        attributes.extend(self.differs(digest, seen.receipt.as_deref()));
        // Fetched anew whatever differs: what others could write may be open in their hands.
        if attributes.is_empty() && !seen.exposed.iter().any(|dir| self.is_own(&dir.path)) {
            return Diff::Same;
        }
        Diff::Update(self.enclosed(&seen.exposed, self.install(attributes)))
    }

    fn checks(&self, seen: &EngineSeen, _: Option<&EngineSeen>) -> Vec<Finding> {
        let of_others = seen.exposed.iter().filter(|dir| !self.is_own(&dir.path)).map(|dir| {
            let message = format!("rlvm does not run the pinned restic {}: {}", self.version, dir.why);
            let remedy = format!("chown root {0} && chmod go-w {0}", crate::effect::quote(dir.path.as_str()));
            Finding::new(Severity::Error, Self::address_of(self.version), message).remedy(remedy)
        });
        let mut found: Vec<Finding> = of_others.collect();
        let fetches = matches!(self.diff(seen), Diff::Create(_) | Diff::Update(_));
        if !(seen.offline && fetches && matches!(self.url, FetchUrl::Web(_))) {
            return found;
        }
        let message =
            format!("restic {} would be fetched from {}, and --offline forbids it", self.version, self.url);
        let remedy = "leave --offline out, or bring the file here and name it: `url: file:///…`";
        found.push(Finding::new(Severity::Error, Self::address_of(self.version), message).remedy(remedy));
        found
    }

    fn removal(&self, seen: &EngineSeen, _: &dyn Fn(&HostPath) -> bool) -> Removal {
        let Ok(receipt) = Receipt::path_of(&self.path) else { return Removal::Quiet };
        // The receipt first: a program that went before it would leave it behind if rlvm is killed between the two.
        let paths = match &seen.program {
            ProgramSeen::Other(what) => return Removal::Forget(what.clone()),
            ProgramSeen::Absent if seen.receipt.is_none() => return Removal::Quiet,
            ProgramSeen::Absent => vec![receipt],
            ProgramSeen::File { .. } => vec![receipt, self.path.clone()],
        };
        let ops = paths.into_iter().map(|path| Op::RemoveFile { path }).collect();
        Removal::Delete(Edit { ops, ..Edit::default() })
    }

    fn remember(&self, seen: &EngineSeen) -> Option<EngineSeen> {
        Some(EngineSeen { offline: false, ..seen.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(url: &str) -> Engine {
        Engine::new("0.18.0".parse().unwrap(), sha('a'), url.parse().unwrap(), &Scope::Host).unwrap()
    }

    fn packed() -> Engine {
        engine("https://a.lan/restic.bz2")
    }

    fn sha(letter: char) -> Sha256 {
        letter.to_string().repeat(64).parse().unwrap()
    }

    fn seen(owner: &str, mode: u32, digest: char, receipt: Option<(char, char)>) -> EngineSeen {
        let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime: 1, ctime: 1 };
        let mode = Mode::new(mode);
        let (owner, group, digest) = (owner.into(), "root".into(), sha(digest));
        let receipt = receipt.map(|(fetched, installed)| {
            Box::new(Receipt { fetched: sha(fetched), installed: sha(installed) })
        });
        EngineSeen {
            program: ProgramSeen::File { owner, group, mode, stamp, digest },
            receipt,
            exposed: Box::default(),
            offline: false,
        }
    }

    fn only(program: ProgramSeen) -> EngineSeen {
        EngineSeen { program, receipt: None, exposed: Box::default(), offline: false }
    }

    #[test]
    fn what_differs_is_named_and_fetched() {
        let plain = engine("file:///srv/restic");
        for (it, seen, changed) in [
            (&packed(), seen("root", 0o755, 'b', Some(('a', 'b'))), &[][..]),
            (&packed(), seen("root", 0o755, 'c', Some(('a', 'b'))), &["content"]),
            (&packed(), seen("root", 0o755, 'b', Some(('c', 'b'))), &["sha256"]),
            (&packed(), seen("root", 0o755, 'b', None), &["content"]),
            // The digest of the packed file says nothing of the program.
            (&packed(), seen("root", 0o755, 'a', None), &["content"]),
            (&packed(), seen("daemon", 0o4775, 'b', Some(('a', 'b'))), &["owner", "mode"]),
            (&plain, seen("root", 0o755, 'a', None), &["receipt"]),
            (&plain, seen("root", 0o755, 'b', None), &["content"]),
        ] {
            let names = match it.diff(&seen) {
                Diff::Same => Vec::new(),
                Diff::Update(edit) => {
                    assert_eq!(edit.ops, it.install(Vec::new()).ops);
                    edit.attributes.into_iter().map(|it| it.name).collect()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(names, changed, "{seen:?}");
        }
        assert!(matches!(packed().diff(&only(ProgramSeen::Absent)), Diff::Create(_)));
        let other = only(ProgramSeen::Other("a FIFO".into()));
        assert_eq!(packed().diff(&other), Diff::Refuse("a FIFO".into()));
    }

    #[test]
    fn a_directory_that_others_can_write_is_closed_and_the_program_fetched_anew() {
        let exposed = |path: &str, owner: &str, mode| ExposedDirectory {
            path: path.parse().unwrap(),
            owner: owner.into(),
            mode: Mode::new(mode),
            why: format!("{path} can be written"),
        };
        let (own, above) = ("/usr/local/lib/rlvm/restic", "/usr/local");
        let there = || seen("root", 0o755, 'b', Some(('a', 'b')));
        for program in [there().program, ProgramSeen::Other("blocked".into())] {
            let exposed =
                vec![exposed(&format!("{own}/0.18.0"), "daemon", 0o755), exposed(own, "root", 0o777)];
            let Diff::Update(edit) =
                packed().diff(&EngineSeen { program, exposed: exposed.into(), ..there() })
            else {
                panic!()
            };
            let shown: Vec<String> = edit.ops.iter().take(4).map(ToString::to_string).collect();
            let expected = [
                format!("chown -h root:root {own}"),
                format!("chmod 0755 {own}"),
                format!("chown -h root:root {own}/0.18.0"),
                format!("chmod 0755 {own}/0.18.0"),
            ];
            assert_eq!(shown, expected);
            assert_eq!(edit.ops[4..], packed().install(Vec::new()).ops);
            let names: Vec<String> = edit.attributes.iter().map(|it| it.name.clone()).collect();
            assert_eq!(names, [format!("mode of {own}"), format!("owner of {own}/0.18.0")]);
        }
        // One that is not rlvm's is the administrator's to close.
        let above = EngineSeen { exposed: Box::new([exposed(above, "root", 0o777)]), ..there() };
        assert_eq!(packed().diff(&above), Diff::Same);
        let found = packed().checks(&above, None);
        assert!(
            found[0].severity == Severity::Error && found[0].message.contains(" /usr/local can be written")
        );
    }

    #[test]
    fn it_goes_with_its_record() {
        let shown = |seen: &EngineSeen| match packed().removal(seen, &|_| false) {
            Removal::Delete(edit) => edit.ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            other => format!("{other:?}"),
        };
        let place = "/usr/local/lib/rlvm/restic/0.18.0/restic";
        let both = format!("rm {place}.sha256; rm {place}");
        assert_eq!(shown(&seen("root", 0o755, 'b', Some(('a', 'b')))), both);
        // What writes the receipt may have been cut short.
        assert_eq!(shown(&seen("root", 0o755, 'b', None)), both);
        assert_eq!(shown(&only(ProgramSeen::Absent)), "Quiet");
        let left = EngineSeen { program: ProgramSeen::Absent, ..seen("root", 0o755, 'b', Some(('a', 'b'))) };
        assert_eq!(shown(&left), format!("rm {place}.sha256"));
        assert_eq!(shown(&only(ProgramSeen::Other("a FIFO".into()))), "Forget(\"a FIFO\")");
    }

    #[test]
    fn offline_only_what_is_there_or_on_the_disk() {
        let offline = |seen: EngineSeen| EngineSeen { offline: true, ..seen };
        let there = || seen("root", 0o755, 'b', Some(('a', 'b')));
        let absent = || only(ProgramSeen::Absent);
        let disk = engine("file:///srv/restic");
        for (it, seen, said) in [
            (&packed(), absent(), false),
            (&packed(), offline(absent()), true),
            (&packed(), offline(there()), false),
            (&disk, offline(absent()), false),
        ] {
            assert_eq!(!it.checks(&seen, None).is_empty(), said, "{seen:?}");
            assert!(it.remember(&seen).is_some_and(|kept| !kept.offline));
        }
    }
}
