//! The store requests of a member, each in a task of its own.

use core::future::Future;
use std::sync::Arc;

use holocron_protocol::{
    control::{
        candidate::Purpose,
        election::{CreateOutcome, MarkOutcome},
        hints::LeaderHint,
        loss::Look,
    },
    epoch::election_record::{ElectionLeader, ElectionRecord},
    format::keys,
    ids::Epoch,
};
use holocron_store::{Created, Patience, create_once, get_until, put_until};

use super::{Input, Member};
use crate::election::look::ElectionView;

impl Member {
    pub(super) fn read(&self) {
        let (log, known) = (self.parts.log.clone(), self.view.clone());
        self.answer(async move {
            let (look, newest) = tokio::join!(log.look(known.as_ref()), log.newest(known.clone()));
            Input::Read(look.and_then(|look| Ok((look, newest?))))
        });
    }

    /// Makes the record of an epoch and creates it.
    pub(super) fn create(&self, epoch: Epoch, purpose: Purpose) {
        let (parts, known) = (Arc::clone(&self.parts), self.view.clone());
        let before = known.as_ref().map(|view| view.record.as_before(&view.stored));
        let leader_before = known.as_ref().map(|view| view.record.leader.name.as_str());
        let record = ElectionRecord {
            epoch,
            reason: purpose.sentence(leader_before),
            wall_ms: ElectionRecord::wall_after(before, parts.clock.wall_ms()),
            previous: before.map(|before| before.digest),
            leader: ElectionLeader {
                name: parts.member.clone(),
                session: parts.session,
                address: parts.address.clone(),
            },
            tenure: purpose.tenure(),
        };
        let stored = record.encode(parts.random.nonce());
        let view = ElectionView { record: Arc::new(record), stored };
        self.answer(async move {
            let log = &parts.log;
            // Before the create, not beside it: in a store that was emptied it would found the election anew.
            match log.look(known.as_ref()).await {
                Ok(Look::There) => {}
                looked => return Input::Withdrawn(looked),
            }
            let patience = Patience { budget: Some(parts.settings.lease.length), ..log.patience };
            let (key, body) = (keys::epoch(epoch), view.stored.clone());
            let outcome = match create_once(&log.store, &key, body, patience, &log.stop).await {
                Created::Won => CreateOutcome::Won,
                Created::Lost(_) => CreateOutcome::Lost,
                Created::Unknown => CreateOutcome::Unknown,
            };
            Input::Created(view, outcome)
        });
    }

    pub(super) fn check_mark(&self, epoch: Epoch) {
        let log = self.parts.log.clone();
        self.answer(async move {
            Input::Marked(match log.mark(epoch).await {
                Ok(mark) => MarkOutcome::Seen(mark),
                Err(_) => MarkOutcome::Unknown,
            })
        });
    }

    pub(super) fn get_hint(&self) {
        let (log, patience) = (self.parts.log.clone(), self.patience_of_hints());
        self.answer(async move {
            let key = keys::LEADER_HINT;
            let got = get_until(&*log.store, key, patience, &log.stop).await;
            // A hint that is missing or can't be read shows nothing.
            let hint = got.ok().flatten();
            Input::Hint(hint.and_then(|stored| LeaderHint::decode(key, &stored).ok()))
        });
    }

    /// Puts the leader's hint.
    pub(super) fn hint(&mut self, epoch: Epoch) -> impl Future<Output = ()> + Send + use<> {
        self.counter += 1;
        let hint = LeaderHint {
            epoch,
            session: self.parts.session,
            counter: self.counter,
            address: self.parts.address.clone(),
        };
        let body = hint.encode(self.parts.random.nonce());
        let (log, patience) = (self.parts.log.clone(), self.patience_of_hints());
        async move {
            let put = put_until(&*log.store, keys::LEADER_HINT, body, patience, &log.stop).await;
            if let Err(error) = put {
                tracing::debug!(%epoch, %error, "put of the leader hint failed");
            }
        }
    }

    /// A late hint is useless: the next one replaces it.
    fn patience_of_hints(&self) -> Patience {
        Patience { budget: Some(self.parts.settings.poll_every()), ..self.parts.log.patience }
    }

    /// Runs a request and hands its result to this member's task.
    fn answer(&self, request: impl Future<Output = Input> + Send + 'static) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let answer = request.await;
            // The member may have ended meanwhile.
            drop(answers.send(answer).await);
        });
    }
}
