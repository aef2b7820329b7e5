//! What a window forgets: what was used longest ago, and more than its limits allow or its clients reach back to.
//!
//! Which record goes is a matter of bytes and round trips only. Whatever goes, its commit number is at or below the mark
//! afterwards, and [`Window::raise`] is the one place that sees to it.

use core::ops::RangeInclusive;

use super::{RequestId, Window, WindowLimits, WindowSize, entry_cost};
use crate::{
    ids::{ClientId, CommitNumber, RequestNumber},
    planted,
};

impl Window {
    /// Whether it is larger than that.
    #[must_use]
    pub fn exceeds(&self, size: &WindowSize) -> bool {
        self.clients.len() > size.clients
            || self.answers.len() > size.answers
            || self.bytes_len() > size.bytes
    }

    /// Forgets all that doesn't fit into a size. The envelope that this window will be part of must be committed, and
    /// has a commit number above all that was recorded.
    pub fn trim(&mut self, size: &WindowSize) {
        self.evict(&WindowLimits::exactly(*size), CommitNumber::ZERO);
        self.reach = None;
    }

    /// What clients still come back for: all records from this commit number on.
    pub(super) fn spared_from(&self, open: CommitNumber) -> CommitNumber {
        self.reach.as_ref().map_or(open.next(), |reach| reach.spared_from(open))
    }

    /// Evicts what is beyond the limits. Between the soft and the hard ones, what has a commit number from `spared_from`
    /// on stays, and whatever was used after it.
    pub(super) fn evict(&mut self, limits: &WindowLimits, spared_from: CommitNumber) {
        let WindowLimits { soft, hard } = limits;
        while self.clients.len() > soft.clients {
            if self.clients.len() <= hard.clients && self.oldest_client() >= spared_from {
                break;
            }
            self.evict_client();
        }
        while self.answers.len() > soft.answers || self.bytes_len() > soft.bytes {
            let Some((_, oldest)) = self.answers.oldest() else { break };
            let spared = oldest.commit >= spared_from;
            if spared && self.answers.len() <= hard.answers && self.bytes_len() <= hard.bytes {
                break;
            }
            self.evict_answer();
        }
        // Without its answers a client is remembered for its lowest number, which only bytes are an argument against.
        while self.answers.is_empty() && self.bytes_len() > soft.bytes {
            if self.bytes_len() <= hard.bytes && self.oldest_client() >= spared_from {
                break;
            }
            self.evict_client();
        }
    }

    /// The newest commit number that the client used longest ago ever held.
    fn oldest_client(&self) -> CommitNumber {
        self.clients.oldest().expect("more clients than the limit").1.newest
    }

    fn evict_answer(&mut self) {
        let (_, recorded) = self.answers.pop_oldest().expect("more answers than the limit");
        self.answers_cost -= entry_cost(&recorded.outcome);
        self.raise(planted::mark_of_answer(recorded.commit));
    }

    /// Drops the client used longest ago, with its answers.
    fn evict_client(&mut self) {
        let (id, client) = self.clients.pop_oldest().expect("more clients than the limit");
        self.forget(id, RequestNumber::ZERO..=RequestNumber::new(u64::MAX));
        // Its lowest number goes with it, so what it dropped freely must be held off by the mark from now on.
        self.raise(planted::mark_of_client(client.newest));
    }

    /// Drops answers to a client without raising the mark: the caller says why that is right.
    pub(crate) fn forget(&mut self, client: ClientId, numbers: RangeInclusive<RequestNumber>) {
        let of = |number: &RequestNumber| RequestId { client, number: *number };
        let cost = &mut self.answers_cost;
        self.answers.remove_range(of(numbers.start())..=of(numbers.end()), |recorded| {
            *cost -= entry_cost(&recorded.outcome);
        });
    }

    pub(super) fn raise(&mut self, commit: CommitNumber) {
        self.mark = self.mark.max(commit);
    }
}
