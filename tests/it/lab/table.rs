//! R22, the raw table: what each restic says of a repository in any state, of any kind, and of servers that cannot be
//! got at; and that rlvm never takes one for another. restic is called as `restic::Access::look` does.
//!
//! b2 is missing: there is no server of it to try.

use std::sync::Mutex;

use rlvm::{
    host::Output,
    restic::{Found, Version, found},
};

use super::{Lab, NAS, NAS_USER, Restic, restics, servers::Rest};
use crate::support::Ran;

/// The states, each with what is done to a copy of a good repository, and what has to be found: by 0.14 and later.
const STATES: &[(&str, &str, [&str; 2])] = &[
    ("ready", ":", ["ready"; 2]),
    // A look takes no lock and asks for none.
    ("locked", "leave_a_lock", ["ready"; 2]),
    ("absent", "rm -r ./*", ["absent"; 2]),
    // So say restic's codes too; 0.14 would even make a new one over it (see `facts.rs`), and only a list of what
    // is there tells.
    ("config-gone", "rm config", ["absent"; 2]),
    ("config-empty", "truncate -s 0 config", ["damaged"; 2]),
    ("config-7-bytes", "truncate -s 7 config", ["damaged"; 2]),
    ("config-cut", "truncate -s 77 config", ["damaged"; 2]),
    ("config-garbled", "garble config", ["damaged"; 2]),
    // No call of restic's tells these from a wrong password; of a local one rlvm looks at keys/ itself.
    ("keys-emptied", "rm keys/*", ["wrong password"; 2]),
    ("keys-gone", "rm -r keys", ["wrong password"; 2]),
    ("key-empty", "truncate -s 0 keys/*", ["damaged"; 2]),
    ("key-cut", "truncate -s 200 keys/*", ["damaged"; 2]),
    ("key-garbled", "garble keys/*", ["damaged"; 2]),
    // Still JSON: 0.14 compares no key with its name.
    ("key-altered", "sed -i 's/\"data\":\"..../\"data\":\"AAAA/' keys/*", ["wrong password", "damaged"]),
];

/// Makes a repository below /srv/table in each state, and has the servers keep the same.
const PREPARE: &str = r#"
mkdir /srv/table && cd /srv/table
export RESTIC_PASSWORD_FILE=/etc/rlvm/v
restic backup --no-cache -r /srv/good /etc/hosts
garble() { printf 'UUUU' | dd of="$1" bs=1 seek=40 conv=notrunc status=none; }
leave_a_lock() {
    restic backup --no-cache -r . --stdin </dev/zero >/dev/null 2>&1 & pid=$!
    # Written under another name first, and made read-only last.
    while [ -z "$(find locks -type f ! -perm /222)" ]; do sleep 0.02; done
    kill -KILL $pid
    rm -r data && cp -a /srv/good/data data
}
while read -r state harm; do
    cp -a /srv/good "$state"
    (cd "$state"; chmod -R u+w .; eval "$harm")
done
cp -a /srv/table/. /srv/rest
cp -a /srv/table/. "$1/repo"
chown -R "$2:$2" "$1/repo"
"#;

/// One call and what has to be found.
struct Case {
    name: String,
    args: Vec<String>,
    /// By 0.14, and by later ones.
    expected: [&'static str; 2],
    /// What the message must have, whichever the version.
    says: &'static str,
}

const RIGHT: &str = "/etc/rlvm/v";
const WRONG: &str = "/etc/rlvm/wrong";

/// How rlvm has SFTP spoken to a host.
fn sftp(words: &str) -> String {
    format!("sftp.command=ssh -o BatchMode=yes -o StrictHostKeyChecking=yes {words} -s sftp")
}

fn case(name: &str, repo: &str, password: &str, option: Option<&str>) -> Case {
    let mut args = vec!["--repo", repo, "--password-file", password];
    args.extend(option.iter().flat_map(|option| ["-o", option]));
    let args = args.into_iter().map(ToOwned::to_owned).collect();
    Case { name: name.into(), args, expected: ["unreachable"; 2], says: "" }
}

/// Every state in every place.
fn states(rest: &Rest<'_>) -> Vec<Case> {
    let mut cases = Vec::new();
    let wrong = ("ready", WRONG, ["wrong password"; 2]);
    for (state, password, expected) in STATES.iter().map(|(it, _, found)| (*it, RIGHT, *found)).chain([wrong])
    {
        let option = sftp(&format!("-l {} nas.lan", NAS_USER.0));
        for (repo, option) in [
            (format!("/srv/table/{state}"), None),
            (format!("sftp:{}@nas.lan:/repo/{state}", NAS_USER.0), Some(option.as_str())),
            (rest.url(state), None),
            (format!("s3:http://s3.lan:3900/table/{state}"), None),
        ] {
            cases.push(Case { expected, ..case(&format!("{state} {password}"), &repo, password, option) });
        }
    }
    cases
}

/// Every way not to get there, and what has to be said.
fn failures(rest: &Rest<'_>) -> Vec<Case> {
    let own = |words: &str| format!("-l {} {words}", NAS_USER.0);
    let url = rest.url("ready");
    let mut cases = Vec::new();
    for (name, repo, says) in [
        ("refused", url.replace("8000", "8001"), "connection refused"),
        ("unknown name", url.replace("rest.lan", "nowhere.lan"), "nowhere.lan"),
        ("mute", url.replace("rest.lan", "mute.lan"), "no answer within"),
        ("wrong password of the server's", url.replace("web01:", "web02:"), "401 Unauthorized"),
        ("TLS to a server without", url.replace("http:", "https:"), "server gave HTTP response to HTTPS"),
        ("not REST", url.replace("rest.lan:8000", "nas.lan:22"), ""),
        ("refused", "s3:http://s3.lan:3901/table/ready".into(), "connection refused"),
        ("unknown name", "s3:http://nowhere.lan:3900/table/ready".into(), "nowhere.lan"),
        ("mute", "s3:http://mute.lan:3900/table/ready".into(), "no answer within"),
        ("no bucket", "s3:http://s3.lan:3900/nobucket/ready".into(), "The specified bucket does not exist"),
        ("unknown credentials", "s3:http://s3.lan:3910/table/ready".into(), "does not exist in our records"),
        ("TLS to a server without", "s3:https://s3.lan:3900/table/ready".into(), "TLS handshake"),
        ("not S3", "s3:http://rest.lan:8000/table/ready".into(), "Unauthorized"),
    ] {
        cases.push(Case { says, ..case(name, &repo, RIGHT, None) });
    }
    // restic may end before it has passed on what ssh said, so no words are wanted.
    for (name, words) in [
        ("refused", own("-p 23 nas.lan")),
        ("unknown name", own("nowhere.lan")),
        ("mute", own("mute.lan")),
        ("unknown host key", own("-o UserKnownHostsFile=/dev/null nas.lan")),
        ("no key of ours", own("-F /dev/null nas.lan")),
        ("no such account", "-l nobody2 nas.lan".into()),
        ("no SFTP", "-l backup-web01-worm nas.lan".into()),
    ] {
        cases.push(case(name, "sftp:u@nas.lan:/repo/ready", RIGHT, Some(&sftp(&words))));
        let program = format!("rclone.program=ssh -o BatchMode=yes -o StrictHostKeyChecking=yes {words}");
        cases.push(case(name, "rclone:", RIGHT, Some(&program)));
    }
    // The forced command is no place of ready repositories here.
    let append_only = cases.pop().unwrap();
    cases.push(Case { expected: ["absent"; 2], name: "append-only, nothing there".into(), ..append_only });
    let none = case("no ssh", "sftp:u@nas.lan:/repo/ready", RIGHT, Some("sftp.command=nossh nas.lan"));
    cases.push(Case { says: "executable file not found", ..none });
    cases
}

#[test]
fn no_state_of_a_repository_is_mistaken_for_another() {
    // R22
    let lab = Lab::new();
    lab.file_of(RIGHT, "right\n", 0, 0o600);
    lab.repository("/srv/good", RIGHT);
    lab.file_of(WRONG, "wrong\n", 0, 0o600);
    let sshd = lab.sshd();
    lab.introduce(&sshd);
    let rest = lab.rest(&[]);
    let (_s3, _nobodys) = (lab.s3(), lab.s3_that_knows_nobody());
    let _mute = lab.mute();
    let list = STATES.iter().fold(String::new(), |all, (state, harm, _)| all + state + " " + harm + "\n");
    lab.file("/srv/states", &list);
    let prepare = format!("exec </srv/states\n{PREPARE}");
    lab.ok(&["sh", "-euc", &prepare, "sh", NAS, &NAS_USER.1.to_string()]);
    lab.bucket("table");
    lab.rclone(&["copy", "/srv/table", ":s3:table", "--transfers", "16"]);

    let before = lab.tree_hash();
    // Keys are derived on every core; what waits for an answer costs nothing, so that is done at once.
    let mut wrong = judge(&lab, &states(&rest), 3, "60");
    wrong.extend(judge(&lab, &failures(&rest), 16, "8"));
    wrong.extend(locks(&lab, &states(&rest)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(lab.tree_hash(), before, "a look changes nothing");
}

/// Calls every restic for every case, so many at a time, and lists what is not found as it has to be.
fn judge(lab: &Lab, cases: &[Case], at_once: usize, limit: &str) -> Vec<String> {
    let restics = restics();
    let calls = cases.iter().flat_map(|case| restics.iter().map(move |restic| (case, restic)));
    let (calls, wrong) = (Mutex::new(calls), Mutex::new(Vec::new()));
    let next = || calls.lock().unwrap().next();
    let work = || {
        while let Some((case, restic)) = next() {
            let ran = call(lab, restic, &["cat", "config"], &case.args, limit);
            let found = found(&output(&ran));
            let (name, why) = verdict(&found);
            let expected = case.expected[usize::from(restic.version >= Version(0, 17, 0))];
            // RLVM_TABLE=1 cargo test … -- --nocapture: the table itself.
            if std::env::var_os("RLVM_TABLE").is_some() {
                println!("{} {} {}: {name}: {ran:?}", restic.version, case.name, case.args[1]);
            }
            if name != expected || !why.contains(case.says) {
                let (version, repo) = (restic.version, &case.args[1]);
                let line = format!("{version} {} {repo}: {name}, not {expected}: {ran:?}", case.name);
                wrong.lock().unwrap().push(line);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(work);
        }
    });
    wrong.into_inner().unwrap()
}

/// Has every restic list the locks of what is locked and of what is not, which takes none and leaves none.
fn locks(lab: &Lab, cases: &[Case]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, expected) in [("ready", 0), ("locked", 1)] {
        for case in cases.iter().filter(|case| case.name == format!("{name} {RIGHT}")) {
            for restic in restics() {
                let ran = call(lab, &restic, &["list", "locks"], &case.args, "60");
                // An id a line, and nothing else.
                let ids = ran.stdout.lines().filter(|line| line.len() == 64).count();
                if ran.code != Some(0) || ids != expected || ran.stdout.lines().count() != expected {
                    wrong.push(format!("{} {name} {}: {ran:?}", restic.version, case.args[1]));
                }
            }
        }
    }
    wrong
}

fn call(lab: &Lab, restic: &Restic, verb: &[&str], args: &[String], limit: &str) -> Ran {
    let restic = format!("{}/restic", restic.dir);
    let start = ["timeout", "-k", "1", limit, &restic];
    let mut words = [&start[..], verb, &["--no-lock", "--no-cache"]].concat();
    words.extend(args.iter().map(String::as_str));
    let mut command = lab.program(&words);
    lab.ran(command.env("AWS_ACCESS_KEY_ID", "AKIAWEB01").env("AWS_SECRET_ACCESS_KEY", "web01"))
}

/// What rlvm gets to see: `timeout` ends with 124, or 137 if it had to kill.
fn output(ran: &Ran) -> Output {
    let timed_out = matches!(ran.code, None | Some(124 | 137));
    Output { code: ran.code, timed_out, stdout: ran.stdout.clone(), stderr: ran.stderr.clone() }
}

fn verdict(found: &Found) -> (&'static str, &str) {
    match found {
        Found::Ready { .. } => ("ready", ""),
        Found::Absent => ("absent", ""),
        Found::WrongPassword => ("wrong password", ""),
        Found::Locked => ("locked", ""),
        Found::Damaged(why) => ("damaged", why),
        Found::Unreachable(why) => ("unreachable", why),
    }
}
