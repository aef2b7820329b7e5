//! Handing the state over to the journal, with the answers that depend on it.

use core::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use holocron_protocol::{
    journal::batch::{StateFields, StateKind},
    request::envelope::{self, EncodeError, Head},
};

use super::{
    Active, Existence, Handed, Pending, Phase, Running,
    process::{Rollback, StorableCheck},
    watching,
};
use crate::{
    api::call::{Answer, Outcome},
    session::journal::Released,
};

/// The state could not be encoded.
enum Unstorable {
    TooLarge(String),
    Panicked,
}

impl Active {
    /// Hands the state over to the journal, with the answers that may be sent when it is committed.
    pub(super) fn hand_over_now(&mut self) {
        if !self.dirty {
            assert!(
                self.pending.is_empty(),
                "{}: pending answers, but no change",
                self.handle.name
            );
            return;
        }
        match self.encode() {
            Ok(()) => self.hand_over(),
            Err(unstorable) => {
                let rollback = self.unstorable(&unstorable);
                self.recover(rollback, StorableCheck::AtHandOver);
                // Storable now: every command was checked on the way.
                self.hand_over_now();
            }
        }
    }

    fn hand_over(&mut self) {
        let watchers = self.tell_watchers();
        let Phase::Running(Running { commit, existence, .. }) = &mut self.phase else {
            unreachable!("only a state in memory is handed over");
        };
        let next = commit.next();
        let kind = match existence {
            Existence::Exists => StateKind::Put,
            Existence::Absent => StateKind::Delete,
        };
        let envelope = Bytes::from(mem::take(&mut self.scratch));
        let epoch = self.session.epoch();
        let mut answers: Vec<Released> = self
            .pending
            .drain(..)
            .map(|Pending { work, outcome }| Released {
                reply: work.reply,
                answer: Answer { epoch, commit: next, outcome },
            })
            .collect();
        let news = Answer { epoch, commit: next, outcome: Outcome::Unclear };
        answers.extend(watchers.into_iter().map(|told| watching::told(&news, told)));
        let mut wake_at = 0;
        if let Some(deferring) = &mut self.deferring {
            wake_at = deferring.current().wake_at();
            answers.extend(deferring.handed(next, epoch, &self.myself));
        }
        let fields = StateFields {
            kind,
            hash: self.handle.hash,
            commit: next,
            wake_at,
            name: &self.handle.name,
            envelope: &envelope,
        };
        self.dirty = false;
        self.failed.clear();
        match self.session.journal.append(self.handle.slot, self.tenure, fields, &mut answers) {
            Ok(position) => {
                *commit = next;
                self.handed =
                    Some(Handed { position, commit: next, envelope: Some((kind, envelope)) });
                self.start_spawned();
            }
            // The slot has left, or the session is over: none of these changes is committed, here or later.
            Err(crate::session::journal::Closed) => {
                for released in answers {
                    released.refuse(Outcome::NotOwner);
                }
                self.session.forget_anyway(&self.handle);
                self.myself.stop(None);
            }
        }
    }

    /// Encodes the envelope into the scratch buffer.
    fn encode(&mut self) -> Result<(), Unstorable> {
        let Phase::Running(Running { vnode, window, existence, .. }) = &self.phase else {
            unreachable!("only a state in memory is encoded");
        };
        let deferred = self.deferring.as_ref().map(|deferring| deferring.current());
        self.scratch.clear();
        let scratch = &mut self.scratch;
        if let Existence::Absent = existence {
            envelope::encode_tombstone(scratch, window, deferred);
            return Ok(());
        }
        let (version, len_max) = (self.kind.version(), self.session.settings.state_len_max);
        // `Serialize` is the user's: a panic there is this vnode's alone.
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            let head = Head { schema: version, window, deferred };
            envelope::encode(scratch, head, |out| vnode.encode(out), len_max)
        }));
        match encoded {
            Ok(Ok(())) => Ok(()),
            Ok(Err(EncodeError::TooLong { .. })) => Err(Unstorable::TooLarge(format!(
                "it would leave a state of more than {len_max} bytes"
            ))),
            Ok(Err(EncodeError::Refused(_))) | Err(_) => Err(Unstorable::Panicked),
        }
    }

    pub(super) fn check_storable(&mut self) -> Result<(), Box<Rollback>> {
        if !self.dirty {
            return Ok(());
        }
        self.encode().map_err(|unstorable| {
            let outcome = match unstorable {
                Unstorable::TooLarge(why) => Outcome::Rejected(why),
                Unstorable::Panicked => Outcome::Panicked,
            };
            // The newest command is at fault: the state was storable before it.
            let last = self.pending.last().expect("a change has a pending command");
            Box::new(Rollback { at_fault: Some((last.work.job.id(), outcome)), work: None })
        })
    }

    /// The rollback after a state that can't be stored; the request at fault is not known yet.
    fn unstorable(&mut self, unstorable: &Unstorable) -> Rollback {
        if let Unstorable::Panicked = unstorable {
            self.note_panic();
        }
        Rollback { at_fault: None, work: None }
    }
}
