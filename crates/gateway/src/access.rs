//! Who may do what: the seam where an embedding service checks its callers.

use core::{fmt::Debug, net::SocketAddr};

use async_trait::async_trait;
use axum::http::request::Parts;

/// What a request needs. Queries, lists, watches and the description of kinds read; commands and deletion write; what operators
/// look at, hosts, epochs and metrics, is theirs.
pub use holocron_access::{Access, Scope, Target};

/// Whom a request comes from. Idempotency keys and rates belong to a principal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(pub String);

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Not known who asks; the challenge is sent as `WWW-Authenticate`.
    Unknown {
        /// What to send instead, such as `Bearer`.
        challenge: String,
    },
    /// Known, and not allowed; the sentence is for the caller.
    Forbidden(String),
}

/// Decides whether a request may go on. Called once for each request, before its body is read.
#[async_trait]
pub trait Authorize: Debug + Send + Sync + 'static {
    /// The caller, if the access is allowed. The head has the headers, and the [`Peer`] among its extensions.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    async fn authorize(&self, head: &Parts, access: Access<'_>) -> Result<Principal, Denied>;
}

/// Allows everything to everyone; all callers are one principal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anyone;

#[async_trait]
impl Authorize for Anyone {
    async fn authorize(&self, _: &Parts, _: Access<'_>) -> Result<Principal, Denied> {
        Ok(Principal::default())
    }
}

/// The address of the other end; [`crate::serve`] adds it to the extensions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);
