//! `state/hosts/web01.yaml`, the example of a client, on a machine with everything that it names.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read the shipped state")]

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

use super::says;
use crate::{lab::Lab, support::Scratch};

/// Copies the shipped state, with this host key and this digest in the place of its made-up ones.
fn shipped(lab: &Scratch, host_key: &str, sha256: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
    let policy = fs::read_to_string(from.join("common/policy.yaml")).unwrap();
    let text = fs::read_to_string(from.join("hosts/web01.yaml")).unwrap();
    let line = |word: &str| text.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
    let text = text
        .replace(line("- ssh-ed25519 "), &format!("        - {host_key}"))
        .replace(line("sha256: "), &format!("  sha256: \"{sha256}\""));
    lab.state_text(&text);
    fs::create_dir_all(lab.beside("state/common")).unwrap();
    fs::write(lab.beside("state/common/policy.yaml"), policy).unwrap();
}

/// What a person brings: users, a disk, passwords.
fn prepare(lab: &Lab) {
    let accounts = |file: &str, line: &str| lab.file(file, &(lab.read(file) + line));
    accounts("/etc/passwd", "shop:x:4100:4100::/var/lib/shop:/usr/sbin/nologin\n");
    accounts("/etc/group", "shop:x:4100:\n");
    lab.dir("/srv/backup", 0, 0o700);
    lab.ok(&["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", "/srv/backup"]);
    for name in ["nas", "worm", "offsite"] {
        lab.file_of(&format!("/etc/rlvm/secrets/{name}.pass"), &format!("of {name}\n"), 0, 0o600);
    }
    lab.file_of("/etc/rlvm/secrets/webhook.url", "https://chat.lan/hooks/web01\n", 0, 0o600);
    lab.file_of(
        "/etc/rlvm/secrets/offsite.env",
        "AWS_ACCESS_KEY_ID=web\nAWS_SECRET_ACCESS_KEY=web\n",
        0,
        0o600,
    );
}

#[test]
fn every_line_of_the_example_works_but_its_sources() {
    let lab = Lab::new();
    prepare(&lab);
    let sshd = lab.sshd();
    // Trusted by the whole machine, as a company's own authority is.
    let authority = lab.certificates();
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    lab.ok(&[
        "sh",
        "-euc",
        &format!("cat {bundle} {authority} > /srv/tls/bundle; mount --bind /srv/tls/bundle {bundle}"),
    ]);
    let _s3 = lab.s3_with_tls();
    lab.rclone(&["--s3-endpoint", "https://s3.lan:3900", "mkdir", ":s3:backups"]);
    lab.dir("/srv/mirror/restic", 0, 0o755);
    let packed = "/srv/mirror/restic/restic_0.18.0_linux_amd64.bz2";
    lab.ok(&["sh", "-euc", &format!("bzip2 -1 -c /opt/restics/0.18.0/restic > {packed}")]);
    let _mirror = lab.mirror("/srv/mirror");

    // The published digest is another one: nothing is installed, and what needs it waits.
    shipped(&lab, &sshd.host_key(), &"0".repeat(64));
    says(&lab, &["apply", "--yes"], 7, &["failed restic:0.18.0: ", &"0".repeat(64), "skipped repository:"]);
    assert!(!lab.at("/usr/local/lib/rlvm/restic/0.18.0/restic").exists());

    let digest = Sha256::digest(fs::read(lab.at(packed)).unwrap());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    shipped(&lab, &sshd.host_key(), &digest);
    lab.apply();
    lab.plan_is_empty();
    for name in ["vault", "nas", "worm", "offsite"] {
        assert!(lab.managed().contains(&format!("repository:{name}")), "{name}");
    }
    let pinned = "/usr/local/lib/rlvm/restic/0.18.0/restic";
    assert!(lab.ok(&[pinned, "version"]).starts_with("restic 0.18.0 "));
    // Each look is the pinned one's: this system's is 0.14.
    let said = lab.expect(0, &["-vv", "plan", "--refresh"]).stderr;
    assert!(
        said.contains(&format!("{pinned} cat config")) && !said.contains("ran command=restic "),
        "{said}"
    );

    // Unplugged it can still be planned.
    lab.unplug();
    let left = says(&lab, &["plan", "--offline", "--detailed-exitcode"], 0, &["No changes."]);
    for name in ["nas", "worm", "offsite"] {
        assert!(left.contains(&format!("note: repository:{name}: not looked at: --offline")), "{left}");
    }
}
