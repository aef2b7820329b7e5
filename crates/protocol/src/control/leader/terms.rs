//! What a leader hears and does: its events, effects and settings.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use super::{Answer, DomainEvent};
use crate::{
    checkpoint::{collect::Detached, retain::Copying},
    control::{
        admission::Cleared,
        hints::HostHint,
        load::LoadReport,
        report::{Health, JoinRequest, Progress},
        suspicion::SuspicionSettings,
    },
    epoch::{
        draft::SlotReport,
        record::{EpochRecord, RecordDigest},
    },
    ids::{Epoch, HostName, Position, SessionId, Slot},
    journal::sealing::Hint,
    time::Time,
};

/// A leader's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderSettings {
    /// When a host is suspected.
    pub suspicion: SuspicionSettings,
    /// How often the hosts' hints are listed.
    pub list_hints_every: Duration,
    /// How long after a detached session was collected it is looked at again, before it is forgotten; 0: not again.
    pub collect_again_after: Duration,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A record of this session is the newest, with its digest; and the record before, if this one was created just now.
    Written(Arc<EpochRecord>, RecordDigest, Option<Arc<EpochRecord>>),
    /// Time passed.
    Tick(Own),
    /// The load of our own slots.
    OwnLoads(LoadReport),
    /// Our own tick came late: this process was paused.
    Paused,
    /// A host answered a heartbeat.
    Health(HostName, Health),
    /// The connection to a session's host is up.
    Connected(SessionId),
    /// It broke.
    Broken(SessionId),
    /// A reconnect was refused: no process listens there.
    Refused(SessionId),
    /// Answers [`Effect::ListHints`].
    Hints(BTreeMap<HostName, HostHint>),
    /// Answers [`Effect::Seal`]: the seal stands there.
    Sealed(SessionId, Position),
    /// Answers [`Effect::Seal`]: it could not be sealed and is tried again.
    NotSealed(SessionId),
    /// Answers [`Effect::Collect`]: nothing is left except seal and marks.
    Collected(SessionId),
    /// Answers [`Effect::Collect`]: it was not finished, and is begun again later.
    NotCollected(SessionId),
    /// Answers [`Effect::ListScratch`]: the objects of start-up probes that exist.
    Scratch(BTreeSet<String>),
    /// Answers [`Effect::ProbeStore`], which was asked at that time.
    StoreAnswered(Time),
    /// Answers [`Effect::CheckEndMark`]: the mark is absent, by a request that began as of that record.
    Cleared(JoinRequest, Cleared),
    /// What lets sources go.
    Facts(Vec<SlotReport>),
    /// A host asks to join.
    Join(JoinRequest),
    /// The host of this session asks to leave.
    Leave(SessionId),
    /// An operator asks for a host to be sealed.
    SealHost(HostName),
    /// Answers [`Effect::Prefetch`] and [`Effect::PrefetchOwn`]: the host of `to` has fetched what it could, or can't be
    /// reached.
    Prefetched {
        /// The new owner's session.
        to: SessionId,
        /// The session whose journal was fetched.
        from: SessionId,
    },
    /// An operator asks for all slots of a host to be moved to others.
    Drain(HostName),
    /// An operator asks for a drained host to be given slots again.
    Undrain(HostName),
    /// An operator asks for slots to be moved to a host.
    Move(Vec<Slot>, HostName),
    /// Something about domains besides the home domain.
    Domain(DomainEvent),
}

/// How the leader's own host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Whether its store requests succeed.
    pub store: StoreHealth,
    /// The sessions whose Release its slots wait for.
    pub awaiting: Vec<SessionId>,
    /// Whether states of slots that it got are still to be copied.
    pub copying: Copying,
}

/// Whether our own store requests succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// They do.
    Working,
    /// They don't.
    Failing,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Watch the connections to these hosts' sessions and to no others.
    Watch(BTreeMap<SessionId, (HostName, String)>),
    /// Write the next epoch.
    WriteEpoch,
    /// This host counts as failed, for this reason.
    Failed(HostName, String),
    /// Tell all hosts except this one that a session will be sealed, and how far it was known to have come.
    AnnounceSeal(HostName, SessionId, Progress),
    /// Seal a session's journal.
    Seal(SessionId, Hint),
    /// Tell all hosts that a session is sealed.
    AnnounceSealed(SessionId, Position),
    /// Delete what is left of a detached session.
    Collect(Detached),
    /// Delete old epochs, the newest being this.
    TrimEpochLog(Epoch),
    /// Get any object of the store, to see whether it answers at once.
    ProbeStore,
    /// List the hosts' hints and read those of all hosts except these.
    ListHints(BTreeSet<HostName>),
    /// Delete the hints of these hosts, which are gone.
    DeleteHints(Vec<HostName>),
    /// List the objects of start-up probes.
    ListScratch,
    /// Delete these objects of start-up probes.
    DeleteScratch(Vec<String>),
    /// Get the end mark of the session that asks to join.
    CheckEndMark(JoinRequest),
    /// Send the newest record to that address.
    PushEpoch(String),
    /// Answer the request that this event carried.
    Answer(Answer),
    /// End our own session.
    EndOwnSession,
    /// Have a host fetch what the journal of `from` holds so far: slots will move from there to `to`.
    Prefetch {
        /// The host that will get slots.
        by: HostName,
        /// Its session.
        to: SessionId,
        /// The session that owns them.
        from: SessionId,
        /// How far that session was known to have come.
        progress: Progress,
    },
    /// The same for our own journal: the host, and its session.
    PrefetchOwn(HostName, SessionId),
}
