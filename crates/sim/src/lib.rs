//! A simulator: whole Holocron clusters in one thread, from one seed, with faults of every kind.
//!
//! The hosts are the real library: real actors, transport, client, journal. Simulated are time, chance, network and
//! store. Each host runs in its own current-thread runtime on a paused clock, and the [`World`] advances them in turns,
//! one tick each. So a host can crash (its runtime is dropped with everything in it), or pause (its clock stops, while
//! its requests in flight still land) and wake much later.
//!
//! A [`Scenario`] is a complete test from one seed: a cluster under load, faults, and checks at the end. [`run`]
//! returns the violations, and [`Counters`] what the run has exercised.
//!
//! Same seed, same run: the world's [`Trace`] hashes every event at a boundary.

mod chance;
mod cluster;
mod counters;
mod fault;
mod host_clock;
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
pub use workload::bank::{Account, Command as AccountCommand, OPENING_BALANCE};
pub use world::{Node, World};
