//! Watching the leader: a connection that breaks and can't be had again says more, and sooner, than silence.

use std::{sync::Arc, time::Duration};

use holocron_protocol::{
    epoch::Leader,
    hints::{LeaderHint, LeaderHintWatch, Sign},
    ids::Epoch,
    keys,
    suspicion::REFUSALS_MAX,
};
use holocron_store::{Patience, get_until};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    host::{
        run::{Event, Run},
        shared::Shared,
    },
    link::OpenError,
    serve::View,
};

impl Run {
    /// Watches the leader of the newest epoch, and nobody else.
    pub(super) fn watch_leader(&mut self, view: &View) {
        let leader = &view.record.leader;
        if self.member.watching.as_ref().is_some_and(|(session, _)| *session == leader.session) {
            return;
        }
        if let Some((_, stop)) = self.member.watching.take() {
            stop.cancel();
        }
        if self.member.sessions.contains(&leader.session) {
            return;
        }
        let stop = self.shared.parts.stop.child_token();
        self.member.watching = Some((leader.session, stop.clone()));
        let watch = LeaderWatch { shared: Arc::clone(&self.shared), leader: leader.clone() };
        self.shared.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = watch.run(stop.clone()) => {}
            }
        });
    }
}

struct LeaderWatch {
    shared: Arc<Shared>,
    leader: Leader,
}

/// Tries in a row that reach nobody before we believe that there is no way to the leader. Fewer would take a process that
/// is just going for one behind a broken network: until its listener is closed too, what it accepts is reset.
const UNREACHED_MAX: u32 = 4;
/// The pause after the first tries: whoever died is gone within milliseconds.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
/// Tries followed by that pause.
const FIRST: u32 = 2;

impl LeaderWatch {
    async fn run(self, stop: CancellationToken) {
        let (mut tries, mut refused, mut unreached) = (0, 0, 0);
        let mut hints = LeaderHintWatch::default();
        let pause = self.shared.parts.settings.heartbeat / 10;
        loop {
            match self.shared.links.to(&self.leader.address).await {
                Ok(link) => {
                    (tries, refused, unreached) = (0, 0, 0);
                    link.lost().await;
                    continue;
                }
                Err(OpenError::NotListening { .. }) => {
                    (refused, unreached) = (refused + 1, 0);
                    if refused >= REFUSALS_MAX {
                        self.shared.tell_self(Event::LeaderUnreachable(self.epoch()));
                    }
                }
                // Another process has its address now: the leader is gone from there.
                Err(OpenError::Refused { .. }) => {
                    self.shared.tell_self(Event::LeaderUnreachable(self.epoch()));
                }
                // No way to it from here: its hints may still reach us.
                Err(OpenError::Unreachable { .. }) => {
                    unreached += 1;
                    if unreached >= UNREACHED_MAX {
                        self.look_at_hint(&mut hints, &stop).await;
                    }
                }
            }
            tries += 1;
            sleep(if tries <= FIRST { PAUSE_FIRST } else { pause }).await;
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
            Err(malformed) => tracing::warn!(%malformed, "ignored"),
        }
    }
}
