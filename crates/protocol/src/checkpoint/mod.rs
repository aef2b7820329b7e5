//! Checkpoints: what the next one copies, how copies become packs, what may be deleted afterwards.
//!
//! Imports [`crate::slot`], [`crate::state`], [`crate::epoch`], [`crate::journal`] and [`crate::format`].

pub mod collect;
pub mod pack_writer;
pub mod plan;
pub mod retain;
pub mod trim;
