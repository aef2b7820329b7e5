//! From files to what rustls is set up with. Everything that can be wrong with the files is found here, not by the first connection.

use core::{fmt, time::Duration};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use webpki::{EndEntityCert, KeyUsage};

use super::explain::invalid;
use crate::{
    role::Certified,
    watched::{FromFiles, Unusable},
};

/// Most certificates of authorities.
const AUTHORITIES_MAX: usize = 16;
/// Most certificates in a chain.
const CHAIN_LEN_MAX: usize = 8;
/// How long before its end a certificate needs attention.
const ENDS_SOON: Duration = Duration::from_secs(21 * 24 * 3600);
/// The last second that a certificate can be valid at: the end of the year 9999.
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);

/// What a member of a cluster opens and accepts connections with.
pub(super) struct Member {
    pub(super) own: Certified,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    ends: SystemTime,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("own", &self.own).finish_non_exhaustive()
    }
}

impl FromFiles for Member {
    const WHAT: &'static str = "certificates";

    fn read(files: &[(PathBuf, Vec<u8>)]) -> Result<Self, Unusable> {
        let [authority, certificate, key] = files else { unreachable!("it has three files") };
        let authorities = authorities(&authority.0, &authority.1)?;
        let chain = certificates(&certificate.0, &certificate.1, CHAIN_LEN_MAX)?;
        let unusable = |why: &str| Unusable::new(&certificate.0, why);
        let own = Certified::read(&chain[0]).map_err(unusable)?;
        verify(&chain, &authorities, UnixTime::now())
            .map_err(|error| unusable(&invalid(&error, &authority.0)))?;
        let key_of =
            |chain: &[CertificateDer<'static>]| Ok((chain.to_vec(), private_key(&key.0, &key.1)?));
        let misfit = |error: rustls::Error| Unusable::new(&key.0, misfit(&error, &certificate.0));

        let (shown, with) = key_of(&chain)?;
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3")
            .with_root_certificates(Arc::clone(&authorities))
            .with_client_auth_cert(shown, with)
            .map_err(misfit)?;
        client.resumption = Resumption::disabled();

        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities), provider());
        let verifier =
            verifier.build().map_err(|error| Unusable::new(&authority.0, error.to_string()))?;
        let (shown, with) = key_of(&chain)?;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(shown, with)
            .map_err(misfit)?;
        server.send_tls13_tickets = 0;

        let ends = end_of(&chain, &authorities);
        Ok(Self { own, client: Arc::new(client), server: Arc::new(server), ends })
    }

    fn warning(&self, now: SystemTime) -> Option<String> {
        ends_soon(self.ends, now)
    }
}

/// What a site accepts connections with.
pub(super) struct Site {
    pub(super) server: Arc<ServerConfig>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Site")
    }
}

impl FromFiles for Site {
    const WHAT: &'static str = "the site's certificates";

    fn read(files: &[(PathBuf, Vec<u8>)]) -> Result<Self, Unusable> {
        let [certificate, key] = files else { unreachable!("it has two files") };
        let chain = certificates(&certificate.0, &certificate.1, CHAIN_LEN_MAX)?;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, private_key(&key.0, &key.1)?)
            .map_err(|error| Unusable::new(&key.0, misfit(&error, &certificate.0)))?;
        server.send_tls13_tickets = 0;
        Ok(Self { server: Arc::new(server) })
    }

    fn warning(&self, _: SystemTime) -> Option<String> {
        None
    }
}

/// The cryptography, named here because a process may have several.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn authorities(path: &Path, pem: &[u8]) -> Result<Arc<RootCertStore>, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem, AUTHORITIES_MAX)? {
        roots.add(certificate).map_err(|error| Unusable::new(path, error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

fn certificates(
    path: &Path,
    pem: &[u8],
    most: usize,
) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).take(most + 1).collect();
    // The reason may quote a line of the file, and a key may have been given by mistake.
    let read = read.map_err(|_quotes| Unusable::new(path, "it isn't PEM"))?;
    match read.len() {
        0 => Err(Unusable::new(path, "there is no certificate in it")),
        count if count > most => {
            Err(Unusable::new(path, format!("it has more than {most} certificates")))
        }
        _ => Ok(read),
    }
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_quotes| {
        Unusable::new(path, "there is no private key in it that can be used (PEM, not encrypted)")
    })
}

fn misfit(error: &rustls::Error, certificate: &Path) -> String {
    if let rustls::Error::InconsistentKeys(_) = error {
        return format!("it isn't the key of the certificate in {}", certificate.display());
    }
    error.to_string()
}

/// Verifies the own chain as the other end will.
fn verify(
    chain: &[CertificateDer<'_>],
    authorities: &RootCertStore,
    at: UnixTime,
) -> Result<(), webpki::Error> {
    EndEntityCert::try_from(&chain[0])?
        .verify_for_usage(
            provider().signature_verification_algorithms.all,
            &authorities.roots,
            &chain[1..],
            at,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(drop)
}

/// When the first certificate of a valid chain ends.
fn end_of(chain: &[CertificateDer<'_>], authorities: &RootCertStore) -> SystemTime {
    let mut at = END_OF_TIME;
    // The error names the end of one certificate; another one of the chain may end before.
    for _ in 0..=CHAIN_LEN_MAX {
        match verify(chain, authorities, UnixTime::since_unix_epoch(at)) {
            Err(webpki::Error::CertExpired { not_after, .. }) => {
                at = Duration::from_secs(not_after.as_secs());
            }
            Ok(()) | Err(_) => break,
        }
    }
    SystemTime::UNIX_EPOCH + at
}

fn ends_soon(ends: SystemTime, now: SystemTime) -> Option<String> {
    let at = humantime::format_rfc3339_seconds(ends);
    match ends.duration_since(now) {
        Ok(left) if left > ENDS_SOON => None,
        Ok(left) => {
            let days = left.as_secs() / (24 * 3600);
            Some(format!(
                "the certificate ends at {at}, in {days} days; then no new connection is possible"
            ))
        }
        Err(_passed) => {
            Some(format!("the certificate ended at {at}; no new connection is possible"))
        }
    }
}
