//! Events, effects and settings of a candidate.

use alloc::{format, string::String};
use core::time::Duration;

use crate::{
    control::{
        election::{self, ElectionSettings, News, Writer},
        hints::LeaderHint,
        lease::Lease,
    },
    epoch::election_record::{ElectionRecord, LeaderTenure},
    ids::{Epoch, SessionId},
    time::Time,
};

/// Polls of the leader's hint per lease.
const POLLS_PER_LEASE: u32 = 5;
/// Steps of back-off per lease.
const STEPS_PER_LEASE: u32 = 20;

/// What a candidate is told at its start. Every member of an election should have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CandidateSettings {
    /// How long a silent leader is waited for, and how long a leader may claim to lead after it asked.
    pub lease: Lease,
    /// When a new epoch is written though nothing is wrong.
    pub rotation: Rotation,
}

/// When a new epoch is written though nothing is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rotation {
    /// Never: a healthy leader stays.
    #[default]
    Never,
    /// The leader writes the next epoch when this time has passed since its last one. It goes on to lead, and its token
    /// grows.
    Every(Duration),
    /// The same, but every member tries to write the next epoch, and whichever the store takes first leads.
    Contested(Duration),
}

impl CandidateSettings {
    /// With timeouts that follow from the lease.
    #[must_use]
    pub fn new(lease: Duration, rotation: Rotation) -> Self {
        Self { lease: Lease::new(lease), rotation }
    }

    /// How often a follower reads the leader's hint, and a leader puts it and looks for a newer epoch.
    #[must_use]
    pub fn poll_every(&self) -> Duration {
        self.lease.length / POLLS_PER_LEASE
    }

    /// How long an operation that did not succeed waits, and the delay between candidates.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.lease.length / STEPS_PER_LEASE
    }

    /// The timeouts of the election.
    #[must_use]
    pub fn election(&self) -> ElectionSettings {
        ElectionSettings {
            // No member has a connection to another.
            silence_max: self.lease.length,
            silence_by_hint_max: self.lease.length,
            rank_step: self.step(),
            confirm_every: self.poll_every(),
            retry_after: self.step(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// An event of the election: an answer, a tick, or how this member and its store are.
    Election(election::Event),
    /// Answers [`Effect::GetHint`]: the leader's hint, if there is one that can be read.
    Hint(Option<LeaderHint>),
    /// The user doesn't want to lead any more. How long to wait for [`Standing::Left`] is the driver's choice.
    ResignAsked,
}

/// What the driver does. `Read`, `Create`, `CheckMark` and `GetHint` are each answered by exactly one event, unless the
/// candidate has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Read the log from this epoch on.
    Read(Epoch),
    /// Create this epoch's record.
    Create(Epoch, Purpose),
    /// Get the mark of that epoch's segment.
    CheckMark(Epoch),
    /// Get the leader's hint.
    GetHint,
    /// Put the leader's hint for that epoch.
    PutHint(Epoch),
    /// This member leads, or resigned with, that epoch, by the record in the log.
    Lead(Epoch),
    /// Another member leads, or led, that epoch.
    Follow(Epoch),
}

/// Why a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// There was no epoch.
    First,
    /// The leader is silent.
    TakeOver,
    /// The leader resigned.
    Succeed,
    /// The leader's rotation is due.
    Rotate,
    /// A contested rotation is due.
    Contest,
    /// This member resigns.
    Resign,
}

impl Purpose {
    /// Whether the record's writer continues to lead.
    #[must_use]
    pub const fn tenure(self) -> LeaderTenure {
        match self {
            Self::Resign => LeaderTenure::Resigned,
            Self::First | Self::TakeOver | Self::Succeed | Self::Rotate | Self::Contest => {
                LeaderTenure::Stays
            }
        }
    }

    /// The reason for people; `before` is the leader of the record before.
    #[must_use]
    pub fn sentence(self, before: Option<&str>) -> String {
        let before = before.unwrap_or("the leader");
        match self {
            Self::First => "first leader of this election".into(),
            Self::TakeOver => format!("{before} was silent"),
            Self::Succeed => format!("{before} resigned"),
            Self::Rotate => "rotation".into(),
            Self::Contest => "contested rotation".into(),
            Self::Resign => format!("{before} resigns"),
        }
    }
}

/// How a member stands, for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// There is no leader: none was elected yet, or the last one resigned.
    NoLeader,
    /// Another member leads this epoch, as far as this one knows.
    Following(Epoch),
    /// This member leads this epoch: a read of less than a lease ago found nothing newer.
    Leading(Epoch),
    /// This member led the newest epoch that it knows, but could not confirm it for a lease. It may still lead.
    Unconfirmed(Epoch),
    /// It was asked to resign, and is doing so.
    Resigning,
    /// It takes part no more.
    Left,
}

/// What a record says to the member with this session.
///
/// Members don't know each other, so none is before another in rank. They don't all try at once: each learns at its own
/// poll that the leader is gone.
#[must_use]
pub fn news(record: &ElectionRecord, session: SessionId) -> News {
    let writer = match record.tenure {
        LeaderTenure::Resigned => Writer::Gone,
        LeaderTenure::Stays if record.leader.session == session => Writer::Us,
        LeaderTenure::Stays => Writer::Other(record.leader.session),
    };
    News { epoch: record.epoch, writer, rank: 0 }
}

/// Whether a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Presence {
    /// It does.
    Here,
    /// It was asked to resign.
    Resigning {
        /// The epoch of its last record, once that is being created.
        last: Option<Epoch>,
        /// When that record may be created (again): a create that did not succeed is retried a little later.
        try_at: Time,
    },
    /// It has left.
    Left,
}

/// The poll of the leader's hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Poll {
    /// To be sent at this time.
    At(Time),
    /// In flight.
    InFlight,
}
