//! Schemas: the shape of a type's serialized form, so that bytes are never read as another type than they were written.
//!
//! Imports nothing of this crate but `format`.

pub mod compare;
pub mod record;
pub mod shape;
pub mod trace;
