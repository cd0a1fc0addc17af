//! `rlvm rescue-kit`: a kit of a real host is followed, command by command, by a shell that knows nothing else.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at the machine and change it themselves"
)]

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::{
    lab::{Lab, NAS, REST_PASSWORD, REST_USER, WORM, restics},
    support::{Ran, Scratch, sha256},
};

/// Returns the commands of a kit's sections with these numbers.
fn commands(kit: &str, sections: &[u32]) -> String {
    let mut inside = false;
    let mut script = String::new();
    for line in kit.lines() {
        if let Some((number, _)) = line.split_once(". ").filter(|(number, _)| number.len() <= 2)
            && let Ok(number) = number.parse::<u32>()
        {
            inside = sections.contains(&number);
        }
        if let Some(command) = line.strip_prefix("    ").filter(|_| inside) {
            script.extend([command, "\n"]);
        }
    }
    assert!(!script.is_empty(), "{kit}");
    script
}

/// Pastes commands into a shell of the lab, in a directory that is not there yet.
fn pasted(lab: &Lab, script: &str) -> Ran {
    let script = format!("export KIT=/var/tmp/rescue TARGET=/var/tmp/restored\n{script}");
    lab.run(&["sh", "-euc", &script])
}

/// Puts a secret where the kit says that it belongs.
fn put(lab: &Lab, from: &str, file: &str) {
    lab.ok(&["install", "-m", "600", "-D", from, &format!("/var/tmp/rescue/secrets/{file}")]);
}

const LOCAL: &str = "
  near: { local: { path: /srv/backup/near }, password_file: /etc/rlvm/near.pass, generate_password: true }
  far-away: { local: { path: '/srv/backup/far away' }, password_file: '/etc/rlvm/far pass' }
";

/// The words of a job that stores at these.
fn job(to: &str) -> String {
    format!("jobs:\n  web: {{ sources: [{{ path: /srv/www }}, {{ path: /etc/rlvm/notes }}], to: {to} }}\n")
}

fn content(lab: &Lab) {
    lab.file("/srv/www/index.html", "hello\n");
    lab.file_of("/srv/www/it's \"me\"", "odd\n", 33, 0o640);
    lab.ok(&["ln", "-s", "index.html", "/srv/www/link"]);
    lab.file("/etc/rlvm/notes/a", "a\n");
}

/// Compares what was restored with what is there.
#[track_caller]
fn is_restored(lab: &Lab) {
    for dir in ["/srv/www", "/etc/rlvm/notes"] {
        let listed = |root: &str| {
            let script =
                format!("cd {root}{dir} && find . -printf '%p %y %m %U %G %l %T@\\n' | sort && cat *");
            lab.ok(&["sh", "-c", &script])
        };
        assert_eq!(listed("/var/tmp/restored"), listed(""), "{dir}");
    }
    lab.ok(&["rm", "-r", "/var/tmp/restored"]);
}

#[test]
fn a_kit_is_followed_with_each_restic() {
    for version in restics() {
        let mut lab = Lab::new();
        lab.use_restic(&version);
        content(&lab);
        lab.file_of("/etc/rlvm/far pass", "canary-far-0xBEEF\n", 0, 0o600);
        lab.state(&format!("destinations:{LOCAL}{}", job("[near], copy: { far-away: { from: near } }")));
        lab.apply();
        lab.make_key_cheap("/srv/backup/near", "/etc/rlvm/near.pass");
        lab.make_key_cheap("/srv/backup/far away", "/etc/rlvm/far pass");
        lab.expect(0, &["run", "web"]);
        // As it was applied, whatever has become of the file; and nothing of it is on the host any more but the backups.
        let by_cron = lab.run(&["rlvm", "rescue-kit", "--out", "/var/tmp/kit"]);
        assert_eq!(by_cron.code, Some(0), "{by_cron:?}");
        let warned = "warning: /etc/rlvm/near.pass, the password of the repository near: the only copy is on this host";
        assert!(by_cron.stderr.contains(warned) && !by_cron.stderr.contains("far pass"), "{by_cron:?}");
        let kit = lab.read("/var/tmp/kit");
        let near = lab.read("/etc/rlvm/near.pass");
        for secret in [near.trim(), "canary-far"] {
            assert!(!kit.contains(secret), "{secret}");
        }
        assert!(
            kit.contains(&format!("The host used restic {}, {}/restic", version.version, version.dir)),
            "{kit}"
        );
        assert!(kit.contains("NEVER PUT AWAY") && kit.contains("rlvm secret show near"), "{kit}");

        lab.ok(&["rm", "-rf", "/var/lib/rlvm"]);
        put(&lab, "/etc/rlvm/near.pass", "near.pass");
        put(&lab, "/etc/rlvm/far pass", "far pass");
        let ran = pasted(&lab, &commands(&kit, &[2, 5, 6]));
        assert!(ran.code == Some(0) && ran.stdout.matches("web01").count() >= 2, "{ran:?}");
        // From each place alone, with all else that section 8 has.
        let all = commands(&kit, &[2, 5, 8]);
        for left_out in ["at_near", "at_far_away"] {
            let restores = |line: &&str| !line.starts_with(&format!("{left_out} "));
            let script: String = all.replace(" \\\n", " ").split_inclusive('\n').filter(restores).collect();
            let ran = pasted(&lab, &script);
            assert_eq!(ran.code, Some(0), "{script}\n{ran:?}");
            is_restored(&lab);
        }
        // The state comes back out of it, and is the same.
        lab.ok(&[
            "sh",
            "-c",
            "awk '/^[|] /{if(n++)print l;l=substr($0,3)} /^[|][+]/{l=l substr($0,3)}END{print l}' \
             /var/tmp/kit > /var/tmp/state.yaml; head -n -1 /var/tmp/kit | sha256sum > /var/tmp/sum",
        ]);
        let (first, sum) = (lab.expect(0, &["show"]).stdout, lab.read("/var/tmp/sum"));
        let again = lab.run(&["rlvm", "--state", "/var/tmp/state.yaml", "show"]);
        assert_eq!(again.stdout, first, "{again:?}");
        assert_eq!(kit.lines().last(), Some(&*format!("sha256 {}", &sum[..64])));
    }
}

/// Destinations of each kind, their passwords and credentials in files. `KEY` is the server's host key.
const ELSEWHERE: &str = "destinations:
  nas: { sftp: { user: backup-web01, host: nas.lan, path: /repo }, password_file: /etc/rlvm/pass/nas }
  worm: { rclone: { ssh: { user: backup-web01-worm, host: nas.lan }, path: web01 }, password_file: /etc/rlvm/pass/worm }
  rest:
    rest: { url: 'https://rest.lan:8000/web01', user_file: /etc/rlvm/rest/user, password_file: /etc/rlvm/rest/pass, ca_file: /srv/tls/ca.pem }
    password_file: /etc/rlvm/pass/rest
  s3:
    s3: { endpoint: 'http://s3.lan:3900', bucket: web, prefix: web01, path_style: true, plain_http: true }
    password_file: /etc/rlvm/pass/s3
    env_file: /etc/rlvm/s3.env
  drive: { rclone: { remote: drive, path: /srv/drive, config_file: /etc/rlvm/rclone.conf }, password_file: /etc/rlvm/pass/drive }
ssh:
  keys: { /root/.ssh/id_rlvm: {} }
  hosts: { nas.lan: { identity: /root/.ssh/id_rlvm, host_keys: [KEY] } }
";

/// Puts all secrets where the kit says, and takes them off the host.
fn move_secrets(lab: &Lab, kit: &str) {
    let mut to: Option<String> = None;
    let mut moved = 0;
    for line in kit.lines() {
        if let Some((_, file)) = line.split_once("[ ] secrets/") {
            to = Some(file.to_owned());
        } else if let Some((_, path)) = line.split_once(":    on the host ")
            && let Some(file) = to.take()
        {
            let path = path.split(", of ").next().unwrap().trim();
            put(lab, path, &file);
            lab.ok(&["rm", path]);
            moved += 1;
        }
    }
    assert_eq!(moved, 11, "{kit}");
}

#[test]
fn places_elsewhere_are_reached_with_the_kit_alone() {
    let lab = Lab::new();
    content(&lab);
    let sshd = lab.sshd();
    let _rest = lab.rest_with_tls(&[]);
    let _s3 = lab.s3();
    lab.bucket("web");
    for name in ["nas", "worm", "rest", "s3", "drive"] {
        lab.file_of(&format!("/etc/rlvm/pass/{name}"), &format!("canary-{name}-0xF00D\n"), 0, 0o600);
    }
    let env = "# keys\nAWS_ACCESS_KEY_ID=web\nexport AWS_SECRET_ACCESS_KEY='canary-$HOME web'\n";
    for (file, text) in [
        ("rest/user", format!("{REST_USER}\n")),
        ("rest/pass", format!("{REST_PASSWORD}\n")),
        ("s3.env", env.into()),
        ("rclone.conf", "[drive]\ntype = local\n".into()),
    ] {
        lab.file_of(&format!("/etc/rlvm/{file}"), &text, 0, 0o600);
    }
    lab.state(&format!(
        "{}{}",
        ELSEWHERE.replace("KEY", &sshd.host_key()),
        job("[nas, worm, rest, s3, drive]")
    ));
    lab.apply();
    for (name, path) in [
        ("nas", format!("{NAS}/repo")),
        ("worm", WORM.into()),
        ("rest", "/srv/rest/web01".into()),
        ("drive", "/srv/drive".into()),
    ] {
        lab.make_key_cheap(&path, &format!("/etc/rlvm/pass/{name}"));
    }
    lab.expect(0, &["run", "web"]);
    let kit = lab.expect(0, &["rescue-kit"]).stdout;
    for secret in [REST_PASSWORD, "canary-", "PRIVATE KEY", "type = local"] {
        assert!(!kit.contains(secret), "{secret}:\n{kit}");
    }
    assert!(kit.lines().all(|line| line.chars().count() <= 80), "{kit}");

    // The host is another one: no configuration of ssh, no known host, no secret but those that somebody has brought.
    move_secrets(&lab, &kit);
    lab.ok(&[
        "rm",
        "-r",
        "/etc/rlvm/pass",
        "/etc/rlvm/rest",
        "/var/lib/rlvm",
        "/root/.ssh/config",
        "/root/.ssh/known_hosts",
    ]);
    let script = commands(&kit, &[2, 5, 6]);
    let ran = pasted(&lab, &script);
    assert!(ran.code == Some(0) && ran.stdout.matches("rlvm:job=web").count() == 5, "{script}\n{ran:?}");
    for name in ["nas", "worm", "rest", "s3", "drive"] {
        let restore =
            format!("at_{name} restore latest --host web01 --tag rlvm:job=web --target \"$TARGET\"\n");
        let ran = pasted(&lab, &(commands(&kit, &[2, 5]) + &restore));
        assert_eq!(ran.code, Some(0), "{name}\n{ran:?}");
        is_restored(&lab);
    }
    // Nothing of one place is left behind for the next, nor for the shell.
    let ran = pasted(&lab, &(commands(&kit, &[2, 5]) + "at_s3 cat config >&2\nenv\n"));
    assert!(
        ran.code == Some(0) && !ran.stdout.contains("AWS_") && !ran.stdout.contains("RESTIC_"),
        "{ran:?}"
    );
}

#[test]
fn a_pinned_restic_is_fetched_and_checked() {
    let lab = Lab::new();
    let packed = "/srv/mirror/restic.bz2";
    lab.dir("/srv/mirror", 0, 0o755);
    lab.ok(&["sh", "-euc", &format!("bzip2 -1 -c /opt/restics/0.18.0/restic > {packed}")]);
    let digest = sha256(&fs::read(lab.at(packed)).unwrap());
    lab.state(&format!("restic: {{ version: 0.18.0, sha256: {digest}, url: 'file://{packed}' }}\n"));
    let script = commands(&lab.expect(0, &["rescue-kit"]).stdout, &[2, 3]);
    // As it is pasted: what comes behind a command that has failed comes all the same.
    let paste = || lab.run(&["sh", "-c", &format!("KIT=/var/tmp/rescue\n{script}")]);
    let ran = paste();
    assert!(ran.code == Some(0) && ran.stdout.contains("\nrestic 0.18.0 "), "{ran:?}");
    assert!(lab.at("/var/tmp/rescue/restic").exists());
    lab.ok(&["sh", "-euc", &format!("rm /var/tmp/rescue/restic; echo >> {packed}")]);
    let ran = paste();
    assert!(ran.code != Some(0) && ran.stdout.contains("restic.new: FAILED"), "{ran:?}");
    assert!(!lab.at("/var/tmp/rescue/restic").exists(), "{ran:?}");
}

#[test]
fn what_is_applied_counts_and_a_state_that_is_named() {
    let on = Scratch::new();
    on.state(&format!("destinations:{LOCAL}{}", job("[near]")));
    let ran = on.ran(
        Command::new(on.command(&[]).get_program())
            .args(["--root", on.root().to_str().unwrap()])
            .args(["--host", "web01", "rescue-kit"])
            .env_clear(),
    );
    assert!(ran.code == Some(1) && ran.stderr.contains("nothing was applied here yet"), "{ran:?}");
    let before = on.tree_hash();
    let ran = on.expect(0, &["rescue-kit"]);
    assert_eq!(on.tree_hash(), before, "it only looks");
    assert!(
        ran.stdout.contains("web01.yaml, named by hand") && ran.stderr.contains("it is not made yet"),
        "{ran:?}"
    );

    let out = on.beside("kit");
    let target = on.beside("target");
    fs::write(&target, "another's").unwrap();
    std::os::unix::fs::symlink(&target, &out).unwrap();
    on.expect(0, &["rescue-kit", "--out", out.to_str().unwrap()]);
    let meta = fs::symlink_metadata(&out).unwrap();
    assert!(meta.is_file() && meta.permissions().mode() & 0o7777 == 0o600, "{meta:?}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "another's");
    let kit = fs::read_to_string(&out).unwrap();
    let (above, last) = kit.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(last, format!("sha256 {}", sha256(format!("{above}\n").as_bytes())));
}
