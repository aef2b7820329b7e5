//! The wire: frames, connections, the server side of a connection, the messages between hosts, and who may send them.
//!
//! Imports [`crate::api`].

mod audit;
#[cfg(test)]
pub(crate) mod fake;
pub mod frame;
pub mod link;
pub mod measures;
pub mod net;
pub(crate) mod peer;
mod permit;
pub(crate) mod serve;
pub mod server;
mod tls;
