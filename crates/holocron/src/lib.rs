//! Holocron: virtual nodes with durable state in an object store.
//!
//! A *virtual node* is an actor with a stable name and durable state. Any host can pick a failed host's vnodes up and
//! continue: the store is the only thing hosts share.
#![cfg_attr(not(test), warn(missing_docs))]

mod actor;
mod call;
pub mod client;
mod clock;
mod connect;
mod epoch_log;
#[cfg(test)]
mod fake;
pub mod frame;
mod host;
mod journal;
mod kinds;
pub mod link;
mod loss;
pub mod net;
mod peer;
mod random;
mod reader;
mod sealer;
mod serve;
pub mod server;
mod session;
mod settings;
mod slots;
mod store_watch;
mod supervisor;
mod tail;
mod vnode;
mod warm;

pub use call::{Answer, Call, Mode, Outcome, ReplyTo};
pub use client::{CallError, Client, VnodeRef};
pub use clock::{Clock, SystemClock, TokioClock};
pub use connect::{AskError, ClientBuilder, ConnectError, ask};
pub use holocron_protocol::founding::Founding;
pub use holocron_protocol::window::{WindowLimits, WindowSize};
pub use host::{Host, HostBuilder, StartError, Stopped};
pub use peer::{Health, HostStatus, JoinRequest, PeerMessage, PeerReply, Progress};
pub use random::Random;
pub use serve::{Serve, View};
pub use settings::Settings;
pub use vnode::{Context, Vnode};
