//! Says why a server's certificate is not accepted, in words that name what to do.

use rustls::{CertificateError as Reason, Error};

/// Puts an error of TLS into words. rustls's own name its internals (`UnknownIssuer`).
pub(super) fn in_words(err: &Error) -> String {
    let Error::InvalidCertificate(reason) = err else { return format!("TLS failed: {err}") };
    match reason {
        Reason::UnknownIssuer => {
            "its certificate is signed by an authority that this host does not trust\n\
             help: put the authority's certificate into /usr/local/share/ca-certificates (a name that ends in .crt), \
             then run update-ca-certificates"
                .into()
        }
        Reason::Expired | Reason::ExpiredContext { .. } => {
            "its certificate has expired\nhelp: renew the certificate on the server; is this host's clock right?".into()
        }
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            "its certificate is not valid yet\nhelp: is this host's clock right?".into()
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            "its certificate is for another name\nhelp: write the name that the certificate is for".into()
        }
        Reason::Revoked => "its certificate is revoked\nhelp: renew the certificate on the server".into(),
        _ => format!("its certificate is not accepted: {err}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_in_plain_words() {
        for (reason, words) in [
            (
                Reason::UnknownIssuer,
                "signed by an authority that this host does not trust\nhelp: put the authority",
            ),
            (Reason::Expired, "has expired\nhelp: "),
            (Reason::NotValidYet, "not valid yet\nhelp: "),
            (Reason::NotValidForName, "is for another name\nhelp: "),
            (Reason::Revoked, "is revoked\nhelp: "),
            (Reason::BadEncoding, "its certificate is not accepted: "),
        ] {
            let said = in_words(&Error::InvalidCertificate(reason));
            assert!(said.contains(words), "{said}");
        }
        assert!(in_words(&Error::DecryptError).starts_with("TLS failed: "));
    }
}
