//! An object store behind a few verbs, with one conditional write that reports the true outcome.
//!
//! The store moves bytes and doesn't know their meaning: keys are paths, bodies are [`bytes::Bytes`]. It is the only
//! thing hosts share, so this crate also checks whether a store can be trusted:
//!
//! * [`Store`] is the promise; [`open`] makes a store from a URL; [`contract::check`] tests the promise.
//! * [`create_once`] does every conditional write and resolves its unclear answers.
//! * [`get_until`] and the other `…_until` functions repeat requests through any outage.
//! * [`probe()`](crate::probe()) refuses, at the start of a host, a store that breaks a promise.
//! * [`Counting`], [`Latency`], [`Faulty`] and [`Lying`] are stores around stores, for tests, benches and simulations.
//!
//! ```
//! use holocron_store::{Created, Patience, create_once, open};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), holocron_store::OpenError> {
//! let store = open("memory://", &[])?;
//! let never = CancellationToken::new();
//! let create = |body: &'static str| create_once(&store, "epochs/1", body.into(), Patience::forever(), &never);
//!
//! assert_eq!(create("leader: a, nonce 17").await, Created::Won);
//! assert_eq!(create("leader: b, nonce 42").await, Created::Lost("leader: a, nonce 17".into()));
//! # Ok(())
//! # }
//! ```

mod below;
mod cloud;
pub mod contract;
mod counting;
mod create;
mod directory;
mod error;
mod faulty;
mod key;
mod latency;
mod lying;
mod memory;
mod open;
mod patience;
mod planted;
mod probe;
mod retry;
mod store;
mod trouble;

pub use below::Below;
pub use counting::{Counting, Counts, Tally, Verb};
pub use create::{Created, create_once};
pub use directory::Directory;
pub use error::{BoxError, Error, explain};
pub use faulty::{Fault, Faults, Faulty, Outage};
pub use key::{KEY_LEN_MAX, KEY_SEGMENT_LEN_MAX, key_is_legal};
pub use latency::Latency;
pub use lying::{Lie, Lying};
pub use memory::Memory;
pub use open::{OpenError, open, open_or_make};
pub use patience::Patience;
pub use probe::{PROBE_DEADLINE_MAX, Probe, ProbeError, ProbeReport, Promise, probe};
pub use retry::{GaveUp, delete_until, get_range_until, get_until, list_until, put_until};
pub use store::{LIST_LEN_MAX, Listed, Store};
