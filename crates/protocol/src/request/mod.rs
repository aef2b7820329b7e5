//! Exactly once: what a vnode stores with its state, which requests it remembers, how a client numbers and repeats them.
//!
//! Imports [`crate::format`].

pub mod attempts;
pub mod envelope;
pub mod window;
