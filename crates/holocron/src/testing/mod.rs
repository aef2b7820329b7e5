//! Tests of vnodes without any cluster.
//!
//! [`TestVnode`] runs one vnode in a test: its commands and queries, and it shows what they ask for. Its clock moves when the
//! test says so. For tests of whole clusters, with crashes and a failing store, there is the crate `holocron-testing`.
//!
//! Imports `api`.

mod clock;
mod unit;

pub use self::unit::{Sent, SentByName, TestVnode};
