//! Watches the leader: refused reconnects detect a dead leader sooner and more surely than missed heartbeats.

use std::{sync::Arc, time::Duration};

use holocron_protocol::{
    control::{
        hints::{LeaderHint, LeaderHintWatch, Sign},
        suspicion::REFUSALS_MAX,
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
        let watch = LeaderWatch { shared: Arc::clone(&self.shared), leader };
        self.shared.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = watch.run(stop.clone()) => {}
            }
        });
    }

    pub(super) fn watch_no_leader(&mut self) {
        if let Some(stop) = self.leader_watch.take() {
            stop.cancel();
        }
    }
}

struct LeaderWatch {
    shared: Arc<Shared>,
    leader: Leader,
}

/// How long an unreachable leader may be a process that is exiting: it resets connections until its listener is closed.
/// After that, the network to it is broken.
const EXIT_MAX: Duration = Duration::from_millis(200);

impl LeaderWatch {
    async fn run(self, stop: CancellationToken) {
        let parts = &self.shared.parts;
        let mut hints = LeaderHintWatch::default();
        let (mut lost_at, mut refused, mut tries) = (parts.clock.now(), 0, Tries::default());
        loop {
            match self.shared.links.to(&self.leader.address).await {
                Ok(link) => {
                    link.lost().await;
                    (lost_at, refused, tries) = (parts.clock.now(), 0, Tries::default());
                    continue;
                }
                Err(OpenError::NotListening { .. }) => {
                    refused += 1;
                    if refused >= REFUSALS_MAX {
                        self.shared.tell_self(Event::LeaderUnreachable(self.leader.session));
                    }
                }
                // Another process listens at the address: the leader is gone.
                Err(OpenError::Refused { .. }) => {
                    self.shared.tell_self(Event::LeaderUnreachable(self.leader.session));
                }
                // The network to it is broken; its hints may still reach us.
                Err(OpenError::Unreachable { .. }) => {
                    if parts.clock.now().since(lost_at) >= EXIT_MAX {
                        self.look_at_hint(&mut hints, &stop).await;
                    }
                }
            }
            sleep(tries.next_pause(parts.settings.heartbeat)).await;
        }
    }

    fn epoch(&self) -> Epoch {
        self.shared.epoch()
    }

    async fn look_at_hint(&self, hints: &mut LeaderHintWatch, stop: &CancellationToken) {
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
