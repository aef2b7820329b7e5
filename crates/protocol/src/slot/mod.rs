//! A slot at a session: who may serve it, what a journal says of it, how it is recovered.
//!
//! Imports [`crate::state`], [`crate::epoch`], [`crate::journal`] and [`crate::format`].

pub mod find;
pub mod fold;
pub mod lifecycle;
pub mod listing;
pub mod log;
pub mod recovery;
pub mod replay;
pub mod residency;
pub mod tenure;
