//! OpenSSH's own opinion: of keys, of fingerprints, of the configuration, of known hosts; and a connection.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rlvm::{
    host::{Host, Real},
    model::{KnownHost, PublicKey},
};

use super::{inside, said, says};
use crate::support::{Scratch, require};

/// Keys that no machine has.
const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0q4ZJm9b6m7o1vFv3x0m2bq5vT8yq7lq1m4E3v1xw0";
const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKlJ4yTzGq3x0m2bq5vT8yq7lq1m4E3v1xw0XcQ9mZpQ";

/// Runs one of OpenSSH's programs and returns what it printed.
#[track_caller]
fn ssh_tool(on: &Scratch, program: &str, args: &[&str]) -> String {
    require(on.search_path(), program, "openssh-client");
    let output = Command::new(program).args(args).current_dir(on.root()).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_key_shows_what_ssh_keygen_says_of_it() {
    let on = Scratch::new();
    let real = Real::open(&on.root(), on.search_path()).unwrap();
    for (number, (kind, passphrase, form)) in [
        ("ed25519", "", "RFC4716"),
        ("ed25519", "secret", "RFC4716"),
        ("rsa", "", "RFC4716"),
        ("rsa", "secret", "RFC4716"),
        ("ecdsa", "", "RFC4716"),
        ("rsa", "", "PEM"),
        ("rsa", "secret", "PEM"),
        ("ecdsa", "secret", "PKCS8"),
        ("ecdsa", "", "PKCS8"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("key{number}");
        let mut make = vec!["-q", "-t", kind, "-N", passphrase, "-C", "a b", "-f", &name];
        if form != "RFC4716" {
            make.extend(["-m", form]);
        }
        ssh_tool(&on, "ssh-keygen", &make);
        let public: PublicKey =
            ssh_tool(&on, "ssh-keygen", &["-y", "-P", passphrase, "-f", &name]).trim().parse().unwrap();
        let (_, head) = real.looker().private_key(&format!("/{name}").parse().unwrap()).unwrap();
        let head = head.unwrap_or_else(|| panic!("{kind} {form}"));
        assert_eq!(head.encrypted, !passphrase.is_empty(), "{kind} {form}");
        // Older forms do not show it.
        let shown = head.public.as_ref().map(PublicKey::identity);
        assert_eq!(shown, (form == "RFC4716").then_some(public.identity()), "{kind} {form}");
        let listed = ssh_tool(&on, "ssh-keygen", &["-l", "-f", &format!("{name}.pub")]);
        assert_eq!(listed.split(' ').nth(1), Some(public.fingerprint().as_str()), "{listed}");
    }
}

#[test]
fn a_line_is_of_the_hosts_that_ssh_keygen_finds_it_for() {
    let on = Scratch::new();
    let hosts = [
        "nas.lan",
        "NAS.lan",
        "[nas.lan]:2222",
        "*.lan",
        "*",
        "n?s.l*n",
        "*.lan,!nas.lan",
        "!nas.lan,*",
        "a,nas.lan",
        "web",
        "10.0.0.*",
        "[*]:2222",
        "fe80::1",
    ];
    let names = ["nas.lan", "web.lan", "[nas.lan]:2222", "10.0.0.7", "fe80::1", "web"];
    for host in hosts {
        let line = format!("{host} {ONE}\n");
        on.file_of("/known", &line, 0, 0o600);
        let hashed = if host.contains(['*', '?', '!', ',']) {
            None
        } else {
            ssh_tool(&on, "ssh-keygen", &["-q", "-H", "-f", "known"]);
            Some(on.read("/known"))
        };
        on.file_of("/known", &line, 0, 0o600);
        for name in names {
            let mut find = Command::new("ssh-keygen");
            find.args(["-F", name, "-f", "known"]).current_dir(on.root());
            let expected = find.output().unwrap().status.success();
            assert_eq!(KnownHost::parse(&line).unwrap().is_of(name), expected, "{host} {name}");
            if let Some(hashed) = &hashed {
                let known = KnownHost::parse(hashed.lines().next().unwrap()).unwrap();
                assert_eq!(known.is_of(name), expected, "{hashed} {name}");
            }
        }
    }
}

/// What a person may have written for all hosts, to be undone for ours and kept for others.
const HOSTILE: &str = "Port 99\nUser mallory\nStrictHostKeyChecking no\n\
    Host *\n  BatchMode no\n  StrictHostKeyChecking accept-new\n  UserKnownHostsFile /dev/null\n  IdentitiesOnly no\n  \
    ControlMaster auto\n  ControlPath /tmp/shared\n  ForwardAgent yes\n  IdentityAgent /tmp/agent\n  \
    HostKeyAlgorithms ssh-rsa\n  UpdateHostKeys yes\n  VerifyHostKeyDNS yes\n  LocalForward 1 a:1\n  HostName evil.lan\n  IdentityFile /tmp/other\n\
    Host nas.lan\n  GlobalKnownHostsFile /etc/evil\n  Compression yes\n";

#[test]
fn ssh_understands_the_block_as_it_is_meant() {
    let on = Scratch::new();
    on.state(&format!(
        "ssh:\n  keys: {{ \"/root/.ssh/my key%\": {{}} }}\n  hosts:\n    nas.lan: {{ address: nas.lan, port: 22, user: backup, \
         identity: \"/root/.ssh/my key%\", host_keys: [{ONE}] }}\n    db: {{ address: 10.0.0.9, port: 2222, host_keys: [{ONE}, {TWO}] }}\n  \
         agent: {{ socket: /root/.ssh/agent.sock }}\n"
    ));
    on.file_of("/root/.ssh/config", HOSTILE, 0, 0o640);
    on.file_of("/before", HOSTILE, 0, 0o600);
    on.apply();
    on.plan_is_empty();
    let means = |file: &str, host: &str| ssh_tool(&on, "ssh", &["-G", "-F", file, host]);
    let nas = means("root/.ssh/config", "nas.lan");
    for line in [
        "user backup",
        "port 22",
        "hostname nas.lan",
        "batchmode yes",
        "identitiesonly yes",
        "stricthostkeychecking true",
        "userknownhostsfile /root/.ssh/known_hosts",
        "globalknownhostsfile /dev/null",
        "hostkeyalgorithms ssh-ed25519",
        "identityagent /root/.ssh/agent.sock",
        "identityfile \"/root/.ssh/my key%%\"",
        "updatehostkeys false",
        "verifyhostkeydns false",
        "forwardagent no",
        "clearallforwardings yes",
        "connecttimeout 10",
        "serveraliveinterval 30",
        // What does no harm is the user's to say.
        "compression yes",
    ] {
        let quoted = line.replace('"', "");
        assert!(nas.lines().any(|it| it == line || it == quoted), "{line} is not in\n{nas}");
    }
    assert!(!nas.contains("controlpath /tmp"), "{nas}");
    // The key that is declared is the first one that is tried.
    let keys: Vec<&str> = nas.lines().filter(|line| line.starts_with("identityfile")).collect();
    assert!(keys.len() == 2 && keys[0].contains("my key"), "{keys:?}");
    let other = "warning: ssh_config:/root/.ssh/config: /root/.ssh/config:";
    says(
        &on,
        &["plan"],
        0,
        &[other, "offers nas.lan another key", "help: put it below a line that leaves nas.lan out"],
    );
    let db = means("root/.ssh/config", "db");
    assert!(db.contains("hostname 10.0.0.9\n") && db.contains("port 2222\n"), "{db}");
    // Every other host is reached as before.
    for other in ["web.lan", "nas.lan.example", "evil.lan"] {
        assert_eq!(means("root/.ssh/config", other), means("before", other), "{other}");
    }
    let found = ssh_tool(&on, "ssh-keygen", &["-F", "[10.0.0.9]:2222", "-f", "root/.ssh/known_hosts"]);
    assert!(found.contains(ONE) && found.contains(TWO), "{found}");
}

#[test]
fn a_host_key_that_differs_is_never_accepted_in_silence() {
    // R29: hashed, as Debian's ssh writes them.
    let on = Scratch::new();
    on.state(&format!("ssh:\n  hosts:\n    nas.lan: {{ port: 2222, host_keys: [{ONE}] }}\n"));
    on.file_of("/root/.ssh/known_hosts", &format!("# mine\n[nas.lan]:2222 {TWO}\n"), 0, 0o600);
    ssh_tool(&on, "ssh-keygen", &["-q", "-H", "-f", "root/.ssh/known_hosts"]);
    let before = on.read("/root/.ssh/known_hosts");
    assert!(before.contains("|1|"), "{before}");
    let prints = [ONE, TWO].map(|key| key.parse::<PublicKey>().unwrap().fingerprint());
    let words: [&str; 4] =
        ["two ssh-ed25519 keys for [nas.lan]:2222", "/root/.ssh/known_hosts:", &prints[0], &prints[1]];
    says(&on, &["plan"], 1, &words);
    says(&on, &["apply", "--yes"], 7, &words);
    assert_eq!(on.read("/root/.ssh/known_hosts"), before);
    // Once the person has decided, it goes on.
    ssh_tool(&on, "ssh-keygen", &["-q", "-R", "[nas.lan]:2222", "-f", "root/.ssh/known_hosts"]);
    on.apply();
    assert!(on.read("/root/.ssh/known_hosts").ends_with("# END rlvm\n# mine\n"));
    on.plan_is_empty();
}

/// An SSH server of this machine's, for the time of a test.
struct Server {
    child: Child,
    port: u16,
    key: PublicKey,
}

impl Server {
    /// Starts one that lets root in by a key.
    fn start(on: &Scratch, authorized: &str) -> Self {
        require("/usr/sbin", "sshd", "openssh-server");
        let dir: PathBuf = on.beside("sshd");
        drop(fs::create_dir(&dir));
        let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        ssh_tool(on, "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &at("host")]);
        fs::write(dir.join("authorized"), format!("{authorized}\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPidFile none\n",
            at("host"),
            at("authorized")
        );
        fs::write(dir.join("config"), config).unwrap();
        let run = "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", run, "sh", &at("config")]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            assert!(said.read_line(&mut line).unwrap() > 0, "{line}");
        }
        // It goes on talking, and somebody has to listen.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let key = fs::read_to_string(dir.join("host.pub")).unwrap().trim().parse().unwrap();
        Self { child, port, key }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn scanned_declared_applied_connected() {
    let on = Scratch::new();
    // A machine that is the running system: its own users, its own /root.
    let yaml = "version: 1\nhost: web01\nssh:\n  keys: { /root/.ssh/id_rlvm: {} }\n";
    on.file("/etc/rlvm/state/hosts/web01.yaml", yaml);
    on.dir("/root", 0, 0o700);
    let rlvm = |args: &[&str]| inside(&on, "", &[&["/rlvm", "--host", "web01"], args].concat());
    said(&rlvm(&["apply", "--yes"]), 0, &["Apply complete"]);
    let server = Server::start(&on, on.read("/root/.ssh/id_rlvm.pub").trim());
    let Server { port, key, .. } = &server;

    let port = port.to_string();
    let scan = says(&on, &["ssh", "scan", "127.0.0.1", "--port", &port], 0, &["Before you trust them"]);
    let (printed, _) = scan.split_once("\n\n").unwrap();
    let line = format!("        - {}  # {}", key.identity(), key.fingerprint());
    assert!(printed.contains(&format!("      port: {port}\n")) && printed.contains(&line), "{printed}");
    // What was printed, pasted; under a name of one's own.
    let pasted = printed
        .strip_prefix("ssh:\n")
        .unwrap()
        .replace("127.0.0.1:", "nas:\n      address: 127.0.0.1\n      identity: /root/.ssh/id_rlvm");
    on.file("/etc/rlvm/state/hosts/web01.yaml", &format!("{yaml}{pasted}\n"));
    said(&rlvm(&["apply", "--yes"]), 0, &["Apply complete"]);
    let ssh = || inside(&on, "", &["/usr/bin/ssh", "root@nas", "echo", "connected"]);
    assert_eq!(said(&ssh(), 0, &[]), "connected\n");

    // Another key at the same place: nobody asks, nobody is let in.
    drop(server);
    fs::remove_dir_all(on.beside("sshd")).unwrap();
    let other = Server::start(&on, on.read("/root/.ssh/id_rlvm.pub").trim());
    let state =
        format!("{yaml}{pasted}\n").replace(&format!("port: {port}"), &format!("port: {}", other.port));
    on.file("/etc/rlvm/state/hosts/web01.yaml", &state);
    said(&rlvm(&["apply", "--yes"]), 0, &["Apply complete"]);
    said(&ssh(), 255, &["REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed"]);
}

#[test]
fn a_machine_that_does_not_answer_is_said_to_be_so() {
    let on = Scratch::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let words = ["no host key from 127.0.0.1, port", "ssh-keyscan -T 10 -p"];
    says(&on, &["ssh", "scan", "127.0.0.1", "--port", &port], 1, &words);
    says(&on, &["ssh", "scan", "-oProxyCommand=id"], 64, &[]);
}
