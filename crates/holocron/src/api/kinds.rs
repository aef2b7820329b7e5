//! The kinds a host runs, with their types erased: bytes in, bytes out.
//!
//! This is the only place that knows both a user's types and their bytes.

use core::{
    any::{Any, type_name},
    fmt,
    marker::PhantomData,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use futures::{FutureExt, future::BoxFuture};
use holocron_protocol::{
    epoch::{shards::DeclaredShards, versions::KindVersions},
    ids::{Epoch, VnodeName},
    schema::{record::KindRecord, trace::Form},
};

use crate::api::{
    asked::Asked,
    clock::Clock,
    codec,
    context::Context,
    effect::{Done, Effect, Finished, Retry},
    encoded::Encoded,
    env::{AnyEnv, Environments},
    lifecycle::{Activation, Lifecycle, Resource},
    old_state::{OldState, Versions},
    schema::{KindDescription, NotRun},
    vnode::Vnode,
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
/// #     type Env = ();
/// #     fn command(&mut self, _: &mut Context<'_, Self>, add: u64) -> u64 { self.0 += add; self.0 }
/// #     fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 { self.0 }
/// # }
/// let builder = holocron::Host::builder("memory://").kind(Kind::<Index>::new(()).shards(64));
/// ```
pub struct Kind<V: Vnode> {
    env: Option<Arc<V::Env>>,
    shards: Option<u16>,
}

/// A kind whose vnodes find the environment that the host was given with [`crate::HostBuilder::env`].
impl<V: Vnode> Default for Kind<V> {
    fn default() -> Self {
        Self { env: None, shards: None }
    }
}

impl<V: Vnode> Kind<V> {
    /// A kind whose vnodes find this environment.
    pub fn new(env: V::Env) -> Self {
        Self { env: Some(Arc::new(env)), shards: None }
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
    pub(crate) env: &'a AnyEnv,
    pub(crate) resource: &'a mut AnyResource,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) asked: &'a mut Asked,
}

impl<'a> AnyContext<'a> {
    fn typed<V: Vnode>(self) -> Context<'a, V> {
        let Self { name, epoch, env, resource, clock, asked } = self;
        let env = env.downcast_ref().expect("a vnode runs in the environment of its kind");
        let resource =
            resource.downcast_mut().expect("a vnode holds what the hooks of its kind opened");
        Context { name, epoch, env, resource, clock, asked }
    }
}

/// A vnode in memory, its type erased.
pub(crate) trait AnyVnode: Send {
    /// Runs a command; returns the encoded reply. [`NotRun::Unwritable`]: it ran, and must be rolled back.
    fn command(&mut self, context: AnyContext<'_>, call: Encoded<'_>) -> Result<Vec<u8>, NotRun>;
    /// The shape of the reply to a command; 0 if it isn't known.
    fn reply_shape(&self, call: Encoded<'_>) -> u32;
    /// Answers a query; returns the encoded answer.
    fn query(&self, context: AnyContext<'_>, call: Encoded<'_>) -> Result<Vec<u8>, NotRun>;
    /// Takes what came of a message or an effect.
    fn finished(&mut self, context: AnyContext<'_>, finished: Finished<'_>);
    /// Appends the state.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String>;
    /// The state as JSON, for people.
    fn as_json(&self) -> Result<Vec<u8>, String>;
}

/// A kind: makes vnodes from nothing or from their stored state.
pub(crate) trait AnyKind: Send + Sync {
    fn version(&self) -> u32;
    /// The number of its shards, if it declares any.
    fn shards(&self) -> Option<u16>;
    /// For people and tools.
    fn describe(&self) -> KindDescription;
    /// What the store is to record of this version.
    fn record(&self) -> KindRecord;
    /// Keeps what the store has recorded of this and older versions.
    fn keep(&self, recorded: Vec<KindRecord>);
    fn fresh(&self) -> Box<dyn AnyVnode>;
    /// Loads a state that was stored by that version; the error says why it can't be read.
    fn load(&self, version: u32, state: &[u8]) -> Result<Box<dyn AnyVnode>, String>;
    /// Runs an effect.
    fn effect(self: Arc<Self>, effect: Effect) -> BoxFuture<'static, Result<Done, Retry>>;
    /// What its handlers find in their process.
    fn env(&self) -> &AnyEnv;
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

/// The kinds that a host is set up with, by name, before their environments are looked up.
#[derive(Default)]
pub(crate) struct DeclaredKinds(BTreeMap<&'static str, Box<dyn Declared>>);

impl DeclaredKinds {
    /// Adds a kind.
    ///
    /// # Panics
    ///
    /// When two types have the same name: that is a mistake in the program.
    pub(crate) fn add<V: Vnode>(&mut self, kind: Kind<V>) {
        let replaced = self.0.insert(V::KIND, Box::new(kind));
        assert!(replaced.is_none(), "two kinds are named {:?}", V::KIND);
    }

    /// The kinds with their environments; the error names one that is missing.
    pub(crate) fn in_environments(self, envs: &Environments) -> Result<Kinds, String> {
        let kinds = self.0.into_iter();
        kinds
            .map(|(name, kind)| Ok((name, kind.in_environment(envs)?)))
            .collect::<Result<_, _>>()
            .map(Kinds)
    }
}

impl fmt::Debug for DeclaredKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A kind before its environment is looked up, its type erased.
trait Declared: Send {
    fn in_environment(self: Box<Self>, envs: &Environments) -> Result<Arc<dyn AnyKind>, String>;
}

impl<V: Vnode> Declared for Kind<V> {
    fn in_environment(self: Box<Self>, envs: &Environments) -> Result<Arc<dyn AnyKind>, String> {
        let env = self.env.or_else(|| envs.get()).ok_or_else(|| {
            format!(
                "kind {:?} needs an environment of type {}, and the host was not given one: add .env(…) to its builder, \
                 or register the kind with Kind::new(…)",
                V::KIND,
                type_name::<V::Env>(),
            )
        })?;
        let (shards, versions) = (self.shards, OnceLock::new());
        Ok(Arc::new(Runs::<V> { env, shards, versions, vnode: PhantomData }))
    }
}

/// All kinds of a host, by name.
#[derive(Clone, Default)]
pub(crate) struct Kinds(BTreeMap<&'static str, Arc<dyn AnyKind>>);

impl Kinds {
    pub(crate) fn get(&self, kind: &str) -> Option<&Arc<dyn AnyKind>> {
        self.0.get(kind)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn AnyKind>> {
        self.0.values()
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// All of them, for people and tools.
    pub(crate) fn describe(&self) -> Vec<KindDescription> {
        self.0.values().map(|kind| kind.describe()).collect()
    }

    /// The kinds with shards.
    pub(crate) fn shards(&self) -> DeclaredShards {
        let declared = self.0.iter();
        declared.filter_map(|(name, kind)| Some(((*name).to_owned(), kind.shards()?))).collect()
    }

    /// The version of each.
    pub(crate) fn versions(&self) -> KindVersions {
        self.0.iter().map(|(name, kind)| (*name, kind.version())).collect()
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A kind that a host runs.
struct Runs<V: Vnode> {
    env: Arc<V::Env>,
    shards: Option<u16>,
    /// What the store has recorded of it, once that was read.
    versions: OnceLock<Versions>,
    vnode: PhantomData<fn() -> V>,
}

impl<V: Vnode> AnyKind for Runs<V> {
    fn version(&self) -> u32 {
        V::VERSION
    }

    fn shards(&self) -> Option<u16> {
        self.shards
    }

    fn record(&self) -> KindRecord {
        KindRecord {
            kind: V::KIND.to_owned(),
            version: V::VERSION,
            codec: V::CODEC,
            state: (V::schema().state)(Form::Binary),
        }
    }

    fn keep(&self, recorded: Vec<KindRecord>) {
        self.versions
            .set(Versions::new(recorded))
            .expect("a host reads the records once, at its start");
    }

    fn describe(&self) -> KindDescription {
        let schema = V::schema();
        KindDescription {
            kind: V::KIND.to_owned(),
            version: V::VERSION,
            codec: V::CODEC,
            shards: self.shards,
            state: (schema.state)(Form::Binary),
            commands: schema.commands.describe(),
            queries: schema.queries.describe(),
        }
    }

    fn fresh(&self) -> Box<dyn AnyVnode> {
        Box::new(Typed(V::default()))
    }

    fn load(&self, version: u32, state: &[u8]) -> Result<Box<dyn AnyVnode>, String> {
        let vnode = match version.cmp(&V::VERSION) {
            core::cmp::Ordering::Equal => codec::decode::<V>(V::CODEC, state)?,
            core::cmp::Ordering::Less => {
                let versions = self.versions.get_or_init(Versions::default);
                V::migrate(OldState::new(version, state, versions))?
            }
            core::cmp::Ordering::Greater => {
                return Err(format!(
                    "stored by version {version} of the kind; this host knows versions up to {}",
                    V::VERSION
                ));
            }
        };
        Ok(Box::new(Typed(vnode)))
    }

    fn effect(self: Arc<Self>, effect: Effect) -> BoxFuture<'static, Result<Done, Retry>> {
        async move { V::effect(&*self.env, effect).await }.boxed()
    }

    fn env(&self) -> &AnyEnv {
        &*self.env
    }

    fn has_hooks(&self) -> bool {
        V::Env::HAS_HOOKS
    }

    fn open(
        self: Arc<Self>,
        activation: Activation,
    ) -> BoxFuture<'static, Result<Box<AnyResource>, String>> {
        async move {
            match Lifecycle::<V>::open(&*self.env, &activation).await {
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
        async move { Lifecycle::<V>::close(&*self.env, *resource, &activation).await }.boxed()
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
    fn command(&mut self, context: AnyContext<'_>, call: Encoded<'_>) -> Result<Vec<u8>, NotRun> {
        let command = call
            .decode(V::KIND)
            .map_err(|why| V::schema().commands.judge(call.format, call.body, why))?;
        call.reply(&self.0.command(&mut context.typed(), command))
    }

    fn reply_shape(&self, call: Encoded<'_>) -> u32 {
        V::schema().commands.reply_shape(call.body)
    }

    fn query(&self, context: AnyContext<'_>, call: Encoded<'_>) -> Result<Vec<u8>, NotRun> {
        let query = call
            .decode(V::KIND)
            .map_err(|why| V::schema().queries.judge(call.format, call.body, why))?;
        call.reply(&self.0.query(&context.typed(), query))
    }

    fn finished(&mut self, context: AnyContext<'_>, finished: Finished<'_>) {
        self.0.finished(&mut context.typed(), finished);
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        codec::encode(V::CODEC, &self.0, out)
    }

    fn as_json(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(&self.0).map_err(|error| error.to_string())
    }
}
