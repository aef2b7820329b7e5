//! One vnode in a test.

mod by_name;

use core::{fmt, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use holocron_protocol::{
    deferred::{Deferred, Encoding, Finished as Over, Fired, limits::Limits},
    format::codec,
    ids::{Epoch, RequestNumber, VnodeName},
};
use serde::{Serialize, de::DeserializeOwned};

pub use self::by_name::SentByName;
use super::clock::TestClock;
use crate::api::{
    asked::Asked,
    call_error::CallError,
    context::Context,
    effect::{Done, Effect, EffectId, Finished, Retry},
    lifecycle::Resource,
    vnode::Vnode,
};

/// A message that a vnode has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent<C> {
    /// Its number, for [`TestVnode::answer`].
    pub number: u64,
    /// The target's key.
    pub key: String,
    /// The command.
    pub command: C,
    /// The tag under which the vnode wants the answer, if it wants it.
    pub tag: Option<String>,
}

/// A vnode in a test, without host, store or time of its own.
///
/// It behaves as in a cluster, as far as one vnode can: after each command its state goes through its stored form, what a
/// command asks for is kept if it isn't rejected, timers fire when the test moves the clock. Messages and effects are shown,
/// and wait until the test answers them or runs them. A panic of a handler is a panic of the test.
///
/// ```
/// use core::time::Duration;
///
/// use holocron::{Context, Vnode, testing::TestVnode};
/// use serde::{Deserialize, Serialize};
///
/// /// A door that closes by itself.
/// #[derive(Default, Serialize, Deserialize)]
/// struct Door {
///     open: bool,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Open,
///     Close,
/// }
///
/// impl Vnode for Door {
///     const KIND: &'static str = "door";
///     type Command = Command;
///     type Reply = ();
///     type Query = ();
///     type Answer = bool;
///     type Env = ();
///
///     fn command(&mut self, context: &mut Context<'_, Self>, command: Command) {
///         self.open = matches!(command, Command::Open);
///         if self.open {
///             context.after("close", Duration::from_secs(10), Command::Close);
///         }
///     }
///
///     fn query(&self, _: &Context<'_, Self>, (): ()) -> bool {
///         self.open
///     }
/// }
///
/// let mut door = TestVnode::<Door>::new("front");
/// door.command(Command::Open).unwrap();
/// assert_eq!(door.timers(), [("close".to_owned(), Duration::from_secs(10))]);
/// door.advance(Duration::from_secs(9));
/// assert!(door.query(()));
/// door.advance(Duration::from_secs(1));
/// assert!(!door.query(()));
/// ```
pub struct TestVnode<V: Vnode> {
    name: VnodeName,
    vnode: V,
    env: V::Env,
    resource: Resource<V>,
    clock: TestClock,
    deferred: Deferred,
    spawned: Vec<BoxFuture<'static, Bytes>>,
    exists: bool,
}

impl<V: Vnode> TestVnode<V>
where
    V::Env: Default,
    Resource<V>: Default,
{
    /// A new vnode with this key, in the default environment.
    ///
    /// # Panics
    ///
    /// When the key isn't valid.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self::in_env(key, V::Env::default(), Resource::<V>::default())
    }
}

impl<V: Vnode> TestVnode<V> {
    /// A new vnode with this key in an environment, with what its hooks have opened: `()` if there are none.
    ///
    /// # Panics
    ///
    /// When the key isn't valid.
    #[must_use]
    pub fn in_env(key: &str, env: V::Env, resource: Resource<V>) -> Self {
        Self {
            name: VnodeName::new(V::KIND, key).expect("a valid key"),
            vnode: V::default(),
            env,
            resource,
            clock: TestClock::default(),
            deferred: Deferred::default(),
            spawned: Vec::new(),
            exists: false,
        }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &V {
        &self.vnode
    }

    /// The environment.
    #[must_use]
    pub const fn env(&self) -> &V::Env {
        &self.env
    }

    /// Whether a command has run since the vnode was last deleted.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.exists
    }

    /// Runs a command.
    ///
    /// # Errors
    ///
    /// Why the command would be rejected, for example because it asks for too many timers. It has left no effect.
    ///
    /// # Panics
    ///
    /// When the handler panics, or leaves a state that can't be stored and read back.
    pub fn command(&mut self, command: V::Command) -> Result<V::Reply, String> {
        self.run(|vnode, context| vnode.command(context, command))
    }

    /// Answers a query.
    ///
    /// # Panics
    ///
    /// When the handler panics.
    pub fn query(&mut self, query: V::Query) -> V::Answer {
        let mut asked = Asked::default();
        let Self { name, vnode, env, resource, clock, .. } = self;
        let context = Context { name, epoch: EPOCH, env, resource, clock, asked: &mut asked };
        vnode.query(&context, query)
    }

    /// Runs a handler, and keeps what it asks for.
    fn run<R>(
        &mut self,
        handler: impl FnOnce(&mut V, &mut Context<'_, V>) -> R,
    ) -> Result<R, String> {
        let (before, stored) = (self.deferred.clone(), encoded(&self.vnode));
        let mut asked = Asked::default();
        let Self { name, vnode, env, resource, clock, .. } = self;
        let reply = {
            let asked = &mut asked;
            let mut context = Context { name, epoch: EPOCH, env, resource, clock, asked };
            handler(vnode, &mut context)
        };
        let Asked { list, spawned, delete, mut refused } = asked;
        if delete {
            self.deferred.cancel_timers();
        }
        list.into_iter().for_each(|ask| ask.note(&mut self.deferred));
        refused = refused.or_else(|| self.deferred.beyond(&Limits::default()));
        if let Some(why) = refused {
            self.deferred = before;
            self.vnode = decoded(&stored);
            return Err(why);
        }
        self.spawned.extend(spawned);
        self.exists = !delete;
        self.vnode = if delete { V::default() } else { decoded(&encoded(&self.vnode)) };
        Ok(reply)
    }

    /// The timers and how long until each is due, by name. The vnode's expiry has an empty name.
    #[must_use]
    pub fn timers(&self) -> Vec<(String, Duration)> {
        let now = self.clock.wall().as_millis();
        let left = |at: u64| Duration::from_millis(at.saturating_sub(now));
        let timers = self.deferred.timers();
        timers.map(|(name, timer)| (name.to_owned(), left(timer.at.as_millis()))).collect()
    }

    /// Moves the clock. Timers fire when it passes their times, in order. Returns how many have fired.
    ///
    /// # Panics
    ///
    /// When a handler panics, or its command would be rejected.
    pub fn advance(&mut self, span: Duration) -> usize {
        let until = self.clock.after(span);
        let mut fired = 0;
        loop {
            let now = self.clock.wall();
            while let Some(name) = self.deferred.due_timer(now).map(Box::<str>::from) {
                fired += 1;
                self.fire(&name);
            }
            match self.deferred.next_time(now) {
                Some(next) if next <= until => self.clock.set(next),
                Some(_) | None => break,
            }
        }
        self.clock.set(until);
        fired
    }

    fn fire(&mut self, name: &str) {
        match self.deferred.fire(name, self.clock.wall()).expect("it is due") {
            Fired::Command(command) => {
                let command = codec::from_bincode(V::KIND, &command).expect("the kind encoded it");
                let ran = self.command(command).map(drop);
                ran.expect("the command of a timer isn't rejected");
            }
            Fired::Expire => {
                self.deferred.cancel_timers();
                self.vnode = V::default();
                self.exists = false;
            }
        }
    }

    /// The messages to vnodes of a kind that aren't answered, in order.
    ///
    /// # Panics
    ///
    /// When a command isn't one of that kind.
    #[must_use]
    pub fn sent<T: Vnode>(&self) -> Vec<Sent<T::Command>> {
        let messages = self.deferred.messages();
        let of_kind = messages.filter(|(_, message)| {
            message.to.kind() == T::KIND && message.encoding == Encoding::Bincode
        });
        let sent = of_kind.map(|(number, message)| Sent {
            number: number.get(),
            key: message.to.key().to_owned(),
            command: codec::from_bincode(T::KIND, &message.command)
                .expect("a command of that kind"),
            tag: message.tag.as_deref().map(ToOwned::to_owned),
        });
        sent.collect()
    }

    /// Answers a message, as its target would: with a reply, or with why it panicked or was rejected.
    ///
    /// # Panics
    ///
    /// When there is no such message, or a handler panics.
    pub fn answer<R: Serialize>(&mut self, number: u64, answer: Result<R, &str>) {
        let number = RequestNumber::new(number);
        assert!(self.deferred.message(number).is_some(), "no message {number}");
        let outcome = answer.map(|reply| encoded(&reply)).map_err(str::to_owned);
        let over = self.deferred.answered(number, outcome);
        self.finish(over, None);
    }

    /// The effects that aren't done, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        let effects = self.deferred.effects();
        let shown = effects.map(|(number, effect)| Effect {
            id: EffectId::new(self.name.hash(), number),
            key: self.name.key().to_owned(),
            tries: effect.tries.count(),
            work: effect.work.clone(),
        });
        shown.collect()
    }

    /// Runs every effect once, in the environment, and hands the vnode the results. Returns how many are over; the others have
    /// asked for a retry.
    ///
    /// # Panics
    ///
    /// When an effect or a handler panics.
    pub async fn run_effects(&mut self) -> usize {
        let mut over = 0;
        for effect in self.effects() {
            let number = effect.id().number();
            match V::effect(&self.env, effect).await {
                Ok(Done(result)) => {
                    over += 1;
                    self.end_effect(number, result);
                }
                Err(Retry(why)) => {
                    let now = self.clock.wall();
                    self.deferred.effect_failed(RequestNumber::new(number), now, &why);
                }
            }
        }
        over
    }

    /// Ends an effect with a result, without running it.
    ///
    /// # Panics
    ///
    /// When there is no such effect, or a handler panics.
    pub fn finish_effect<R: Serialize>(&mut self, id: EffectId, result: &R) {
        self.end_effect(id.number(), encoded(result));
    }

    fn end_effect(&mut self, number: u64, result: Bytes) {
        let number = RequestNumber::new(number);
        assert!(self.deferred.effects().any(|(one, _)| one == number), "no effect {number}");
        let over = self.deferred.effect_ended(number, Ok(result));
        self.finish(over, None);
    }

    fn finish(&mut self, over: Option<Over>, error: Option<&CallError>) {
        let Some(Over { tag, outcome }) = over else { return };
        let ran = self.run(|vnode, context| {
            let outcome = outcome.as_deref().map_err(String::as_str);
            vnode.finished(context, Finished { tag: &tag, outcome, error, shape: 0 });
        });
        ran.expect("the handler of an outcome isn't rejected");
    }

    /// Waits for the futures that handlers have spawned, and runs their commands. Returns how many there were.
    ///
    /// # Panics
    ///
    /// When a future or a handler panics, or a command would be rejected.
    pub async fn run_spawned(&mut self) -> usize {
        let spawned = core::mem::take(&mut self.spawned);
        let count = spawned.len();
        for work in spawned {
            let command = codec::from_bincode(V::KIND, &work.await).expect("the kind encoded it");
            self.command(command).map(drop).expect("a spawned command isn't rejected");
        }
        count
    }
}

/// The token that handlers see.
const EPOCH: Epoch = Epoch::new(1);

fn encoded<T: Serialize>(value: &T) -> Bytes {
    let mut out = Vec::new();
    codec::try_to_bincode(value, &mut out).expect("it can be stored");
    out.into()
}

fn decoded<T: DeserializeOwned>(stored: &[u8]) -> T {
    codec::from_bincode("stored state", stored).expect("what was stored can be read back")
}

impl<V: Vnode> fmt::Debug for TestVnode<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestVnode").field(&self.name).finish()
    }
}
