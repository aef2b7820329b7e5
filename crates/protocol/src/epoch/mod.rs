//! Epochs: the record that each holds, how the next one is made, how the log of them is read and trimmed.
//!
//! Imports [`crate::format`].

pub mod changes;
pub mod domain;
pub mod draft;
pub mod election_record;
mod json;
pub mod kept;
pub mod log;
pub mod placement;
pub mod record;
mod rules;
pub mod shards;
pub mod spread;
pub mod versions;
