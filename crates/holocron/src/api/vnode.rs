//! What a user writes: a state, its commands and its queries.

use core::future;

use holocron_protocol::schema::record::Codec;
use serde::{Serialize, de::DeserializeOwned};

use crate::api::{
    context::Context,
    effect::{Done, Effect, Finished, Retry},
    lifecycle::Lifecycle,
    old_state::OldState,
    schema::Schema,
};

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

    /// The version of the stored state. Raise it when the shape of the state changes, and make [`Vnode::migrate`]
    /// read the older versions. The shape of each version is recorded in the store: a host whose state has another shape under the
    /// same version doesn't start. A state of a newer version is left untouched, and its callers get an error that says so.
    const VERSION: u32 = 1;

    /// How the state is encoded. It changes only with the version.
    const CODEC: Codec = Codec::Bincode;

    /// What may change the state. Encoded in bincode, which is not self-describing: add variants at the end.
    /// [`macro@crate::vnode`] writes commands that travel by name.
    type Command: Serialize + DeserializeOwned + Send + 'static;
    /// What a command answers. May be a `Result`: an `Err` is a reply like any other, and the changes of the handler
    /// are kept. Clients need it to be `DeserializeOwned` ([`crate::VnodeRef::command`]).
    type Reply: Serialize + Send + 'static;
    /// What reads the state.
    type Query: Serialize + DeserializeOwned + Send + 'static;
    /// What a query answers.
    type Answer: Serialize + Send + 'static;

    /// The environment: what the vnodes of this kind find in their process, such as clients and configuration, and how
    /// what each of them holds outside its state is opened and closed ([`Lifecycle`]); `()` for none.
    type Env: Lifecycle<Self>;

    /// Runs one command. Its reply is sent once the state that it left is committed. It may run again when another
    /// command panics, on the state before both; effects other than the state and the reply are the user's own
    /// responsibility.
    fn command(&mut self, context: &mut Context<'_, Self>, command: Self::Command) -> Self::Reply;

    /// Answers one query.
    fn query(&self, context: &Context<'_, Self>, query: Self::Query) -> Self::Answer;

    /// Takes what came of a message or an effect that was asked for with a tag: runs like a command, once, and its changes are
    /// committed with the fact that the message or effect is over.
    #[expect(unused_variables, reason = "the names are for implementers")]
    fn finished(&mut self, context: &mut Context<'_, Self>, finished: Finished<'_>) {}

    /// Runs an effect that a handler has asked for: calls a service, writes a file. It runs at least once, after the change
    /// that asked for it is committed, and again after a failover, until it returns something else than [`Retry`]. A slow
    /// one delays nobody. Make it idempotent with [`Effect::id`].
    ///
    /// # Errors
    ///
    /// [`Retry`]: it is run again later. After about two hours it is set aside, until an operator retries or drops it.
    #[expect(unused_variables, reason = "the names are for implementers")]
    fn effect(env: &Self::Env, effect: Effect) -> impl Future<Output = Result<Done, Retry>> + Send {
        future::ready(Err(Retry::because(format_args!(
            "the kind {:?} has no effects in this version",
            Self::KIND
        ))))
    }

    /// What tools and errors can say of the commands and queries. [`macro@crate::vnode`] writes it; the default finds it from
    /// the types.
    #[must_use]
    fn schema() -> Schema {
        Schema::of_types::<Self>()
    }

    /// Reads a state stored under an older version: `old.read::<CartV1>()`, by `old.version()`.
    ///
    /// # Errors
    ///
    /// A message for the callers, when it can't; the stored state stays as it is.
    fn migrate(old: OldState<'_>) -> Result<Self, String> {
        Err(old.unknown())
    }
}
