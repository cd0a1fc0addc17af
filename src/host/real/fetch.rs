//! Fetching a file: by https, or from the host's own disk.
//!
//! It is only fetched here: whoever asked holds it against a digest. TLS keeps others from seeing what is fetched and
//! from holding back a newer one. Which authorities are trusted is the machine's to say, so that a company's own works.

use std::{
    io::Read,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use ureq::{
    Agent, Proxy,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{Real, interrupted, leaf::Leaf, walk::Cursor};
use crate::model::{FetchUrl, HostPath, Url};

/// How much is fetched at most, in bytes. restic 0.18 has 28 MB, and 9 MB packed.
pub(super) const MOST: u64 = 200 << 20;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// How long all of it may take.
const WHOLE: Duration = Duration::from_secs(600);
/// How often a server may send somewhere else: GitHub does it once.
const REDIRECTS: u32 = 5;

/// Where systems keep the authorities that they trust: Debian and its like, Fedora and its like, openSUSE, Alpine.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How the network is reached, as the caller's environment says.
#[derive(Clone, Debug, Default)]
pub struct Web {
    /// `SSL_CERT_FILE`: the authorities that are trusted, instead of the system's.
    pub authorities: Option<String>,
    /// `https_proxy`: through which machine.
    pub proxy: Option<String>,
    /// `no_proxy`: for which machines not.
    pub no_proxy: Option<String>,
}

impl Real {
    /// Fetches a file into memory.
    pub(super) fn fetch(&self, url: &FetchUrl) -> Result<Vec<u8>> {
        match url {
            FetchUrl::File(path) => read(self, path),
            FetchUrl::Web(url) => self.download(url),
        }
        .with_context(|| format!("cannot fetch {url}"))
    }

    /// Downloads in a thread of its own, so that a signal need not wait for a server.
    fn download(&self, url: &Url) -> Result<Vec<u8>> {
        let (agent, url) = (agent(&self.web)?, url.to_string());
        let (send, receive) = mpsc::channel();
        thread::spawn(move || drop(send.send(download(&agent, &url))));
        loop {
            match receive.recv_timeout(Duration::from_millis(100)) {
                Ok(result) => return result,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    ensure!(interrupted().is_none(), "stopped by a signal");
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the download ended without a word"),
            }
        }
    }
}

fn download(agent: &Agent, url: &str) -> Result<Vec<u8>> {
    let body = agent.get(url).call()?.into_body();
    let length = body.content_length();
    ensure!(length.is_none_or(|length| length <= MOST), "it is larger than {} MB", MOST >> 20);
    let mut bytes = Vec::new();
    body.into_reader().take(MOST + 1).read_to_end(&mut bytes).context("the download broke off")?;
    ensure!(bytes.len() as u64 <= MOST, "it is larger than {} MB", MOST >> 20);
    Ok(bytes)
}

/// Reads a file of the host. What it holds is held against a digest.
fn read(real: &Real, path: &HostPath) -> Result<Vec<u8>> {
    let mut cursor = Cursor::default();
    let (file, _) = Leaf::of(&mut cursor, real, path)?.open_any()?;
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {path}"))?;
    ensure!(bytes.len() as u64 <= MOST, "{path} is larger than {} MB", MOST >> 20);
    Ok(bytes)
}

/// Builds what asks: https alone, redirects too; nothing is taken from the environment but what `main` picked.
fn agent(web: &Web) -> Result<Agent> {
    let config = Agent::config_builder()
        .https_only(true)
        .max_redirects(REDIRECTS)
        .proxy(proxy(web)?)
        .user_agent(concat!("rlvm/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE))
        .timeout_global(Some(WHOLE))
        .tls_config(tls(web)?)
        .build();
    Ok(config.new_agent())
}

/// Says how TLS is spoken, and who is trusted.
pub(super) fn tls(web: &Web) -> Result<TlsConfig> {
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&authorities(web)?))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

pub(super) fn proxy(web: &Web) -> Result<Option<Proxy>> {
    let Some(proxy) = &web.proxy else { return Ok(None) };
    // The text is not repeated: it may hold a password.
    let proxy = Proxy::new(proxy).ok().context("https_proxy is no proxy's address")?;
    let mut builder = Proxy::builder(proxy.protocol()).host(proxy.host()).port(proxy.port());
    if let Some(user) = proxy.username() {
        builder = builder.username(user);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    for host in web.no_proxy.iter().flat_map(|hosts| hosts.split(',')) {
        builder = builder.no_proxy(host.trim());
    }
    builder.build().ok().context("no_proxy names no hosts").map(Some)
}

/// Reads the authorities that are trusted.
pub(super) fn authorities(web: &Web) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    let named = web.authorities.as_deref();
    let candidates: Vec<&str> = named.map_or_else(|| AUTHORITIES.to_vec(), |named| vec![named]);
    #[expect(clippy::disallowed_methods, reason = "host reads what the machine trusts")]
    let found = candidates.iter().find_map(|path| Some((path, std::fs::read(Path::new(path)).ok()?)));
    let Some((path, pem)) = found else {
        bail!(
            "no certificates that are trusted: {} is not there\nhelp: apt-get install ca-certificates",
            candidates.join(", nor ")
        );
    };
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| if let Ok(PemItem::Certificate(it)) = item { Some(it) } else { None })
        .collect();
    ensure!(!certificates.is_empty(), "{path} holds no certificate");
    Ok(certificates)
}
