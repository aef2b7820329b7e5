//! An HTTP/JSON gateway: callers without Rust call the vnodes of a cluster.
//!
//! A [`Gateway`] is made of a host or of a client. Its [router](Gateway::router) is embedded in a service of one's own, or
//! [`serve`] serves it with limits on connections, heads and time. Any gateway answers for any vnode. `docs/http.md` describes the
//! interface.
//!
//! ```
//! use holocron::Host;
//! use holocron_gateway::{Gateway, ServeSettings, register, serve};
//!
//! # #[derive(Default, serde::Serialize, serde::Deserialize)]
//! # struct Cart;
//! # #[holocron::vnode(kind = "cart")]
//! # impl Cart { #[command] fn clear(&mut self) {} }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Idempotency keys are kept in vnodes of a kind of their own: every host of the cluster needs it.
//! let host = register(Host::builder("memory://").vnode::<Cart>()).start().await?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let gateway = Gateway::of_host(&host).build();
//! serve(listener, gateway, ServeSettings::default(), std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
//!
//! It has no rule of safety of its own: a call is a call of [`holocron::Client`], and an idempotency key is an entry of a vnode.

mod access;
mod arguments;
mod gateway;
mod idempotency;
mod kinds;
mod openapi;
mod problem;
mod request;
mod routes;
mod secured;
mod serve;
mod settings;
mod status;

/// The programs on the page are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/http.md")]
struct HttpPage;

pub use self::{
    access::{Access, Anyone, Authorize, Denied, Peer, Principal, Scope, Target},
    gateway::{Gateway, GatewayBuilder, Metrics},
    idempotency::{BOOKS, book, register},
    problem::{Problem, ProblemKind},
    secured::{ByToken, HttpsListener},
    serve::{Accepted, ServeSettings, Stream, Streams, serve},
    settings::{GatewaySettings, Rate},
    status::Cost,
};
