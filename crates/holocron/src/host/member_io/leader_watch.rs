//! Keeps a connection to the leader, and reads its hint when there is none.

use std::sync::Arc;

use holocron_protocol::{
    control::{
        hints::{LeaderHint, LeaderHintWatch, Sign},
        leader_watch::{Failure, LeaderWatch, Verdict},
    },
    epoch::record::Leader,
    format::keys,
    ids::Epoch,
};
use holocron_store::{Patience, get_until};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    host::{
        driver::{Driver, Event},
        links::Tries,
        shared::Shared,
    },
    transport::link::OpenError,
};

impl Driver {
    /// Watches this leader instead of any other.
    pub(super) fn watch_leader(&mut self, leader: Leader) {
        self.watch_no_leader();
        let stop = self.shared.parts.stop.child_token();
        self.leader_watch = Some(stop.clone());
        let followed = FollowedLeader { shared: Arc::clone(&self.shared), leader };
        self.shared.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = followed.run(stop.clone()) => {}
            }
        });
    }

    pub(super) fn watch_no_leader(&mut self) {
        if let Some(stop) = self.leader_watch.take() {
            stop.cancel();
        }
    }
}

struct FollowedLeader {
    shared: Arc<Shared>,
    leader: Leader,
}

impl FollowedLeader {
    async fn run(self, stop: CancellationToken) {
        let parts = &self.shared.parts;
        let mut hints = LeaderHintWatch::default();
        let (mut watch, mut tries) = (LeaderWatch::lost(parts.clock.now()), Tries::default());
        loop {
            let failure = match self.shared.links.to(&self.leader.address).await {
                Ok(link) => {
                    link.lost().await;
                    (watch, tries) = (LeaderWatch::lost(parts.clock.now()), Tries::default());
                    continue;
                }
                Err(OpenError::NotListening { .. }) => Failure::NotListening,
                Err(OpenError::Refused { .. }) => Failure::AnotherProcess,
                Err(OpenError::Unreachable { .. }) => Failure::Unreachable,
            };
            match watch.on_failure(parts.clock.now(), failure) {
                Verdict::TryAgain => {}
                Verdict::Gone => {
                    self.shared.tell_self(Event::LeaderUnreachable(self.leader.session));
                }
                Verdict::ReadHint => self.read_hint(&mut hints, &stop).await,
            }
            sleep(tries.next_pause(parts.settings.heartbeat)).await;
        }
    }

    fn epoch(&self) -> Epoch {
        self.shared.epoch()
    }

    async fn read_hint(&self, hints: &mut LeaderHintWatch, stop: &CancellationToken) {
        let parts = &self.shared.parts;
        let patience =
            Patience { budget: Some(parts.settings.leader_hint_every), ..parts.patience() };
        sleep(parts.settings.leader_hint_every / 2).await;
        let Ok(Some(object)) = get_until(&*parts.store, keys::LEADER_HINT, patience, stop).await
        else {
            return;
        };
        match LeaderHint::decode(keys::LEADER_HINT, &object) {
            Ok(hint) => {
                if hints.saw(&hint, self.epoch()) == Sign::Moved {
                    self.shared.tell_self(Event::HintMoved(hint.epoch));
                }
            }
            Err(malformed) => tracing::warn!(%malformed, "leader hint can't be read; ignored"),
        }
    }
}
