//! The laboratory's servers: OpenSSH, S3 by moto, REST by rclone, and one that never answers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{Lab, NAS, NAS_USER, WORM, WORM_USER};
use crate::support::require;

/// Whom the REST server lets in.
pub(crate) const REST_USER: &str = "web01";

/// By which password.
pub(crate) const REST_PASSWORD: &str = "rest-passes";

/// Where a client's public key is, for sshd to let it in from the moment it is made.
pub(crate) const CLIENT_KEY: &str = "/root/.ssh/id_rlvm.pub";

/// A server that listens; it ends when this is dropped, or with the laboratory.
pub(crate) struct Server<'a> {
    lab: &'a Lab,
    port: u16,
    log: &'static str,
    child: Option<Child>,
}

impl<'a> Server<'a> {
    fn start(lab: &'a Lab, port: u16, log: &'static str, command: &mut Command) -> Self {
        let (out, err) =
            (fs::File::create(lab.beside(log)).unwrap(), fs::File::create(lab.beside(log)).unwrap());
        let child = command.stdout(Stdio::from(out)).stderr(Stdio::from(err)).spawn().unwrap();
        lab.wait_for(port, true, log);
        Self { lab, port, log, child: Some(child) }
    }

    /// Stops it: its port refuses connections when this returns.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // This is nsenter; the server itself has asked to be killed with it.
            child.kill().unwrap();
            child.wait().unwrap();
            self.lab.wait_for(self.port, false, self.log);
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `nas.lan`: an SSH server with an account for SFTP and one with a forced command.
pub(crate) struct Sshd<'a> {
    server: Server<'a>,
    config: PathBuf,
}

/// `rest.lan`: what keeps repositories for restic's REST.
pub(crate) struct Rest<'a> {
    /// The server itself.
    pub(crate) server: Server<'a>,
    /// The certificate of the authority that signed the server's, if it speaks TLS; its path inside.
    pub(crate) authority: Option<String>,
}

/// What starts a server so that it ends with whoever started it.
const TIED: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

impl Lab {
    /// Starts sshd on nas.lan, with the client's key as it is at each login, at [`CLIENT_KEY`].
    pub(crate) fn sshd(&self) -> Sshd<'_> {
        self.sshd_for(CLIENT_KEY)
    }

    /// Starts sshd on nas.lan for whoever has the key whose public half is, at each login, in a file inside.
    pub(crate) fn sshd_for(&self, public_keys: &str) -> Sshd<'_> {
        for (program, package) in
            [("sshd", "openssh-server"), ("ssh-keygen", "openssh-client"), ("rclone", "rclone")]
        {
            require("/usr/sbin:/usr/bin", program, package);
        }
        let dir = self.beside("sshd");
        fs::create_dir(&dir).unwrap();
        let (config, key) = (dir.join("config"), dir.join("host_key"));
        let ((nas, _), (worm, _)) = (NAS_USER, WORM_USER);
        let text = format!(
            "ListenAddress 127.0.0.1:22\nHostKey {key}\nPidFile none\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nAuthorizedKeysFile none\nLogLevel VERBOSE\n\
             AuthorizedKeysCommand /usr/bin/cat {public_keys}\nAuthorizedKeysCommandUser root\n\
             MaxStartups 100\nSubsystem sftp internal-sftp\nDisableForwarding yes\nPermitTTY no\nPermitUserRC no\n\
             Match User {nas}\n ChrootDirectory {NAS}\n ForceCommand internal-sftp\n\
             Match User {worm}\n ForceCommand rclone serve restic --stdio --append-only {WORM}\n",
            key = key.display(),
        );
        fs::write(&config, text).unwrap();
        make_host_key(self, &key);
        let server = self.start_sshd(&config);
        Sshd { server, config }
    }

    /// Gives root an SSH key and what else it takes to get into nas.lan, as a person would have done it by hand.
    pub(crate) fn introduce(&self, sshd: &Sshd<'_>) {
        self.dir("/root/.ssh", 0, 0o700);
        let key = CLIENT_KEY.trim_end_matches(".pub");
        self.ok(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "web01", "-f", key]);
        let config = format!("IdentityFile {key}\nIdentitiesOnly yes\n");
        self.file_of("/root/.ssh/config", &config, 0, 0o600);
        self.file_of("/root/.ssh/known_hosts", &format!("nas.lan {}\n", sshd.host_key()), 0, 0o600);
    }

    /// Starts the machine's own sshd, by what is in its /etc/ssh.
    pub(crate) fn own_sshd(&self) -> Server<'_> {
        require("/usr/sbin", "sshd", "openssh-server");
        Server::start(
            self,
            22,
            "own.log",
            &mut self.program(&[&TIED[..], &["/usr/sbin/sshd", "-D", "-e"]].concat()),
        )
    }

    /// Starts another sshd of the machine's, by a configuration inside that has it listen at a port.
    pub(crate) fn sshd_of(&self, config: &str, port: u16) -> Server<'_> {
        let mut command = self.program(&[&TIED[..], &["/usr/sbin/sshd", "-D", "-e", "-f", config]].concat());
        Server::start(self, port, "other.log", &mut command)
    }

    /// Starts an sshd of the machine's that is another program.
    pub(crate) fn sshd_at(&self, words: &[&str], port: u16) -> Server<'_> {
        let mut command = self.program(&[&TIED[..], words, &["-D", "-e"]].concat());
        Server::start(self, port, "built.log", &mut command)
    }

    fn start_sshd(&self, config: &Path) -> Server<'_> {
        let config = config.to_str().unwrap();
        let mut command = self.program(&[&TIED[..], &["/usr/sbin/sshd", "-D", "-e", "-f", config]].concat());
        Server::start(self, 22, "sshd.log", &mut command)
    }

    /// Starts an S3 server on s3.lan, port 3900, without TLS. It takes any credentials, and forgets all at its end.
    pub(crate) fn s3(&self) -> Server<'_> {
        let mut command = self.moto("3900");
        Server::start(self, 3900, "s3.log", &mut command)
    }

    /// Starts one on port 3910 that checks credentials, and knows nobody.
    pub(crate) fn s3_that_knows_nobody(&self) -> Server<'_> {
        let mut command = self.moto("3910");
        Server::start(self, 3910, "s3-nobody.log", command.env("INITIAL_NO_AUTH_ACTION_COUNT", "0"))
    }

    fn moto(&self, port: &str) -> Command {
        let (python, moto) = (in_moto("python"), in_moto("moto_server"));
        let words = [&TIED[..], &[&python, &moto, "-H", "127.0.0.1", "-p", port]].concat();
        let mut command = self.beside_it(&words);
        // Else it takes the name for a bucket's, `s3` in the domain `lan`.
        command.env("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "true");
        command
    }

    /// Makes a bucket on s3.lan.
    #[track_caller]
    pub(crate) fn bucket(&self, name: &str) {
        self.rclone(&["mkdir", &format!(":s3:{name}")]);
    }

    /// Calls rclone with s3.lan as its S3, credentials given.
    #[track_caller]
    pub(crate) fn rclone(&self, args: &[&str]) -> String {
        require("/usr/bin", "rclone", "rclone");
        let s3 = ["rclone", "--config", "", "--s3-provider", "Other", "--s3-endpoint", "http://s3.lan:3900"];
        let keys =
            ["--s3-access-key-id", "AKIAWEB01", "--s3-secret-access-key", "web01", "--s3-force-path-style"];
        self.ok(&[&s3[..], &keys, args].concat())
    }

    /// Starts a REST server on rest.lan, port 8000, over what is in /srv/rest, with more of rclone's words.
    pub(crate) fn rest(&self, more: &[&str]) -> Rest<'_> {
        require("/usr/bin", "rclone", "rclone");
        self.dir("/srv/rest", 0, 0o700);
        let words = ["rclone", "--config", "", "serve", "restic", "--addr", "127.0.0.1:8000"];
        let who = ["--user", REST_USER, "--pass", REST_PASSWORD, "/srv/rest"];
        let mut command = self.program(&[&TIED[..], &words, &who, more].concat());
        Rest { server: Server::start(self, 8000, "rest.log", &mut command), authority: None }
    }

    /// Starts the same with TLS, its certificate signed by an authority that nobody knows.
    pub(crate) fn rest_with_tls(&self, more: &[&str]) -> Rest<'_> {
        let authority = self.certificates();
        let tls = ["--cert", "/srv/tls/cert.pem", "--key", "/srv/tls/key.pem"];
        let rest = self.rest(&[&tls, more].concat());
        Rest { authority: Some(authority.into()), ..rest }
    }

    /// Makes a certificate for the laboratory's servers, signed by an authority that nobody knows; returns where the
    /// authority's own is.
    pub(crate) fn certificates(&self) -> &'static str {
        require("/usr/bin", "openssl", "openssl");
        self.dir("/srv/tls", 0, 0o755);
        self.file("/srv/tls/san", "subjectAltName=DNS:rest.lan,DNS:s3.lan,DNS:mirror.lan\n");
        self.ok(&["sh", "-euc", CERTIFICATES]);
        "/srv/tls/ca.pem"
    }

    /// Starts an S3 server on s3.lan, port 3900, with TLS, after [`Lab::certificates`].
    pub(crate) fn s3_with_tls(&self) -> Server<'_> {
        let mut command = self.moto("3900");
        command.arg("-c").arg(self.at("/srv/tls/cert.pem")).arg("-k").arg(self.at("/srv/tls/key.pem"));
        Server::start(self, 3900, "s3.log", &mut command)
    }

    /// Starts a web server with TLS on mirror.lan, port 443, over a directory inside, after [`Lab::certificates`].
    pub(crate) fn mirror(&self, dir: &str) -> Server<'_> {
        let serve = "openssl s_server -4 -accept 127.0.0.1:443 -cert /srv/tls/cert.pem -key /srv/tls/key.pem -WWW -quiet";
        let words = ["sh", "-c", &format!("cd {dir} && exec {serve}")];
        Server::start(self, 443, "mirror.log", &mut self.program(&[&TIED[..], &words].concat()))
    }

    /// Starts what takes connections to mute.lan, at the ports of SSH, S3 and REST, and never says a word.
    pub(crate) fn mute(&self) -> Server<'_> {
        let mut command = self.beside_it(&[&TIED[..], &[&in_moto("python"), "-c", MUTE]].concat());
        Server::start(self, 9, "mute.log", &mut command)
    }
}

const CERTIFICATES: &str = "cd /srv/tls
new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj /CN=lab
openssl req $new -keyout key.pem -out cert.csr -subj /CN=rest.lan
openssl x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out cert.pem
";

/// The kernel takes the connections; nobody reads them. The last only tells that all listen.
const MUTE: &str = "import socket, time
listening = [socket.create_server(('127.0.0.2', port), backlog=64) for port in (22, 3900, 8000)]
listening.append(socket.create_server(('127.0.0.1', 9)))
time.sleep(3600)
";

/// Returns a program of the environment that tests/lab.sh makes.
fn in_moto(program: &str) -> String {
    let target = Path::new(env!("CARGO_BIN_EXE_rlvm")).ancestors().nth(2).unwrap();
    let at = target.join("moto/bin").join(program);
    assert!(at.exists(), "this test needs {}: tests/lab.sh", at.display());
    at.display().to_string()
}

fn make_host_key(lab: &Lab, key: &Path) {
    let _ = fs::remove_file(key);
    lab.ok(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "nas.lan", "-f", key.to_str().unwrap()]);
}

impl Sshd<'_> {
    /// Returns its public host key: type and key, as it stands in `known_hosts` behind the name.
    pub(crate) fn host_key(&self) -> String {
        let line = fs::read_to_string(self.config.with_file_name("host_key.pub")).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Starts it again with another host key, as after a reinstallation, or with somebody in between.
    pub(crate) fn change_host_key(&mut self) {
        self.stop();
        make_host_key(self.server.lab, &self.config.with_file_name("host_key"));
        self.start_again();
    }

    /// Stops it: connections are refused.
    pub(crate) fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again as it was.
    pub(crate) fn start_again(&mut self) {
        self.server = self.server.lab.start_sshd(&self.config);
    }

    /// Returns what it has logged since it was started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.server.lab.beside("sshd.log")).unwrap()
    }
}

impl Rest<'_> {
    /// Returns a repository on it in restic's words, credentials included.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = self.authority.as_ref().map_or("http", |_| "https");
        format!("rest:{scheme}://{REST_USER}:{REST_PASSWORD}@rest.lan:8000/{path}/")
    }
}
