//! Ready-made kinds of vnodes, for callers that write no Rust: [`Counter`], [`Kv`], [`Lease`] and [`Queue`].
//!
//! `holocron host` runs them. A program of your own adds them to its host with [`register`]. Each is written with the public
//! API and is an example of it; `docs/kinds.md` is their manual.
//!
//! They have in common:
//!
//! * A vnode is one state: it is loaded, changed and committed as a whole. So each kind has named limits, and a command that would
//!   exceed one is refused with an error that says the limit.
//! * Times are milliseconds since 1970 by the wall clock of the host that has the vnode. Something that is due is treated as due
//!   by every call, also before its timer has fired: a timer only makes sure that watchers hear of it.
//! * Tokens, revisions, ids and receipts come from a sequence that only grows, also after the vnode was deleted.

mod counter;
mod kv;
mod lease;
mod queue;
mod sequence;
mod wall;

use holocron::HostBuilder;

pub use self::{
    counter::{Counter, CounterAnswer, CounterClient, CounterCommand, CounterQuery, CounterReply},
    kv::{
        Change, Field, Kv, KvAnswer, KvClient, KvCommand, KvError, KvQuery, KvReply, Page,
        limits as kv_limits,
    },
    lease::{
        Acquired, Grant, Lease, LeaseAnswer, LeaseClient, LeaseCommand, LeaseError, LeaseQuery,
        LeaseReply, LeaseState, Waiter, limits as lease_limits,
    },
    queue::{
        DeadLetter, Delivery, Queue, QueueAnswer, QueueClient, QueueCommand, QueueError,
        QueueQuery, QueueReply, QueueStats, limits as queue_limits,
    },
};

/// Registers all of them with a host.
pub fn register(host: HostBuilder) -> HostBuilder {
    host.vnode::<Counter>().vnode::<Kv>().vnode::<Lease>().vnode::<Queue>()
}
