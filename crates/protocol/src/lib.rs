//! The rules of Holocron: decides, never acts.
//!
//! Time, chance and the outside come in as arguments; effects go out as values. The crate is `no_std` so that it can't
//! cheat: no clock, no I/O, no randomness of its own. Each rule of the protocol has one home here:
//!
//! | module | rule |
//! | --- | --- |
//! | [`ids`], [`keys`], [`codec`] | names, where objects live, how they are wrapped |
//! | [`batch`] | what a journal holds |
//! | [`envelope`] | what is stored of a vnode |
//! | [`window`], [`request`] | that a request takes effect at most once: the vnode's and the client's side |
//! | [`writer`], [`reads`] | what a session has committed, and which answers may leave |
//! | [`sealing`], [`segment`] | how a session is ended and what it had committed |
//! | [`cluster`], [`epoch`] | what is fixed for ever, and the record of an epoch |
//! | [`topology`], [`placement`] | how the leader makes the next record, and who gets which slot |
//! | [`place`], [`index`] | what a host keeps in memory for each vnode |
//! | [`pack`], [`checkpoint`] | what a checkpoint writes, and how it is read |
//! | [`ownership`], [`slot_log`] | who may serve a slot, and what a journal says of it |
//! | [`reading`], [`fold`] | how a slot is recovered |
//! | [`compose`], [`packing`] | what the next checkpoint writes |
//! | [`garbage`] | what may be deleted, and in which order |
//! | [`epoch_log`], [`election`] | how the log is read and cut, and who writes the next record |
//! | [`suspicion`], [`hints`] | who is taken for dead, and what tells that somebody lives |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod batch;
pub mod checkpoint;
pub mod cluster;
pub mod codec;
mod compact;
pub mod compose;
pub mod election;
pub mod envelope;
pub mod epoch;
mod epoch_format;
pub mod epoch_log;
mod epoch_rules;
pub mod fold;
pub mod founding;
pub mod garbage;
pub mod hints;
pub mod ids;
pub mod index;
pub mod keys;
pub mod loss;
pub mod ownership;
pub mod pack;
pub mod packing;
pub mod place;
pub mod placement;
pub mod reading;
pub mod reads;
pub mod request;
pub mod sealing;
pub mod segment;
pub mod slot_log;
pub mod suspicion;
pub mod time;
pub mod topology;
pub mod window;
pub mod writer;
