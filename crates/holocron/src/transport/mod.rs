//! The wire: frames, connections, the server side of a connection, and the messages between hosts.
//!
//! Imports [`crate::api`].

#[cfg(test)]
pub(crate) mod fake;
pub mod frame;
pub mod link;
pub mod net;
pub(crate) mod peer;
pub(crate) mod serve;
pub mod server;
