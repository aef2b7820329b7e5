//! The control plane: who leads, which hosts are members, which session is suspected, what the next epoch says.
//!
//! Imports [`crate::checkpoint`], [`crate::epoch`], [`crate::journal`] and [`crate::format`]. Nothing imports it.

pub mod admission;
pub mod candidate;
pub mod domain_member;
pub mod election;
pub mod founding;
pub mod hints;
pub mod leader;
pub mod leader_watch;
pub mod lease;
pub mod load;
pub mod loss;
pub mod member;
pub mod report;
pub mod stale;
pub mod suspicion;
