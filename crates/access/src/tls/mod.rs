//! TLS, from files.
//!
//! [`Tls`] is for the members of a cluster: both ends show a certificate of the cluster's authority. [`Https`] is for callers that show none.
//!
//! Invariants:
//!
//! * TLS 1.3 only, and no resumption: each connection is verified in full, by the files as they are then.
//! * A handshake takes [`HANDSHAKE_TIMEOUT`] at most.
//! * Verification is rustls' own.

mod config;
mod explain;
mod handshake;

use core::time::Duration;
use std::{io, path::PathBuf, sync::Arc};

use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::io::{AsyncRead, AsyncWrite};

use self::config::{Member, Site};
pub use self::handshake::Reads;
use crate::{
    role::{Certified, Role},
    watched::{Unusable, Watched},
};

/// How long a handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the certificates of a member are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the cluster's authority: one, or several while it is replaced.
    pub authority: PathBuf,
    /// The member's own certificate, followed by intermediate ones if there are any.
    pub certificate: PathBuf,
    /// The private key of the member's certificate.
    pub key: PathBuf,
}

/// Connections between the members of a cluster. Clones share the certificates.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Watched<Member>>);

impl Tls {
    /// Reads the files, and follows them from now on.
    ///
    /// # Errors
    ///
    /// [`Unusable`], also when the certificate isn't one of the authority, has no role, or is not valid now.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn open(files: &TlsFiles) -> Result<Self, Unusable> {
        let TlsFiles { authority, certificate, key } = files.clone();
        Ok(Self(Arc::new(Watched::open(vec![authority, certificate, key])?)))
    }

    /// What the own certificate says.
    #[must_use]
    pub fn own(&self) -> Certified {
        self.0.current().own.clone()
    }

    /// Whether this member may accept connections, which only hosts do; else why not.
    ///
    /// # Errors
    ///
    /// One of kind [`io::ErrorKind::PermissionDenied`].
    pub fn check_may_listen(&self) -> io::Result<()> {
        let own = self.own();
        if own.role == Role::Host {
            return Ok(());
        }
        let why = format!("its certificate is that of {own}; a host needs one with the role host");
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    }

    /// Opens a connection, and makes sure that a host of the cluster is at its other end.
    ///
    /// # Errors
    ///
    /// When that isn't so; the text says why.
    pub async fn connect<S>(&self, stream: S) -> io::Result<tokio_rustls::client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        handshake::connect(Arc::clone(&self.0.current().client), stream).await
    }

    /// Accepts a connection, and says who is at its other end.
    ///
    /// # Errors
    ///
    /// When it isn't a member of the cluster; the text says why.
    pub async fn accept<S>(
        &self,
        stream: S,
    ) -> io::Result<(tokio_rustls::server::TlsStream<S>, Certified)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let server = Arc::clone(&self.0.current().server);
        let stream = handshake::accept(server, stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
        let shown = shown.ok_or_else(|| io::Error::other("it showed no certificate"))?;
        match Certified::read(shown) {
            Ok(certified) => Ok((stream, certified)),
            Err(why) => Err(io::Error::other(format!("its certificate can't be used: {why}"))),
        }
    }
}

/// Where the certificate of a site is, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsFiles {
    /// The certificate, followed by intermediate ones if there are any. Its callers trust its authority, such as a public one.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The server's side of TLS for callers that show no certificate, such as those of an HTTP gateway. Clones share the certificate.
#[derive(Clone, Debug)]
pub struct Https(Arc<Watched<Site>>);

impl Https {
    /// Reads the files, and follows them from now on.
    ///
    /// # Errors
    ///
    /// [`Unusable`].
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn open(files: &HttpsFiles) -> Result<Self, Unusable> {
        let HttpsFiles { certificate, key } = files.clone();
        Ok(Self(Arc::new(Watched::open(vec![certificate, key])?)))
    }

    /// Accepts a connection.
    ///
    /// # Errors
    ///
    /// When the handshake fails; the text says why.
    pub async fn accept<S>(&self, stream: S) -> io::Result<tokio_rustls::server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let server: Arc<ServerConfig> = Arc::clone(&self.0.current().server);
        handshake::accept(server, stream).await
    }
}

#[cfg(test)]
mod tests;
