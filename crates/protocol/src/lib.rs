//! The rules of Holocron: decides, never acts.
//!
//! Time, chance and the outside come in as arguments; effects go out as values. The crate is `no_std` so that it can't
//! cheat: no clock, no I/O, no randomness of its own. Each rule of the protocol has one home here:
//!
//! | folder | rules |
//! | --- | --- |
//! | [`ids`], [`time`], [`format`] | names and numbers; how objects are wrapped and where they live |
//! | [`journal`] | what a session has committed, which answers may leave, how it is ended |
//! | [`epoch`] | the record of an epoch, how the next is made, how the log is read |
//! | [`state`] | where states stand: places, indexes, packs, the record of a checkpoint |
//! | [`slot`] | who may serve a slot, and how it is recovered |
//! | [`checkpoint`] | what the next checkpoint writes, and what may be deleted |
//! | [`control`] | who leads, who is a member, who is suspected |
//! | [`request`] | that a request takes effect at most once |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod checkpoint;
pub mod control;
pub mod epoch;
pub mod format;
pub mod ids;
pub mod journal;
mod planted;
pub mod request;
pub mod slot;
pub mod state;
pub mod time;
