//! A vnode's deferred work: carries out what `protocol::deferred` says is due, each in a task whose result comes back as a
//! message.

use core::{panic::AssertUnwindSafe, time::Duration};
use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use holocron_protocol::{
    deferred::{
        Deferred, Encoding,
        post::{Action, AnswerWanted, CommitWanted, Post, Stamp},
    },
    format::codec,
    ids::{ClientId, CommitNumber, Epoch, RequestNumber, VnodeName},
    request::window::{Request, RequestId},
    time::WallTime,
};
use ractor::ActorRef;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Active, Message, Phase, own::Own};
use crate::{
    api::{
        call::{Answer, Body, Format, Mode, Outcome, ReplyTo},
        courier::Parcel,
        deferred::DeferredWork,
        effect::{Effect, EffectId},
    },
    planted,
    session::journal::Released,
};

/// A vnode's deferred work, and the work tied to its activation.
pub(super) struct Deferring {
    /// What it has asked for, with changes that aren't handed over yet.
    current: Arc<Deferred>,
    pub(super) post: Post,
    /// Jobs so far, for their ids.
    jobs: u64,
    /// Futures to start when the change that asked for them is handed over.
    spawned: Vec<BoxFuture<'static, Bytes>>,
    /// Spawned tasks that run.
    tasks: usize,
    /// Cancelled when the vnode leaves.
    cancelled: CancellationToken,
}

impl Drop for Deferring {
    fn drop(&mut self) {
        self.cancelled.cancel();
    }
}

impl Deferring {
    fn new(committed: Deferred) -> Self {
        let current = Arc::new(committed);
        Self {
            post: Post::new(Arc::clone(&current)),
            current,
            jobs: 0,
            spawned: Vec::new(),
            tasks: 0,
            cancelled: CancellationToken::new(),
        }
    }

    pub(super) fn current(&self) -> &Deferred {
        &self.current
    }

    pub(super) fn current_arc(&self) -> Arc<Deferred> {
        Arc::clone(&self.current)
    }

    /// Undoes changes.
    pub(super) fn restore(&mut self, before: Arc<Deferred>) {
        self.current = before;
    }

    pub(super) fn next_job(&mut self) -> u64 {
        self.jobs += 1;
        self.jobs
    }

    /// An envelope is handed over. Returns what tells the vnode of its commit, if it must know.
    pub(super) fn handed(
        &mut self,
        commit: CommitNumber,
        epoch: Epoch,
        myself: &ActorRef<Message>,
    ) -> Option<Released> {
        match self.post.handed(commit, &self.current) {
            CommitWanted::No => return None,
            CommitWanted::Yes => {}
        }
        let myself = myself.clone();
        let reply = ReplyTo::then(move |answer| {
            // Otherwise the slot has left or the session is over, and the actor with it.
            if let Outcome::Reply(_) = answer.outcome {
                drop(myself.cast(Message::Committed(commit)));
            }
        });
        let answer = Answer { epoch, commit, outcome: Outcome::Reply(Bytes::new()) };
        Some(Released { reply, answer })
    }
}

impl Active {
    /// Its deferred work; from the first use on.
    pub(super) fn deferring(&mut self) -> &mut Deferring {
        self.deferring.get_or_insert_with(|| Box::new(Deferring::new(Deferred::default())))
    }

    /// What it has asked for, to change it.
    pub(super) fn deferred(&mut self) -> &mut Deferred {
        Arc::make_mut(&mut self.deferring().current)
    }

    /// Its envelope was read: at the activation, or for a rollback, which leaves what is in flight.
    pub(super) fn set_deferred(&mut self, deferred: Deferred) {
        match &mut self.deferring {
            Some(deferring) => deferring.current = Arc::new(deferred),
            None if deferred.is_unused() => {}
            None => self.deferring = Some(Box::new(Deferring::new(deferred))),
        }
    }

    /// Whether it must stay in memory for its deferred work.
    pub(super) fn is_deferring(&self) -> bool {
        self.deferring.as_ref().is_some_and(|deferring| {
            let is_due = deferring.current.wake_at() == 1;
            is_due || deferring.post.is_busy() || deferring.tasks > 0
        })
    }

    /// Counts one more piece of work as queued.
    pub(super) fn queue_one(&self) {
        self.handle.queued.fetch_add(1, Ordering::AcqRel);
    }

    /// Nothing is in flight; the message that says so may still be on its way.
    pub(super) fn note_committed(&mut self) {
        if let (Some(deferring), Some(handed)) = (&mut self.deferring, &self.handed) {
            deferring.post.committed(handed.commit);
        }
    }

    pub(super) fn on_committed(&mut self, commit: CommitNumber) {
        if let Some(deferring) = &mut self.deferring {
            deferring.post.committed(commit);
        }
        self.carry_out();
    }

    /// The session says that something is due, and has counted this as a call.
    pub(super) fn on_wake(&mut self) {
        self.leave_queue();
        self.carry_out();
    }

    /// Replies once nothing is left to hand over.
    pub(super) fn on_settle(&mut self, done: oneshot::Sender<()>) {
        if self.encode_queued {
            // Behind the Encode.
            drop(self.myself.cast(Message::Settle(done)));
        } else {
            // The waiting task may have given up.
            let (Ok(()) | Err(())) = done.send(());
        }
    }

    /// Carries out what is due, and says when it is to be woken next.
    pub(super) fn carry_out(&mut self) {
        if self.deferring.is_none() || !matches!(self.phase, Phase::Running(_)) {
            return;
        }
        let wall = self.wall();
        let quarantined = self.is_quarantined();
        // Each is due once: a recurring one is set to its next time.
        for _ in 0..self.deferring().current.timers().count() {
            let due = self.deferring().current.due_timer(wall).map(Box::from);
            match due {
                Some(name) if !quarantined => self.take_own(Own::Fire(name)),
                Some(_) | None => break,
            }
        }
        let now = self.session.clock.now();
        let deferring = self.deferring();
        let current = Arc::clone(&deferring.current);
        for action in deferring.post.due(&current, now, wall) {
            self.act(action);
        }
        let mut next = self.deferring().current.next_time(wall);
        if quarantined && self.deferring().current.due_timer(wall).is_some() {
            let rest = self.quarantine.until.map_or(Duration::ZERO, |until| until.since(now));
            next = Some(next.map_or(wall + rest, |next| next.min(wall + rest)));
        }
        self.session.wake_at(self.handle.hash, next.map_or(0, WallTime::as_millis));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, stamp, command, encoding, answer, pause } => {
                let mode = match answer {
                    AnswerWanted::Content => Mode::Ask,
                    AnswerWanted::Receipt => Mode::Tell,
                };
                let format = match encoding {
                    Encoding::Bincode => Format::Bincode,
                    Encoding::Json => Format::Json,
                };
                self.deliver(to, stamp, (mode, Body { format, bytes: command }), pause);
            }
            Action::Acknowledge { to, stamp, pause } => {
                let nothing = Body { format: Format::Bincode, bytes: Bytes::new() };
                self.deliver(to, stamp, (Mode::Acknowledge, nothing), pause);
            }
            Action::Run { number, work, tries } => self.run_effect(number, work, tries),
            Action::LookAgain(after) => {
                let myself = self.myself.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    // The actor may have gone with its slot.
                    drop(myself.cast(Message::LookAgain));
                });
            }
        }
    }

    fn deliver(&self, to: VnodeName, stamp: Stamp, what: (Mode, Body), pause: Duration) {
        let (mode, body) = what;
        let id = RequestId { client: ClientId::of_vnode(self.handle.hash), number: stamp.number };
        let request = Request { id, lowest: stamp.lowest, base: stamp.base };
        let parcel = Parcel { to: to.clone(), mode, request, body };
        let courier = Arc::clone(&self.session.parts.courier);
        let (ended, myself) = (self.session.journal.ended().clone(), self.myself.clone());
        tracing::trace!(vnode = %self.handle.name, %to, ?stamp, ?mode, "message leaves");
        tokio::spawn(async move {
            let answer = tokio::select! {
                biased;
                () = ended.cancelled() => return,
                answer = courier.deliver(parcel) => answer,
            };
            let outcome = answer.map_or(Outcome::Unclear, |answer| answer.outcome);
            let own = match (mode, outcome) {
                (Mode::Acknowledge, Outcome::Reply(_)) => {
                    Own::Acknowledged { to, lowest: stamp.lowest }
                }
                (Mode::Acknowledge, _) => Own::Lost { to },
                (_, outcome) => Own::of_answer(to, stamp, outcome),
            };
            if let Own::Lost { .. } = own {
                tokio::time::sleep(pause).await;
            }
            // The actor may have gone with its slot.
            drop(myself.cast(Message::Own(own)));
        });
    }

    fn run_effect(&mut self, number: RequestNumber, work: Bytes, tries: u32) {
        let id = EffectId::new(self.handle.hash, number);
        let effect = Effect { id, key: self.handle.name.key().to_owned(), tries, work };
        let (kind, permits) = (Arc::clone(&self.kind), Arc::clone(&self.session.effects));
        let (ended, myself) = (self.session.journal.ended().clone(), self.myself.clone());
        let limit = self.session.settings.effect_timeout;
        if planted::effect_is_over_at_start() {
            self.take_own(Own::EffectEnded { number, result: Bytes::new() });
        }
        tokio::spawn(async move {
            let run = async {
                let _permit = permits.acquire().await.expect("the semaphore is never closed");
                let run = AssertUnwindSafe(kind.effect(effect)).catch_unwind();
                match timeout(limit, run).await {
                    Ok(Ok(Ok(done))) => Ok(done.0),
                    Ok(Ok(Err(retry))) => Err(retry.0),
                    Ok(Err(_)) => Err("it panicked".to_owned()),
                    Err(_) => Err(format!("it took longer than {limit:?}")),
                }
            };
            let ran = tokio::select! {
                biased;
                () = ended.cancelled() => return,
                ran = run => ran,
            };
            let own = match ran {
                Ok(result) => Own::EffectEnded { number, result },
                Err(why) => Own::EffectFailed { number, why },
            };
            // The actor may have gone with its slot.
            drop(myself.cast(Message::Own(own)));
        });
    }

    /// Futures to start with the next hand-over.
    pub(super) fn spawn_later(&mut self, spawned: Vec<BoxFuture<'static, Bytes>>) {
        if !spawned.is_empty() {
            self.deferring().spawned.extend(spawned);
        }
    }

    /// The changes that asked for them are rolled back.
    pub(super) fn drop_spawned(&mut self) {
        if let Some(deferring) = &mut self.deferring {
            deferring.spawned.clear();
        }
    }

    pub(super) fn start_spawned(&mut self) {
        let Some(deferring) = &mut self.deferring else { return };
        for work in core::mem::take(&mut deferring.spawned) {
            deferring.tasks += 1;
            let (cancelled, myself) = (deferring.cancelled.clone(), self.myself.clone());
            let ended = self.session.journal.ended().clone();
            let name = self.handle.name.clone();
            tokio::spawn(async move {
                let work = AssertUnwindSafe(work).catch_unwind();
                let result = tokio::select! {
                    biased;
                    () = ended.cancelled() => return,
                    () = cancelled.cancelled() => return,
                    result = work => result,
                };
                if result.is_err() {
                    tracing::warn!(vnode = %name, "a spawned task panicked");
                }
                drop(myself.cast(Message::SpawnedEnded(result.ok())));
            });
        }
    }

    pub(super) fn on_spawned_ended(&mut self, result: Option<Bytes>) {
        let deferring = self.deferring();
        deferring.tasks = deferring.tasks.checked_sub(1).expect("each task was counted");
        if let Some(command) = result {
            self.take_own(Own::Spawned(command));
        }
    }

    /// Its deferred work, encoded for [`DeferredWork`].
    pub(super) fn describe_deferred(&self) -> Bytes {
        let nothing = Deferred::default();
        let current = self.deferring.as_ref().map_or(&nothing, |deferring| &*deferring.current);
        let mut out = Vec::new();
        codec::to_bincode(&DeferredWork::of(current), &mut out);
        out.into()
    }
}
