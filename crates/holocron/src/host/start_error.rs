//! Why a host did not start.

use std::net::IpAddr;

use holocron_protocol::{
    control::founding::Remains, epoch::record::LABEL_LEN_MAX, ids::InvalidName,
    schema::record::Refusal,
};
use holocron_store::{GaveUp, OpenError, ProbeError};

use crate::store_io::kind_records::Unserved;

/// Why a host did not start. At most an unused session remains of it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host name is invalid.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The zone's name is empty or too long.
    #[error("zone {0:?}: a zone has 1 to {LABEL_LEN_MAX} bytes")]
    Zone(String),
    /// The URL or its options are wrong.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't be reached, or breaks a promise that the protocol relies on.
    #[error(transparent)]
    Store(#[from] ProbeError),
    /// The store stopped answering while the host was starting.
    #[error(transparent)]
    Unreachable(#[from] GaveUp),
    /// The cluster under the prefix can't be read, or this release doesn't support it.
    #[error("{0}")]
    Cluster(#[from] holocron_protocol::format::codec::Malformed),
    /// There is no cluster under the prefix, and [`crate::Founding::Never`] forbids founding one.
    #[error("there is no cluster under this prefix, and this host may only join one")]
    NoCluster,
    /// The prefix is that of an election used alone.
    #[error(
        "this prefix is that of an election (it ends in elections/NAME), not of a cluster. Use another prefix"
    )]
    IsElection,
    /// There is no complete cluster under the prefix, but objects of an earlier one remain. Restore the missing objects,
    /// or use another prefix.
    #[error(
        "{absent} is missing, but of an earlier cluster there remains: {remains}. The store was emptied, replaced or \
         restored in part; a cluster founded now would not have the acknowledged writes. Stop every host, then \
         restore the missing objects, or use another prefix. If the old data is not needed: delete epochs/ and \
         epoch-marks/ below the prefix, and start one host with --found-anew (Founding::Anew)"
    )]
    Remains {
        /// What is missing.
        absent: &'static str,
        /// What is there.
        remains: Remains,
    },
    /// A kind has no environment; the text says which.
    #[error("{0}")]
    Environment(String),
    /// A kind's state has another shape than the store has recorded for its version. Raise the version and write a migration.
    #[error(transparent)]
    Kind(#[from] Refusal),
    /// The kinds have too many shards, or none; the text says which.
    #[error("{0}")]
    Shards(String),
    /// The configuration of a domain is wrong: its name, its rules or its URL.
    #[error("{0}")]
    Domain(String),
    /// Any process that reaches the address could act as a member of the cluster: use [`crate::HostBuilder::tls`], or allow it.
    #[error(
        "{address} ({ip}) is reachable from other machines, and without TLS any process that reaches it can read and change \
         everything: use TLS (--tls-ca, --tls-cert, --tls-key; HostBuilder::tls), or 127.0.0.1, or add --allow-remote \
         (HostBuilder::allow_remote) if you trust every machine in that network"
    )]
    Exposed {
        /// The address.
        address: String,
        /// What it means.
        ip: IpAddr,
    },
    /// The host can't listen at the address.
    #[error("can't listen at {address}")]
    Listen {
        /// The address.
        address: String,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl From<Unserved> for StartError {
    fn from(unserved: Unserved) -> Self {
        match unserved {
            Unserved::Refused(refusal) => Self::Kind(refusal),
            Unserved::GaveUp(gave_up) => Self::Unreachable(gave_up),
            Unserved::Malformed(malformed) => Self::Cluster(malformed),
        }
    }
}
