//! The host's own task: takes events one by one, and drives the election, the session and the leader's duties.
//!
//! It never waits for the store or the network: each request runs in a task of its own, and its result comes back as an
//! event. So a slow request delays nothing else.

mod current_session;
mod effects;
mod event;

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures::FutureExt;
use holocron_protocol::{
    checkpoint::retain::Copying,
    control::{
        domain_member,
        election::{self, CreateOutcome, Election, ElectionSettings, HeardBy, News, ReadOutcome},
        leader,
        member::{self, Identity, Member, MemberSettings},
    },
    format::keys,
    ids::{Epoch, SessionId},
    slot::recovery,
    time::Time,
};
use holocron_store::Patience;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) use self::current_session::{CurrentSession, Place};
pub(crate) use self::event::Event;
use super::{
    Stopped,
    domain::DomainHost,
    leader_io::Lead,
    shared::{Shared, why},
};
use crate::{
    session::recovery::Input,
    store_io::epoch_log::{self, EpochLog, LogError},
    transport::{
        peer::{Health, PeerReply},
        serve::View,
    },
};

/// The host's own task.
pub(crate) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) log: EpochLog,
    pub(super) election: Election,
    /// The newest record that this host has acted on.
    pub(super) view: Option<View>,
    pub(super) current: CurrentSession,
    pub(super) member: Member,
    /// The domains that this host is configured with, besides the home domain.
    pub(super) domains: Vec<DomainHost>,
    /// Ends the task that watches the leader's connection.
    pub(super) leader_watch: Option<CancellationToken>,
    pub(super) lead: Option<Lead>,
    /// The record this host last tried to create, and the one before it.
    pub(super) created: Option<(View, Option<View>)>,
    /// The create that waits until the session is open.
    pub(super) create_waits: Option<Epoch>,
    ticked: Time,
    store_fails: bool,
    pub(super) stopped: Option<Stopped>,
}

/// Runs a host until it stops.
pub(crate) async fn run(shared: Arc<Shared>, events: mpsc::UnboundedReceiver<Event>) -> Stopped {
    let running = AssertUnwindSafe(run_to_end(Arc::clone(&shared), events)).catch_unwind().await;
    let stopped = running.unwrap_or_else(|panic| Stopped::Failed(why(&*panic)));
    match &stopped {
        Stopped::StoreLost(why) => {
            tracing::error!(host = %shared.parts.name, why, "store is lost; host stops and writes nothing more");
        }
        Stopped::Told | Stopped::Left | Stopped::Replaced(_) | Stopped::Failed(_) => {
            tracing::info!(host = %shared.parts.name, why = %stopped, "host stopped");
        }
    }
    shared.abandon();
    stopped
}

async fn run_to_end(shared: Arc<Shared>, mut events: mpsc::UnboundedReceiver<Event>) -> Stopped {
    let mut run = match Driver::start(&shared).await {
        Ok(run) => run,
        Err(error) => return Stopped::Failed(error.to_string()),
    };
    if let Err(error) = run.check_first_epoch().await {
        return Stopped::Failed(error.to_string());
    }
    let every = (shared.parts.settings.heartbeat / 5).max(core::time::Duration::from_millis(1));
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (stop, loss) = (shared.parts.stop.clone(), Arc::clone(&shared.parts.loss));
    let stopped = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Stopped::Told,
            why = loss.lost() => break Stopped::StoreLost(why),
            event = events.recv() => match event {
                Some(event) => run.on_event(event),
                None => break Stopped::Told,
            },
            _ = ticks.tick() => run.on_tick(every),
        }
        if let Some(stopped) = run.stopped.take() {
            break stopped;
        }
    };
    if stopped == Stopped::Left
        && let Some(session) = run.current.session()
    {
        // Of slots that no other host took.
        session.close_all().await;
    }
    run.current.end("the host stops");
    run.end_domains("the host stops");
    stopped
}

impl Driver {
    async fn start(shared: &Arc<Shared>) -> Result<Self, LogError> {
        let parts = &shared.parts;
        let log = EpochLog {
            store: parts.store(),
            cluster: parts.cluster,
            patience: Patience {
                try_timeout: parts.settings.store_try_timeout,
                ..Patience::within(parts.settings.store_start_timeout)
            },
            stop: parts.stop.clone(),
        };
        let view = log.newest(None).await?;
        let now = parts.clock.now();
        let settings = ElectionSettings {
            silence_max: parts.settings.heartbeat * parts.settings.heartbeats_missed_max,
            silence_by_hint_max: parts.settings.leader_hint_every * 3,
            rank_step: parts.settings.heartbeat,
            confirm_every: parts.settings.leader_hint_every,
            ..ElectionSettings::default()
        };
        let current = CurrentSession::open(shared, Place::home(parts));
        let identity = Identity {
            name: parts.name.clone(),
            address: parts.address.clone(),
            weight: parts.weight,
            zone: parts.zone.clone(),
            shards: parts.kinds.shards(),
            versions: parts.kinds.versions(),
        };
        let of_member = MemberSettings {
            hint_every: parts.settings.host_hint_every,
            leader_silence_max: settings.silence_max,
        };
        let member = Member::new(identity, of_member, current.id());
        let news =
            view.as_ref().map(|view| News::of(&view.record, &parts.name, Some(current.id())));
        let election = Election::new(settings, now, news);
        let mut run = Self {
            shared: Arc::clone(shared),
            log,
            election,
            view: None,
            current,
            member,
            domains: DomainHost::all(parts),
            leader_watch: None,
            lead: None,
            created: None,
            create_waits: None,
            ticked: now,
            store_fails: false,
            stopped: None,
        };
        if let Some(view) = view {
            run.set_view(&view);
            run.member(member::Event::Epoch(view.record));
        }
        Ok(run)
    }

    pub(super) fn now(&self) -> Time {
        self.shared.parts.clock.now()
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.view.as_ref().map_or(Epoch::ZERO, |view| view.record.epoch)
    }

    fn on_tick(&mut self, every: core::time::Duration) {
        let now = self.now();
        let late = now.since(self.ticked) > every + self.shared.parts.settings.heartbeat;
        self.ticked = now;
        if late {
            // This process was paused: heartbeats that it missed meanwhile say nothing.
            tracing::warn!(host = %self.shared.parts.name, "host was paused; it reads the epoch log before it suspects or acts");
            self.elect(election::Event::Paused);
            self.lead(leader::Event::Paused);
        }
        self.watch_store();
        if let Some(session) = self.current.session() {
            session.measure();
        }
        self.elect(election::Event::Tick);
        self.member(member::Event::Tick);
        self.domains_tick();
        self.lead_tick();
    }

    /// While our own requests fail, missed heartbeats don't count.
    fn watch_store(&mut self) {
        let fails = self.shared.parts.watched.fails();
        if fails != self.store_fails {
            self.store_fails = fails;
            self.elect(if fails {
                election::Event::StoreFailing
            } else {
                election::Event::StoreWorking
            });
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Pushed(epoch, stored) => self.on_pushed(epoch, stored),
            Event::ReadEpochLog => self.elect(election::Event::NewerEpochPossible),
            Event::LogRead(read) => self.on_log_read(read),
            Event::EpochCreated { view, before, outcome } => {
                if outcome == CreateOutcome::Won || outcome == CreateOutcome::Unknown {
                    self.created = Some((view, before));
                }
                self.elect(election::Event::Created(outcome));
            }
            Event::EpochWithdrawn => self.elect(election::Event::Created(CreateOutcome::Withdrawn)),
            Event::OwnEndMark { session, epoch, mark } => {
                self.on_own_end_mark(session, epoch, mark);
            }
            Event::Marked(outcome) => self.elect(election::Event::Marked(outcome)),
            Event::Opened(session) => match self.domain_with(session) {
                Some(at) => self.on_domain_opened(at, session),
                None => self.on_opened(session),
            },
            // The host stops: the end of its session is expected.
            Event::SessionOver(_) if self.shared.parts.stop.is_cancelled() => {}
            Event::SessionOver(session) => match self.domain_with(session) {
                Some(at) => self.domain(at, domain_member::Event::SessionOver(session)),
                None => self.member(member::Event::SessionOver(session)),
            },
            Event::DomainLooked(at, look, store) => self.on_domain_looked(at, look, store),
            Event::Domain(at, event) => self.domain(at, event),
            Event::DomainAsked(asked, reply) => self.ask_lead(leader::Event::Domain(asked), reply),
            Event::Failed(why) => self.stopped = Some(Stopped::Failed(why)),
            Event::Heartbeat { epoch, leader, loads_heard, reply } => {
                self.member(member::Event::Heartbeat(epoch, leader));
                // The leader may have disconnected meanwhile.
                drop(reply.send(PeerReply::Health(self.health(loads_heard))));
            }
            Event::HintMoved(epoch) => {
                self.elect(election::Event::HeardLeader { epoch, by: HeardBy::Hint });
            }
            Event::LeaderUnreachable(leader) => {
                self.elect(election::Event::LeaderSuspected { leader });
            }
            Event::Join(request, reply) => self.ask_lead(leader::Event::Join(request), reply),
            Event::SealHost(host, reply) => self.ask_lead(leader::Event::SealHost(host), reply),
            Event::Leave(session, reply) => self.ask_lead(leader::Event::Leave(session), reply),
            Event::Drain(host, reply) => self.ask_lead(leader::Event::Drain(host), reply),
            Event::Undrain(host, reply) => self.ask_lead(leader::Event::Undrain(host), reply),
            Event::Move(slots, host, reply) => {
                self.ask_lead(leader::Event::Move(slots, host), reply);
            }
            Event::LeaveSelf => self.member(member::Event::LeaveAsked),
            Event::Prefetch { session, progress, reply } => {
                self.with_session_like(session).recovery(Input::Prefetch(session, progress, reply));
            }
            Event::Sealed { session, position } => {
                let sealed = recovery::Event::Sealed(session, position);
                self.with_session_like(session).recovery(Input::Event(sealed));
            }
            Event::Released { session, position } => {
                let released = recovery::Event::Released(session, position);
                self.with_session_like(session).recovery(Input::Event(released));
            }
            Event::Facts(facts) => {
                self.member(member::Event::Facts(facts));
                self.lead(leader::Event::Facts(self.member.facts()));
            }
            Event::Lead(event) => self.lead(event),
        }
    }

    fn on_pushed(&mut self, epoch: Epoch, stored: Bytes) {
        if epoch <= self.epoch() {
            return;
        }
        // A pushed record is committed: its sender wrote it, or read it from the log.
        match epoch_log::view(&keys::epoch(epoch), stored) {
            Ok(view) => {
                self.learn(&view);
                // Only the leader pushes its records, so it is alive.
                self.elect(election::Event::HeardLeader { epoch, by: HeardBy::Connection });
            }
            Err(malformed) => {
                tracing::warn!(host = %self.shared.parts.name, %epoch, %malformed, "pushed epoch record can't be read; ignored");
            }
        }
    }

    /// Takes a record from any source: tells the election and the member.
    pub(super) fn learn(&mut self, view: &View) {
        if view.record.epoch <= self.election.newest() {
            return;
        }
        let news = self.news(view);
        self.set_view(view);
        self.elect(election::Event::Learned(news));
        self.member(member::Event::Epoch(Arc::clone(&view.record)));
    }

    pub(super) fn news(&self, view: &View) -> News {
        News::of(&view.record, &self.shared.parts.name, Some(self.current.id()))
    }

    fn on_log_read(&mut self, read: Result<Option<View>, LogError>) {
        let newer = match read {
            Ok(newest) => newest.filter(|view| view.record.epoch > self.election.newest()),
            Err(LogError::GaveUp(_)) => {
                return self.elect(election::Event::Read(ReadOutcome::Unknown));
            }
            Err(LogError::Malformed(malformed)) => {
                tracing::error!(host = %self.shared.parts.name, %malformed, "newest epoch can't be read; this host writes no epoch until it is repaired");
                return self.elect(election::Event::Read(ReadOutcome::Unknown));
            }
        };
        let Some(view) = newer else {
            return self.elect(election::Event::Read(ReadOutcome::Nothing));
        };
        let news = self.news(&view);
        self.set_view(&view);
        self.elect(election::Event::Read(ReadOutcome::Newest(news)));
        self.member(member::Event::Epoch(view.record));
    }

    /// Makes a newer record the newest known, for this host and for all followers of its views.
    pub(super) fn set_view(&mut self, view: &View) {
        assert!(view.record.epoch > self.epoch(), "{} after {}", view.record.epoch, self.epoch());
        tracing::info!(host = %self.shared.parts.name, epoch = %view.record.epoch, leader = %view.record.leader.host,
            reason = %view.record.reason, "new epoch");
        self.view = Some(view.clone());
        self.shared.route_by(&view.record);
        self.shared.views.replace(view);
        self.current.note_epoch(view.record.epoch);
        self.domains.iter().for_each(|domain| domain.note_epoch(view.record.epoch));
    }

    /// The live sessions whose Release our slots wait for.
    pub(super) fn awaited(&self) -> Vec<SessionId> {
        let Some(view) = &self.view else { return Vec::new() };
        let further = self.domains.iter().filter_map(DomainHost::session);
        let sessions = self.current.session().into_iter().chain(further);
        sessions.flat_map(|session| session.awaited(&view.record)).collect()
    }

    /// Whether states of slots that it got are still to be copied, in any domain.
    pub(super) fn copying(&self) -> Copying {
        let further = self.domains.iter().filter_map(DomainHost::session);
        let mut sessions = self.current.session().into_iter().chain(further);
        let remaining = sessions.any(|session| session.copying() == Copying::Remaining);
        if remaining { Copying::Remaining } else { Copying::Complete }
    }

    fn health(&self, loads_heard: u64) -> Health {
        let session = self.current.session();
        Health {
            session: self.current.id(),
            epoch: self.epoch(),
            progress: session.map(|session| session.journal.progress()).unwrap_or_default(),
            facts: self.member.facts(),
            awaiting: self.awaited(),
            copying: self.copying(),
            loads: session.and_then(|session| session.load_news(loads_heard)),
            domains: self.domain_healths(),
        }
    }
}
