//! A session's journal: its batches, what its writer has in flight and committed, when a read may be answered, how the
//! journal is sealed.
//!
//! Imports [`crate::format`].

pub mod batch;
pub mod found;
pub mod freeze;
pub mod read_barrier;
pub mod sealing;
pub mod writer;
