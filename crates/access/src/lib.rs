//! Who may do what: the certificates of a cluster, and bearer tokens.
//!
//! Every member of a cluster has a certificate from the cluster's own authority, and the certificate says its role. [`Tls`] opens
//! and accepts connections on which both ends show theirs. [`Https`] is the server side for callers without certificates,
//! and [`Tokens`] says what such a caller may do.
//!
//! What is read from files is read again when the files change, without a restart. A file that can't be used is reported, and what was read
//! before stays in use.
//!
//! Invariants:
//!
//! * No error, log line or `Debug` shows a key, a token or a line of a file that may contain one.
//! * Nothing that a peer or a caller sends makes this crate panic; all of it is bounded.
#![expect(
    clippy::disallowed_types,
    reason = "certificates and tokens end at a time of the wall clock, which rustls reads too"
)]

mod audit;
#[cfg(feature = "issue")]
pub mod issue;
mod role;
mod tls;
mod tokens;
mod watched;

pub use self::{
    audit::note_admin_action,
    role::{AUTHORITY_DOMAIN, Certified, NAME_LEN_MAX, Role},
    tls::{HANDSHAKE_TIMEOUT, Https, HttpsFiles, Reads, Tls, TlsFiles},
    tokens::{
        Access, Denied, Limits, NewToken, PRESENTED_LEN_MAX, Scope, TOKENS_MAX, Target, Tokens,
    },
    watched::{FILE_LEN_MAX, LOOK_EVERY, Unusable},
};
