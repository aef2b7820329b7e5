//! What an operator does: has a host sealed, drains one and takes that back, moves slots.

use core::time::Duration;
use std::sync::Arc;

use holocron::{PeerMessage, PeerReply};
use holocron_protocol::ids::Slot;

use super::{
    SLOTS,
    strikes::{End, MILLISECOND, Strikes},
};
use crate::store::Slow;

/// How long a leader may take to answer an operator.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Most slots that an operator moves at once.
const ORDERED_MAX: u64 = 6;

impl Strikes<'_> {
    /// An operator asks the leader to seal a healthy host; every other time one that looks dead.
    pub(super) fn alarm(&mut self) -> Option<()> {
        let victim = self.victim()?;
        if self.story.chance.happens(0.5) {
            self.sicken(&victim);
        }
        let name = self.story.cluster.status(&victim)?.name;
        self.ask_leader(PeerMessage::Seal(name))
    }

    /// An operator drains a host, for a while or until it restarts, or moves some slots to it.
    pub(super) fn order(&mut self) -> Option<()> {
        let victim = self.victim()?;
        let name = self.story.cluster.status(&victim)?.name;
        if self.apart.happens(0.5) {
            // One slot is nearly always accepted; several often make the cluster uneven.
            let slots = 1 + self.apart.below(ORDERED_MAX);
            let slot = |_| {
                let number = self.apart.below(SLOTS.into());
                Slot(u16::try_from(number).expect("there are few slots"))
            };
            return self
                .ask_leader(PeerMessage::Move { slots: (0..slots).map(slot).collect(), to: name });
        }
        if self.apart.happens(0.8) {
            let span = self.apart.between(MILLISECOND * 500, MILLISECOND * 8_000);
            self.after(span, End::Undrain(name.clone()));
        }
        self.ask_leader(PeerMessage::Drain(name))
    }

    /// Asks the leader for something and counts its answer. `None` if no host leads.
    pub(super) fn ask_leader(&mut self, message: PeerMessage) -> Option<()> {
        let cluster = &mut self.story.cluster;
        let network = cluster.world.network("operator");
        let leader = cluster.leader()?;
        let (address, work) = (cluster.address(&leader), Arc::clone(&self.story.work));
        drop(cluster.world.start("operator", async move {
            let is_alarm = matches!(message, PeerMessage::Seal(_));
            let asked = holocron::ask(&network, &address, message, ANSWERED_WITHIN).await;
            let mut counters = work.counters();
            match asked {
                Ok(PeerReply::Noted) if is_alarm => counters.false_alarms += 1,
                Ok(PeerReply::Noted) => counters.orders += 1,
                Ok(PeerReply::Refused(_)) => counters.refused_orders += 1,
                Ok(_) | Err(_) => {}
            }
        }));
        Some(())
    }

    /// Makes a host look dead: it doesn't hear the others, and its uploads hang. Its callers reach it, and it answers
    /// them as long as it may.
    fn sicken(&mut self, victim: &str) {
        let span = self.span(MILLISECOND * 200, MILLISECOND * 3_000);
        for other in self.nodes().into_iter().filter(|other| other != victim) {
            self.story.cluster.world.wire.cut(&other, victim);
            self.after(span, End::Mend(other, victim.to_owned()));
        }
        // Shorter than the time after which a host without heartbeats reads the epoch log.
        let slow = Slow::Uploads(MILLISECOND * [300, 500, 800][self.below(3)]);
        self.story.cluster.world.shelf.set_slow(victim, Some(slow));
        self.after(span, End::Quicken(victim.to_owned()));
    }
}
