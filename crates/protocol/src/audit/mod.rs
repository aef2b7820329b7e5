//! The judgement of a whole store by its objects: what is damaged (`holocron scrub`), and what no host needs
//! (`holocron gc`).
//!
//! Hosts may run while the objects are read, so no two objects are of the same moment. Two things keep that from looking
//! like damage. What must exist is decided by objects read *after* the one that is missing was looked for. And a finding
//! counts only if a second, later reading of the same part has it too ([`finding::confirmed`]).
//!
//! Imports [`crate::checkpoint`], [`crate::state`], [`crate::epoch`], [`crate::journal`] and [`crate::format`]. Nothing
//! imports it.

pub mod finding;
pub mod garbage;
pub mod history;
pub mod pack;
pub mod session;
pub mod unlisted;
