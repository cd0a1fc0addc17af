//! A client with its key, and an sshd that others have configured too. Each round draws what sshd reads and what the client
//! tries: the client stays in, or plan says what frees it.

use super::{FILES, WORM, machine, usual};
use crate::{lab::Lab, safety::Dice, support::Ran};

/// How many rounds there are, unless `RLVM_HOSTILE_ROUNDS` says.
const ROUNDS: usize = 5;

/// Where others write, and whether sshd reads that before rlvm's file.
const PLACES: [(&str, bool); 5] = [
    ("/etc/ssh/sshd_config.d/00-earlier.conf", true),
    ("/etc/ssh/sshd_config.d/50-later.conf", false),
    ("/etc/ssh/other/included.conf", true),
    ("/etc/ssh/sshd_config.d/.hidden.conf", false),
    ("/etc/ssh/other/later.conf", false),
];

/// How a file in /etc/ssh/other is included, as people write it.
const INCLUDES: [&str; 6] = [
    "Include other/NAME\n",
    "Include /etc/ssh/other/[!x-z]*\n",
    "include=\"/etc/ssh/other/NAME\"\n",
    "Include ../ssh/./other/NAME /nowhere/*\n",
    "Match all\nInclude other/?[a-z]*.conf # all\nMatch all\n",
    "\tInclude\t/etc/ssh/oth[e]r/NAME\n",
];

/// What a block may match, as people write it; nothing stands for no block.
const BLOCKS: [&str; 20] = [
    "",
    "Match all",
    "match ALL # x",
    "Match Address 127.0.0.2",
    "Match Address 127.0.0.0/8,!127.0.0.2",
    "Match LocalPort 22",
    "Match\tLocalAddress 127.0.0.1",
    "Match Host *",
    "Match User backup-*",
    "Match User = backup-web01,backup-web01-worm",
    "Match User !root,*",
    "Match=User *web*",
    "\"Match\" \"Address\" 127.0.0.0/8",
    "Match Address 127.* User git,backup-web01*",
    "Match User backup-*=Address 127.0.0.2",
    "Match Group backup-web01*",
    "Match Group !staff,*",
    "Match Group staff",
    "Match User git",
    "Match RDomain blue",
];

/// What may stand in a block.
const SETTINGS: [&str; 16] = [
    "ChrootDirectory none",
    "ChrootDirectory=/",
    "ChrootDirectory \"/srv\"",
    "ForceCommand none",
    "ForceCommand /bin/sh",
    "PermitTTY yes",
    "AllowTcpForwarding YES",
    "allowtcpforwarding local",
    "DisableForwarding no",
    "AuthorizedKeysFile /etc/ssh/other.pub",
    "AuthorizedKeysFile2 /etc/ssh/other.pub",
    "AcceptEnv *",
    "AcceptEnv RCLONE_* LD_*",
    "PermitUserRC yes",
    "AuthenticationMethods any",
    "PasswordAuthentication yes",
];

/// What may stand outside all blocks alone.
const GLOBAL: [&str; 2] = ["PermitUserEnvironment yes", "PermitUserEnvironment RCLONE_*,LD_*"];

fn pick<'a>(dice: &mut Dice, all: &[&'a str]) -> &'a str {
    all[dice.roll(all.len())]
}

/// Draws what others write.
fn snippet(dice: &mut Dice) -> String {
    let block = pick(dice, &BLOCKS);
    let mut lines = vec![block.to_owned()];
    if block.is_empty() && dice.roll(2) == 0 {
        lines.push(pick(dice, &GLOBAL).to_owned());
    }
    for _ in 0..=dice.roll(4) {
        lines.push(format!("  {}", pick(dice, &SETTINGS)));
    }
    lines.join("\n") + "\n"
}

/// Writes what others have sshd read; returns what it is, for people.
fn configure(lab: &Lab, main: &str, dice: &mut Dice) -> String {
    for (place, _) in PLACES {
        lab.run(&["rm", "-f", place]);
    }
    lab.file("/etc/ssh/sshd_config", main);
    let mut written = Vec::new();
    let (first, count) = (dice.roll(PLACES.len()), 1 + dice.roll(2));
    for (place, is_early) in (0..count).map(|number| PLACES[(first + number) % PLACES.len()]) {
        let text = snippet(dice);
        lab.file(place, &text);
        written.push(format!("# {place}\n{text}"));
        if place.starts_with("/etc/ssh/other") {
            let main = lab.read("/etc/ssh/sshd_config");
            let include = pick(dice, &INCLUDES).replace("NAME", place.trim_start_matches("/etc/ssh/other/"));
            lab.file("/etc/ssh/sshd_config", &if is_early { include + &main } else { main + &include });
        }
    }
    written.concat()
}

/// Calls one of ssh's programs with a key. It ends soon: a shell may be there in place of what the program talks to.
fn ssh(lab: &Lab, program: &str, key: &str, args: &[&str]) -> Ran {
    let identity = format!("IdentityFile=/root/{key}");
    lab.run(&[&["timeout", "-k", "1", "2", program, "-o", &identity], args].concat())
}

/// Lists what a client gets that it must not.
fn escapes(lab: &Lab, dice: &mut Dice) -> Vec<&'static str> {
    let from = if dice.roll(2) == 0 { "127.0.0.1" } else { "127.0.0.2" };
    let bind = format!("BindAddress={from}");
    let (files, worm) = (format!("{FILES}@nas.lan"), format!("{WORM}@nas.lan"));
    let mut found = Vec::new();
    // 1: out of its directory.
    let config = "/srv/clients/worm/repo/config";
    lab.file("/root/batch", "get /etc/passwd /root/got\n");
    lab.run(&["rm", "-f", "/root/got"]);
    ssh(lab, "sftp", "files", &["-o", &bind, "-b", "/root/batch", &files]);
    if lab.at("/root/got").exists() {
        found.push("files of the host");
    }
    // 3: rclone, and what starts it, by variables.
    lab.file(config, "as it was\n");
    lab.ok(&["chown", WORM, config]);
    let set = format!("SetEnv=RCLONE_LOG_FILE={config} RCLONE_LOG_LEVEL=DEBUG LD_PRELOAD=/nowhere.so");
    let ran = ssh(lab, "ssh", "worm", &["-n", "-o", &bind, "-o", &set, &worm]);
    if lab.read(config) != "as it was\n" {
        found.push("rclone by a variable");
    }
    if ran.stderr.contains("LD_PRELOAD") {
        found.push("the loader by a variable");
    }
    // Something else, with either key.
    let (key, at) = if dice.roll(2) == 0 { ("files", &files) } else { ("worm", &worm) };
    let words: &[&str] = [&["-W", "127.0.0.1:22"][..], &["-tt"], &["-n"]][dice.roll(3)];
    let command = if words[0] == "-W" { &[][..] } else { &["id; tty"] };
    let call = [&["-o", bind.as_str()], words, &[at.as_str()], command].concat();
    let ran = ssh(lab, "ssh", key, &call);
    if ran.stdout.contains("SSH-2.0") {
        found.push("the host's network");
    }
    if ran.stdout.contains("uid=") {
        found.push("a shell");
    }
    let ran = ssh(lab, "sftp", "other", &["-o", &bind, "-b", "/dev/null", at]);
    if ran.code == Some(0) {
        found.push("by a key that is not declared");
    }
    found
}

/// Puts links where directories are, whatever sshd reads: rlvm follows none, and names where it leads.
fn links_lead_nowhere(lab: &Lab, dice: &mut Dice, written: &str) {
    let etc = || lab.ok(&["stat", "-c", "%U:%G %a", "/etc"]);
    // 4: in place of a managed directory.
    let managed = pick(
        dice,
        &["/srv/clients/files", "/srv/clients/files/repo", "/srv/clients/worm", "/srv/clients/worm/repo"],
    );
    let (before, aside) = (etc(), "/srv/aside");
    lab.ok(&["mv", managed, aside]);
    lab.ok(&["ln", "-s", "/etc", managed]);
    let ran = lab.rlvm(&["apply", "--yes"]);
    assert_eq!((ran.code, etc()), (Some(7), before), "{written}\n{ran:?}");
    assert!(ran.stdout.contains(&format!("{managed} is a symbolic link to /etc")), "{written}\n{ran:?}");
    lab.ok(&["rm", managed]);
    lab.ok(&["mv", aside, managed]);
    // 6: on the way to the directory of another account.
    lab.ok(&["ln", "-sfn", "clients", "/srv/other"]);
    let [files, worm] = ["files", "worm"].map(|key| super::entry(lab, key, None));
    let inner = pick(dice, &["", "/repo", "/repo/data"]);
    lab.state(&format!(
        "ssh:\n  users:\n    {FILES}: {{ directory: /srv/clients/files, authorized_keys: [{files}] }}\n    \
         {WORM}: {{ directory: /srv/other/files{inner}, authorized_keys: [{worm}] }}\n"
    ));
    let plan = lab.expect(1, &["plan"]).stdout;
    let said = format!("error: authorized_keys:{WORM}: /srv/other/files{inner} ");
    assert!(plan.contains(&said), "{written}\n{plan}");
    usual(lab);
}

#[test]
fn plan_reports_settings_that_free_a_client() {
    let lab = machine();
    usual(&lab);
    lab.apply();
    let main = lab.read("/etc/ssh/sshd_config");
    lab.dir("/etc/ssh/other", 0, 0o755);
    lab.ok(&["cp", "/root/other.pub", "/etc/ssh/other.pub"]);
    let rounds = std::env::var("RLVM_HOSTILE_ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(ROUNDS);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut freed, mut quiet) = (0, 0);
    for round in 0..rounds {
        let mut written = configure(&lab, &main, &mut dice);
        while lab.run(&["/usr/sbin/sshd", "-t"]).code != Some(0) {
            written = configure(&lab, &main, &mut dice);
        }
        let mut sshd = lab.own_sshd();
        let found = escapes(&lab, &mut dice);
        sshd.stop();
        let plan = lab.rlvm(&["plan"]);
        let is_told = plan.code == Some(1) && plan.stdout.contains("error: sshd_config:");
        assert!(found.is_empty() || is_told, "round {round}: {found:?}\n{written}\n{plan:?}");
        freed += usize::from(!found.is_empty());
        quiet += usize::from(plan.code == Some(0));
        links_lead_nowhere(&lab, &mut dice, &written);
    }
    println!("in {rounds} rounds a client was freed {freed} times, and {quiet} times plan found no error");
    assert!(
        freed > 0 && quiet > 0,
        "{freed} of {rounds} rounds freed a client, {quiet} plans were without error"
    );
}
