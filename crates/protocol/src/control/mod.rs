//! The control plane: who leads, which hosts are members, which session is suspected.
//!
//! Imports [`crate::epoch`], [`crate::journal`] and [`crate::format`]. Nothing imports it.

pub mod election;
pub mod founding;
pub mod hints;
pub mod loss;
pub mod suspicion;
