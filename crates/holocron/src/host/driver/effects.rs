//! Carries out the election's effects.

use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    control::{
        admission::{Admission, admission},
        election::{self, CreateOutcome, Effect, MarkOutcome},
        hints::LeaderHint,
        leader::{Base, Founded, Next, Writer, next_record},
    },
    epoch::{
        log::MarkState,
        record::{EpochRecord, RecordDigest},
    },
    format::keys,
    ids::{Epoch, SessionId},
};
use holocron_store::{Created, GaveUp, Patience, create_once, get_until, put_until};

use super::{Driver, Event};
use crate::{store_io::loss::Object, transport::serve::View};

impl Driver {
    /// Hands the election an event and carries out its effects.
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

    /// Makes the next record and creates it. If our session is not open yet, this waits until it is.
    pub(crate) fn create(&mut self, epoch: Epoch) {
        if !self.current.is_open() {
            self.create_waits = Some(epoch);
            return;
        }
        let session = self.current.id();
        match self.view.as_ref().map(|view| admission(&view.record, session)) {
            Some(Admission::CheckEndMark) => self.check_own_end_mark(session, epoch),
            Some(Admission::Member | Admission::Over) | None => self.create_next(epoch),
        }
    }

    fn check_own_end_mark(&self, session: SessionId, epoch: Epoch) {
        let (log, shared) = (self.log.clone(), Arc::clone(&self.shared));
        self.shared.spawn(async move {
            let key = keys::end_mark(session);
            let got = get_until(&*log.store, &key, log.patience, &log.stop).await;
            shared.tell_self(Event::OwnEndMark { session, epoch, mark: mark_outcome(&got) });
        });
    }

    pub(super) fn on_own_end_mark(&mut self, session: SessionId, epoch: Epoch, mark: MarkOutcome) {
        if session != self.current.id() || !self.current.is_open() {
            return self.create(epoch);
        }
        match mark {
            MarkOutcome::Seen(MarkState::Absent) => self.create_next(epoch),
            MarkOutcome::Seen(MarkState::Present) => {
                self.current.end("it was detached while this host was paused");
                self.shared.tell_self(Event::EpochWithdrawn);
            }
            MarkOutcome::Unknown => self.shared.tell_self(Event::EpochWithdrawn),
        }
    }

    /// The next record, if there is one to write.
    fn next_record(&mut self, epoch: Epoch) -> Option<EpochRecord> {
        let parts = &self.shared.parts;
        let offers: Vec<_> = self.domains.iter().map(|domain| domain.member.offer(None)).collect();
        let base = match &self.view {
            None => Base::Founding(Founded {
                cluster: &parts.cluster,
                home: &parts.home_rules,
                domains: &offers,
            }),
            Some(view) => Base::After(&view.record, RecordDigest::of(&view.stored)),
        };
        let writer = Writer {
            identity: self.member.identity(),
            session: self.current.id(),
            now: parts.clock.now(),
            wall_ms: parts.clock.wall_ms(),
        };
        let leadership = self.lead.as_mut().map(|lead| &mut lead.leadership);
        match next_record(epoch, base, writer, leadership) {
            Next::Record(record) => Some(*record),
            Next::Stale | Next::NothingNew => None,
            Next::Refused(refused) => {
                tracing::warn!(host = %parts.name, %epoch, %refused, "host can't lead; no epoch is written");
                None
            }
        }
    }

    fn create_next(&mut self, epoch: Epoch) {
        let Some(record) = self.next_record(epoch) else {
            self.shared.tell_self(Event::EpochWithdrawn);
            return;
        };
        let shared = Arc::clone(&self.shared);
        let stored = record.encode(self.shared.parts.random.nonce());
        let view = View { record: Arc::new(record), stored };
        let (log, key, before) = (self.log.clone(), keys::epoch(epoch), self.view.clone());
        let loss = Arc::clone(&self.shared.parts.loss);
        self.shared.spawn(async move {
            // Before the create, not beside it: if another cluster replaced this one, its hosts would read our record.
            if loss.confirm(|| Object::Cluster, &log.stop).await.is_err() {
                return shared.tell_self(Event::EpochWithdrawn);
            }
            let created =
                create_once(&log.store, &key, view.stored.clone(), log.patience, &log.stop).await;
            let outcome = match created {
                Created::Won => CreateOutcome::Won,
                Created::Lost(_) => CreateOutcome::Lost,
                Created::Unknown => CreateOutcome::Unknown,
            };
            shared.tell_self(Event::EpochCreated { view, before, outcome });
        });
    }

    fn check_mark(&self, epoch: Epoch) {
        let (log, shared) = (self.log.clone(), Arc::clone(&self.shared));
        let mark = keys::epoch_mark(log.cluster.epoch_segments().segment(epoch));
        self.shared.spawn(async move {
            let got = get_until(&*log.store, &mark, log.patience, &log.stop).await;
            shared.tell_self(Event::Marked(mark_outcome(&got)));
        });
    }

    fn put_hint(&mut self, epoch: Epoch) {
        let counter = self.member.next_counter();
        let parts = &self.shared.parts;
        let hint = LeaderHint {
            epoch,
            session: self.current.id(),
            counter,
            address: parts.address.clone(),
        };
        let body = hint.encode(parts.random.nonce());
        let (store, stop) = (Arc::clone(&self.log.store), parts.stop.clone());
        // A late hint is useless: the next one replaces it.
        let patience =
            Patience { budget: Some(parts.settings.leader_hint_every), ..parts.patience() };
        self.shared.spawn(async move {
            if let Err(error) = put_until(&*store, keys::LEADER_HINT, body, patience, &stop).await {
                tracing::debug!(%epoch, %error, "put of the leader hint failed");
            }
        });
    }
}

fn mark_outcome(got: &Result<Option<Bytes>, GaveUp>) -> MarkOutcome {
    match got {
        Ok(Some(_)) => MarkOutcome::Seen(MarkState::Present),
        Ok(None) => MarkOutcome::Seen(MarkState::Absent),
        Err(_) => MarkOutcome::Unknown,
    }
}
