//! A member of an election used alone: an [`Election`] with what its user sees, and no connections.
//!
//! Members know each other only through the store. A follower reads the leader's hint at an interval: if its counter
//! moves, the leader is alive; if it names a newer epoch, the log is read. Everything is timed by the member's own steady
//! clock. No wall clock is read here, and no time of another member.
//!
//! Invariants:
//!
//! * The epochs that a member leads only grow.
//! * A member leads, and claims, only by the newest epoch that it knows, and not after it was asked to resign.
//! * After its last record, or once it was asked to resign without leading, a member creates nothing more.
//! * A member leaves only when the log can't say any more that it leads: its last record is there, or it never led and none
//!   of its creates may still land.

use alloc::vec::Vec;

pub use self::terms::{CandidateSettings, Effect, Event, Purpose, Rotation, Standing, news};
use self::terms::{Poll, Presence};
use crate::{
    control::{
        election::{self, Election, HeardBy, News, Role, Writer},
        hints::{LeaderHint, LeaderHintWatch, Sign},
        lease::Claim,
    },
    ids::Epoch,
    planted,
    time::Time,
};

mod terms;

/// The share of a contested rotation's interval by which members delay their tries at random, so that the leader, which
/// learns of its epoch first, doesn't always win.
const CONTEST_SPREAD_SHARE: u32 = 8;

/// One member of an election.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    settings: CandidateSettings,
    election: Election,
    /// The newest epoch that it led.
    led: Epoch,
    /// The first epoch of the leadership that it has, or had last.
    led_since: Epoch,
    /// When the next epoch is due though nothing is wrong.
    rotate_at: Option<Time>,
    /// A contested rotation is due, and this member competes.
    contests: Option<Epoch>,
    poll: Poll,
    hints: LeaderHintWatch,
    presence: Presence,
}

impl Candidate {
    /// A member that starts. `newest` is the newest record it has read; `None` when the log is empty.
    #[must_use]
    pub fn new(settings: CandidateSettings, now: Time, newest: Option<News>) -> Self {
        let mut candidate = Self {
            settings,
            election: Election::new(settings.election(), now, newest),
            led: Epoch::ZERO,
            led_since: Epoch::ZERO,
            rotate_at: None,
            contests: None,
            poll: Poll::At(now),
            hints: LeaderHintWatch::default(),
            presence: Presence::Here,
        };
        if let Some(news) = newest {
            if news.writer == Writer::Us {
                (candidate.led, candidate.led_since) = (news.epoch, news.epoch);
            }
            candidate.plan_rotation(now, 0);
        }
        candidate
    }

    /// The newest epoch it knows.
    #[must_use]
    pub const fn newest(&self) -> Epoch {
        self.election.newest()
    }

    /// The first epoch of its leadership, if it leads: since then no other member has led.
    #[must_use]
    pub fn leads_since(&self) -> Option<Epoch> {
        self.election.is_leading().then_some(self.led_since)
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self, now: Time) -> Standing {
        match self.presence {
            Presence::Left => return Standing::Left,
            Presence::Resigning { .. } => return Standing::Resigning,
            Presence::Here => {}
        }
        let newest = self.election.newest();
        match (self.election.role(), self.election.writer()) {
            (Role::Leading { since, confirmed, .. }, _) => {
                let until = self.settings.lease.confirms_until(confirmed.unwrap_or(since));
                if planted::is_confirmed(now < until) {
                    Standing::Leading(newest)
                } else {
                    Standing::Unconfirmed(newest)
                }
            }
            (Role::Waking | Role::Following { .. } | Role::Candidate { .. }, Writer::Gone) => {
                Standing::NoLeader
            }
            (Role::Waking | Role::Following { .. } | Role::Candidate { .. }, _) => {
                Standing::Following(newest)
            }
        }
    }

    /// What it may claim towards systems that don't check the fencing token. It holds by this member's own steady clock.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        match self.presence {
            Presence::Here => self.election.claim(self.settings.lease),
            Presence::Resigning { .. } | Presence::Left => None,
        }
    }

    /// Handles one event and returns its effects. `chance`: new random bits for each call. Never blocks, never fails.
    ///
    /// # Panics
    ///
    /// When an answer arrives without its request in flight.
    #[must_use]
    pub fn step(&mut self, now: Time, chance: u64, event: Event) -> Vec<Effect> {
        if self.presence == Presence::Left {
            return Vec::new();
        }
        let event = match event {
            Event::Election(event) => event,
            Event::Hint(hint) => self.on_hint(now, hint),
            Event::ResignAsked => {
                self.presence = Presence::Resigning { last: None, try_at: now };
                election::Event::Tick
            }
        };
        let mut effects = Vec::new();
        if self.may_step() {
            self.elect(now, chance, event, &mut effects);
        }
        self.on_time(now, chance, &mut effects);
        self.assert_consistent();
        effects
    }

    /// A member that resigns steps only to end what it began: else it could start to lead again.
    fn may_step(&self) -> bool {
        match self.presence {
            Presence::Here => true,
            Presence::Resigning { .. } => {
                self.election.is_leading()
                    || self.election.creating().is_some()
                    || self.election.unclear().is_some()
            }
            Presence::Left => false,
        }
    }

    fn may_create(&self) -> bool {
        match self.presence {
            Presence::Here => true,
            Presence::Resigning { .. } => self.election.is_leading(),
            Presence::Left => false,
        }
    }

    fn elect(&mut self, now: Time, chance: u64, event: election::Event, into: &mut Vec<Effect>) {
        let led_before = self.election.is_leading();
        let is_of_create = matches!(event, election::Event::Marked(_));
        for effect in self.election.step(now, chance, event) {
            match effect {
                election::Effect::Read(epoch) => into.push(Effect::Read(epoch)),
                election::Effect::CheckMark(epoch) => into.push(Effect::CheckMark(epoch)),
                election::Effect::PutHint(epoch) => into.push(Effect::PutHint(epoch)),
                // The record before says that its leader resigned, so the election would try.
                election::Effect::Create(_) if !self.may_create() => {
                    self.decline(now, chance, into);
                }
                election::Effect::Create(epoch) => {
                    let purpose = self.purpose(epoch);
                    into.push(Effect::Create(epoch, purpose));
                }
                election::Effect::Lead(epoch) => {
                    assert!(self.led < epoch, "it leads {epoch} after {}", self.led);
                    self.led = epoch;
                    if !led_before {
                        self.led_since = epoch;
                    }
                    self.plan_rotation(now, chance);
                    into.push(Effect::Lead(epoch));
                    // A record that was read says that this member stays: an earlier create at this epoch landed after all.
                    if is_of_create {
                        self.leave_after(epoch, into);
                    }
                }
                election::Effect::Follow(epoch) => {
                    self.plan_rotation(now, chance);
                    into.push(Effect::Follow(epoch));
                    if self.election.writer() == Writer::Gone {
                        self.leave_after(epoch, into);
                    }
                }
            }
        }
    }

    /// Creates nothing more, and leaves unless an earlier create may still land.
    fn decline(&mut self, now: Time, chance: u64, into: &mut Vec<Effect>) {
        if self.election.unclear().is_none() {
            self.presence = Presence::Left;
            return;
        }
        let withdrawn = election::Event::Created(election::CreateOutcome::Withdrawn);
        self.elect(now, chance, withdrawn, into);
    }

    fn purpose(&mut self, epoch: Epoch) -> Purpose {
        if let Presence::Resigning { last, .. } = &mut self.presence
            && self.election.is_leading()
        {
            *last = Some(epoch);
            return planted::purpose_of_last(Purpose::Resign);
        }
        match self.election.writer() {
            _ if epoch == Epoch::new(1) => Purpose::First,
            _ if self.contests == Some(epoch) => Purpose::Contest,
            Writer::Us => Purpose::Rotate,
            Writer::Gone => Purpose::Succeed,
            Writer::Other(_) => Purpose::TakeOver,
        }
    }

    /// Leaves when its last record is in the log. The hint tells the others, who would otherwise wait for the next one.
    fn leave_after(&mut self, epoch: Epoch, into: &mut Vec<Effect>) {
        if let Presence::Resigning { last: Some(last), .. } = self.presence
            && last == epoch
        {
            self.presence = Presence::Left;
            into.push(Effect::PutHint(epoch));
        }
    }

    fn on_hint(&mut self, now: Time, hint: Option<LeaderHint>) -> election::Event {
        assert_eq!(self.poll, Poll::InFlight, "a hint that was not asked for");
        self.poll = Poll::At(now + self.settings.poll_every());
        let newest = self.election.newest();
        match hint {
            Some(hint) if hint.epoch > newest => election::Event::NewerEpochPossible,
            Some(hint) => match self.hints.saw(&hint, newest) {
                Sign::Moved => {
                    election::Event::HeardLeader { epoch: hint.epoch, by: HeardBy::Hint }
                }
                Sign::None => election::Event::Tick,
            },
            None => election::Event::Tick,
        }
    }

    /// Handles due deadlines, after every event.
    fn on_time(&mut self, now: Time, chance: u64, into: &mut Vec<Effect>) {
        match self.presence {
            Presence::Left => {}
            Presence::Resigning { try_at, .. } => self.resign(now, chance, try_at, into),
            Presence::Here => {
                if self.rotate_at.is_some_and(|at| at <= now) {
                    self.rotate(now, chance, into);
                }
                if let Poll::At(at) = self.poll
                    && at <= now
                    && !self.election.is_leading()
                {
                    self.poll = Poll::InFlight;
                    into.push(Effect::GetHint);
                }
            }
        }
    }

    /// A leader writes its last record. Any other member leaves once its create has ended and can't land later.
    fn resign(&mut self, now: Time, chance: u64, try_at: Time, into: &mut Vec<Effect>) {
        match (self.election.is_leading(), self.election.creating()) {
            (_, Some(_)) => {}
            (true, None) if try_at <= now => {
                let later = now + self.settings.step();
                if let Presence::Resigning { try_at, .. } = &mut self.presence {
                    *try_at = later;
                }
                self.elect(now, chance, election::Event::ChangeWanted, into);
            }
            (true, None) => {}
            (false, None) if self.election.unclear().is_some() => {}
            (false, None) => self.presence = Presence::Left,
        }
    }

    fn rotate(&mut self, now: Time, chance: u64, into: &mut Vec<Effect>) {
        // Tried again if no epoch comes of it: the store may fail, or the log must be read first.
        self.rotate_at = Some(now + self.settings.poll_every());
        match self.settings.rotation {
            Rotation::Never => self.rotate_at = None,
            Rotation::Every(_) => {
                self.elect(now, chance, election::Event::ChangeWanted, into);
            }
            Rotation::Contested(_) => {
                self.contests = Some(self.election.newest().next());
                self.elect(now, chance, election::Event::ContestDue, into);
            }
        }
    }

    /// The newest record has changed: the next rotation is due an interval from now.
    fn plan_rotation(&mut self, now: Time, chance: u64) {
        self.rotate_at = match self.settings.rotation {
            Rotation::Never => None,
            Rotation::Every(every) => self.election.is_leading().then(|| now + every),
            Rotation::Contested(every) => {
                let spread = u64::try_from((every / CONTEST_SPREAD_SHARE).as_micros());
                let delay = chance % spread.unwrap_or(u64::MAX).max(1);
                Some(now + every + core::time::Duration::from_micros(delay))
            }
        };
    }

    fn assert_consistent(&self) {
        assert!(self.led <= self.newest(), "it led {} and knows {}", self.led, self.newest());
        if self.claim().is_some() {
            assert!(self.election.is_leading(), "it claims to lead, and doesn't");
            assert_eq!(self.presence, Presence::Here, "it claims to lead, and resigns");
        }
    }
}
