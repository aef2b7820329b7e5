//! What a window has of vnodes that send messages.
//!
//! A client that gets no answer ends "unclear". A vnode can't: its message must be run, once. So an answer to a vnode is kept
//! until the vnode says, with its lowest number, that it needs it no more; meanwhile the window refuses further messages
//! when it holds too many. Then "not recorded, and not below the lowest" means "never run".
//!
//! A sender of which no answers are left is forgotten like a client: the mark rises to the newest of them.

use alloc::collections::BTreeMap;

use super::{Admission, ClientRecord, Recorded, Request, RequestId, Window, entry_cost};
use crate::{
    ids::{ClientId, CommitNumber, RequestNumber},
    planted,
};

/// Most answers to vnodes, and most bytes of them. Beyond, messages are answered `Busy` until their senders have
/// committed earlier answers.
const ANSWERS_MAX: usize = 4_096;
/// Most answers to one vnode: one of whose messages was set aside keeps all later ones.
const ANSWERS_PER_SENDER_MAX: usize = 256;
const BYTES_MAX: usize = 256 << 10;
/// Most senders without answers. They cost bytes in each envelope; without them the mark rises sooner, and clients with older
/// bases need another round trip.
const IDLE_MAX: usize = 64;

/// A vnode that has sent messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sender {
    pub(super) record: ClientRecord,
    /// The answers that it may still ask for.
    pub(super) answers: BTreeMap<RequestNumber, Recorded>,
}

/// The vnodes that have sent messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Senders {
    pub(super) by_id: BTreeMap<ClientId, Sender>,
    /// The number of their answers, and the bytes counted for them.
    pub(super) answers: usize,
    pub(super) cost: usize,
}

impl Senders {
    /// Adds one that was read.
    pub(super) fn push(&mut self, id: ClientId, sender: Sender) {
        self.answers += sender.answers.len();
        self.cost +=
            sender.answers.values().map(|answer| entry_cost(&answer.outcome)).sum::<usize>();
        self.by_id.insert(id, sender);
    }

    fn is_full(&self) -> bool {
        self.answers >= ANSWERS_MAX || self.cost >= BYTES_MAX
    }

    /// Forgets answers that a vnode needs no more.
    fn forget_below(&mut self, id: ClientId, lowest: RequestNumber) {
        let Some(sender) = self.by_id.get_mut(&id) else { return };
        sender.record.lowest = sender.record.lowest.max(lowest);
        let kept = sender.answers.split_off(&sender.record.lowest);
        let gone = core::mem::replace(&mut sender.answers, kept);
        self.answers -= gone.len();
        self.cost -= gone.values().map(|answer| entry_cost(&answer.outcome)).sum::<usize>();
    }

    /// The sender without answers whose newest answer is the oldest, if there are more than so many.
    fn superfluous(&self, idle_max: usize) -> Option<(ClientId, CommitNumber)> {
        let idle = |(id, sender): (&ClientId, &Sender)| {
            (sender.answers.is_empty() || planted::forget_unacknowledged())
                .then_some((*id, sender.record.newest))
        };
        if self.by_id.len() <= idle_max {
            return None;
        }
        let (mut count, mut oldest) = (0, None::<(ClientId, CommitNumber)>);
        for (id, newest) in self.by_id.iter().filter_map(idle) {
            count += 1;
            if oldest.is_none_or(|(_, commit)| newest < commit) {
                oldest = Some((id, newest));
            }
        }
        oldest.filter(|_| count > idle_max)
    }
}

impl Window {
    /// Decides what to do with a message of a vnode.
    pub(super) fn admit_message(&mut self, request: &Request) -> Admission {
        let id = request.id;
        if let Some(senders) = &mut self.senders {
            if let Some(sender) = senders.by_id.get(&id.client) {
                if id.number < sender.record.lowest {
                    return Admission::Stale;
                }
                senders.forget_below(id.client, request.lowest);
            }
            let answered = senders.by_id.get(&id.client);
            if let Some(recorded) = answered.and_then(|sender| sender.answers.get(&id.number)) {
                return Admission::Recorded(recorded.clone());
            }
            let of_sender = answered.map_or(0, |sender| sender.answers.len());
            if senders.is_full() || of_sender >= ANSWERS_PER_SENDER_MAX {
                return Admission::Full;
            }
        }
        if request.base < self.mark { Admission::Rebase } else { Admission::Run }
    }

    /// Records the outcome of a message that was just admitted.
    pub(super) fn record_message(&mut self, request: &Request, recorded: Recorded) {
        let RequestId { client, number } = request.id;
        let commit = recorded.commit;
        let senders = self.senders.get_or_insert_default();
        senders.answers += 1;
        senders.cost += entry_cost(&recorded.outcome);
        let sender = senders.by_id.entry(client).or_insert_with(|| Sender {
            record: ClientRecord { lowest: request.lowest, newest: commit },
            answers: BTreeMap::new(),
        });
        assert!(number >= sender.record.lowest, "{number} ran below {}", sender.record.lowest);
        assert!(commit >= sender.record.newest, "{commit} after {}", sender.record.newest);
        sender.record.newest = commit;
        let before = sender.answers.insert(number, recorded);
        assert!(before.is_none(), "{number} ran though its answer was there");
        self.newest = self.newest.max(commit);
        self.forget_senders(planted::idle_senders_max(IDLE_MAX));
    }

    /// A vnode says that it will send nothing below `lowest`. The answer to it may leave once what the window says now is
    /// committed. Returns whether the window has changed.
    pub fn acknowledged(&mut self, sender: ClientId, lowest: RequestNumber) -> Acknowledged {
        let Some(senders) = &mut self.senders else { return Acknowledged::Before };
        let Some(found) = senders.by_id.get(&sender) else { return Acknowledged::Before };
        if found.record.lowest >= lowest {
            return Acknowledged::Before;
        }
        senders.forget_below(sender, lowest);
        Acknowledged::Now
    }

    /// Forgets senders without answers until there are at most so many.
    pub(super) fn forget_senders(&mut self, idle_max: usize) {
        while let Some((id, newest)) =
            self.senders.as_ref().and_then(|senders| senders.superfluous(idle_max))
        {
            let senders = self.senders.as_mut().expect("it was just looked at");
            senders.forget_below(id, RequestNumber::new(u64::MAX));
            senders.by_id.remove(&id);
            self.raise(newest);
        }
    }
}

/// What an acknowledgement has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The window must be committed.
    Now,
    /// It was known, or the vnode was forgotten.
    Before,
}
