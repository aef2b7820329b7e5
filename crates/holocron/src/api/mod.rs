//! What users of the library touch besides hosts and clients: the vnode trait and its hooks, calls and their outcomes, settings, the
//! clock and the source of randomness.
//!
//! Imports [`crate::metrics`].

pub(crate) mod asked;
pub(crate) mod by_name;
pub(crate) mod call;
pub(crate) mod call_error;
pub(crate) mod clock;
pub(crate) mod codec;
pub(crate) mod context;
pub(crate) mod courier;
pub(crate) mod deferred;
pub(crate) mod effect;
pub(crate) mod encoded;
pub(crate) mod env;
pub(crate) mod kinds;
pub(crate) mod lifecycle;
pub(crate) mod meter;
pub(crate) mod old_state;
pub(crate) mod random;
pub(crate) mod reply_shape;
pub(crate) mod schema;
pub(crate) mod settings;
pub(crate) mod vnode;
pub(crate) mod watch;
pub(crate) mod words;
