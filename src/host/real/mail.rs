//! Handing a mail to a server, by SMTP.

use anyhow::{Context, Result, bail};
use lettre::{
    Address, SmtpTransport, Transport,
    address::Envelope,
    transport::smtp::{
        Error,
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};

use super::{
    Real, certificate, fetch, secrets,
    tell::{TRY, Tried},
};
use crate::{
    effect::{self, Carrier, Mail},
    model::Server as Name,
};

/// A server with all that it takes, the password too: it is never printed.
pub(super) struct Server {
    transport: SmtpTransport,
}

impl Server {
    /// Reads what it takes.
    pub(super) fn open(real: &Real, by: &Carrier) -> Result<Self> {
        let Carrier::Server { host, port, tls, login, own_name } = by else { bail!("no server") };
        let tls = match tls {
            effect::Tls::Starttls => Tls::Required(parameters(real, host)?),
            effect::Tls::Implicit => Tls::Wrapper(parameters(real, host)?),
            effect::Tls::None => Tls::None,
        };
        let mut builder = SmtpTransport::builder_dangerous(host.as_str())
            .port(*port)
            .tls(tls)
            .hello_name(ClientId::Domain(own_name.to_string()))
            .timeout(Some(TRY));
        if let Some((user, file)) = login {
            builder = builder.credentials(Credentials::new(user.clone(), secrets::line(real, file)?));
        }
        Ok(Self { transport: builder.build() })
    }
}

/// Says whom TLS trusts: those that the system trusts, as by https.
fn parameters(real: &Real, host: &Name) -> Result<TlsParameters> {
    let mut builder =
        TlsParameters::builder(host.as_str().to_owned()).certificate_store(CertificateStore::None);
    for certificate in fetch::authorities(&real.web)? {
        // One that rustls cannot read is none that it could trust.
        if let Ok(certificate) = Certificate::from_der(certificate.der().to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().ok().context("TLS cannot be spoken with what the system trusts")
}

/// Hands a mail over. What a server says is not repeated: it may be what it was told.
pub(super) fn send(server: &Server, mail: &Mail) -> Tried {
    let Some(envelope) = envelope(mail) else {
        return Tried::Fails("an address that SMTP does not know".into());
    };
    let text = mail.text.replace('\n', "\r\n");
    match server.transport.send_raw(&envelope, text.as_bytes()) {
        Ok(response) => Tried::Taken(format!("answered {}", response.code())),
        Err(err) => failed(&err),
    }
}

fn envelope(mail: &Mail) -> Option<Envelope> {
    let address = |text: &String| text.parse::<Address>().ok();
    let from = match &mail.from {
        Some(from) => Some(address(from)?),
        None => None,
    };
    Envelope::new(from, mail.to.iter().map(address).collect::<Option<_>>()?).ok()
}

fn failed(err: &Error) -> Tried {
    let code = err.status().map(u16::from);
    match code {
        Some(code @ (535 | 530 | 534 | 538)) => {
            Tried::Fails(format!("answered {code}: the server refuses this login"))
        }
        Some(code) if err.is_transient() => Tried::Passes(format!("answered {code}"), None),
        Some(code) => Tried::Fails(format!("answered {code}")),
        None if err.is_timeout() => Tried::Passes("no answer in time".into(), None),
        None if err.is_client() => {
            Tried::Fails(err.to_string().trim_start_matches("internal client error: ").to_owned())
        }
        None => match tls(err) {
            Some(why) => Tried::Fails(why),
            None => Tried::Passes(format!("no connection: {}", cause(err)), None),
        },
    }
}

/// Says what rustls said: a certificate that is not trusted, say. lettre 0.11 calls that an error of the connection.
fn tls(err: &Error) -> Option<String> {
    let mut cause: Option<&dyn std::error::Error> = Some(err);
    while let Some(one) = cause {
        let inner = one.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(said) = inner.and_then(|it| it.downcast_ref::<rustls::Error>()) {
            return Some(certificate::in_words(said));
        }
        cause = one.source();
    }
    err.is_tls().then(|| err.to_string())
}

/// Names what is at the bottom of an error.
fn cause(err: &Error) -> String {
    let mut cause: &dyn std::error::Error = err;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
