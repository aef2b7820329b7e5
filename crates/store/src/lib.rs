//! An object store behind a few verbs, with one conditional write that tells the truth.
//!
//! The store moves bytes and knows nothing of what they mean: keys are paths, bodies are [`bytes::Bytes`]. Everything
//! that makes a store trustworthy, or finds out that it isn't, lives here.

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
mod probe;
mod retry;
mod store;

pub use counting::{Counting, Counts, Tally, Verb};
pub use create::{Created, create_once};
pub use directory::Directory;
pub use error::{BoxError, Error, explain};
pub use faulty::{Fault, Faults, Faulty, Outage};
pub use key::{KEY_LEN_MAX, KEY_SEGMENT_LEN_MAX, key_is_legal};
pub use latency::Latency;
pub use lying::{Lie, Lying};
pub use memory::Memory;
pub use open::{OpenError, open};
pub use patience::Patience;
pub use probe::{Probe, ProbeError, ProbeReport, Promise, probe};
pub use retry::{GaveUp, delete_until, get_range_until, get_until, list_until, put_until};
pub use store::{LIST_LEN_MAX, Listed, Store};
