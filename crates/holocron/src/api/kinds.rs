//! The kinds a host runs, with their types erased: bytes in, bytes out.
//!
//! This is the only place that knows both a user's types and their bytes.

use core::{
    any::{Any, TypeId},
    fmt,
    marker::PhantomData,
};
use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use holocron_protocol::{
    epoch::shards::DeclaredShards,
    format::codec,
    ids::{Epoch, VnodeName},
};

use crate::api::{
    lifecycle::{Activation, Lifecycle, Resource},
    vnode::{Context, Vnode},
};

/// How a host runs a kind of vnode.
///
/// ```
/// # use holocron::{Context, Kind, Vnode};
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Index(u64);
/// # impl Vnode for Index {
/// #     const KIND: &'static str = "index";
/// #     type Command = u64;
/// #     type Reply = u64;
/// #     type Query = ();
/// #     type Answer = u64;
/// #     type Lifecycle = ();
/// #     fn command(&mut self, _: &mut Context<'_, Self>, add: u64) -> u64 { self.0 += add; self.0 }
/// #     fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 { self.0 }
/// # }
/// let builder = holocron::Host::builder("memory://").kind(Kind::<Index>::new(()).shards(64));
/// ```
pub struct Kind<V: Vnode> {
    lifecycle: V::Lifecycle,
    shards: Option<u16>,
}

impl<V: Vnode> Kind<V> {
    /// A kind whose vnodes are opened and closed by these hooks.
    pub const fn new(lifecycle: V::Lifecycle) -> Self {
        Self { lifecycle, shards: None }
    }

    /// Makes the vnodes with the keys `"0"` to `"{count - 1}"` shards: each is active at some host at all times, without a
    /// call and whatever its idle time, and the cluster spreads them evenly over the hosts that have the kind, by weight.
    /// The number is fixed permanently when the first host declares it; a host that declares another one stops. At most
    /// 4,096 shards of 64 kinds in a cluster.
    pub const fn shards(mut self, count: u16) -> Self {
        self.shards = Some(count);
        self
    }
}

impl<V: Vnode> fmt::Debug for Kind<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kind").field(&V::KIND).finish_non_exhaustive()
    }
}

/// What a vnode holds outside its state, its type erased.
pub(crate) type AnyResource = dyn Any + Send;

/// What a handler can see of its vnode, types erased.
pub(crate) struct AnyContext<'a> {
    pub(crate) name: &'a VnodeName,
    pub(crate) epoch: Epoch,
    pub(crate) resource: &'a mut AnyResource,
}

impl<'a> AnyContext<'a> {
    fn typed<V: Vnode>(self) -> Context<'a, V> {
        let Self { name, epoch, resource } = self;
        let resource =
            resource.downcast_mut().expect("a vnode holds what the hooks of its kind opened");
        Context { name, epoch, resource }
    }
}

/// A vnode in memory, its type erased.
pub(crate) trait AnyVnode: Send {
    /// Runs an encoded command; returns the encoded reply, or why the command can't be decoded.
    fn command(&mut self, context: AnyContext<'_>, body: &[u8]) -> Result<Vec<u8>, String>;
    /// Answers an encoded query; returns the encoded answer, or why the query can't be decoded.
    fn query(&self, context: AnyContext<'_>, body: &[u8]) -> Result<Vec<u8>, String>;
    /// Appends the state.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String>;
}

/// A kind: makes vnodes from nothing or from their stored state.
pub(crate) trait AnyKind: Send + Sync {
    fn version(&self) -> u32;
    /// The number of its shards, if it declares any.
    fn shards(&self) -> Option<u16>;
    fn fresh(&self) -> Box<dyn AnyVnode>;
    /// Loads a state that was stored by that version; the error says why it can't be read.
    fn load(&self, version: u32, state: &[u8]) -> Result<Box<dyn AnyVnode>, String>;
    /// Whether its vnodes hold anything outside their state.
    fn has_hooks(&self) -> bool;
    /// Opens what a vnode holds; the error says why it can't.
    fn open(
        self: Arc<Self>,
        activation: Activation,
    ) -> BoxFuture<'static, Result<Box<AnyResource>, String>>;
    /// Closes it.
    fn close(
        self: Arc<Self>,
        resource: Box<AnyResource>,
        activation: Activation,
    ) -> BoxFuture<'static, ()>;
}

/// All kinds of a host, by name.
#[derive(Clone, Default)]
pub(crate) struct Kinds(BTreeMap<&'static str, Arc<dyn AnyKind>>);

impl Kinds {
    /// Adds a kind.
    ///
    /// # Panics
    ///
    /// When two types have the same name: that is a mistake in the program.
    pub(crate) fn add<V: Vnode>(&mut self, kind: Kind<V>) {
        let Kind { lifecycle, shards } = kind;
        let runs = Runs::<V> { lifecycle, shards, vnode: PhantomData };
        let replaced = self.0.insert(V::KIND, Arc::new(runs));
        assert!(replaced.is_none(), "two kinds are named {:?}", V::KIND);
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Arc<dyn AnyKind>> {
        self.0.get(kind)
    }

    /// The kinds with shards.
    pub(crate) fn shards(&self) -> DeclaredShards {
        let declared = self.0.iter();
        declared.filter_map(|(name, kind)| Some(((*name).to_owned(), kind.shards()?))).collect()
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A kind that a host runs.
struct Runs<V: Vnode> {
    lifecycle: V::Lifecycle,
    shards: Option<u16>,
    vnode: PhantomData<fn() -> V>,
}

impl<V: Vnode> AnyKind for Runs<V> {
    fn version(&self) -> u32 {
        V::VERSION
    }

    fn shards(&self) -> Option<u16> {
        self.shards
    }

    fn fresh(&self) -> Box<dyn AnyVnode> {
        Box::new(Typed(V::default()))
    }

    fn load(&self, version: u32, state: &[u8]) -> Result<Box<dyn AnyVnode>, String> {
        let vnode = match version.cmp(&V::VERSION) {
            core::cmp::Ordering::Equal => {
                codec::from_bincode::<V>("stored state", state).map_err(|error| error.why)?
            }
            core::cmp::Ordering::Less => V::migrate(version, state)?,
            core::cmp::Ordering::Greater => {
                return Err(format!(
                    "stored by version {version} of the kind; this host knows versions up to {}",
                    V::VERSION
                ));
            }
        };
        Ok(Box::new(Typed(vnode)))
    }

    fn has_hooks(&self) -> bool {
        TypeId::of::<V::Lifecycle>() != TypeId::of::<()>()
    }

    fn open(
        self: Arc<Self>,
        activation: Activation,
    ) -> BoxFuture<'static, Result<Box<AnyResource>, String>> {
        async move {
            match self.lifecycle.open(&activation).await {
                Ok(resource) => Ok(Box::new(resource) as Box<AnyResource>),
                Err(error) => Err(sentence(&*error)),
            }
        }
        .boxed()
    }

    fn close(
        self: Arc<Self>,
        resource: Box<AnyResource>,
        activation: Activation,
    ) -> BoxFuture<'static, ()> {
        let resource: Box<Resource<V>> =
            resource.downcast().expect("a vnode holds what the hooks of its kind opened");
        async move { self.lifecycle.close(*resource, &activation).await }.boxed()
    }
}

/// An error with its causes.
fn sentence(error: &dyn core::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        sentence.push_str(": ");
        sentence.push_str(&cause.to_string());
        source = cause.source();
    }
    sentence
}

struct Typed<V>(V);

impl<V: Vnode> AnyVnode for Typed<V> {
    fn command(&mut self, context: AnyContext<'_>, body: &[u8]) -> Result<Vec<u8>, String> {
        let command = codec::from_bincode(V::KIND, body).map_err(|error| error.why)?;
        let reply = self.0.command(&mut context.typed(), command);
        let mut out = Vec::new();
        codec::try_to_bincode(&reply, &mut out)
            .expect("a reply that can't be encoded is a panic of its handler");
        Ok(out)
    }

    fn query(&self, context: AnyContext<'_>, body: &[u8]) -> Result<Vec<u8>, String> {
        let query = codec::from_bincode(V::KIND, body).map_err(|error| error.why)?;
        let answer = self.0.query(&context.typed(), query);
        let mut out = Vec::new();
        codec::try_to_bincode(&answer, &mut out)
            .expect("an answer that can't be encoded is a panic of its handler");
        Ok(out)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        codec::try_to_bincode(&self.0, out)
    }
}
