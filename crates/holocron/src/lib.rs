//! Holocron: virtual nodes with durable state in an object store.
//!
//! A *virtual node* is an actor with a stable name and durable state. Any host can take over the vnodes of a failed
//! host: the store is the only thing hosts share.
#![cfg_attr(not(test), warn(missing_docs))]

mod api;
pub mod audit;
pub mod client;
pub mod election;
mod host;
pub mod inspect;
mod planted;
mod session;
mod store_io;
pub mod testing;
mod transport;

pub use api::call::{Answer, Call, Mode, Outcome, ReplyTo};
pub use api::clock::{Clock, SystemClock, TokioClock};
pub use client::{
    CallError, Client, VnodeRef,
    connect::{AskError, ClientBuilder, ConnectError, ask},
};

pub use api::context::Context;
pub use api::deferred::{Amendment, DeferredItem, DeferredKind, DeferredWork};
pub use api::effect::{Done, Effect, EffectId, Failed, Finished, NoEffectId, Retry};
pub use api::kinds::Kind;
pub use api::lifecycle::{Activation, BoxError, Lifecycle};
pub use api::random::Random;
pub use api::settings::Settings;
pub use api::vnode::Vnode;
pub use audit::Audit;
pub use holocron_protocol::control::founding::Founding;
pub use holocron_protocol::deferred::limits::Limits as DeferredLimits;
pub use holocron_protocol::epoch::domain::{Offer, Rule};
pub use holocron_protocol::epoch::log::Retention;
pub use holocron_protocol::ids::Epoch;
pub use holocron_protocol::request::window::{WindowLimits, WindowSize};
pub use host::{Domain, Host, HostBuilder, StartError, Stopped};
pub use transport::peer::{
    DomainStatus, Health, HostStatus, JoinRequest, NOT_OPEN_MAX, NotOpen, PeerMessage, PeerReply,
    Progress, ServeRequest, SessionStatus, ShardsStatus, VnodeStatus,
};
pub use transport::serve::{Serve, View};
pub use transport::{frame, link, net, server};
