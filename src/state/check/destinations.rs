//! Checks destinations: two that are one repository, and locations that are given twice.

use std::collections::BTreeMap;

use super::Check;
use crate::{
    destination::{Destination, Kind, Rest, S3},
    effect::{is_credential, is_own},
    model::{Line, Name, Size, Url},
};

/// Flags of restic that rlvm sets itself, and where their value belongs.
const REFUSED: [(&str, &str); 16] = [
    ("repo", "say where the repository is with `local`, `sftp`, `rest`, `s3`, `b2` or `rclone`"),
    ("r", "say where the repository is with `local`, `sftp`, `rest`, `s3`, `b2` or `rclone`"),
    ("repository-file", "say where the repository is with `local`, `sftp`, `rest`, `s3`, `b2` or `rclone`"),
    ("password-file", "write `password_file`"),
    ("p", "write `password_file`"),
    ("password-command", "write `password_file`"),
    ("insecure-no-password", "a repository without a password is not for backups"),
    ("compression", "write `compression`"),
    ("pack-size", "write `pack_size`"),
    ("cache-dir", "rlvm's cache is in /var/cache/rlvm"),
    ("no-cache", "rlvm's cache is in /var/cache/rlvm"),
    ("no-lock", "rlvm takes locks where they are needed"),
    ("dry-run", "that is a verb's own: `rlvm run --dry-run`"),
    ("json", "rlvm reads what restic prints"),
    ("quiet", "rlvm reads what restic prints"),
    ("verbose", "rlvm reads what restic prints"),
];

impl Check<'_> {
    pub(super) fn destinations(&mut self) {
        let mut seen: BTreeMap<String, (&Name, &Destination)> = BTreeMap::new();
        for (name, destination) in &self.state.destinations {
            self.was("destinations", name, &destination.was);
            self.options(&["destinations", name.as_str(), "options"], &destination.options, &REFUSED);
            self.two_ways(name, destination);
            self.credentials(name, destination);
            self.pack_size(name, destination);
            self.repack_size(name, destination);
            match seen.get(&destination.identity()) {
                None => drop(seen.insert(destination.identity(), (name, destination))),
                Some((first, other)) => self.one_repository(first, other, name, destination),
            }
        }
    }

    /// R07
    fn one_repository(&mut self, first: &Name, other: &Destination, name: &Name, destination: &Destination) {
        let path = ["destinations", name.as_str(), destination.kind.key()];
        if destination.password_file == other.password_file {
            let message = format!("`{name}` and `{first}` are one repository");
            self.warning(&path, message, format!("take one out, and name `{first}` in its place"));
        } else {
            let message = format!("`{name}` and `{first}` are one repository, with different password files");
            self.error(&path, message, "give one of them another place, or take one out");
        }
    }

    /// R08
    fn two_ways(&mut self, name: &Name, destination: &Destination) {
        let name = name.as_str();
        match &destination.kind {
            Kind::S3(s3) => self.s3(name, s3, destination),
            Kind::Rest(rest) => self.rest(name, rest),
            Kind::Sftp(_) => {
                let command = [("sftp.command", "how ssh is called stands in `ssh: hosts:`")];
                self.options(&["destinations", name, "options"], &destination.options, &command);
            }
            Kind::B2(b2) => self.bucket(name, "b2", &b2.bucket, b2.prefix.as_ref()),
            Kind::Rclone(rclone) if rclone.ssh.is_some() => {
                let program = [("rclone.program", "`ssh` says it already")];
                self.options(&["destinations", name, "options"], &destination.options, &program);
            }
            _ => {}
        }
    }

    fn s3(&mut self, name: &str, s3: &S3, destination: &Destination) {
        self.bucket(name, "s3", &s3.bucket, s3.prefix.as_ref());
        let path = s3.endpoint.as_ref().map_or("", |endpoint| endpoint.split().2).trim_matches('/');
        if !path.is_empty() {
            let message = format!("the endpoint holds `{path}`, and `bucket` says where as well");
            let remedy = "write the server alone as `endpoint`, the rest as `bucket` and `prefix`";
            self.error(&["destinations", name, "s3", "endpoint"], message, remedy);
        }
        if let Some(endpoint) = &s3.endpoint {
            self.plain_http(&["destinations", name, "s3"], "endpoint", endpoint, s3.plain_http);
        }
        if s3.path_style.is_some() {
            let lookup = [("s3.bucket-lookup", "`path_style` says it already")];
            self.options(&["destinations", name, "options"], &destination.options, &lookup);
        }
        if s3.region.is_some() {
            let region = [("s3.region", "`region` says it already")];
            self.options(&["destinations", name, "options"], &destination.options, &region);
        }
    }

    fn rest(&mut self, name: &str, rest: &Rest) {
        self.plain_http(&["destinations", name, "rest"], "url", &rest.url, rest.plain_http);
        for (one, other, given) in [
            ("user_file", "password_file", (&rest.user_file, &rest.password_file)),
            ("password_file", "user_file", (&rest.password_file, &rest.user_file)),
        ] {
            if let (Some(_), None) = given {
                let message = format!("`{one}` without `{other}`");
                self.error(&["destinations", name, "rest", one], message, format!("write `{other}` too"));
            }
        }
    }

    /// An address that is not encrypted is said to be meant.
    fn plain_http(&mut self, at: &[&str], key: &str, url: &Url, meant: bool) {
        if url.split().0 == "http" && !meant {
            let message = format!("`{url}` is not encrypted");
            let path: Vec<&str> = at.iter().copied().chain([key]).collect();
            self.error(&path, message, "write https://, or, if it is meant, `plain_http: true` beside it");
        }
    }

    /// R66: a credential is for the store, not for the linker, and says nothing that rlvm says itself.
    fn credentials(&mut self, name: &Name, destination: &Destination) {
        for variable in destination.credentials.keys() {
            let path = ["destinations", name.as_str(), "credentials", variable.as_str()];
            if is_own(variable.as_str()) {
                let remedy = "the password is in `password_file`, the place in the destination's kind";
                self.error(&path, format!("`{variable}` is set by rlvm itself"), remedy);
            } else if !is_credential(variable.as_str()) {
                let message = format!("`{variable}` is no variable that restic, rclone or a proxy takes");
                self.error(&path, message, "write one of theirs, like AWS_ACCESS_KEY_ID");
            }
        }
    }

    /// What restic takes, in MiB (its manual, "Pack Size").
    fn pack_size(&mut self, name: &Name, destination: &Destination) {
        let Some(size) = destination.pack_size else { return };
        let bytes = match size {
            Size::Bytes(bytes) => bytes,
            Size::Percent(_) => 0,
        };
        if !((4 << 20)..=(128 << 20)).contains(&bytes) {
            let message = format!("a pack is from 4M to 128M, and not {size}");
            self.error(&["destinations", name.as_str(), "pack_size"], message, "write a size like 64M");
        }
    }

    /// restic's `--max-repack-size` takes bytes alone.
    fn repack_size(&mut self, name: &Name, destination: &Destination) {
        if let Some(Size::Percent(_)) = destination.prune.max_repack_size {
            let path = ["destinations", name.as_str(), "prune", "max_repack_size"];
            self.error(
                &path,
                "a share cannot limit how much is repacked".to_owned(),
                "write a size like 20G",
            );
        }
    }

    fn bucket(&mut self, name: &str, kind: &str, bucket: &Line, prefix: Option<&Line>) {
        let Some((bucket, rest)) = bucket.as_str().split_once(['/', ':']) else { return };
        let message = match prefix {
            Some(prefix) => format!("the bucket holds `{rest}`, and `prefix` says `{prefix}`"),
            None => format!("the bucket holds a prefix, `{rest}`"),
        };
        let remedy = format!("write `bucket: {bucket}`, and the rest as `prefix`");
        self.error(&["destinations", name, kind, "bucket"], message, remedy);
    }
}
