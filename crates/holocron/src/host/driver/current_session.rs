//! A host's sessions, one after the other: opening a session, running its tasks, ending it.

use std::sync::Arc;

use holocron_protocol::{
    format::keys,
    ids::{DomainId, Epoch, Position, SessionId},
    journal::batch::Opening,
};
use holocron_store::{Created, Store, create_once};
use tokio::sync::mpsc;

use super::Event;
use crate::{
    host::{Parts, courier::HostCourier, shared::Shared},
    planted,
    session::{
        Checkpoints, Notice, Session, SessionParts,
        recovery::{Input, RecoveryTask},
        supervisor::Supervisor,
    },
    store_io::loss::LossWatch,
};

/// The domain that a session is in, and its store.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) domain: DomainId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) loss: Arc<LossWatch>,
}

impl Place {
    /// The home domain.
    pub(crate) fn home(parts: &Parts) -> Self {
        Self { domain: DomainId::HOME, store: parts.store(), loss: Arc::clone(&parts.loss) }
    }
}

/// The session that a host has open in a domain, or is opening.
pub(crate) struct CurrentSession {
    id: SessionId,
    place: Place,
    shared: Arc<Shared>,
    open: Option<OpenSession>,
}

struct OpenSession {
    session: Arc<Session>,
    recovery: mpsc::UnboundedSender<Input>,
}

impl CurrentSession {
    /// Draws a session id and creates position 0 of its journal; answered by [`Event::Opened`].
    pub(crate) fn open(shared: &Arc<Shared>, place: Place) -> Self {
        let parts = &shared.parts;
        let id = planted::session_id(parts.random.session(), &parts.name);
        let opening = Opening {
            session: id,
            host: parts.name.clone(),
            domain: place.domain,
            cluster: parts.cluster.cluster,
        };
        let body = opening.encode(parts.random.nonce());
        let key = keys::journal_position(id, Position::ZERO);
        let (store, patience, stop) =
            (Arc::clone(&place.store), parts.patience(), parts.stop.clone());
        let teller = Arc::clone(shared);
        shared.spawn(async move {
            match create_once(&store, &key, body, patience, &stop).await {
                Created::Won => teller.tell_self(Event::Opened(id)),
                Created::Lost(_) => {
                    let reused = planted::reuses_session_ids();
                    assert!(reused, "session id {id} was drawn twice: the random source is broken");
                    teller.tell_self(Event::Opened(id));
                }
                Created::Unknown => {}
            }
        });
        Self { id, place, shared: Arc::clone(shared), open: None }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        self.open.as_ref().map(|open| &open.session)
    }

    /// The journal is open: starts the session's tasks.
    pub(crate) fn opened(&mut self) {
        let parts = &self.shared.parts;
        let of_session = SessionParts {
            host: parts.name.clone(),
            cluster: parts.cluster,
            domain: self.place.domain,
            store: Arc::clone(&self.place.store),
            loss: Arc::clone(&self.place.loss),
            keep: Arc::clone(&parts.keep),
            clock: Arc::clone(&parts.clock),
            random: parts.random.clone(),
            settings: Arc::clone(&parts.settings),
            kinds: parts.kinds.clone(),
            counts: Arc::clone(&self.shared.counts),
            courier: Arc::new(HostCourier::new(&self.shared)),
        };
        let root = Supervisor::below(&self.shared.top);
        let session = Arc::new(Session::new(self.id, of_session, root));
        let (recovery, inputs) = mpsc::unbounded_channel();
        let notices = self.relay_notices();
        let sealer = parts.sealer_of(&self.place.store);
        let task = RecoveryTask::new(Arc::clone(&session), sealer, inputs, notices.clone());
        self.shared.spawn(task.run());
        self.shared.spawn(Arc::clone(&session.journal).run());
        self.shared.spawn(Arc::clone(&session.journal).run_barrier());
        self.shared.spawn(Arc::clone(&session).run_sweep());
        self.shared.spawn(Arc::clone(&session).run_shards());
        self.shared.spawn(Arc::clone(&session).run_wakes());
        self.shared.spawn(Arc::clone(&session).run_watches());
        let views = self.shared.views.follow();
        self.shared.spawn(Checkpoints::new(Arc::clone(&session), views, notices).run());
        self.watch_end(&session);
        self.shared.add_session(self.place.domain, &session);
        tracing::info!(host = %parts.name, session = %self.id, domain = self.place.domain.0, "session opened");
        self.open = Some(OpenSession { session, recovery });
    }

    /// Forwards the notices of the session's tasks to the host's own task.
    fn relay_notices(&self) -> mpsc::UnboundedSender<Notice> {
        let (notices, mut received) = mpsc::unbounded_channel();
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            while let Some(notice) = received.recv().await {
                shared.tell_self(match notice {
                    Notice::ReadEpochLog => Event::ReadEpochLog,
                    Notice::Facts(facts) => Event::Facts(facts),
                });
            }
        });
        notices
    }

    fn watch_end(&self, session: &Arc<Session>) {
        let (ended, shared, id) =
            (session.journal.ended().clone(), Arc::clone(&self.shared), self.id);
        self.shared.spawn(async move {
            ended.cancelled().await;
            shared.tell_self(Event::SessionOver(id));
        });
    }

    /// Notes the newest epoch that this host knows; the session puts it into answers.
    pub(crate) fn note_epoch(&self, epoch: Epoch) {
        if let Some(open) = &self.open {
            open.session.note_epoch(epoch);
        }
    }

    /// Sends an input to the recovery task.
    pub(crate) fn recovery(&self, input: Input) {
        if let Some(open) = &self.open {
            // Its task ends with the session.
            drop(open.recovery.send(input));
        }
    }

    /// Ends the session: drops its actors and everything that is not committed.
    pub(crate) fn end(&mut self, why: &str) {
        let Some(open) = self.open.take() else {
            return;
        };
        self.shared.remove_session(self.place.domain, self.id);
        open.session.journal.end(why);
        open.session.drop_actors();
    }
}
