//! The state that a host's tasks, its transport and its in-process clients share.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, RwLock, atomic::Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use holocron_protocol::{
    checkpoint::retain::Copying,
    control::leader::LeaderStatus,
    ids::{ClusterId, Epoch},
};
use ractor::ActorCell;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Parts, driver::Event, links::Links, views::Views};
use crate::{
    api::call::{Call, Outcome, ReplyTo},
    client::{Client, ClientParts, IN_FLIGHT_MAX_DEFAULT, LocalHost},
    session::{Counts, Session, supervisor::Supervisor},
    transport::{
        frame::Hello,
        peer::{HostStatus, PeerMessage, PeerReply, Progress, ShardsStatus, VnodeStatus},
        serve::{Serve, View},
    },
};

/// The shared state of a host.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    /// The open session; `None` before the first and between two.
    session: RwLock<Option<Arc<Session>>>,
    pub(crate) views: Views,
    /// Unbounded, because its senders must not wait. The transport bounds what comes from outside: a message counts as in
    /// flight until it is answered.
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) links: Arc<Links>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) top: ActorCell,
    /// What this host is about to do as the leader; for its status.
    leading: Mutex<Option<LeaderStatus>>,
}

impl Shared {
    pub(crate) async fn new(parts: Parts) -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (events, received) = mpsc::unbounded_channel();
        let hello = Hello { cluster: Some(parts.cluster.cluster), who: parts.name.to_string() };
        let links = Arc::new(Links::new(Arc::clone(&parts.network), hello));
        let (top, _) = Supervisor::top().await;
        let shared = Self {
            parts,
            session: RwLock::new(None),
            views: Views::default(),
            events,
            links,
            counts: Arc::default(),
            top,
            leading: Mutex::default(),
        };
        (Arc::new(shared), received)
    }

    /// The open session.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.read().expect("a pointer's lock").clone()
    }

    pub(crate) fn set_session(&self, session: Option<Arc<Session>>) {
        *self.session.write().expect("a pointer's lock") = session;
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
        if let Some(session) = self.session() {
            self.set_session(None);
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
            session: session
                .as_ref()
                .map_or(holocron_protocol::ids::SessionId::new(0), |session| session.id()),
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
            evictions: self.counts.evictions.load(Ordering::Relaxed),
            packs: 0,
            shards: ShardsStatus::default(),
            in_flight: self.counts.in_flight.load(Ordering::Relaxed),
            requests: self.parts.store.counts().total().requests,
            slots_going: 0,
            copying: Copying::Complete,
            load: 0,
            leading: self.leading.lock().expect("only assigned under this lock").clone(),
        };
        let Some(session) = session else {
            return status;
        };
        status.leads = view.is_some_and(|view| view.record.leader.session == session.id());
        session.describe(&mut status);
        status
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
        let reply = reply.counted(&self.counts.in_flight);
        let session = self.session.read().expect("a pointer's lock");
        match &*session {
            Some(session) => session.call(call, reply),
            None => {
                let epoch = self.epoch();
                let commit = holocron_protocol::ids::CommitNumber::ZERO;
                let outcome = self.parts.loss.why().map_or(Outcome::NotOwner, Outcome::Unreadable);
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
            PeerMessage::Vnode(hash) => PeerReply::Vnode(match self.session() {
                Some(session) => session.vnode_status(hash),
                None => VnodeStatus::NotServed,
            }),
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
