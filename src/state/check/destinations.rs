//! Destinations: two that are one repository, and places that are given in two ways.

use std::collections::BTreeMap;

use super::Check;
use crate::{
    destination::{Destination, Kind, S3},
    model::{Line, Name},
};

/// Flags of restic that rlvm sets itself, and where their value belongs.
const REFUSED: [(&str, &str); 15] = [
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
        if s3.region.is_some() {
            let region = [("s3.region", "`region` says it already")];
            self.options(&["destinations", name, "options"], &destination.options, &region);
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
