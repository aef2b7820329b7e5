//! What users of the library touch besides hosts and clients: the vnode trait and its hooks, calls and their outcomes, settings, the
//! clock and the source of randomness.
//!
//! Imports nothing of this crate.

pub(crate) mod asked;
pub(crate) mod call;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod courier;
pub(crate) mod deferred;
pub(crate) mod effect;
pub(crate) mod env;
pub(crate) mod kinds;
pub(crate) mod lifecycle;
pub(crate) mod random;
pub(crate) mod settings;
pub(crate) mod vnode;
