//! Holocron: virtual nodes with durable state in an object store.
//!
//! A *virtual node* is an actor with a stable name and durable state. Any host can take over the vnodes of a failed
//! host: the store is the only thing hosts share.
#![cfg_attr(not(test), warn(missing_docs))]

mod api;
pub mod audit;
pub mod backup;
pub mod client;
pub mod election;
mod host;
pub mod inspect;
mod metrics;
mod planted;
mod session;
mod store_io;
pub mod testing;
mod transport;

pub use api::call::{Answer, Body, Call, Format, Mode, Outcome, ReplyTo};
pub use api::clock::{Clock, SystemClock, TokioClock};
pub use client::{
    CallError, Client, ForkError, InvalidCursor, KindsOfHosts, ListCursor, Listing, Measured, Ran,
    Unavailable, VnodeRef, Watch, WatchCommits, WatchJson,
    connect::{AskError, ClientBuilder, ConnectError, ask},
};

pub use api::context::Context;
pub use api::deferred::{Amendment, DeferredItem, DeferredKind, DeferredWork};
pub use api::effect::{Done, Effect, EffectId, Failed, Finished, NoEffectId, Retry};
pub use api::kinds::Kind;
pub use api::lifecycle::{Activation, BoxError, Lifecycle};
pub use api::meter::CallCounts;
pub use api::old_state::OldState;
pub use api::random::Random;
pub use api::schema::{CallArguments, CallDescription, KindDescription, Schema};
pub use api::settings::Settings;
pub use api::vnode::Vnode;
pub use api::words::json_of_text;
pub use audit::Audit;
pub use holocron_access::{Certified, Role, Tls, TlsFiles};
/// Writes a [`Vnode`] from the methods of a type: commands, queries, hooks, and a typed client.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use holocron::{Context, Host};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Cart {
///     items: BTreeMap<String, u32>,
/// }
///
/// /// What a host is given and handlers may use.
/// struct Shop {
///     per_sku_max: u32,
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// enum CartError {
///     TooMany { max: u32 },
/// }
///
/// #[holocron::vnode(kind = "cart", env = Shop)]
/// impl Cart {
///     /// Adds so many; returns how many there are.
///     #[command]
///     fn add(&mut self, context: &mut Context<'_, Self>, sku: &str, n: u32) -> Result<u32, CartError> {
///         let max = context.env().per_sku_max;
///         let have = self.items.entry(sku.to_owned()).or_default();
///         if *have + n > max {
///             return Err(CartError::TooMany { max });
///         }
///         *have += n;
///         Ok(*have)
///     }
///
///     #[query]
///     fn items(&self) -> Vec<(String, u32)> {
///         self.items.iter().map(|(sku, n)| (sku.clone(), *n)).collect()
///     }
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let host = Host::builder("memory://").env(Shop { per_sku_max: 10 }).vnode::<Cart>().start().await?;
/// let cart = host.client().get::<Cart>("alice");
/// match cart.add("tea", 2).await? {
///     Ok(n) => println!("{n} in the cart: {:?}", cart.items().await?),
///     Err(CartError::TooMany { max }) => println!("at most {max}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # The attribute
///
/// * `kind = "cart"`: the kind's name, 1 to 64 bytes. Part of every vnode's stored name, so it must never change.
/// * `version = 2`: the version of the stored state, [`Vnode::VERSION`]; 1 if absent.
/// * `codec = MessagePack`: how the state is encoded, a [`Codec`]; bincode if absent.
/// * `env = Shop`: the environment, [`Vnode::Env`], given with [`HostBuilder::env`]; none if absent.
///
/// # Handlers
///
/// Methods without one of these attributes stay what they are.
///
/// * `#[command]`: takes `&mut self`. What it leaves is committed before its reply is sent, also when it returns an `Err`; only a
///   panic is rolled back.
/// * `#[query]`: takes `&self`; linearizable. `#[query(local)]`: its client asks the owner's memory, which is cheaper and may be stale.
/// * After `self` a handler may take the context: `&mut Context<'_, Self>` in a command, `&Context<'_, Self>` in a query.
///   It is recognised by the name `Context`.
/// * Arguments are any types with serde's `Serialize` and `DeserializeOwned`, by value or by shared reference (`&str`, `&Order`; they travel
///   owned). Their names are their names on the wire. `#[serde(default)]` on an argument lets callers leave it out.
/// * Results are any such types; `Result` too. The client's method returns `Result<R, CallError>`: the outer error says that the
///   call failed, the inner value is what the handler returned.
/// * `name = "…"`, as in `#[command(name = "delete")]`: the name on the wire; else that of the method.
///
/// # Hooks
///
/// `#[activate]` opens what a vnode holds outside its state, `#[deactivate]` closes it, as in [`Lifecycle`]. Both are async, take no `self`, and
/// need an `env`. Handlers find what was opened with [`Context::resource`].
///
/// ```
/// # use holocron::{Activation, BoxError};
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Notes;
/// # struct Folder(std::path::PathBuf);
/// # #[holocron::vnode(kind = "notes", env = Folder)]
/// # impl Notes {
/// #[activate]
/// async fn open(folder: &Folder, activation: &Activation) -> Result<std::fs::File, BoxError> {
///     Ok(std::fs::File::create(folder.0.join(activation.key()))?)
/// }
///
/// #[deactivate]
/// async fn close(file: std::fs::File) {
///     drop(file.sync_all());
/// }
/// # }
/// ```
///
/// # Effects, and what came of them
///
/// `#[effect]` works outside: an async method without `self`, which runs at least once after the change that asked for it is committed,
/// on whichever host has the vnode then ([`Vnode::effect`]). It takes `env: &Env` and an [`EffectId`], each if it needs it, in any place, and
/// arguments like a command. It returns `Result<T, E>`; an error has it run again later ([`Retry`]). Handlers ask for it by its name:
/// `context.charge(total)`, a method of the trait `CartEffects`, which this writes for [`Context`].
///
/// `#[finished(charge)]` takes what came of the effect `charge`, `#[finished("tag")]` the reply to a message sent with [`Context::ask`] under
/// that tag. The method takes `&mut self`, the context if it needs it, and `outcome: Result<T, Failed>`, by value or by reference, and runs like a command.
///
/// ```
/// # use core::time::Duration;
/// # use holocron::{Context, EffectId, Failed, Retry};
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Cart { paid: bool }
/// # struct Shop;
/// # impl Shop { async fn pay(&self, _: EffectId, _: u32) -> Result<String, std::io::Error> { Ok(String::new()) } }
/// #[holocron::vnode(kind = "cart", env = Shop)]
/// impl Cart {
///     #[command]
///     fn checkout(&mut self, context: &mut Context<'_, Self>, cents: u32) {
///         context.charge(cents);
///         context.after("expire", Duration::from_secs(3600), CartCommand::expire());
///     }
///
///     #[effect]
///     async fn charge(shop: &Shop, id: EffectId, cents: u32) -> Result<String, Retry> {
///         shop.pay(id, cents).await.map_err(Retry::because)
///     }
///
///     #[finished(charge)]
///     fn charged(&mut self, receipt: Result<String, Failed>) {
///         self.paid = receipt.is_ok();
///     }
///
///     #[command]
///     fn expire(&mut self, context: &mut Context<'_, Self>) {
///         if !self.paid {
///             context.delete();
///         }
///     }
/// }
/// ```
///
/// # Migrations
///
/// `#[migrate(from = 1)]` reads a state that was stored under version 1: the method takes the type that the state had then, and
/// returns the new state, or a `Result` with it. Keep the old type, under another name; it is compared with the shape that the store has recorded
/// for that version.
///
/// ```
/// # use std::collections::BTreeMap;
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Cart { items: BTreeMap<String, u32> }
/// #[derive(serde::Deserialize)]
/// struct CartV1 {
///     items: Vec<String>,
/// }
///
/// #[holocron::vnode(kind = "cart", version = 2)]
/// impl Cart {
///     #[migrate(from = 1)]
///     fn from_v1(old: CartV1) -> Self {
///         Self { items: old.items.into_iter().map(|sku| (sku, 1)).collect() }
///     }
/// }
/// ```
///
/// # What it writes
///
/// For a type `Cart`: the trait `CartClient`, implemented by [`VnodeRef<Cart>`](VnodeRef) (import it to call from another module), the enums
/// `CartCommand` and `CartQuery` of what travels, each with a function per handler that makes one (`CartCommand::add("tea", 2)`, for timers and
/// messages), `CartReply` and `CartAnswer` of what comes back, `CartEffect` and `CartEffects` for effects, and the [`Vnode`]. Calls travel by name, and
/// are refused, never misread, where caller and host have different types under one name; [`VnodeRef`] says what happens then.
pub use holocron_macros::vnode;
pub use holocron_protocol::control::founding::Founding;
pub use holocron_protocol::deferred::limits::Limits as DeferredLimits;
pub use holocron_protocol::epoch::domain::{Offer, Rule};
pub use holocron_protocol::epoch::log::Retention;
pub use holocron_protocol::ids::{CommitNumber, Epoch, VnodeName};
pub use holocron_protocol::request::window::{WindowLimits, WindowSize};
pub use holocron_protocol::schema::record::{Codec, Refusal};
pub use holocron_protocol::schema::shape::{Part, Scalar, Shape};
pub use host::{
    Domain, Host, HostBuilder, Meter, Metrics, Observer, Readiness, StartError, Stopped,
};
pub use metrics::Distribution;
pub use transport::peer::{
    DomainStatus, Health, HostStatus, JoinRequest, ListRequest, ListedPage, NOT_OPEN_MAX, NotOpen,
    PeerMessage, PeerReply, Progress, ServeRequest, SessionStatus, ShardsStatus, VnodeStatus,
};
pub use transport::serve::{Serve, View};
pub use transport::{frame, link, measures, net, server};

/// What the code that [`macro@vnode`] writes needs. Not for use by hand: it may change in any release.
#[doc(hidden)]
pub mod generated {
    pub use serde;

    pub use crate::api::{
        by_name::{ByName, Entry, Noun, ReadArguments, decode, done, encode, outcome, unknown_tag},
        reply_shape::{ReplyShape, reply},
        schema::schema,
    };
}
