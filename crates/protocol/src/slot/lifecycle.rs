//! Lifecycle: what an active vnode holds outside its state (files, connections, background work) is opened before its
//! first call runs, and closed before it leaves.
//!
//! | from | to | when |
//! | --- | --- | --- |
//! | idle | opening | the state is in memory |
//! | opening | open | the hook has opened it; the calls that waited run |
//! | opening | failed | the hook failed, or its deadline passed |
//! | failed | opening | the back-off is over |
//! | open | closing | the vnode is evicted, or its slot leaves |
//! | open | idle | the vnode is rolled back: what it holds is dropped, and opened anew for the state before |
//! | opening | cancelling | the slot leaves |
//! | closing, evicted | idle | the hook has closed it: it leaves memory, or a call came and it is opened again |
//! | closing, cancelling, leaving | gone | the hook has ended: nothing of it is left at this host |
//!
//! Only for kinds with hooks; a vnode without them is as if always open. [`super::residency`] counts, by slot, what isn't
//! closed: the slot's Release waits for it.
//!
//! Invariants:
//!
//! * A call runs only while open.
//! * At most one thing is held at a time: an attempt to open begins after the one before ended and was dropped.
//! * Once its slot leaves, a vnode never opens again, and its calls are refused.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use crate::{planted, time::Time};

/// The pause after the first failed attempt to open; doubles with each further one.
pub const OPEN_AGAIN_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts to open.
pub const OPEN_AGAIN_MAX: Duration = Duration::from_secs(10);

/// Where a vnode is between opening and closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is held.
    #[default]
    Idle,
    /// An attempt to open runs.
    Opening {
        /// Attempts that failed before.
        failures: u32,
    },
    /// The last attempt failed.
    Failed {
        /// Attempts that failed.
        failures: u32,
        /// When the next begins.
        again_at: Time,
    },
    /// Calls run.
    Open,
    /// The hook closes it.
    Closing(Leaving),
    /// An attempt to open is being cancelled, because the slot leaves.
    Cancelling,
    /// It has left: nothing is held, now or later.
    Gone,
}

/// Why something is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The vnode was not used for a while. A call that comes meanwhile has it opened again.
    Evicted,
    /// Its slot leaves this host, or the host stops.
    SlotLeaves,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The state is in memory, loaded or rolled back.
    Loaded,
    /// Answers [`Effect::Open`]: it is open.
    Opened,
    /// Answers [`Effect::Open`]: it failed, its deadline passed, or it was cancelled. Nothing is held.
    NotOpened,
    /// The time of [`Effect::OpenAt`] has come.
    Due,
    /// The state is rolled back.
    RolledBack,
    /// Not used for a while, and nothing waits.
    Evict,
    /// Its slot leaves, or the host stops.
    Leave,
    /// Answers [`Effect::Close`]: the hook has ended, or its deadline passed. Nothing is held.
    Closed,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Begin an attempt to open.
    Open,
    /// Step [`Event::Due`] at that time.
    OpenAt(Time),
    /// Cancel the attempt that runs.
    Cancel,
    /// Run the calls that wait.
    RunWaiting,
    /// Refuse the calls that wait: another host will own the slot.
    RefuseWaiting,
    /// Drop what is held, at once.
    Drop,
    /// Begin to close.
    Close,
    /// Leave memory if no call waits; else step [`Event::Loaded`].
    Evicted,
    /// Nothing is held any more: the slot may leave as far as this vnode is concerned.
    Gone,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It runs.
    Run,
    /// It waits until it is open.
    Wait,
    /// It is refused: the slot is leaving.
    Refuse,
}

/// One activation of a vnode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    stage: Stage,
}

impl Lifecycle {
    /// Where it is.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// What happens to a call that arrives.
    #[must_use]
    pub fn admission(&self) -> Admission {
        match self.stage {
            Stage::Open => Admission::Run,
            Stage::Opening { .. } => planted::admission_while_opening(Admission::Wait),
            Stage::Idle | Stage::Failed { .. } | Stage::Closing(Leaving::Evicted) => {
                Admission::Wait
            }
            Stage::Closing(Leaving::SlotLeaves) | Stage::Cancelling | Stage::Gone => {
                Admission::Refuse
            }
        }
    }

    /// Takes one event to its effects. Never blocks, never fails.
    ///
    /// # Panics
    ///
    /// When an answer comes that nothing asked for, or a vnode is rolled back that isn't open.
    #[must_use]
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Effect> {
        match event {
            Event::Loaded => self.on_loaded(),
            Event::Opened => self.on_opened(),
            Event::NotOpened => self.on_not_opened(now),
            Event::Due => self.on_due(now),
            Event::RolledBack => self.on_rolled_back(),
            Event::Evict => self.on_evict(),
            Event::Leave => self.on_leave(),
            Event::Closed => self.on_closed(),
        }
    }

    fn on_loaded(&mut self) -> Vec<Effect> {
        match self.stage {
            Stage::Idle => self.open(0),
            // The slot left while the state was being read.
            Stage::Gone => vec![Effect::RefuseWaiting],
            Stage::Opening { .. }
            | Stage::Failed { .. }
            | Stage::Open
            | Stage::Closing(_)
            | Stage::Cancelling => panic!("opened in {:?}: it holds something already", self.stage),
        }
    }

    fn open(&mut self, failures: u32) -> Vec<Effect> {
        self.stage = Stage::Opening { failures };
        vec![Effect::Open]
    }

    fn on_opened(&mut self) -> Vec<Effect> {
        match self.stage {
            Stage::Opening { .. } => {
                self.stage = Stage::Open;
                vec![Effect::RunWaiting]
            }
            // It had opened before the cancellation reached it.
            Stage::Cancelling => {
                self.stage = Stage::Closing(Leaving::SlotLeaves);
                vec![Effect::Close]
            }
            Stage::Idle | Stage::Failed { .. } | Stage::Open | Stage::Closing(_) | Stage::Gone => {
                panic!("opened in {:?}, unasked", self.stage)
            }
        }
    }

    fn on_not_opened(&mut self, now: Time) -> Vec<Effect> {
        match self.stage {
            Stage::Opening { failures } => {
                let pause = OPEN_AGAIN_MIN.saturating_mul(1 << failures.min(16));
                let again_at = now + pause.min(OPEN_AGAIN_MAX);
                self.stage = Stage::Failed { failures: failures.saturating_add(1), again_at };
                vec![Effect::OpenAt(again_at)]
            }
            Stage::Cancelling => self.ended(Leaving::SlotLeaves),
            Stage::Idle | Stage::Failed { .. } | Stage::Open | Stage::Closing(_) | Stage::Gone => {
                panic!("not opened in {:?}, unasked", self.stage)
            }
        }
    }

    fn on_due(&mut self, now: Time) -> Vec<Effect> {
        match self.stage {
            Stage::Failed { failures, again_at } if now >= again_at => self.open(failures),
            // A later attempt has its own time.
            Stage::Failed { .. }
            | Stage::Idle
            | Stage::Opening { .. }
            | Stage::Open
            | Stage::Closing(_)
            | Stage::Cancelling
            | Stage::Gone => vec![],
        }
    }

    fn on_rolled_back(&mut self) -> Vec<Effect> {
        assert_eq!(self.stage, Stage::Open, "a call ran though nothing was open");
        // Not closed by its hook: a handler may have stopped half way through a change of it.
        self.stage = Stage::Idle;
        vec![Effect::Drop]
    }

    fn on_evict(&mut self) -> Vec<Effect> {
        match self.stage {
            Stage::Open => {
                self.stage = Stage::Closing(Leaving::Evicted);
                planted::evict(vec![Effect::Close])
            }
            Stage::Idle | Stage::Failed { .. } => self.ended(Leaving::Evicted),
            Stage::Opening { .. } | Stage::Closing(_) | Stage::Cancelling | Stage::Gone => vec![],
        }
    }

    fn on_leave(&mut self) -> Vec<Effect> {
        let mut effects = match self.stage {
            Stage::Open => {
                self.stage = Stage::Closing(Leaving::SlotLeaves);
                vec![Effect::Close]
            }
            Stage::Opening { .. } => {
                self.stage = Stage::Cancelling;
                vec![Effect::Cancel]
            }
            Stage::Closing(Leaving::Evicted) => {
                self.stage = Stage::Closing(Leaving::SlotLeaves);
                vec![]
            }
            Stage::Idle | Stage::Failed { .. } | Stage::Gone => self.ended(Leaving::SlotLeaves),
            Stage::Closing(Leaving::SlotLeaves) | Stage::Cancelling => vec![],
        };
        effects.insert(0, Effect::RefuseWaiting);
        effects
    }

    fn on_closed(&mut self) -> Vec<Effect> {
        let Stage::Closing(why) = self.stage else {
            panic!("closed in {:?}, unasked", self.stage);
        };
        self.ended(why)
    }

    /// Nothing is held any more.
    fn ended(&mut self, why: Leaving) -> Vec<Effect> {
        match why {
            Leaving::Evicted => {
                self.stage = Stage::Idle;
                vec![Effect::Evicted]
            }
            Leaving::SlotLeaves => {
                self.stage = Stage::Gone;
                vec![Effect::Gone]
            }
        }
    }
}
