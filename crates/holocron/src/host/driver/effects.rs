//! Carrying out what the election decides.

use std::sync::Arc;

use holocron_protocol::{
    control::{
        election::{self, CreateOutcome, Effect, MarkOutcome},
        hints::LeaderHint,
    },
    epoch::log::MarkState,
    format::keys,
    ids::{Epoch, SessionId},
};
use holocron_store::{Created, Patience, create_once, get_until, put_until};

use super::{Driver, Event};
use crate::{store_io::loss::Object, transport::serve::View};

impl Driver {
    /// Tells the election something and does what it decides.
    pub(crate) fn elect(&mut self, event: election::Event) {
        let now = self.now();
        let chance = self.shared.parts.random.below(u64::MAX);
        for effect in self.election.step(now, chance, event) {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Read(_) => {
                let (log, view, shared) =
                    (self.log.clone(), self.view.clone(), Arc::clone(&self.shared));
                self.shared.spawn(async move {
                    let read = log.newest(view).await;
                    shared.tell_self(Event::LogRead(read));
                });
            }
            Effect::Create(epoch) => self.create(epoch),
            Effect::CheckMark(epoch) => self.check_mark(epoch),
            Effect::PutHint(epoch) => self.put_hint(epoch),
            Effect::Lead(epoch) => self.on_leading(epoch),
            Effect::Follow(_) => self.on_following(),
        }
    }

    /// Makes the next record and creates it; if no session of ours is open, as soon as one is.
    pub(crate) fn create(&mut self, epoch: Epoch) {
        let session = self.life.id();
        if !self.life.is_open() {
            self.create_waits = Some(epoch);
        } else if self
            .view
            .as_ref()
            .is_some_and(|view| !view.record.sessions.contains_key(&session))
        {
            self.clear_own(session, epoch);
        } else {
            self.create_next(epoch);
        }
    }

    /// A record that doesn't list our session may have forgotten it: taken in, sealed and detached while we slept. One
    /// like that is never given slots again, by whomever; its end mark tells.
    fn clear_own(&self, session: SessionId, epoch: Epoch) {
        let (log, shared) = (self.log.clone(), Arc::clone(&self.shared));
        self.shared.spawn(async move {
            let got =
                get_until(&*log.store, &keys::end_mark(session), log.patience, &log.stop).await;
            let detached = got.ok().map(|mark| mark.is_some());
            shared.tell_self(Event::OwnCleared { session, epoch, detached });
        });
    }

    pub(super) fn on_own_cleared(
        &mut self,
        session: SessionId,
        epoch: Epoch,
        detached: Option<bool>,
    ) {
        if session != self.life.id() {
            return self.create(epoch);
        }
        match detached {
            Some(false) => self.create_next(epoch),
            Some(true) => {
                self.life.end("it was detached while we slept");
                self.shared.tell_self(Event::EpochNotWanted);
            }
            None => self.shared.tell_self(Event::EpochNotWanted),
        }
    }

    /// If a newer record was learned meanwhile, nothing is made.
    fn create_next(&mut self, epoch: Epoch) {
        let shared = Arc::clone(&self.shared);
        let Some(record) = self.make_next(epoch) else {
            // Nothing is to be written after all; the election hears it as a create that came to nothing.
            shared.tell_self(Event::EpochNotWanted);
            return;
        };
        let stored = record.encode(self.shared.parts.random.nonce());
        let view = View { record: Arc::new(record), stored };
        let (log, key) = (self.log.clone(), keys::epoch(epoch));
        let loss = Arc::clone(&self.shared.parts.loss);
        self.shared.spawn(async move {
            // Before, not beside: a record in the log of the cluster that took this one's place would be read there.
            if loss.confirm(|| Object::Cluster, &log.stop).await.is_err() {
                return shared.tell_self(Event::EpochNotWanted);
            }
            let created =
                create_once(&log.store, &key, view.stored.clone(), log.patience, &log.stop).await;
            let outcome = match created {
                Created::Won => CreateOutcome::Won,
                Created::Lost(_) => CreateOutcome::Lost,
                Created::Unknown => CreateOutcome::Unknown,
            };
            shared.tell_self(Event::EpochCreated(view, outcome));
        });
    }

    fn check_mark(&self, epoch: Epoch) {
        let (log, shared) = (self.log.clone(), Arc::clone(&self.shared));
        let mark = keys::epoch_mark(log.cluster.epoch_segments().segment(epoch));
        self.shared.spawn(async move {
            let got = get_until(&*log.store, &mark, log.patience, &log.stop).await;
            let outcome = match got {
                Ok(Some(_)) => MarkOutcome::Seen(MarkState::Present),
                Ok(None) => MarkOutcome::Seen(MarkState::Absent),
                Err(_) => MarkOutcome::Unknown,
            };
            shared.tell_self(Event::Marked(outcome));
        });
    }

    fn put_hint(&mut self, epoch: Epoch) {
        let counter = self.member.next_counter();
        let parts = &self.shared.parts;
        let hint =
            LeaderHint { epoch, session: self.life.id(), counter, address: parts.address.clone() };
        let body = hint.encode(parts.random.nonce());
        let (store, stop) = (Arc::clone(&self.log.store), parts.stop.clone());
        // Worth nothing when it is late: the next one says more.
        let patience =
            Patience { budget: Some(parts.settings.leader_hint_every), ..parts.patience() };
        self.shared.spawn(async move {
            if let Err(error) = put_until(&*store, keys::LEADER_HINT, body, patience, &stop).await {
                tracing::debug!(%error, "the leader's hint was not put");
            }
        });
    }
}
