//! Exactly once: what a vnode stores with its state, which requests it records, how a client numbers and retries them.
//!
//! Imports [`crate::deferred`] and [`crate::format`].

pub mod attempts;
pub mod envelope;
pub mod fork;
pub mod watchers;
pub mod window;
