//! What of a vnode's deferred work is to be carried out now, and what is being carried out.
//!
//! A vnode runs ahead of its commits. What it has asked for since is not carried out yet, because it may be rolled back, or
//! lost with its host. So everything here begins with the committed envelope: what it lists is carried out, and the
//! lowest numbers and bases that targets are sent are its own. A fenced host, which can't commit, can then do nothing that
//! the next owner doesn't know of.
//!
//! Nothing here is stored: a new owner begins with the envelope that it finds.
//!
//! Invariants:
//!
//! * At most one message or acknowledgement to a target is in flight, and each effect runs at most once at a time.
//! * A message is sent only if every earlier one to the same target is over, or set aside.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use bytes::Bytes;

use super::{Deferred, Encoding, Message};
use crate::{
    ids::{CommitNumber, RequestNumber, VnodeName},
    planted,
    time::{Time, WallTime},
};

/// How long the acknowledgement to a target waits for another message that could carry it.
pub const ACKNOWLEDGE_AFTER: Duration = Duration::from_secs(1);
/// The pause after the first attempt that could not be delivered; it doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What every attempt to a target carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The message's number; of an acknowledgement, the lowest number.
    pub number: RequestNumber,
    /// The lowest number that may still be sent to the target.
    pub lowest: RequestNumber,
    /// A committed commit number of the target, known before the first attempt.
    pub base: CommitNumber,
}

/// What is to be carried out now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message.
    Send {
        /// The target.
        to: VnodeName,
        /// What it carries.
        stamp: Stamp,
        /// The command.
        command: Bytes,
        /// How it is encoded.
        encoding: Encoding,
        /// Whether the content of the answer is wanted.
        answer: AnswerWanted,
        /// How long to wait before saying that it could not be delivered.
        pause: Duration,
    },
    /// Tell a target that nothing below `stamp.lowest` will be sent.
    Acknowledge {
        /// The target.
        to: VnodeName,
        /// What it carries.
        stamp: Stamp,
        /// How long to wait before saying that it could not be delivered.
        pause: Duration,
    },
    /// Run an effect.
    Run {
        /// Its number.
        number: RequestNumber,
        /// What to do.
        work: Bytes,
        /// How often it was tried before.
        tries: u32,
    },
    /// Ask again after this time.
    LookAgain(Duration),
}

/// Whether the sender wants the content of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerWanted {
    /// It does.
    Content,
    /// Only that there is one.
    Receipt,
}

/// How a target is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sending {
    /// An attempt is in flight; so many before it could not be delivered.
    InFlight { failures: u32 },
    /// The last attempts could not be delivered.
    Failed { failures: u32 },
    /// It waits until this base is committed.
    Rebased(CommitNumber),
    /// Nothing is left to send, since then.
    Idle(Time),
}

/// What of a vnode's deferred work is being carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Post {
    committed: Arc<Deferred>,
    /// Messages below this number may have been sent by an earlier owner.
    first_own: RequestNumber,
    /// What newer envelopes hold, until they are committed.
    handed: VecDeque<(CommitNumber, Arc<Deferred>)>,
    targets: BTreeMap<VnodeName, Sending>,
    running: BTreeSet<RequestNumber>,
}

impl Post {
    /// Of a vnode whose envelope was read.
    #[must_use]
    pub fn new(committed: Arc<Deferred>) -> Self {
        Self { first_own: committed.next, committed, ..Self::default() }
    }

    /// An envelope was handed to the journal. Returns whether its commit must be told.
    #[must_use]
    pub fn handed(&mut self, commit: CommitNumber, deferred: &Arc<Deferred>) -> CommitWanted {
        let newest = self.handed.back().map_or(&self.committed, |(_, newest)| newest);
        if Arc::ptr_eq(newest, deferred) {
            return CommitWanted::No;
        }
        self.handed.push_back((commit, Arc::clone(deferred)));
        CommitWanted::Yes
    }

    /// An envelope was committed.
    pub fn committed(&mut self, commit: CommitNumber) {
        while let Some((next, _)) = self.handed.front()
            && *next <= commit
        {
            let (_, deferred) = self.handed.pop_front().expect("it was just looked at");
            self.committed = deferred;
        }
    }

    /// Whether anything is in flight, or will be as soon as something is committed.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let sending = self.targets.values().any(|sending| !matches!(sending, Sending::Idle(_)));
        sending || !self.running.is_empty() || !self.handed.is_empty()
    }

    /// What is to be carried out now. `current` is what the vnode has in memory, where more may be over than is committed.
    pub fn due(&mut self, current: &Deferred, now: Time, wall: WallTime) -> Vec<Action> {
        let committed = planted::outbox_to_carry_out(Arc::clone(&self.committed), current);
        let mut actions = Vec::new();
        let mut heads: BTreeMap<&VnodeName, (RequestNumber, &Message)> = BTreeMap::new();
        for number in committed.messages.keys() {
            if let Some(message) = current.messages.get(number)
                && !message.tries.is_set_aside()
            {
                planted::head_of_target(heads.entry(&message.to), (*number, message));
            }
        }
        let lowest = planted::lowest_to_send(&committed, current).lowest_numbers();
        let bases = &planted::base_to_send(&committed, current).targets;
        let (left, left_now) = (committed.first_numbers(), current.first_numbers());
        for to in committed.targets.keys() {
            let (Some(target), Some(&lowest)) = (bases.get(to), lowest.get(to)) else { continue };
            let stamp = Stamp { number: lowest, lowest, base: target.base };
            match heads.get(to) {
                Some(&(number, message)) => {
                    actions.extend(self.send(Stamp { number, ..stamp }, message, wall));
                }
                None if left.contains_key(to) || left_now.contains_key(to) => {}
                None if current.targets.contains_key(to) => {
                    actions.extend(self.acknowledge(stamp, to, now));
                }
                None => {}
            }
        }
        for (number, effect) in &committed.effects {
            let Some(tries) = current.effects.get(number).map(|effect| &effect.tries) else {
                continue;
            };
            let is_due = !tries.is_set_aside() && tries.not_before(WallTime::default()) <= wall;
            if is_due && self.running.insert(*number) {
                let (number, work) = (*number, effect.work.clone());
                actions.push(Action::Run { number, work, tries: tries.count() });
            }
        }
        actions
    }

    fn send(&mut self, stamp: Stamp, message: &Message, wall: WallTime) -> Option<Action> {
        let to = &message.to;
        let failures = match self.targets.get(to) {
            Some(Sending::InFlight { .. }) => return None,
            Some(Sending::Rebased(newer)) if stamp.base < *newer => return None,
            Some(Sending::Failed { failures }) => *failures,
            Some(Sending::Rebased(_) | Sending::Idle(_)) | None => 0,
        };
        if message.tries.not_before(WallTime::default()) > wall {
            return None;
        }
        self.targets.insert(to.clone(), Sending::InFlight { failures });
        let answer = match message.tag {
            Some(_) => AnswerWanted::Content,
            None => AnswerWanted::Receipt,
        };
        Some(Action::Send {
            to: to.clone(),
            stamp,
            command: message.command.clone(),
            encoding: message.encoding,
            answer,
            pause: pause(failures),
        })
    }

    /// Tells a target to which nothing is left to send, unless it was told.
    fn acknowledge(&mut self, stamp: Stamp, to: &VnodeName, now: Time) -> Option<Action> {
        let failures = match self.targets.get(to) {
            Some(Sending::InFlight { .. }) => return None,
            Some(Sending::Failed { failures }) => *failures,
            Some(Sending::Idle(since)) if now.since(*since) >= ACKNOWLEDGE_AFTER => 0,
            Some(Sending::Idle(_)) => return None,
            Some(Sending::Rebased(_)) | None => {
                self.targets.insert(to.clone(), Sending::Idle(now));
                return Some(Action::LookAgain(ACKNOWLEDGE_AFTER));
            }
        };
        self.targets.insert(to.clone(), Sending::InFlight { failures });
        Some(Action::Acknowledge { to: to.clone(), stamp, pause: pause(failures) })
    }

    /// An attempt has ended: the target has answered or refused.
    pub fn attempted(&mut self, to: &VnodeName) {
        self.targets.remove(to);
    }

    /// Whether an attempt before the one that is in flight may still be on its way, and run. Attempts before a "rebase" can't:
    /// their base is too old.
    #[must_use]
    pub fn earlier(&self, to: &VnodeName, number: RequestNumber) -> Earlier {
        let lost = match self.targets.get(to) {
            Some(Sending::InFlight { failures } | Sending::Failed { failures }) => *failures > 0,
            Some(Sending::Rebased(_) | Sending::Idle(_)) | None => false,
        };
        if lost || number < self.first_own { Earlier::MayRun } else { Earlier::None }
    }

    /// An attempt was answered "rebase": the next one waits until the newer base is committed.
    pub fn rebased(&mut self, to: &VnodeName, base: CommitNumber) {
        self.targets.insert(to.clone(), Sending::Rebased(base));
    }

    /// An attempt could not be delivered, or its answer was lost.
    pub fn lost(&mut self, to: &VnodeName) {
        if let Some(sending) = self.targets.get_mut(to)
            && let Sending::InFlight { failures } = *sending
        {
            *sending = Sending::Failed { failures: failures.saturating_add(1) };
        }
    }

    /// An effect has ended, in any way.
    pub fn ran(&mut self, number: RequestNumber) {
        self.running.remove(&number);
    }
}

/// Whether an earlier attempt of a message may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// There was none, or it can't run any more.
    None,
    /// It was lost, or made by an earlier owner.
    MayRun,
}

/// Whether the commit of an envelope must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitWanted {
    /// It must: something is to be carried out then.
    Yes,
    /// Nothing depends on it.
    No,
}

fn pause(failures: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX)
}
