//! Leader election: the host that creates the next epoch object leads.
//!
//! The store creates an object only if it is absent, so each epoch has one winner. The rest is when to try, and how to
//! resolve an unclear answer. A follower does nothing while it hears the leader. When the leader is silent, the first
//! in rank tries at once and the others a little later. A replaced leader notices it when it reads the log, which it
//! does with every hint it writes; until then it does no harm.
//!
//! Invariants:
//!
//! * The newest epoch this host knows never goes down.
//! * [`Effect::Lead`] follows a create that was won, whose mark was absent afterwards, or a record of ours that was
//!   read from the log.
//! * At most one create and one read are in flight.
//! * A create without a clear answer is neither won nor lost: the log is read until that epoch has a record, which may
//!   be ours.
//! * A host doesn't create while its store requests fail, or, unless it leads, after a pause before it has read the log. (A
//!   leader that was replaced meanwhile loses the create.)

use alloc::{vec, vec::Vec};

use self::terms::{Asking, Attempt, StoreHealth};
pub use self::terms::{
    CreateOutcome, Effect, ElectionSettings, Event, HeardBy, MarkOutcome, News, ReadOutcome, Role,
    Writer,
};
use crate::{
    epoch::log::{CreateVerdict, judge_create},
    ids::{Epoch, SessionId},
    planted,
    time::Time,
};

mod terms;

/// The election, at one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    settings: ElectionSettings,
    newest: Epoch,
    writer: Writer,
    rank: u32,
    /// How the current leader was last heard.
    heard_by: Option<HeardBy>,
    role: Role,
    attempt: Attempt,
    reading: Asking,
    /// A read that began before this is too old and is repeated.
    read_after: Time,
    /// The epoch of our create without a clear answer, until its record is read.
    unclear: Option<Epoch>,
    store: StoreHealth,
}

impl Election {
    /// A host that starts. `newest` is the newest record it has read; `None` when the log is empty.
    #[must_use]
    pub fn new(settings: ElectionSettings, now: Time, newest: Option<News>) -> Self {
        let mut election = Self {
            settings,
            newest: Epoch::ZERO,
            writer: Writer::Gone,
            rank: 0,
            heard_by: None,
            // The log is empty: there is no leader to wait for.
            role: Role::Candidate { not_before: now },
            attempt: Attempt::None,
            reading: Asking::Nothing,
            read_after: Time::ZERO,
            unclear: None,
            store: StoreHealth::Working,
        };
        if let Some(News { epoch, writer, rank }) = newest {
            (election.newest, election.writer, election.rank) = (epoch, writer, rank);
            election.role = match writer {
                Writer::Us => election.leading(now, now),
                Writer::Other(_) => election.following(now),
                Writer::Gone => election.role,
            };
        }
        election
    }

    /// This host's role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The newest epoch it knows.
    #[must_use]
    pub const fn newest(&self) -> Epoch {
        self.newest
    }

    /// Whether it leads the newest epoch it knows.
    #[must_use]
    pub const fn is_leading(&self) -> bool {
        matches!(self.role, Role::Leading { .. })
    }

    /// Handles one event and returns its effects. `chance`: new random bits for each call. Never blocks, never fails.
    ///
    /// # Panics
    ///
    /// When an answer arrives without its request in flight.
    #[must_use]
    pub fn step(&mut self, now: Time, chance: u64, event: Event) -> Vec<Effect> {
        let before = self.newest;
        let mut effects = match event {
            Event::ChangeWanted if self.is_leading() => self.create(),
            Event::Tick | Event::ChangeWanted => Vec::new(),
            Event::HeardLeader { epoch, by } => self.on_heard(now, epoch, by),
            Event::NewerEpochPossible => self.read(now),
            Event::LeaderSuspected { leader } => self.on_suspected(now, chance, leader),
            Event::Learned(news) => self.on_learned(now, chance, news, now),
            Event::Read(outcome) => self.on_read(now, chance, outcome),
            Event::Created(outcome) => self.on_created(now, chance, outcome),
            Event::Marked(outcome) => self.on_marked(now, chance, outcome),
            Event::ContestDue => self.on_contest_due(now),
            Event::Paused => self.on_paused(now),
            Event::StoreFailing => {
                self.store = StoreHealth::Failing;
                Vec::new()
            }
            Event::StoreWorking => self.on_store_working(now, chance),
        };
        effects.extend(self.on_time(now, chance));
        self.assert_consistent(before);
        effects
    }

    /// Handles due deadlines, after every event.
    fn on_time(&mut self, now: Time, chance: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Asking::At(at) = self.reading
            && at <= now
        {
            effects.extend(self.read(now));
        }
        if let Attempt::Checking { epoch, won_at, asking: Asking::At(at) } = self.attempt
            && at <= now
        {
            self.attempt = Attempt::Checking { epoch, won_at, asking: Asking::Since(now) };
            effects.push(Effect::CheckMark(epoch));
        }
        if let Role::Following { until } = self.role
            && until <= now
            && self.store == StoreHealth::Working
        {
            self.role = self.candidate(now, chance, self.rank);
        }
        match self.role {
            Role::Candidate { not_before } if not_before <= now => effects.extend(self.create()),
            Role::Leading { since, confirmed, confirm_at } if confirm_at <= now => {
                let confirm_at = now + self.settings.confirm_every;
                self.role = Role::Leading { since, confirmed, confirm_at };
                effects.push(Effect::PutHint(self.newest));
                effects.extend(self.read(now));
            }
            Role::Waking
            | Role::Following { .. }
            | Role::Candidate { .. }
            | Role::Leading { .. } => {}
        }
        effects
    }

    fn on_heard(&mut self, now: Time, epoch: Epoch, by: HeardBy) -> Vec<Effect> {
        if epoch > self.newest {
            return self.read(now);
        }
        if epoch < self.newest || !matches!(self.writer, Writer::Other(_)) {
            return Vec::new();
        }
        self.heard_by = Some(by);
        match self.role {
            Role::Following { .. } | Role::Candidate { .. } => self.role = self.following(now),
            // The log must be read first.
            Role::Waking | Role::Leading { .. } => {}
        }
        Vec::new()
    }

    fn on_suspected(&mut self, now: Time, chance: u64, leader: SessionId) -> Vec<Effect> {
        if let Role::Following { .. } = self.role
            && self.writer == Writer::Other(leader)
        {
            self.role = self.candidate(now, chance, self.rank);
        }
        Vec::new()
    }

    /// Takes a record of the log. `created_at` is when we learned that it exists.
    fn on_learned(&mut self, now: Time, chance: u64, news: News, created_at: Time) -> Vec<Effect> {
        if news.epoch <= self.newest {
            return Vec::new();
        }
        self.heard_by = self.heard_by.filter(|_| news.writer == self.writer);
        (self.newest, self.writer, self.rank) = (news.epoch, news.writer, news.rank);
        self.unclear = self.unclear.filter(|&unclear| unclear > news.epoch);
        match news.writer {
            Writer::Us => {
                self.role = self.leading(now, created_at);
                vec![Effect::Lead(news.epoch)]
            }
            Writer::Other(_) => {
                self.role = self.following(now);
                vec![Effect::Follow(news.epoch)]
            }
            Writer::Gone => {
                self.role = self.candidate(now, chance, news.rank);
                vec![Effect::Follow(news.epoch)]
            }
        }
    }

    fn on_read(&mut self, now: Time, chance: u64, outcome: ReadOutcome) -> Vec<Effect> {
        let Asking::Since(asked_at) = self.reading else {
            panic!("{outcome:?} answers no read");
        };
        let effects = match outcome {
            ReadOutcome::Newest(news) => self.on_learned(now, chance, news, now),
            ReadOutcome::Nothing => {
                // A read from before the record was created says nothing of the time since.
                if let Role::Leading { since, confirm_at, .. } = self.role
                    && since <= asked_at
                {
                    let confirmed = Some(planted::confirmed(asked_at, now));
                    self.role = Role::Leading { since, confirmed, confirm_at };
                }
                Vec::new()
            }
            ReadOutcome::Unknown => {
                self.reading = Asking::At(now + self.settings.retry_after);
                return Vec::new();
            }
        };
        if asked_at < self.read_after {
            self.reading = Asking::At(now);
            return effects;
        }
        self.reading = match self.unclear {
            Some(_) => Asking::At(now + self.settings.retry_after),
            None => Asking::Nothing,
        };
        if self.role == Role::Waking {
            self.role = match self.writer {
                Writer::Other(_) | Writer::Us => self.following(now),
                Writer::Gone => self.candidate(now, chance, self.rank),
            };
        }
        effects
    }

    fn on_created(&mut self, now: Time, chance: u64, outcome: CreateOutcome) -> Vec<Effect> {
        let Attempt::Creating(epoch) = self.attempt else {
            panic!("{outcome:?} answers no create");
        };
        self.attempt = Attempt::None;
        match outcome {
            CreateOutcome::Won => {
                let asking = Asking::Since(now);
                self.attempt = Attempt::Checking { epoch, won_at: now, asking };
                return vec![Effect::CheckMark(epoch)];
            }
            CreateOutcome::Withdrawn => {
                self.step_back(now, chance);
                return Vec::new();
            }
            CreateOutcome::Lost => {
                if let Role::Candidate { .. } = self.role {
                    self.role = self.following(now);
                }
            }
            CreateOutcome::Unknown => {
                self.unclear = Some(epoch).filter(|&epoch| epoch > self.newest);
                self.step_back(now, chance);
            }
        }
        // Read the winner's record; it may be from an earlier, unclear create of ours.
        if self.newest < epoch { self.read_afresh(now) } else { Vec::new() }
    }

    /// A candidate that did not succeed tries again a little later.
    fn step_back(&mut self, now: Time, chance: u64) {
        if let Role::Candidate { .. } = self.role {
            self.role = self.candidate(now, chance, self.rank + 1);
        }
    }

    fn on_marked(&mut self, now: Time, chance: u64, outcome: MarkOutcome) -> Vec<Effect> {
        let Attempt::Checking { epoch, won_at, asking: Asking::Since(_) } = self.attempt else {
            panic!("{outcome:?} answers no check of a mark");
        };
        self.attempt = Attempt::None;
        match outcome {
            MarkOutcome::Seen(mark) => match judge_create(mark) {
                CreateVerdict::Committed => {
                    let news = News { epoch, writer: Writer::Us, rank: self.rank };
                    self.on_learned(now, chance, news, won_at)
                }
                CreateVerdict::InTrimmedLog => {
                    if let Role::Candidate { .. } = self.role {
                        self.role = Role::Waking;
                    }
                    self.read_afresh(now)
                }
            },
            MarkOutcome::Unknown => {
                let asking = Asking::At(now + self.settings.retry_after);
                self.attempt = Attempt::Checking { epoch, won_at, asking };
                Vec::new()
            }
        }
    }

    /// The leader creates as well; the store decides who leads next.
    fn on_contest_due(&mut self, now: Time) -> Vec<Effect> {
        match self.role {
            Role::Leading { .. } => self.create(),
            Role::Following { .. } | Role::Candidate { .. } => {
                self.role = Role::Candidate { not_before: now };
                Vec::new()
            }
            // The log must be read first.
            Role::Waking => Vec::new(),
        }
    }

    fn on_paused(&mut self, now: Time) -> Vec<Effect> {
        if !self.is_leading() {
            self.role = Role::Waking;
        }
        self.read_afresh(now)
    }

    fn on_store_working(&mut self, now: Time, chance: u64) -> Vec<Effect> {
        if core::mem::replace(&mut self.store, StoreHealth::Working) == StoreHealth::Working {
            return Vec::new();
        }
        match self.role {
            // Missed heartbeats don't count while our own store requests fail.
            Role::Following { .. } => self.role = self.following(now),
            Role::Candidate { .. } => self.role = self.candidate(now, chance, self.rank),
            Role::Waking | Role::Leading { .. } => {}
        }
        Vec::new()
    }

    /// Creates the next epoch, unless a create is in flight or the store fails.
    fn create(&mut self) -> Vec<Effect> {
        if self.attempt != Attempt::None || self.store == StoreHealth::Failing {
            return Vec::new();
        }
        let next = self.newest.next();
        self.attempt = Attempt::Creating(next);
        vec![Effect::Create(next)]
    }

    /// Reads the log unless a read is in flight.
    fn read(&mut self, now: Time) -> Vec<Effect> {
        match self.reading {
            Asking::Since(_) => Vec::new(),
            Asking::Nothing | Asking::At(_) => {
                self.reading = Asking::Since(now);
                vec![Effect::Read(self.newest)]
            }
        }
    }

    /// Reads the log as of now: a read that began earlier isn't enough.
    fn read_afresh(&mut self, now: Time) -> Vec<Effect> {
        self.read_after = now;
        self.read(now)
    }
}

#[cfg(test)]
mod tests;
