//! A consistent copy of a running cluster: its *cut*, what belongs to it, and how the copy is ended so that another cluster
//! can begin with it.
//!
//! A cut is a moment at which every session of the newest epoch record was frozen: it had committed what stands below its
//! position, and had nothing in flight. So the objects of a cut are those of a cluster whose hosts all crashed at that moment,
//! and a cluster that begins with them recovers by the ordinary rules. Why that is consistent, also for callers outside, is
//! told in `docs/design/0028-backup.md`.
//!
//! Imports [`crate::epoch`], [`crate::journal`] and [`crate::format`]. Nothing imports it.

pub mod contents;
pub mod ending;
pub mod manifest;
pub mod taking;
