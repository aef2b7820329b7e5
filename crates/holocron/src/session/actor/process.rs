//! Running calls, and rolling back.

use std::{collections::VecDeque, sync::atomic::Ordering};

use holocron_protocol::{
    deferred::Deferred,
    ids::CommitNumber,
    request::window::{RequestId, Window},
    slot::lifecycle::{self, Admission},
};

use super::{Active, Existence, LoadReason, Phase, Running, Stored, Work, own::Job};
use crate::{
    api::call::{Call, Outcome, ReplyTo},
    planted,
    store_io::state_reader::Unloadable,
};

/// The state in memory is invalid: roll back to the last hand-over and run again what came since.
pub(super) struct Rollback {
    /// The request at fault, which must not run again, and its outcome; none when the request at fault is not known.
    pub(super) at_fault: Option<(RequestId, Outcome)>,
    /// The call that was running, unless it is pending already.
    pub(super) work: Option<Work>,
}

/// How often to check, while running again, that the state can be stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StorableCheck {
    /// At the hand-over, once per drained mailbox.
    AtHandOver,
    /// After every command, to find the one that leaves a state that can't be stored.
    EveryCommand,
}

impl Active {
    pub(super) fn on_call(&mut self, call: Call, reply: ReplyTo) {
        tracing::trace!(vnode = %self.handle.name, request = ?call.request.id.number, "call leaves the mailbox");
        self.take(Work { job: Job::Call(call), reply });
    }

    /// Takes a piece of work that is counted as queued.
    pub(super) fn take(&mut self, work: Work) {
        match &mut self.phase {
            Phase::Loading { waiting, .. } => waiting.push_back(work),
            Phase::Unreadable { why } => {
                let outcome = Outcome::Unreadable(why.clone());
                self.leave_queue();
                work.reply.send(self.answer(CommitNumber::ZERO, outcome));
            }
            Phase::Running(_) => self.admit(work),
        }
    }

    /// Takes a call whose state is in memory: it runs, or waits until what the vnode holds is open.
    fn admit(&mut self, work: Work) {
        match &mut self.hooks {
            Some(hooks) if hooks.admission() == Admission::Wait => return hooks.park(work),
            Some(hooks) if hooks.admission() == Admission::Refuse => {
                self.leave_queue();
                return work.reply.send(self.answer(CommitNumber::ZERO, Outcome::NotOwner));
            }
            Some(_) | None => {}
        }
        self.leave_queue();
        if let Err(rollback) = self.step(work) {
            self.recover(*rollback, StorableCheck::AtHandOver);
        }
    }

    /// Runs calls that waited for the state, as soon as what the vnode holds is open; they no longer count as queued then.
    pub(super) fn run(&mut self, waiting: VecDeque<Work>, why: LoadReason) {
        let check = match why {
            LoadReason::Activation => StorableCheck::AtHandOver,
            LoadReason::Rollback(check) => check,
        };
        if let Some(hooks) = &mut self.hooks {
            hooks.park_all(waiting, check);
            return self.lifecycle(lifecycle::Event::Loaded);
        }
        for _ in 0..waiting.len() {
            self.leave_queue();
        }
        self.run_all(waiting, check);
    }

    /// Runs calls until all have run. After each rollback it runs again what came since the last hand-over.
    pub(super) fn run_all(&mut self, mut queue: VecDeque<Work>, mut check: StorableCheck) {
        while let Some(work) = queue.pop_front() {
            let ran = self.step(work).and_then(|()| match check {
                StorableCheck::AtHandOver => Ok(()),
                StorableCheck::EveryCommand => self.check_storable(),
            });
            if let Err(rollback) = ran {
                let Some(again) = self.roll_back(*rollback, queue, check) else { return };
                (queue, check) = again;
            }
        }
    }

    pub(super) fn recover(&mut self, rollback: Rollback, check: StorableCheck) {
        if let Some((queue, check)) = self.roll_back(rollback, VecDeque::new(), check) {
            self.run_all(queue, check);
        }
    }

    /// Rolls back to the last hand-over. Returns what is to run again: the calls since then, in order, then `rest`. A
    /// failed request among them gets its outcome without running. None when they wait for the state, or never run.
    /// Each round adds a failed request or starts to check every command, so this ends.
    fn roll_back(
        &mut self,
        rollback: Rollback,
        rest: VecDeque<Work>,
        check: StorableCheck,
    ) -> Option<(VecDeque<Work>, StorableCheck)> {
        let check = if rollback.at_fault.is_none() { StorableCheck::EveryCommand } else { check };
        let mut queue: VecDeque<Work> =
            self.pending.drain(..).map(|pending| pending.work).collect();
        queue.extend(rollback.work);
        queue.extend(rest);
        self.dirty = false;
        self.drop_spawned();
        self.lifecycle(lifecycle::Event::RolledBack);
        if let Some((id, outcome)) = rollback.at_fault
            && self.failed.insert(id, outcome).is_some()
        {
            // The state can't be stored even without this request, so nothing can be committed here. The stored state
            // stays as it is.
            self.become_unreadable(queue, "its state can't be encoded");
            return None;
        }
        let handed = self
            .handed
            .as_ref()
            .filter(|handed| !planted::roll_back_in_flight(handed.position, &self.session.journal))
            .and_then(|handed| handed.envelope.clone().map(|envelope| (handed.commit, envelope)));
        let commit = match &self.phase {
            Phase::Running(running) => running.commit,
            Phase::Loading { .. } | Phase::Unreadable { .. } => CommitNumber::ZERO,
        };
        self.phase = match handed {
            Some((commit, (_, envelope))) => match self.decode(commit, &envelope) {
                Ok(running) => Phase::Running(running),
                Err(Unloadable::Unreadable(why)) => {
                    self.become_unreadable(queue, &why);
                    return None;
                }
                Err(Unloadable::Over) => return None,
            },
            None if commit == CommitNumber::ZERO => {
                self.set_deferred(Deferred::default());
                Phase::Running(Running {
                    vnode: self.kind.fresh(),
                    window: Window::default(),
                    commit,
                    existence: Existence::Absent,
                })
            }
            // Its envelope was dropped from memory after the commit: read it back. The calls wait, as at the first
            // load.
            None => {
                self.queue_again(&queue);
                self.phase = Phase::Loading { waiting: queue, why: LoadReason::Rollback(check) };
                let stored = self.session.locate(&self.handle);
                self.load(stored.unwrap_or(Stored::Nowhere));
                return None;
            }
        };
        if self.hooks.is_some() {
            self.queue_again(&queue);
            self.run(queue, LoadReason::Rollback(check));
            return None;
        }
        Some((queue, check))
    }

    /// Counts calls as queued that had begun to run.
    fn queue_again(&self, queue: &VecDeque<Work>) {
        let waiting = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        self.handle.queued.fetch_add(waiting, Ordering::AcqRel);
    }

    /// The state can't be used: callers get the reason, now and from now on.
    pub(super) fn become_unreadable(&mut self, queue: VecDeque<Work>, why: &str) {
        tracing::warn!(vnode = %self.handle.name, why, "vnode is unreadable; its callers get an error");
        self.phase = Phase::Unreadable { why: why.to_owned() };
        if let Some(hooks) = &self.hooks {
            hooks.show_error(format!("its stored state can't be read: {why}"));
        }
        let answer = self.answer(CommitNumber::ZERO, Outcome::Unreadable(why.to_owned()));
        queue.into_iter().for_each(|work| work.reply.send(answer.clone()));
    }
}
