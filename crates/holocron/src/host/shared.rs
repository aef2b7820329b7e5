//! The state that a host's tasks, its transport and its in-process clients share.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, RwLock, atomic::Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use holocron_protocol::{
    checkpoint::retain::Copying,
    control::leader::{DomainEvent, LeaderStatus},
    epoch::record::EpochRecord,
    ids::{ClusterId, DomainId, Epoch, SessionId, VnodeName},
};
use ractor::ActorCell;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Parts, domain::DomainStore, driver::Event, links::Links, views::Views};
use crate::{
    api::call::{Call, Outcome, ReplyTo},
    client::{Client, ClientParts, IN_FLIGHT_MAX_DEFAULT, LocalHost},
    session::{Session, counts::Counts, supervisor::Supervisor},
    transport::{
        frame::Hello,
        peer::{
            DomainStatus, HostStatus, PeerMessage, PeerReply, Progress, ShardsStatus, VnodeStatus,
        },
        serve::{Serve, View},
    },
};

const MAP_LOCK: &str = "nothing panics under a map's lock";

/// The shared state of a host.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    serving: RwLock<Serving>,
    /// The opened stores of further domains, by the domain's name.
    pub(super) stores: Mutex<BTreeMap<String, DomainStore>>,
    /// What keeps this host from serving a domain, by the domain's name.
    troubles: Mutex<BTreeMap<String, String>>,
    pub(crate) views: Views,
    /// Unbounded, because its senders must not wait. The transport bounds what comes from outside: a message counts as in
    /// flight until it is answered.
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) links: Arc<Links>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) top: ActorCell,
    /// What this host is about to do as the leader; for its status.
    leading: Mutex<Option<LeaderStatus>>,
    /// When it started, by its wall clock.
    pub(super) started_ms: u64,
}

/// What a call needs to find its session.
#[derive(Debug, Default)]
struct Serving {
    /// The newest record, by whose rules a vnode is in a domain.
    record: Option<Arc<EpochRecord>>,
    /// The open session of each domain.
    sessions: BTreeMap<DomainId, Arc<Session>>,
}

impl Serving {
    /// The session that may run a vnode's calls, or why there is none.
    fn session_of(&self, vnode: &VnodeName) -> Result<&Arc<Session>, Outcome> {
        let domain = match &self.record {
            Some(record) => record.domain_of(vnode).ok_or(Outcome::NotOwner)?,
            None => DomainId::HOME,
        };
        self.sessions.get(&domain).ok_or(Outcome::NotOwner)
    }
}

impl Shared {
    pub(crate) async fn new(parts: Parts) -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (events, received) = mpsc::unbounded_channel();
        let hello = Hello { cluster: Some(parts.cluster.cluster), who: parts.name.to_string() };
        let links = Arc::new(Links::new(Arc::clone(&parts.network), hello));
        let (top, _) = Supervisor::top().await;
        let counts = Arc::new(Counts::new(parts.kinds.names()));
        let started_ms = parts.clock.wall_ms();
        let shared = Self {
            parts,
            serving: RwLock::default(),
            stores: Mutex::default(),
            troubles: Mutex::default(),
            views: Views::default(),
            events,
            links,
            counts,
            top,
            leading: Mutex::default(),
            started_ms,
        };
        (Arc::new(shared), received)
    }

    /// The open session in the home domain.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session_in(DomainId::HOME)
    }

    /// The open session in a domain.
    pub(crate) fn session_in(&self, domain: DomainId) -> Option<Arc<Session>> {
        self.serving.read().expect(MAP_LOCK).sessions.get(&domain).cloned()
    }

    /// A session was opened in a domain.
    pub(crate) fn add_session(&self, domain: DomainId, session: &Arc<Session>) {
        let mut serving = self.serving.write().expect(MAP_LOCK);
        serving.sessions.insert(domain, Arc::clone(session));
    }

    /// A session is over; another one may have been opened since.
    pub(crate) fn remove_session(&self, domain: DomainId, session: SessionId) {
        let mut serving = self.serving.write().expect(MAP_LOCK);
        if serving.sessions.get(&domain).is_some_and(|open| open.id() == session) {
            serving.sessions.remove(&domain);
        }
    }

    /// Calls go by the rules of this record from now on.
    pub(crate) fn route_by(&self, record: &Arc<EpochRecord>) {
        self.serving.write().expect(MAP_LOCK).record = Some(Arc::clone(record));
    }

    /// What keeps this host from serving a domain, for its status.
    pub(crate) fn set_trouble(&self, name: &str, why: Option<&str>) {
        let mut troubles = self.troubles.lock().expect(MAP_LOCK);
        match why {
            Some(why) => drop(troubles.insert(name.to_owned(), why.to_owned())),
            None => drop(troubles.remove(name)),
        }
    }

    /// The store of a domain is open.
    pub(crate) fn add_store(&self, name: &str, store: DomainStore) {
        self.stores.lock().expect(MAP_LOCK).insert(name.to_owned(), store);
    }

    /// The store of a domain besides the home domain, if it was opened and is the one that the record names.
    pub(crate) fn store_of(&self, domain: DomainId) -> Option<DomainStore> {
        let record = self.view()?.record;
        let entry = record.domains.get(&domain)?;
        let store = self.stores.lock().expect(MAP_LOCK).get(&entry.name).cloned()?;
        (entry.store == Some(store.id)).then_some(store)
    }

    /// Notes what this host is about to do as the leader, or that it doesn't lead.
    pub(crate) fn set_leading(&self, leading: Option<LeaderStatus>) {
        *self.leading.lock().expect("only assigned under this lock") = leading;
    }

    /// A client for callers in this process.
    pub(crate) fn client(self: &Arc<Self>) -> Client {
        let parts = &self.parts;
        Client::new(ClientParts {
            network: Arc::clone(&parts.network),
            seeds: Vec::new(),
            views: None,
            local: Some(LocalHost {
                name: parts.name.clone(),
                serve: Arc::clone(self) as Arc<dyn Serve>,
            }),
            cluster: Some(parts.cluster.cluster),
            random: parts.random.clone(),
            in_flight_max: IN_FLIGHT_MAX_DEFAULT,
        })
    }

    /// The newest record that it knows.
    pub(crate) fn view(&self) -> Option<View> {
        self.views.newest()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.views.epoch()
    }

    /// Runs one of the host's tasks. If an assertion fails in it, the host stops: code that relies on the broken invariant,
    /// or waits for the dead task, must not continue.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                shared.tell_self(Event::Failed(why(&*panic)));
            }
        });
    }

    /// Ends the session, the tasks and the actors. Works also after an assertion failed anywhere.
    pub(crate) fn abandon(&self) {
        let sessions = core::mem::take(&mut self.serving.write().expect(MAP_LOCK).sessions);
        for session in sessions.values() {
            session.journal.end("the host stops");
        }
        self.parts.stop.cancel();
        self.top.kill();
    }

    /// Sends an event to the host's own task; does nothing if the host has stopped.
    pub(crate) fn tell_self(&self, event: Event) {
        drop(self.events.send(event));
    }

    pub(crate) fn status(&self) -> HostStatus {
        let view = self.view();
        let session = self.session();
        let mut status = HostStatus {
            name: self.parts.name.clone(),
            session: session.as_ref().map_or(SessionId::new(0), |session| session.id()),
            epoch: self.epoch(),
            leads: false,
            progress: Progress::default(),
            slots_serving: 0,
            slots_waiting: 0,
            vnodes_active: 0,
            vnodes_known: 0,
            commands: self.counts.commands.load(Ordering::Relaxed),
            repeats: self.counts.repeats.load(Ordering::Relaxed),
            queries: self.counts.queries.load(Ordering::Relaxed),
            slow_handlers: self.counts.slow_handlers.load(Ordering::Relaxed),
            evictions: self.counts.evictions.load(Ordering::Relaxed),
            packs: 0,
            shards: ShardsStatus::default(),
            in_flight: self.counts.calls.in_flight(),
            requests: self.requests(),
            domains: Vec::new(),
            slots_going: 0,
            copying: Copying::Complete,
            load: 0,
            leading: self.leading.lock().expect("only assigned under this lock").clone(),
        };
        if let Some(session) = session {
            status.leads =
                view.as_ref().is_some_and(|view| view.record.leader.session == session.id());
            let of_home = session.describe();
            status.progress = of_home.progress;
            status.slots_serving = of_home.slots_serving;
            status.slots_waiting = of_home.slots_waiting;
            status.vnodes_active = of_home.vnodes_active;
            status.vnodes_known = of_home.vnodes_known;
            status.packs = of_home.packs;
            status.slots_going = of_home.slots_going;
            status.copying = of_home.copying;
            status.load = of_home.load;
            session.describe_shards(&mut status.shards);
        }
        status.domains = self.domain_statuses(view.as_ref());
        status
    }

    fn domain_statuses(&self, view: Option<&View>) -> Vec<DomainStatus> {
        let troubles = self.troubles.lock().expect(MAP_LOCK);
        let configured = self.parts.domains.iter().map(|domain| {
            let named = view.and_then(|view| view.record.domain_named(&domain.name));
            let session = named.and_then(|(id, _)| self.session_in(id));
            DomainStatus {
                name: domain.name.clone(),
                session: session.map(|session| session.describe()),
                trouble: troubles.get(&domain.name).cloned(),
            }
        });
        configured.collect()
    }

    /// Store requests since the start, in all domains.
    fn requests(&self) -> u64 {
        let stores = self.stores.lock().expect(MAP_LOCK);
        let further = stores.values().map(|store| store.counted.counts().total().requests);
        self.parts.store.counts().total().requests + further.sum::<u64>()
    }

    /// Asks the host's own task for something about domains.
    pub(super) async fn ask_domain(&self, asked: DomainEvent) -> PeerReply {
        self.ask_self(|reply| Event::DomainAsked(asked, reply)).await
    }

    /// Asks the host's own task, and waits for the reply.
    pub(super) async fn ask_self(
        &self,
        event: impl FnOnce(oneshot::Sender<PeerReply>) -> Event,
    ) -> PeerReply {
        let (sender, receiver) = oneshot::channel();
        self.tell_self(event(sender));
        receiver.await.unwrap_or_else(|_| PeerReply::Refused("this host is stopping".to_owned()))
    }
}

#[async_trait]
impl Serve for Shared {
    fn cluster(&self) -> ClusterId {
        self.parts.cluster.cluster
    }

    fn call(&self, call: Call, reply: ReplyTo) {
        let reply = reply.metered(self.counts.calls.begin(call.name.kind(), call.mode));
        let serving = self.serving.read().expect(MAP_LOCK);
        match serving.session_of(&call.name) {
            Ok(session) => session.call(call, reply),
            Err(outcome) => {
                let epoch = self.epoch();
                let commit = holocron_protocol::ids::CommitNumber::ZERO;
                let outcome = self.parts.loss.why().map_or(outcome, Outcome::Unreadable);
                reply.send(crate::api::call::Answer { epoch, commit, outcome });
            }
        }
    }

    async fn peer(&self, message: PeerMessage) -> PeerReply {
        match message {
            PeerMessage::View => {
                let stored = self.view().map_or(Bytes::new(), |view| view.stored);
                PeerReply::View(stored)
            }
            PeerMessage::Status => PeerReply::Status(Box::new(self.status())),
            PeerMessage::Measures => PeerReply::Measures(
                serde_json::to_string(&self.measures())
                    .expect("measures are texts, numbers and lists"),
            ),
            PeerMessage::Kinds => PeerReply::Kinds(
                serde_json::to_string(&self.parts.kinds.describe())
                    .expect("a description has no map and no float"),
            ),
            PeerMessage::Vnode { domain, hash } => {
                PeerReply::Vnode(match self.session_in(domain) {
                    Some(session) => session.vnode_status(hash),
                    None => VnodeStatus::NotServed,
                })
            }
            PeerMessage::List(request) => match self.session_in(request.domain) {
                Some(session) => session.list(&request).await,
                None => PeerReply::NotServed,
            },
            PeerMessage::Join(request) => self.ask_self(|reply| Event::Join(request, reply)).await,
            PeerMessage::Seal(host) => self.ask_self(|reply| Event::SealHost(host, reply)).await,
            PeerMessage::Leave(session) => {
                self.ask_self(|reply| Event::Leave(session, reply)).await
            }
            PeerMessage::Heartbeat { epoch, leader, loads_heard } => {
                let event = |reply| Event::Heartbeat { epoch, leader, loads_heard, reply };
                self.ask_self(event).await
            }
            PeerMessage::Prefetch { session, progress } => {
                self.ask_self(|reply| Event::Prefetch { session, progress, reply }).await
            }
            PeerMessage::Drain(host) => self.ask_self(|reply| Event::Drain(host, reply)).await,
            PeerMessage::Undrain(host) => self.ask_self(|reply| Event::Undrain(host, reply)).await,
            PeerMessage::Move { slots, to } => {
                self.ask_self(|reply| Event::Move(slots, to, reply)).await
            }
            PeerMessage::OfferDomain(offer) => self.ask_domain(DomainEvent::Offer(offer)).await,
            PeerMessage::RemoveDomain(name) => self.ask_domain(DomainEvent::Remove(name)).await,
            PeerMessage::Serve(request) => self.ask_domain(DomainEvent::Serve(request)).await,
            PeerMessage::SealSession { session, committed } => {
                self.seal_for_leader(session, committed).await
            }
            PeerMessage::CollectSession(session) => self.collect_for_leader(session).await,
            PeerMessage::Freeze { session, cut } => self.freeze(session, cut).await,
            PeerMessage::Thaw { session, cut } => self.thaw(session, cut),
            PeerMessage::Keep => {
                self.parts.keep.extend();
                PeerReply::Noted
            }
            PeerMessage::Sealed { session, position } => {
                self.tell_self(Event::Sealed { session, position });
                PeerReply::Noted
            }
            PeerMessage::Epoch { epoch, stored } => {
                self.tell_self(Event::Pushed(epoch, stored));
                PeerReply::Noted
            }
            PeerMessage::Released { session, position } => {
                self.tell_self(Event::Released { session, position });
                PeerReply::Noted
            }
        }
    }

    fn views(&self) -> watch::Receiver<Option<View>> {
        self.views.follow()
    }
}

/// The message of a failed assertion.
pub(super) fn why(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("an assertion failed: {}", said.unwrap_or("no message"))
}
