//! Checkpoints: what the next one copies, how copies become packs, what may be deleted afterwards.
//!
//! Imports [`crate::slot`], [`crate::state`], [`crate::epoch`], [`crate::journal`] and [`crate::format`].

pub mod garbage;
pub mod pack_writer;
pub mod plan;
