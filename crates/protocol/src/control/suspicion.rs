//! Suspicion: which hosts are suspected of being dead, and why.
//!
//! The leader watches every host. (A host watches the leader by its connection and by the election's timeout.) Safety
//! never relies on this: a host that is suspected wrongly is sealed and opens a new session. So timeouts may be short;
//! but one slow store, or one pause of our own process, must not make us suspect many hosts. Whether a *slow* suspect
//! fails, or the store is at fault, decides [`super::leader`]. Suspects are queried, not reported as events: a session stays a suspect
//! until it is heard again or is no longer watched, so a failed first action on it can be repeated.
//!
//! Sessions are watched and suspected, not names. A process that replaces another under the same name has its own
//! session, and no earlier suspicion applies to it.
//!
//! Invariants:
//!
//! * No session is suspected while our own store requests fail, and a standstill counts only from when they work again.
//! * After a late tick of our own all timers restart: heartbeats missed while we were paused don't count.
//! * A hint counts only if there is no connection; with one, only heartbeats decide about silence.
//! * No sign of one session counts for or against another.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{fmt, time::Duration};

pub use self::backoff::{SlotBackoff, WAIT_MAX, WAIT_MIN};
use crate::{
    ids::{Epoch, HostName, Position, SessionId},
    time::Time,
};

mod backoff;

/// The number of refused reconnects after which a broken connection means a dead process.
pub const REFUSALS_MAX: u32 = 2;

/// The timeouts of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuspicionSettings {
    /// How often heartbeats are sent.
    pub interval: Duration,
    /// How many heartbeats in a row may be missing. Higher: tolerates a worse network. Lower: fails over sooner.
    pub missed_max: u32,
    /// How long a host without a connection may be silent; several listings of the hints.
    pub silence_by_hint_max: Duration,
    /// How long a host may commit nothing while work is pending. Should exceed the store's slowest request.
    pub standstill: Duration,
    /// How long a host may take to release slots that were given away; after that its session is sealed.
    pub handoff_timeout: Duration,
    /// If a tick comes more than this after the last one, our own process was paused.
    pub late_after: Duration,
}

impl Default for SuspicionSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(250),
            missed_max: 4,
            silence_by_hint_max: Duration::from_secs(30),
            standstill: Duration::from_secs(10),
            handoff_timeout: Duration::from_secs(30),
            late_after: Duration::from_millis(750),
        }
    }
}

/// The progress that a host reports with every heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last committed position of its journal in the home domain.
    pub committed: Position,
    /// Whether work is pending.
    pub work: Work,
}

/// Whether anything is waiting to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing is.
    None,
    /// Something is.
    Waiting,
}

/// An event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed; send it at least every [`SuspicionSettings::interval`].
    Tick,
    /// Watch exactly these sessions, each with its host, from now on.
    Watch(BTreeMap<SessionId, HostName>),
    /// A heartbeat arrived.
    Heartbeat(SessionId, Progress),
    /// The counter of its host's hint moved.
    Hinted(SessionId),
    /// The connection to its host is open.
    Connected(SessionId),
    /// The connection to its host broke.
    Broken(SessionId),
    /// Its host's machine refused a reconnect: no process listens there.
    Refused(SessionId),
    /// This epoch gave away slots of an open session, which must release them. Only for the leader's watch.
    HandoffBegan(SessionId, Epoch),
    /// The session has released all slots that epochs up to this one gave away.
    HandoffDone(SessionId, Epoch),
    /// Our own store requests fail now.
    StoreFailing,
    /// Our own store requests succeed again.
    StoreWorking,
}

/// What a step shows about our own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Nothing special.
    Running,
    /// This tick was late: we were paused. Read the epoch log before acting on anything.
    Paused,
}

/// A suspected session, and why. Its display is the epoch's reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Its host.
    pub host: HostName,
    /// The session. If the host has another one by the time of the action, it is no longer a suspect.
    pub session: SessionId,
    /// Why.
    pub why: Suspicion,
}

/// Why a session is suspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// Its connection broke and no process listens at its address.
    Refused,
    /// It was silent for this long.
    Silent(Duration),
    /// It committed nothing for this long while work was pending.
    Standstill(Duration),
    /// For this long it has not released slots that this epoch gave away.
    Handoff(Epoch, Duration),
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, why, .. } = self;
        match why {
            Suspicion::Refused => write!(f, "{host} is gone: reconnects are refused"),
            Suspicion::Silent(span) => {
                write!(f, "{host} has been silent for {:.1} s", span.as_secs_f64())
            }
            Suspicion::Standstill(span) => {
                write!(
                    f,
                    "{host} has committed nothing for {:.1} s while work is pending",
                    span.as_secs_f64()
                )
            }
            Suspicion::Handoff(epoch, span) => {
                write!(
                    f,
                    "{host} has not released slots that {epoch} gave away for {:.1} s",
                    span.as_secs_f64()
                )
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    Down { refusals: u32 },
}

#[derive(Clone, Debug)]
struct Peer {
    host: HostName,
    heard_at: Time,
    /// Silence is tolerated until then.
    silent_after: Time,
    link: Link,
    progress: Progress,
    /// When it last committed something or had no pending work.
    moved_at: Time,
    /// The epochs whose slots it must release, and since when.
    handoffs: BTreeMap<Epoch, Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreHealth {
    Working,
    Failing,
}

/// One host's watch over the sessions of others.
#[derive(Clone, Debug)]
pub struct Watch {
    settings: SuspicionSettings,
    peers: BTreeMap<SessionId, Peer>,
    last_tick: Time,
    store: StoreHealth,
}

impl Watch {
    /// A watch over no sessions yet.
    #[must_use]
    pub const fn new(settings: SuspicionSettings, now: Time) -> Self {
        Self { settings, peers: BTreeMap::new(), last_tick: now, store: StoreHealth::Working }
    }

    /// The sessions that are watched.
    #[must_use]
    pub fn sessions(&self) -> BTreeSet<SessionId> {
        self.peers.keys().copied().collect()
    }

    /// Takes one event. Never blocks, never fails; events of sessions that aren't watched are ignored.
    pub fn step(&mut self, now: Time, event: Event) -> Own {
        match event {
            Event::Tick => return self.on_tick(now),
            Event::Watch(sessions) => self.on_watch(now, sessions),
            Event::Heartbeat(session, progress) => self.on_heartbeat(now, session, progress),
            Event::Hinted(session) => self.on_hinted(now, session),
            Event::Connected(session) => self.with(session, |peer| peer.link = Link::Up),
            Event::Broken(session) => self.with(session, |peer| {
                if peer.link == Link::Up {
                    peer.link = Link::Down { refusals: 0 };
                }
            }),
            Event::Refused(session) => self.with(session, |peer| {
                let refusals = match peer.link {
                    Link::Up => 1,
                    Link::Down { refusals } => refusals.saturating_add(1),
                };
                peer.link = Link::Down { refusals };
            }),
            Event::HandoffBegan(session, epoch) => self.with(session, |peer| {
                peer.handoffs.entry(epoch).or_insert(now);
            }),
            Event::HandoffDone(session, epoch) => self.with(session, |peer| {
                peer.handoffs.retain(|pending, _| *pending > epoch);
            }),
            Event::StoreFailing => self.store = StoreHealth::Failing,
            Event::StoreWorking => self.on_store_working(now),
        }
        Own::Running
    }

    /// The sessions that are suspected now, in order of session id, each with its strongest reason.
    #[must_use]
    pub fn suspects(&self, now: Time) -> Vec<Suspect> {
        if self.store == StoreHealth::Failing {
            return Vec::new();
        }
        let suspect = |(&session, peer): (&SessionId, &Peer)| {
            let why = self.suspicion(now, peer)?;
            Some(Suspect { host: peer.host.clone(), session, why })
        };
        self.peers.iter().filter_map(suspect).collect()
    }

    fn suspicion(&self, now: Time, peer: &Peer) -> Option<Suspicion> {
        if let Link::Down { refusals: REFUSALS_MAX.. } = peer.link {
            return Some(Suspicion::Refused);
        }
        if peer.silent_after < now {
            return Some(Suspicion::Silent(now.since(peer.heard_at)));
        }
        let still = now.since(peer.moved_at);
        if peer.progress.work == Work::Waiting && still > self.settings.standstill {
            return Some(Suspicion::Standstill(still));
        }
        let (epoch, began) = peer.handoffs.first_key_value()?;
        let waited = now.since(*began);
        (waited > self.settings.handoff_timeout).then_some(Suspicion::Handoff(*epoch, waited))
    }

    fn on_tick(&mut self, now: Time) -> Own {
        let since_last = now.since(self.last_tick);
        self.last_tick = now;
        if since_last <= self.settings.late_after {
            return Own::Running;
        }
        let silent_after = now + self.silence_max();
        for peer in self.peers.values_mut() {
            peer.heard_at = now;
            peer.silent_after = peer.silent_after.max(silent_after);
            peer.moved_at = now;
            if let Link::Down { refusals } = &mut peer.link {
                *refusals = 0;
            }
            peer.handoffs.values_mut().for_each(|began| *began = now);
        }
        Own::Paused
    }

    fn on_watch(&mut self, now: Time, sessions: BTreeMap<SessionId, HostName>) {
        self.peers.retain(|session, _| sessions.contains_key(session));
        let silent_after = now + self.silence_max();
        for (session, host) in sessions {
            self.peers.entry(session).or_insert_with(|| Peer {
                host,
                heard_at: now,
                silent_after,
                link: Link::Down { refusals: 0 },
                progress: Progress { committed: Position::ZERO, work: Work::None },
                moved_at: now,
                handoffs: BTreeMap::new(),
            });
        }
    }

    fn on_heartbeat(&mut self, now: Time, session: SessionId, progress: Progress) {
        let silent_after = now + self.silence_max();
        self.with(session, |peer| {
            peer.heard_at = now;
            peer.silent_after = silent_after;
            peer.link = Link::Up;
            // New work counts as pending from now on.
            if progress.committed != peer.progress.committed || peer.progress.work == Work::None {
                peer.moved_at = now;
            }
            peer.progress = progress;
        });
    }

    fn on_hinted(&mut self, now: Time, session: SessionId) {
        let silent_after = now + self.settings.silence_by_hint_max;
        self.with(session, |peer| {
            if let Link::Down { refusals } = &mut peer.link {
                *refusals = 0;
                peer.heard_at = now;
                peer.silent_after = silent_after;
            }
        });
    }

    fn on_store_working(&mut self, now: Time) {
        if self.store == StoreHealth::Working {
            return;
        }
        self.store = StoreHealth::Working;
        for peer in self.peers.values_mut() {
            peer.moved_at = now;
            peer.handoffs.values_mut().for_each(|began| *began = now);
        }
    }

    fn with(&mut self, session: SessionId, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&session) {
            change(peer);
        }
    }

    /// How long silence is tolerated while there is a connection.
    fn silence_max(&self) -> Duration {
        self.settings.interval.saturating_mul(self.settings.missed_max)
    }
}

#[cfg(test)]
mod tests;
