//! What a handler sees of its vnode, and what it may ask for.
#![expect(
    clippy::disallowed_types,
    reason = "handlers get and give times of the wall clock; nothing reads a clock with them"
)]

use core::{fmt, time::Duration};
use std::time::SystemTime;

use bytes::Bytes;
use futures::FutureExt;
use holocron_protocol::{
    deferred,
    format::codec,
    ids::{Epoch, VnodeName},
    time::WallTime,
};
use serde::Serialize;

use crate::api::{
    asked::{self, Ask, Asked},
    clock::Clock,
    lifecycle::Resource,
    vnode::Vnode,
};

/// What a handler can see of its vnode.
pub struct Context<'a, V: Vnode> {
    pub(crate) name: &'a VnodeName,
    pub(crate) epoch: Epoch,
    pub(crate) env: &'a V::Env,
    pub(crate) resource: &'a mut Resource<V>,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) asked: &'a mut Asked,
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

    /// What the vnode holds outside its state, opened by its [`Lifecycle`](crate::Lifecycle).
    #[must_use]
    pub const fn resource(&self) -> &Resource<V> {
        self.resource
    }

    /// The same, to change it. When a command panics or is rolled back, it is dropped and opened again.
    pub const fn resource_mut(&mut self) -> &mut Resource<V> {
        self.resource
    }

    /// The time by this host's wall clock, to a millisecond. Clocks of hosts differ, so it may be earlier than before a
    /// failover.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms())
    }

    /// The same in milliseconds since 1970: what a state can store, and a test can compare.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// Runs a command after this time. The timer is committed with the state, survives failovers, and takes effect once. One of
    /// the same name is replaced. It is early or late by as much as the clocks of the hosts differ, and late while no host
    /// serves the vnode.
    pub fn after(&mut self, name: &str, delay: Duration, command: V::Command) {
        self.timer(name, asked::wall(self.clock) + delay, Duration::ZERO, command);
    }

    /// Runs a command at this time; see [`Context::after`].
    pub fn at(&mut self, name: &str, at: SystemTime, command: V::Command) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.timer(name, WallTime::default() + since, Duration::ZERO, command);
    }

    /// Runs a command again and again with this period, first after one period. What was missed during an outage is made up
    /// for by one run, and the rhythm stays. Parts of a millisecond don't count; the shortest period is one.
    pub fn every(&mut self, name: &str, period: Duration, command: V::Command) {
        let period = period.max(Duration::from_millis(1));
        self.timer(name, asked::wall(self.clock) + period, period, command);
    }

    #[expect(clippy::needless_pass_by_value, reason = "commands are given away, as to a client")]
    fn timer(&mut self, name: &str, at: WallTime, every: Duration, command: V::Command) {
        let ask = asked::label("name of a timer", name).and_then(|name| {
            let command = encoded(&command)?;
            Ok(Ask::Timer { name, at, every, command })
        });
        self.asked.note(ask);
    }

    /// Cancels a timer, if there is one of that name.
    pub fn cancel(&mut self, name: &str) {
        self.asked.note(asked::label("name of a timer", name).map(Ask::Cancel));
    }

    /// Deletes the vnode after this time, unless it is set anew or taken back before: a time to live.
    pub fn expire_after(&mut self, delay: Duration) {
        let (name, at) = (deferred::EXPIRY.to_owned(), asked::wall(self.clock) + delay);
        self.asked.list.push(Ask::Timer { name, at, every: Duration::ZERO, command: Bytes::new() });
    }

    /// Takes an expiry back: the vnode stays.
    pub fn cancel_expiry(&mut self) {
        self.asked.list.push(Ask::Cancel(deferred::EXPIRY.to_owned()));
    }

    /// Sends another vnode a command. The message is committed with this vnode's state, then delivered until the target has
    /// committed it, and runs there once. Messages to one vnode run in the order in which they were sent.
    ///
    /// If it panics there or is rejected, it is set aside for an operator.
    pub fn send<T: Vnode>(&mut self, key: &str, command: T::Command) {
        self.message::<T>(key, command, None);
    }

    /// The same, and the reply is handed to [`Vnode::finished`] under this tag; also if the command panicked there or was
    /// rejected.
    pub fn ask<T: Vnode>(&mut self, key: &str, command: T::Command, tag: &str) {
        self.message::<T>(key, command, Some(tag));
    }

    /// The same for a kind whose types this program doesn't have: the command is JSON, as for [`crate::Client::call`], and so is
    /// the reply ([`Finished::json`](crate::Finished::json)). A refusal isn't tried again later, as one of [`Context::ask`] is: it
    /// is handed over at once.
    pub fn ask_by_name(&mut self, to: &VnodeName, command: Bytes, tag: &str) {
        let tag = asked::label("tag", tag);
        let ask = tag.map(|tag| Ask::SendJson { to: to.clone(), command, tag });
        self.asked.note(ask);
    }

    #[expect(clippy::needless_pass_by_value, reason = "commands are given away, as to a client")]
    fn message<T: Vnode>(&mut self, key: &str, command: T::Command, tag: Option<&str>) {
        let ask = VnodeName::new(T::KIND, key).map_err(|invalid| invalid.to_string());
        let ask = ask.and_then(|to| {
            let tag = tag.map(|tag| asked::label("tag", tag)).transpose()?;
            Ok(Ask::Send { to, command: encoded(&command)?, tag })
        });
        self.asked.note(ask);
    }

    /// Asks for work outside: [`Vnode::effect`] is called with it once this vnode's change is committed, at least once.
    /// With a tag, its result is handed to [`Vnode::finished`].
    pub fn effect<W: Serialize>(&mut self, work: &W, tag: Option<&str>) {
        let tag = tag.map(|tag| asked::label("tag", tag)).transpose();
        let ask = tag.and_then(|tag| Ok(Ask::Effect { work: encoded(work)?, tag }));
        self.asked.note(ask);
    }

    /// Deletes the vnode: its state, its timers. Its next command begins with the default state. What it has sent before is
    /// delivered, and requests that ran before don't run again.
    pub fn delete(&mut self) {
        self.asked.delete = true;
    }

    /// Runs a future beside the vnode while it is active here; its result comes back as a command. It starts when this
    /// handler's change is handed over, and is dropped when the vnode's slot leaves or the session ends: then there is no
    /// command. For work that must not be lost use [`Context::effect`].
    pub fn spawn(&mut self, work: impl Future<Output = V::Command> + Send + 'static) {
        let work = work.map(|command| {
            encoded(&command).expect("a command that can't be encoded is a panic of its task")
        });
        self.asked.spawned.push(work.boxed());
    }
}

fn encoded<T: Serialize>(value: &T) -> Result<Bytes, String> {
    let mut out = Vec::new();
    codec::try_to_bincode(value, &mut out)?;
    Ok(out.into())
}

impl<V: Vnode> fmt::Debug for Context<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(self.name).field(&self.epoch).finish()
    }
}
