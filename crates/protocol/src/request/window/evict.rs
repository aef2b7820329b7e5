//! Eviction: drops the least recently used records, beyond the limits of the window and the reach of its clients.
//!
//! The choice of records affects only bytes and round trips. After an eviction the mark is at or above the record's
//! commit number; only [`Window::raise`] does that.

use core::ops::RangeInclusive;

use super::{RequestId, Window, WindowLimits, WindowSize, entry_cost};
use crate::{
    ids::{ClientId, CommitNumber, RequestNumber},
    planted,
};

impl Window {
    /// Whether it is larger than `size`.
    #[must_use]
    pub fn exceeds(&self, size: &WindowSize) -> bool {
        self.clients.len() > size.clients
            || self.answers.len() > size.answers
            || self.bytes_len() > size.bytes
    }

    /// Evicts everything that doesn't fit into `size`. The window must then be committed in an envelope whose commit
    /// number is above all recorded ones.
    pub fn trim(&mut self, size: &WindowSize) {
        self.evict(&WindowLimits::exactly(*size), CommitNumber::ZERO);
        self.forget_senders(size.clients);
        self.reach = None;
    }

    /// The records that clients may still retry: all from this commit number on.
    pub(super) fn spared_from(&self, open: CommitNumber) -> CommitNumber {
        self.reach.as_ref().map_or(open.next(), |reach| reach.spared_from(open))
    }

    /// Evicts records beyond the limits. Between soft and hard limit, a record with a commit number from `spared_from`
    /// on stays, and so do all that were used after it.
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
        // Clients without answers are kept for their lowest numbers, as long as there are bytes for them.
        while self.answers.is_empty() && self.bytes_len() > soft.bytes {
            if self.bytes_len() <= hard.bytes && self.oldest_client() >= spared_from {
                break;
            }
            self.evict_client();
        }
    }

    /// The newest commit number of any answer to the least recently used client.
    fn oldest_client(&self) -> CommitNumber {
        self.clients.oldest().expect("more clients than the limit").1.newest
    }

    fn evict_answer(&mut self) {
        let (_, recorded) = self.answers.pop_oldest().expect("more answers than the limit");
        self.answers_cost -= entry_cost(&recorded.outcome);
        self.raise(planted::mark_of_answer(recorded.commit));
    }

    /// Evicts the least recently used client, with its answers.
    fn evict_client(&mut self) {
        let (id, client) = self.clients.pop_oldest().expect("more clients than the limit");
        self.forget(id, RequestNumber::ZERO..=RequestNumber::new(u64::MAX));
        // Its lowest number is lost too, so the requests below it must be rejected by the mark from now on.
        self.raise(planted::mark_of_client(client.newest));
    }

    /// Drops answers to a client without raising the mark; the caller must justify that.
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
