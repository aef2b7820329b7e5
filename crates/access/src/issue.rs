//! Issuing the certificates of a cluster: for `holocron cert`, and for tests.

use core::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, string::Ia5String,
};
use time::OffsetDateTime;

use crate::role::{Role, is_name};

/// How long an authority's certificate is valid.
pub const AUTHORITY_VALID: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How much earlier than now a certificate begins, for clocks that differ.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(3600);

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The name isn't one.
    #[error("{0:?}: a name has 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', '@'")]
    Name(String),
    /// The authority's key can't be read. Shows nothing of it.
    #[error(
        "the authority's key can't be read: it must be a PKCS#8 key in PEM, as `holocron cert init` writes it"
    )]
    Key,
    /// A certificate can't be made.
    #[error("the certificate can't be made")]
    Certificate(#[source] rcgen::Error),
}

/// A certificate with its key, in PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl core::fmt::Debug for Issued {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Issued")
    }
}

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Its role.
    pub role: Role,
    /// Its name; only a host needs none.
    pub name: Option<&'a str>,
    /// From when it is valid.
    pub from: SystemTime,
    /// Until when.
    pub until: SystemTime,
}

/// The authority of a cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    params: CertificateParams,
}

impl core::fmt::Debug for Authority {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// A new one, and its certificate and key.
    ///
    /// # Errors
    ///
    /// [`IssueError::Certificate`].
    pub fn found(now: SystemTime) -> Result<(Self, Issued), IssueError> {
        let key = KeyPair::generate().map_err(IssueError::Certificate)?;
        let text = key.serialize_pem();
        let mut authority = Self::with(key);
        authority.params.not_before = OffsetDateTime::from(now - CLOCKS_DIFFER);
        authority.params.not_after = OffsetDateTime::from(now + AUTHORITY_VALID);
        let certificate = authority
            .params
            .self_signed(authority.issuer.key())
            .map_err(IssueError::Certificate)?;
        Ok((authority, Issued { certificate: certificate.pem(), key: text }))
    }

    /// The one that has this key, in PEM.
    ///
    /// # Errors
    ///
    /// [`IssueError::Key`].
    pub fn of_key(pem: &str) -> Result<Self, IssueError> {
        KeyPair::from_pem(pem).map(Self::with).map_err(|_quotes| IssueError::Key)
    }

    fn with(key: KeyPair) -> Self {
        let mut params = CertificateParams::default();
        // The name follows from the key, so that the key alone is enough to issue, and two authorities never share a name.
        let digest = digest(&SHA256, key.der_bytes());
        let short: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Holocron authority {short}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: Issuer::new(params.clone(), key), params }
    }

    /// Issues a certificate, with a new key.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue(&self, request: &Request<'_>) -> Result<Issued, IssueError> {
        let Request { role, name, from, until } = request;
        if let Some(name) = name.filter(|name| !is_name(name)) {
            return Err(IssueError::Name(name.to_owned()));
        }
        let mut params = CertificateParams::new([role.dns_name().to_owned()])
            .map_err(IssueError::Certificate)?;
        params.not_before = OffsetDateTime::from(*from);
        params.not_after = OffsetDateTime::from(*until);
        let common = name.map_or(role.to_string(), |name| format!("{role} {name}"));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        if let Some(name) = name {
            let uri =
                Ia5String::try_from(format!("holocron:{name}")).map_err(IssueError::Certificate)?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if *role == Role::Host {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(IssueError::Certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(IssueError::Certificate)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
