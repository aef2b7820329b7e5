//! Whole Holocron clusters in one thread, from one seed, with everything breaking.
//!
//! The hosts are the real library: real actors, transport, client, journal. What is pretended is the world around them:
//! time, chance, network and store. Each host runs in a current-thread runtime of its own on a paused clock, and the
//! [`World`] gives them time in turns, a tick each; so a host can crash (its runtime is dropped and everything in it
//! vanishes), or pause (it is given no time, while its requests in flight still land) and wake much later.
//!
//! A [`Scenario`] is a whole story from one seed: a cluster under load, everything that goes wrong, and a look at what
//! is left. [`run`] says what was broken, and [`Counters`] what the run has shown.
//!
//! Same seed, same run: the world's [`Trace`] hashes everything that crosses a boundary.

mod chance;
mod cluster;
mod counters;
mod fault;
mod linear;
mod network;
mod panics;
pub mod planted;
mod scenario;
mod sessions;
mod store;
mod trace;
mod watch;
mod workload;
mod world;

pub use chance::Chance;
pub use cluster::Cluster;
pub use counters::Counters;
pub use fault::{Fault, Faults, UnknownFault};
pub use network::{SimNetwork, Wire};
pub use scenario::{Outcome, Scenario, run};
pub use store::{Replacement, Shelf, SimStore, Slow, StoreFaults};
pub use trace::Trace;
pub use watch::invariant::Invariant;
pub use world::{Node, World};
