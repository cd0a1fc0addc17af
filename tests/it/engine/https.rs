//! Fetching by https, from a real server with a certificate of an authority of the test's own.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests start servers themselves")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{has, installs_nothing, packed, pin};
use crate::support::{Ran, Scratch, require, restic_of};

/// A server of a directory beside the machine, and its authority's certificate.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Starts a server. What it serves lies in `served` beside the machine, the authority in `ca.pem`.
fn serve(on: &Scratch) -> Server {
    let path = std::env::var("PATH").unwrap();
    require(&path, "python3", "python3");
    require(&path, "openssl", "openssl");
    let dir = on.beside("");
    fs::create_dir(on.beside("served")).unwrap();
    fs::write(on.beside("https.py"), include_str!("../https.py")).unwrap();
    fs::write(on.beside("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&dir, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority"));
    openssl(&dir, &format!("req {key} -keyout server.key -out server.csr -subj /CN=127.0.0.1"));
    openssl(
        &dir,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile san",
    );
    let mut child = Command::new("python3")
        .args(["https.py", "server.pem", "server.key", "served"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Server { child, port: line.trim().parse().unwrap() }
}

/// A machine that pins what a server gives under this name, which is rightly restic 0.18.0, packed.
fn pinning(on: &Scratch, server: &Server, name: &str) {
    let bytes = packed(restic_of("0.18.0").as_bytes());
    fs::write(on.beside("served/restic.bz2"), &bytes).unwrap();
    on.state(&pin("0.18.0", &bytes, &format!("https://127.0.0.1:{}/{name}", server.port)));
}

/// Applies, trusting the test's authority.
fn apply(on: &Scratch, environment: &[(&str, &str)]) -> Ran {
    let mut command = on.command(&["apply", "--yes"]);
    command.env("SSL_CERT_FILE", on.beside("ca.pem")).envs(environment.iter().copied());
    on.ran(&mut command)
}

#[test]
fn it_is_fetched_by_https() {
    for name in ["restic.bz2", "moved/restic.bz2"] {
        let on = Scratch::new();
        let server = serve(&on);
        pinning(&on, &server, name);
        let ran = apply(&on, &[]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        has(&on, "0.18.0");
        on.plan_is_empty();
    }
}

#[test]
fn what_a_server_does_wrong_installs_nothing() {
    let on = Scratch::new();
    let server = serve(&on);
    for (name, why) in [
        ("none.bz2", "404"),
        ("plain-http/restic.bz2", "https"),
        ("for-ever", "redirect"),
        ("broken-off/restic.bz2", "broke off"),
        ("huge", "larger than 200 MB"),
    ] {
        pinning(&on, &server, name);
        let ran = apply(&on, &[]);
        let url = format!("cannot fetch https://127.0.0.1:{}/{name}", server.port);
        installs_nothing(&on, &ran, &[&url, why]);
    }
    // An authority that the machine does not know: the system's own are trusted if none are named.
    pinning(&on, &server, "restic.bz2");
    installs_nothing(&on, &on.rlvm(&["apply", "--yes"]), &["cannot fetch"]);
    for (authorities, why) in
        [("/nowhere.pem", "/nowhere.pem is not there"), ("/etc/passwd", "holds no certificate")]
    {
        installs_nothing(&on, &apply(&on, &[("SSL_CERT_FILE", authorities)]), &[why]);
    }
    let ran = apply(&on, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    has(&on, "0.18.0");
}

#[test]
fn nobody_waits_for_a_silent_server_after_a_signal() {
    let on = Scratch::new();
    let server = serve(&on);
    pinning(&on, &server, "silent");
    let mut command = on.command(&["apply", "--yes"]);
    let child = command.env("SSL_CERT_FILE", on.beside("ca.pem")).spawn().unwrap();
    thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("stopped by a signal"), "{stderr}");
}

/// Carries bytes one way, until either side ends.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Answers `CONNECT`, as a proxy does, and counts.
fn proxy() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
            let server = TcpStream::connect(target).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || carry(client, server));
            thread::spawn(move || carry(back.0, back.1));
        }
    });
    (port, count)
}

#[test]
fn a_proxy_is_used_as_the_environment_says() {
    let (port, count) = proxy();
    let address = format!("http://127.0.0.1:{port}");
    for (not_for, expected) in [("127.0.0.1, other.lan", 0), ("other.lan", 1)] {
        let on = Scratch::new();
        let server = serve(&on);
        pinning(&on, &server, "restic.bz2");
        let ran = apply(&on, &[("https_proxy", &address), ("no_proxy", not_for)]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(count.load(Ordering::SeqCst), expected);
        has(&on, "0.18.0");
    }
}
