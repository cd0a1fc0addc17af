//! The whole way, in the order that docs/server.md tells an administrator; and back.

use std::cell::OnceCell;

use super::{
    KEY, client, nas_yaml, restic, restic_within, server, sftp, snapshots, stored, web01_yaml, worm,
};
use crate::lab::{Lab, restics};

/// The two machines, and the keys of two clients.
struct Hosts {
    nas: Lab,
    web: Lab,
    /// Empty until it is made.
    web01: OnceCell<String>,
    db01: String,
}

/// Where the server's own password for pruning is.
const PRUNE_PASSWORD: &str = "/etc/rlvm/secrets/web01-worm.pass";

impl Hosts {
    /// Makes two machines with nothing on them but what a person brings.
    fn new() -> Self {
        let nas = server();
        let web = client(&nas);
        // Another client's key; it is used from the same machine, which is 10.0.0.12 too.
        web.ok(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@db01", "-f", "/root/db01"]);
        let db01 = web.read("/root/db01.pub").trim().to_owned();
        nas.file_of(PRUNE_PASSWORD, "of worm\n", 0, 0o600);
        nas.dir("/etc/rlvm/secrets", 0, 0o700);
        Self { nas, web, web01: OnceCell::new(), db01 }
    }

    /// Sets both up, as docs/server.md says.
    fn set_up(&self) {
        // 1. The client: by which keys the server is known, in the form of the state.
        let scan = self.web.expect(0, &["ssh", "scan", "nas.lan"]);
        self.web.state_text(&web01_yaml(&scan.stdout));
        // 2. Its own key pair, and the public half.
        self.web.expect(0, &["apply", "--yes", "--target", &format!("ssh_key:{KEY}")]);
        let shown = self.web.expect(0, &["show"]).stdout;
        let public = |line: &str| line.find("ssh-ed25519 ").map(|at| line[at..].trim().to_owned());
        let own = self.web.read(&format!("{KEY}.pub")).trim().to_owned();
        assert!(shown.lines().filter_map(public).any(|key| key == own), "{own}: {shown}");
        self.web01.set(own).unwrap();
        // 3. The server.
        self.serve(self.own_key(), true);
        // 4. The client.
        self.web.apply();
        self.web.plan_is_empty();
    }

    fn own_key(&self) -> &str {
        self.web01.get().unwrap()
    }

    /// Applies the server's state with this key of web01's, its account for files or not.
    fn serve(&self, web01: &str, files: bool) {
        let mut text = nas_yaml(web01, &self.db01, &worm(web01));
        if !files {
            let (before, rest) = text.split_once("    backup-web01:\n").unwrap();
            let (_, after) = rest.split_once("    backup-db01:\n").unwrap();
            text = format!("{before}    backup-db01:\n{after}");
        }
        self.nas.state_text(&text);
        // An account that was shut is opened on a person's word.
        self.nas.expect(0, &["apply", "--yes", "--adopt"]);
        self.nas.plan_is_empty();
    }

    /// Says how db01's key fares from one of the client's two addresses.
    fn db01_from(&self, address: &str) -> crate::support::Ran {
        let options = ["-F", "/dev/null", "-i", "/root/db01", "-b", address];
        let known = "UserKnownHostsFile=/root/.ssh/known_hosts";
        let words = ["-o", "BatchMode=yes", "-o", known, "-n", "backup-db01@nas.lan", "any"];
        self.web.run(&[&["ssh"], &options[..], &words].concat())
    }

    /// Says whether db01 gets in from where it may.
    fn db01_gets_in(&self) -> bool {
        let ran = self.db01_from("10.0.0.12");
        let refused = ran.stderr.contains("Permission denied (publickey");
        assert!(refused || ran.code != Some(255), "{ran:?}");
        !refused
    }

    /// Returns what the server has of web01's, names and contents.
    fn data(&self) -> String {
        let sums =
            "cd /srv/clients && find web01 web01-worm -type f ! -path '*/locks/*' | sort | xargs sha256sum";
        self.nas.ok(&["sh", "-euc", sums])
    }

    /// Returns the ids of the repositories, as the client's ledger has them.
    fn ids(&self) -> Vec<String> {
        ["nas", "worm"].map(|to| self.id(to)).into()
    }

    fn id(&self, to: &str) -> String {
        let ran = restic(&self.web, "/usr/bin", to, &["cat", "config", "--no-lock"]);
        let config: serde_json::Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        config["id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_client_stores_and_only_the_server_forgets() {
    // R31, R42, R63
    let hosts = Hosts::new();
    let made = hosts.nas.ok(&["cat", "/etc/passwd"]);
    assert!(!made.contains("web01"), "{made}");
    let _sshd = hosts.nas.own_sshd();
    hosts.set_up();
    let Hosts { nas, web, .. } = &hosts;
    assert!(nas.read("/etc/passwd").contains("\nbackup-web01-worm:x:"));

    // Each restic stores at each place.
    let all = restics();
    for it in &all {
        for to in ["nas", "worm"] {
            let ran = restic(web, &it.dir, to, &["backup", "/etc/hosts"]);
            assert_eq!(ran.code, Some(0), "{} to {to}: {ran:?}", it.version);
        }
    }
    assert_eq!((snapshots(web, "nas"), snapshots(web, "worm")), (all.len(), all.len()));
    let inside = stored(nas);
    for (dir, account) in [("web01", "backup-web01"), ("web01-worm", "backup-web01-worm")] {
        let below = format!("/srv/clients/{dir}/repo/");
        let theirs: Vec<&str> = inside.lines().filter(|line| line.starts_with(&below)).collect();
        assert!(
            theirs.len() > 10 && theirs.iter().all(|line| line.contains(&format!(" {account}:"))),
            "{inside}"
        );
    }
    // From the chroot nothing else is to be seen.
    let ran = sftp(web, &[], "backup-web01", "ls -1a /\nls -1 /..\n");
    let seen: Vec<&str> = ran.stdout.lines().filter(|line| !line.starts_with("sftp>")).collect();
    assert!(seen.iter().all(|line| line.ends_with("repo") || line.ends_with('.')), "{ran:?}");
    assert_eq!(sftp(web, &[], "backup-web01", "ls /srv\n").code, Some(1));
    // db01's key is good from where it was said, and nowhere else.
    assert!(hosts.db01_gets_in());
    let ran = hosts.db01_from("10.77.0.2");
    assert!(ran.code == Some(255) && ran.stderr.contains("Permission denied (publickey"), "{ran:?}");

    // What cannot be forgotten: tried by each restic, whose exit codes differ. 0.14 would try for 45 s each.
    let before = hosts.data();
    for it in &all {
        restic_within(web, "90", &it.dir, "worm", &["forget", "--keep-last", "1", "--prune"]);
        assert_eq!(snapshots(web, "worm"), all.len(), "{}", it.version);
    }
    for line in before.lines() {
        assert!(hosts.data().contains(line), "gone: {line}");
    }
    let ran = restic(web, "/usr/bin", "nas", &["forget", "--keep-last", "1", "--group-by", ""]);
    assert_eq!((ran.code, snapshots(web, "nas")), (Some(0), 1), "{ran:?}");

    // The server forgets what is too old.
    for day in ["2024-01-01", "2024-02-01"] {
        let ran =
            restic(web, "/usr/bin", "worm", &["backup", "--time", &format!("{day} 00:00:00"), "/etc/hosts"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!(snapshots(web, "worm"), all.len() + 2);
    // Nothing was stored for a year: a person must say that this is so.
    nas.expect(6, &["prune"]);
    let ran = nas.expect(0, &["prune", "--clock-is-right"]);
    assert_eq!(snapshots(web, "worm"), all.len(), "{ran:?}");
    let inside = stored(nas);
    let others = inside.lines().filter(|line| line.starts_with("/srv/clients/web01-worm/repo"));
    assert_eq!(others.filter(|line| !line.contains(" backup-web01-worm:")).count(), 0, "{inside}");
    web.expect(0, &["plan", "--refresh", "--detailed-exitcode"]);
    let ran = restic(web, "/usr/bin", "worm", &["backup", "/etc/hosts"]);
    assert_eq!((ran.code, snapshots(web, "worm")), (Some(0), all.len() + 1), "{ran:?}");
    nas.plan_is_empty();
}

#[test]
fn a_revoked_client_is_refused_and_finds_all_as_it_was() {
    // R42
    let hosts = Hosts::new();
    let _sshd = hosts.nas.own_sshd();
    hosts.set_up();
    for to in ["nas", "worm"] {
        assert_eq!(restic(&hosts.web, "/usr/bin", to, &["backup", "/etc/hosts"]).code, Some(0));
    }
    let (data, ids) = (hosts.data(), hosts.ids());

    // Another key in the place of a stolen one.
    hosts.web.ok(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "new", "-f", "/root/new"]);
    hosts.serve(hosts.web.read("/root/new.pub").trim(), true);
    let plan = hosts.web.expect(1, &["plan"]).stdout;
    for to in ["nas", "worm"] {
        let line = plan.lines().find(|line| line.starts_with(&format!("error: repository:{to}:")));
        assert!(line.is_some_and(|line| line.contains("ermission denied")), "{plan}");
        assert_ne!(restic(&hosts.web, "/usr/bin", to, &["backup", "/etc/hosts"]).code, Some(0));
    }
    assert!(hosts.db01_gets_in());
    assert_eq!(hosts.data(), data);

    // It was found again.
    hosts.serve(hosts.own_key(), true);
    hosts.web.plan_is_empty();
    hosts.web.apply();
    assert_eq!((hosts.data(), hosts.ids()), (data.clone(), ids.clone()));
    for to in ["nas", "worm"] {
        assert_eq!(snapshots(&hosts.web, to), 1);
    }

    // One account goes from the state.
    hosts.serve(hosts.own_key(), false);
    assert!(hosts.nas.read("/etc/passwd").contains("\nbackup-web01:x:"));
    let ran = sftp(&hosts.web, &[], "backup-web01", "pwd\n");
    assert!(ran.code == Some(255) && ran.stderr.contains("Permission denied (publickey"), "{ran:?}");
    // By no other way that sshd knows either, and by no key of its own making.
    let asked = ["-o", "PreferredAuthentications=none,password,keyboard-interactive,hostbased"];
    assert_eq!(sftp(&hosts.web, &asked, "backup-web01", "pwd\n").code, Some(255));
    let own = hosts.nas.run(&["runuser", "-u", "backup-web01", "--", "mkdir", "/srv/clients/web01/.ssh"]);
    assert_ne!(own.code, Some(0), "its home is root's");
    let plan = hosts.web.expect(1, &["plan"]).stdout;
    assert!(plan.contains("error: repository:nas:") && !plan.contains("error: repository:worm:"), "{plan}");
    assert_eq!(restic(&hosts.web, "/usr/bin", "worm", &["backup", "/etc/hosts"]).code, Some(0));
    assert!(hosts.db01_gets_in());
    for line in data.lines().filter(|line| line.contains(" web01/")) {
        assert!(hosts.data().contains(line), "gone: {line}");
    }
    // And comes back, its data with it.
    hosts.serve(hosts.own_key(), true);
    hosts.web.plan_is_empty();
    assert_eq!((snapshots(&hosts.web, "nas"), hosts.ids()), (1, ids));
}
