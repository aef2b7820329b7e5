//! What went wrong in a handshake, in words for an operator.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the errors are another crate's; one without words of ours is shown in its own"
)]

use std::{io, path::Path};

use rustls::{AlertDescription, CertificateError, Error};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The one that opened it.
    Opener,
    /// The one that accepted it.
    Acceptor,
}

/// What is wrong with the own certificate.
pub(super) fn invalid(error: &webpki::Error, authority: &Path) -> String {
    match error {
        webpki::Error::CertExpired { not_after, .. } => {
            format!("the certificate is expired since {}", shown(not_after.as_secs()))
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            format!(
                "the certificate is not valid before {}; is the clock right?",
                shown(not_before.as_secs())
            )
        }
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            format!("the certificate is not from the authority in {}", authority.display())
        }
        other => format!("the certificate can't be used: {other}"),
    }
}

fn shown(seconds: u64) -> String {
    let at = std::time::SystemTime::UNIX_EPOCH + core::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The same error with a text that says which end has to be mended. "It" is the other end.
pub(super) fn explained(end: End, error: &io::Error) -> io::Error {
    let kind = error.kind();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let why = match inner {
        Some(error) => of_tls(end, error),
        None if kind == io::ErrorKind::UnexpectedEof => match end {
            End::Opener => {
                "it closed the connection during the TLS handshake; it may run without TLS".into()
            }
            End::Acceptor => "it closed the connection during the TLS handshake".into(),
        },
        None => format!("the TLS handshake failed: {error}"),
    };
    io::Error::new(kind, why)
}

fn of_tls(end: End, error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "it showed no certificate".into(),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(end, *alert),
        Error::InvalidMessage(_) => match end {
            End::Opener => "it doesn't speak TLS; it may run without TLS".into(),
            End::Acceptor => "it doesn't speak TLS, and this host requires it".into(),
        },
        Error::PeerIncompatible(_) => format!("it doesn't speak TLS 1.3: {error}"),
        other => format!("the TLS handshake failed: {other}"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate is expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; are the clocks right?".into()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not from this cluster's authority".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is not that of a host".into()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not meant for this side of a connection".into()
        }
        other => format!("its certificate can't be used: {other}"),
    }
}

fn of_alert(end: End, alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateRequired => {
            return "it requires a certificate, and none was shown".into();
        }
        AlertDescription::CertificateExpired => "it is expired or not valid yet",
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it is not from the authority that the other end knows"
        }
        AlertDescription::BadCertificate => match end {
            End::Acceptor => "it is not that of a host",
            End::Opener => "it can't be read",
        },
        AlertDescription::UnsupportedCertificate => "it is not meant for this side of a connection",
        other => return format!("it refused the connection: TLS alert {other:?}"),
    };
    format!("it refused our certificate: {why}")
}

/// An error of an open connection, whose first bytes may still say that our certificate was refused.
pub(super) fn of_open(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(inner) => io::Error::new(error.kind(), of_tls(End::Opener, inner)),
        None => error,
    }
}
