//! Stored formats that everything else is built on: object headers and checksums, varints, keys, the cluster object,
//! the election object, segments.
//!
//! Imports [`crate::ids`] only.

pub mod cluster;
pub mod codec;
pub mod election;
pub mod keys;
pub mod segment;
pub(crate) mod varint;
