//! What a user writes: a state, its commands and its queries.

use core::fmt;

use holocron_protocol::ids::{Epoch, VnodeName};
use serde::{Serialize, de::DeserializeOwned};

use crate::api::lifecycle::{Lifecycle, Resource};

/// A kind of virtual node: a state with a stable name that any host can load and continue.
///
/// The runtime owns the state: it loads it before the first command, commits it before any reply is sent, and moves
/// it to another host when this one fails. Handlers are plain synchronous functions over memory. They need not be
/// deterministic: the *state* that they leave is stored, never the call.
///
/// ```
/// use holocron::{Context, Vnode};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Account {
///     balance: u64,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Deposit(u64),
/// }
///
/// impl Vnode for Account {
///     const KIND: &'static str = "account";
///     type Command = Command;
///     type Reply = u64;
///     type Query = ();
///     type Answer = u64;
///     type Env = ();
///
///     fn command(&mut self, _: &mut Context<'_, Self>, Command::Deposit(amount): Command) -> u64 {
///         self.balance += amount;
///         self.balance
///     }
///
///     fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
///         self.balance
///     }
/// }
/// ```
pub trait Vnode: Default + Serialize + DeserializeOwned + Send + 'static {
    /// The kind's name, 1 to 64 bytes; part of every vnode's durable name, so it must never change.
    const KIND: &'static str;

    /// The version of the stored state. Raise it when the encoding of the state changes, and make [`Vnode::migrate`]
    /// read the older versions. A state of a newer version is left untouched, and its callers get an error that says
    /// so.
    const VERSION: u32 = 1;

    /// What may change the state. Encoded in bincode, which is not self-describing: add variants at the end.
    type Command: Serialize + DeserializeOwned + Send + 'static;
    /// What a command answers. May be a `Result`: an `Err` is a reply like any other, and the changes of the handler
    /// are kept.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What reads the state.
    type Query: Serialize + DeserializeOwned + Send + 'static;
    /// What a query answers.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// The environment: what the vnodes of this kind find in their process, such as clients and configuration, and how
    /// what each of them holds outside its state is opened and closed ([`Lifecycle`]); `()` for none.
    type Env: Lifecycle<Self>;

    /// Runs one command. Its reply is sent once the state that it left is committed. It may run again when another
    /// command panics, on the state before both; effects other than the state and the reply are the user's own
    /// responsibility.
    fn command(&mut self, context: &mut Context<'_, Self>, command: Self::Command) -> Self::Reply;

    /// Answers one query.
    fn query(&self, context: &Context<'_, Self>, query: Self::Query) -> Self::Answer;

    /// Reads a state stored under an older version.
    ///
    /// # Errors
    ///
    /// A message for the callers, when it can't; the stored state stays as it is.
    #[expect(unused_variables, reason = "the names are for implementers")]
    fn migrate(from: u32, stored: &[u8]) -> Result<Self, String> {
        Err(format!("no migration from version {from} to {}", Self::VERSION))
    }
}

/// What a handler can see of its vnode.
pub struct Context<'a, V: Vnode> {
    pub(crate) name: &'a VnodeName,
    pub(crate) epoch: Epoch,
    pub(crate) env: &'a V::Env,
    pub(crate) resource: &'a mut Resource<V>,
}

impl<V: Vnode> Context<'_, V> {
    /// The vnode's key.
    #[must_use]
    pub fn key(&self) -> &str {
        self.name.key()
    }

    /// The epoch that gave this host the vnode's slot: a fencing token. A later owner has a larger one, so an
    /// external resource that remembers the largest it has seen can refuse a fenced host.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What the host was given for this kind: clients, configuration ([`crate::HostBuilder::env`]).
    #[must_use]
    pub const fn env(&self) -> &V::Env {
        self.env
    }

    /// What the vnode holds outside its state, opened by its [`Lifecycle`].
    #[must_use]
    pub const fn resource(&self) -> &Resource<V> {
        self.resource
    }

    /// The same, to change it. When a command panics or is rolled back, it is dropped and opened again.
    pub const fn resource_mut(&mut self) -> &mut Resource<V> {
        self.resource
    }
}

impl<V: Vnode> fmt::Debug for Context<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(self.name).field(&self.epoch).finish()
    }
}
