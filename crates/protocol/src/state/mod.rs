//! Where the states of vnodes are: the place of one record, the index of a slot, packs, the record of a checkpoint.
//!
//! Imports [`crate::journal`] and [`crate::format`].

pub mod checkpoint;
pub mod index;
pub mod pack;
pub mod place;
