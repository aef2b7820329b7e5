//! Roles, and how a certificate says its own.
//!
//! A certificate is valid for one of three DNS names: `host.holocron.internal`, `operator.holocron.internal`,
//! `client.holocron.internal`. A process that connects asks for the first, so the usual verification of a server's name makes sure
//! that a host answers. `.internal` is reserved for private use: no public authority issues these names.

use core::fmt;

use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use webpki::EndEntityCert;

/// Roles are names below this domain.
pub const AUTHORITY_DOMAIN: &str = "holocron.internal";
/// Most bytes of a name in a certificate, or of a token.
pub const NAME_LEN_MAX: usize = 64;
/// The scheme of the URI with a certificate's name: `holocron:alice`.
const NAME_SCHEME: &str = "holocron:";

/// What a certificate is for. A larger role may do all that a smaller one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Calls vnodes, and reads the state of the cluster.
    Client,
    /// Also drains, seals and moves, and adds and removes domains.
    Operator,
    /// Is a member of the cluster.
    Host,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Client, Self::Operator, Self::Host];

    /// The role's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Operator => "operator",
            Self::Host => "host",
        }
    }

    /// The name that a certificate of this role is valid for.
    #[must_use]
    pub const fn dns_name(self) -> &'static str {
        match self {
            Self::Client => "client.holocron.internal",
            Self::Operator => "operator.holocron.internal",
            Self::Host => "host.holocron.internal",
        }
    }

    pub(crate) fn server_name(self) -> ServerName<'static> {
        ServerName::DnsName(DnsName::try_from(self.dns_name()).expect("it is a DNS name"))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a certificate says of who has it. That the cluster's authority signed it was verified elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Its role.
    pub role: Role,
    /// Its name. A host's certificate without one is good for every host.
    pub name: Option<String>,
}

impl Certified {
    /// Reads it from a certificate, or says what is wrong with the certificate.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else {
            return Err("it isn't an X.509 certificate of version 3");
        };
        let has =
            |role: &Role| certificate.verify_is_valid_for_subject_name(&role.server_name()).is_ok();
        let mut roles = Role::ALL.into_iter().filter(has);
        let role = match (roles.next(), roles.next()) {
            (Some(role), None) => role,
            (None, _) => {
                return Err("it has no role: it must be valid for the DNS name \
                            host.holocron.internal, operator.holocron.internal or \
                            client.holocron.internal");
            }
            (Some(_), Some(_)) => return Err("it has several roles; it must have one"),
        };
        let mut names =
            certificate.valid_uri_names().filter_map(|uri| uri.strip_prefix(NAME_SCHEME));
        let name = match (names.next(), names.next()) {
            (None, _) => None,
            (Some(name), None) if is_name(name) => Some(name.to_owned()),
            (Some(_), _) => {
                return Err(
                    "its URI holocron:NAME isn't one: NAME has 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', '@'",
                );
            }
        };
        if name.is_none() && role != Role::Host {
            return Err("it has no name: it needs a URI holocron:NAME");
        }
        Ok(Self { role, name })
    }
}

/// For logs: `operator alice`, `host`.
impl fmt::Display for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name}", self.role),
            None => write!(f, "{}", self.role),
        }
    }
}

/// Whether it may be the name in a certificate, or of a token: what goes into a log line as it is.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    !name.is_empty() && name.len() <= NAME_LEN_MAX && name.bytes().all(fits)
}
