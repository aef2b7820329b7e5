//! Opening and closing what a vnode holds: carries out the effects of `protocol::slot::lifecycle`.
//!
//! Hooks are the user's and take their time, so each runs in a task of its own, which has what it opens or closes until it
//! has ended; the result comes back as a message.

use core::panic::AssertUnwindSafe;
use std::{collections::VecDeque, sync::Arc};

use futures::FutureExt;
use holocron_protocol::{
    ids::CommitNumber,
    slot::lifecycle::{Admission, Effect, Event, Lifecycle},
    time::Time,
};
use tokio::{sync::oneshot, time::timeout};

use super::{Active, Message, Work, process::StorableCheck};
use crate::{
    api::{call::Outcome, kinds::AnyResource, lifecycle::Activation},
    session::hold::{Hold, Shown},
};

/// The hooks of one activation.
pub(crate) struct Hooks {
    lifecycle: Lifecycle,
    shown: Arc<Shown>,
    held: Option<Held>,
    /// Calls that wait until it is open, and the check with which they run.
    parked: VecDeque<Work>,
    check: StorableCheck,
    /// Who waits until nothing is held any more.
    leaving: Vec<oneshot::Sender<()>>,
}

/// What is open. The resource is dropped before it counts as closed.
pub(crate) struct Held {
    resource: Box<AnyResource>,
    hold: Hold,
}

impl Hooks {
    pub(super) fn new(shown: Arc<Shown>) -> Self {
        Self {
            lifecycle: Lifecycle::default(),
            shown,
            held: None,
            parked: VecDeque::new(),
            check: StorableCheck::AtHandOver,
            leaving: Vec::new(),
        }
    }

    pub(super) fn admission(&self) -> Admission {
        self.lifecycle.admission()
    }

    pub(super) fn park(&mut self, work: Work) {
        self.parked.push_back(work);
    }

    /// Parks calls that are to run when it is open.
    pub(super) fn park_all(&mut self, queue: VecDeque<Work>, check: StorableCheck) {
        self.parked.extend(queue);
        self.check = check;
    }

    /// What is open, for a call that runs.
    pub(super) fn resource(&mut self) -> &mut AnyResource {
        &mut *self.held.as_mut().expect("calls run only while it is open").resource
    }

    /// Says in the status why it isn't open.
    pub(super) fn show_error(&self, why: String) {
        self.shown.lock().error = Some(why);
    }

    /// Whether no call waits.
    pub(super) fn is_at_rest(&self) -> bool {
        self.parked.is_empty()
    }
}

impl Active {
    /// Steps the lifecycle, if the kind has hooks, and carries out the effects.
    pub(super) fn lifecycle(&mut self, event: Event) {
        let now = self.session.clock.now();
        let Some(hooks) = &mut self.hooks else { return };
        let effects = hooks.lifecycle.step(now, event);
        hooks.shown.lock().stage = hooks.lifecycle.stage();
        for effect in effects {
            self.lifecycle_effect(effect);
        }
    }

    fn lifecycle_effect(&mut self, effect: Effect) {
        let Some(hooks) = &mut self.hooks else { return };
        match effect {
            Effect::Open => self.open(),
            Effect::OpenAt(at) => self.open_at(at),
            Effect::Cancel => {
                // The attempt ends, and its result is the next event.
                hooks.shown.cancel();
            }
            Effect::RunWaiting => {
                let (parked, check) = (core::mem::take(&mut hooks.parked), hooks.check);
                hooks.check = StorableCheck::AtHandOver;
                parked.iter().for_each(|_| self.leave_queue());
                self.run_all(parked, check);
            }
            Effect::RefuseWaiting => {
                for work in core::mem::take(&mut hooks.parked) {
                    self.leave_queue();
                    work.reply.send(self.answer(CommitNumber::ZERO, Outcome::NotOwner));
                }
            }
            Effect::Drop => hooks.held = None,
            Effect::Close => self.close(),
            Effect::Evicted => {
                if hooks.is_at_rest() && self.session.forget(&self.handle) {
                    self.session.count_eviction();
                    self.myself.stop(None);
                } else {
                    self.lifecycle(Event::Loaded);
                }
            }
            Effect::Gone => {
                let leaving = core::mem::take(&mut hooks.leaving);
                self.session.forget_anyway(&self.handle);
                for done in leaving {
                    // The waiting task may have given up.
                    let (Ok(()) | Err(())) = done.send(());
                }
                // Behind the calls that are in the mailbox: they are refused.
                drop(self.myself.cast(Message::Stop));
            }
        }
    }

    fn open(&mut self) {
        let Some(hooks) = &mut self.hooks else { return };
        let Ok(hold) = Hold::new(&self.session, &self.handle, &hooks.shown) else {
            // The slot has been given away: a flush follows.
            return self.lifecycle(Event::NotOpened);
        };
        let cancelled = hold.cancelled().clone();
        let activation = Activation::new(self.handle.name.clone(), self.tenure, cancelled.clone());
        let (kind, myself) = (Arc::clone(&self.kind), self.myself.clone());
        let limit = self.session.settings.open_timeout;
        tokio::spawn(async move {
            let opening = AssertUnwindSafe(kind.open(activation)).catch_unwind();
            let opened = tokio::select! {
                biased;
                () = cancelled.cancelled() => Err("it was cancelled: the slot leaves, or the session is over".to_owned()),
                opened = timeout(limit, opening) => match opened {
                    Ok(Ok(opened)) => opened,
                    Ok(Err(_)) => Err("it panicked".to_owned()),
                    Err(_) => Err(format!("it took longer than {limit:?}")),
                },
            };
            // An attempt that failed holds nothing any more when its actor hears of it.
            let opened = match opened {
                Ok(resource) => Ok(Held { resource, hold }),
                Err(why) => {
                    drop(hold);
                    Err(why)
                }
            };
            // The actor may have gone with its session.
            drop(myself.cast(Message::Opened(opened)));
        });
    }

    pub(super) fn on_opened(&mut self, opened: Result<Held, String>) {
        let Some(hooks) = &mut self.hooks else { return };
        let event = match opened {
            Ok(held) => {
                hooks.held = Some(held);
                hooks.shown.lock().error = None;
                Event::Opened
            }
            Err(why) => {
                tracing::warn!(vnode = %self.handle.name, why, "vnode can't be opened; its calls wait, and it is tried again");
                hooks.shown.lock().error = Some(why);
                Event::NotOpened
            }
        };
        self.lifecycle(event);
    }

    fn open_at(&self, at: Time) {
        let (pause, myself) = (at.since(self.session.clock.now()), self.myself.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            drop(myself.cast(Message::OpenAgain));
        });
    }

    fn close(&mut self) {
        let Some(Held { resource, hold }) = self.hooks.as_mut().and_then(|hooks| hooks.held.take())
        else {
            unreachable!("only what is open is closed");
        };
        let cancelled = hold.cancelled().clone();
        let activation = Activation::new(self.handle.name.clone(), self.tenure, cancelled.clone());
        let (kind, myself, name) =
            (Arc::clone(&self.kind), self.myself.clone(), self.handle.name.clone());
        let limit = self.session.settings.close_timeout;
        tokio::spawn(async move {
            let closing = AssertUnwindSafe(kind.close(resource, activation)).catch_unwind();
            tokio::select! {
                biased;
                () = cancelled.cancelled() => {}
                closed = timeout(limit, closing) => match closed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => tracing::warn!(vnode = %name, "close of a vnode panicked"),
                    Err(_) => tracing::warn!(vnode = %name, ?limit, "close of a vnode took too long; it is dropped"),
                },
            }
            drop(hold);
            drop(myself.cast(Message::Closed));
        });
    }

    /// The slot leaves: replies once everything is handed over and nothing is held any more.
    pub(super) fn on_flush(&mut self, done: oneshot::Sender<()>) {
        self.hand_over_now();
        match &mut self.hooks {
            Some(hooks) => {
                hooks.leaving.push(done);
                self.lifecycle(Event::Leave);
            }
            // The waiting task may have given up.
            None => done
                .send(())
                .unwrap_or_else(|()| tracing::debug!("flush is done, but its caller has gone")),
        }
    }
}
