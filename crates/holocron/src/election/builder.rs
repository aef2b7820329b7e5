//! How a member is set up and joins.

use core::time::Duration;
use std::sync::Arc;

use holocron_protocol::{
    control::candidate::{CandidateSettings, Rotation},
    epoch::{election_record::MEMBER_ADDRESS_LEN_MAX, log::Retention},
    format::{
        cluster::EPOCH_SEGMENT_LEN_DEFAULT, codec::Malformed, election::ElectionObject, keys,
    },
    ids::{HostName, InvalidName},
};
use holocron_store::{Below, Counting, GaveUp, OpenError, Patience, Probe, ProbeError, Store};
use tokio_util::sync::CancellationToken;

use super::{
    Election,
    find::Finder,
    look::ElectionLog,
    member::{self, Parts},
};
use crate::{
    api::{
        clock::{Clock, SystemClock},
        random::Random,
    },
    store_io::{
        epoch_log::LogError,
        source::{MissingDirectory, StoreSource},
        store_watch::WatchedStore,
    },
};

/// The lease if none is set.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(10);
/// The shortest lease: a store request must fit into a small part of it.
pub const LEASE_MIN: Duration = Duration::from_millis(250);
/// The longest lease.
pub const LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Epochs that rotations may add to the log within the age of its history. Each start lists the log.
pub const ROTATIONS_KEPT_MAX: u32 = 200_000;
/// How long the store may take to answer at the start.
const START_WITHIN: Duration = Duration::from_secs(8);
/// One try of a request takes at most this long, and at most half a lease.
const TRY_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// Sets up a member of an election. Everything except the store and the name of the election has a default.
#[derive(Debug)]
#[must_use = "a builder does nothing until it joins"]
pub struct ElectionBuilder {
    store: StoreSource,
    election: String,
    member: Option<String>,
    address: String,
    lease: Duration,
    rotation: Rotation,
    history: Retention,
    epoch_segment_len: u32,
    clock: Arc<dyn Clock>,
    random: Random,
}

/// Why a member did not join. Nothing remains of it.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The name of the election or of the member is invalid: names follow the rules of host names.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A setting is out of its bounds.
    #[error("{0}")]
    Setting(String),
    /// The URL or its options are wrong.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't be reached, or breaks a promise that elections rely on.
    #[error(transparent)]
    Store(#[from] ProbeError),
    /// The store stopped answering while the member joined.
    #[error(transparent)]
    Unreachable(#[from] GaveUp),
    /// The election can't be read, or this release doesn't support it.
    #[error("{0}")]
    Unreadable(#[from] Malformed),
    /// There is a cluster where the election should be.
    #[error(
        "there is a cluster at the election's prefix, not an election. Use another name or another prefix"
    )]
    IsCluster,
    /// The `election` object is missing, but records of an election are there.
    #[error(
        "the `election` object is missing, but {remains} epoch records and marks are there: the store was emptied, \
         replaced or restored in part. An election founded now would give out tokens again. Restore the missing object, \
         or use another name"
    )]
    Remains {
        /// How many records and marks there are.
        remains: usize,
    },
}

impl From<LogError> for JoinError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::GaveUp(gave_up) => Self::Unreachable(gave_up),
            LogError::Malformed(malformed) => Self::Unreadable(malformed),
        }
    }
}

impl ElectionBuilder {
    pub(super) fn new(url: &str, election: &str) -> Self {
        Self {
            store: StoreSource::new(Some(url)),
            election: election.to_owned(),
            member: None,
            address: String::new(),
            lease: LEASE_DEFAULT,
            rotation: Rotation::Never,
            history: Retention::default(),
            epoch_segment_len: EPOCH_SEGMENT_LEN_DEFAULT,
            clock: Arc::new(SystemClock),
            random: Random::from_system(),
        }
    }

    /// The member's name, for people; a random one if not set. Names need not differ.
    pub fn member(mut self, name: &str) -> Self {
        self.member = Some(name.to_owned());
        self
    }

    /// Where others reach this member when it leads: they see it as [`Leader::address`](super::Leader). The election doesn't
    /// use it.
    pub fn address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    /// How long a silent leader is waited for, and how long a leader may claim to lead after it last asked the store: 10 s if
    /// not set, [`LEASE_MIN`] to [`LEASE_MAX`]. Shorter: the next leader leads sooner, with more requests (5 per lease
    /// and follower, 20 for the leader) and more false alarms when the store is slow. Give every member the same.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// When a new epoch is written though nothing is wrong; never if not set. At least a fifth of a lease, and at most
    /// [`ROTATIONS_KEPT_MAX`] times within the age of the [history](Self::history): each epoch is kept for so long. With
    /// [`Rotation::Contested`] and less than a lease and a tenth, a leader may never be able to claim. Give every member
    /// the same.
    pub fn rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = rotation;
        self
    }

    /// How much history is kept: 1,000 epochs and 7 days if not set. The leader deletes older epochs by segments.
    pub fn history(mut self, history: Retention) -> Self {
        self.history = history;
        self
    }

    /// Epochs that are deleted as one, if this member founds the election: 1,000 if not set, at least 2. Fixed from then on.
    pub fn epoch_segment_len(mut self, epochs: u32) -> Self {
        self.epoch_segment_len = epochs;
        self
    }

    /// An option of the store, such as an endpoint; overrides the environment.
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.store.option(key, value);
        self
    }

    /// A store that is open already, instead of opening the URL: for tests, or to share one store between members of one
    /// process.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store.opened(store);
        self
    }

    /// The clock; the machine's if not set.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source of random numbers; the operating system if not set. Two members must never share a seed: a member
    /// recognizes its own records by random numbers.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Probes the store, finds or founds the election, and takes part from now on. Returns with the first role.
    ///
    /// # Errors
    ///
    /// [`JoinError`]; its text is for the operator.
    pub async fn join(self) -> Result<Election, JoinError> {
        let name = HostName::new(&self.election)?;
        let member = match &self.member {
            Some(member) => HostName::new(member)?,
            None => HostName::new(&format!("member-{:08x}", self.random.bits() >> 96))?,
        };
        let settings = CandidateSettings::new(self.lease, self.rotation);
        check(&settings, self.history, &self.address, self.epoch_segment_len)?;
        let opened = self.store.open(MissingDirectory::Refused)?.expect("an election has a URL");
        let below: Arc<dyn Store> = Arc::new(Below::new(opened, &keys::election_root(&name)));
        let requests = Arc::new(Counting::new(below, keys::purpose));
        let store: Arc<dyn Store> = Arc::clone(&requests) as Arc<dyn Store>;
        let probe = Probe { deadline: START_WITHIN, ..Probe::new(self.random.bits()) };
        holocron_store::probe(&store, &probe).await?;
        let stop = CancellationToken::new();
        let finder =
            Finder { store: &store, patience: Patience::at_start(START_WITHIN), stop: &stop };
        let proposed = ElectionObject {
            election: self.random.election(),
            epoch_segment_len: self.epoch_segment_len,
        };
        let found = finder.find_or_found(proposed, self.random.nonce()).await?;
        let watched = Arc::new(WatchedStore::new(store));
        let log = ElectionLog {
            store: Arc::clone(&watched) as Arc<dyn Store>,
            segments: found.election.epoch_segments(),
            object: found.object,
            patience: Patience {
                try_timeout: TRY_TIMEOUT_MAX.min(self.lease / 2),
                ..Patience::within(self.lease / 2)
            },
            stop: stop.clone(),
        };
        let newest = log.newest(None).await?;
        let parts = Parts {
            election: name,
            member,
            session: self.random.session(),
            address: self.address,
            settings,
            history: self.history,
            log,
            watched,
            clock: self.clock,
            random: self.random,
        };
        Ok(member::start(parts, newest, requests))
    }
}

fn check(
    settings: &CandidateSettings,
    history: Retention,
    address: &str,
    epoch_segment_len: u32,
) -> Result<(), JoinError> {
    let refuse = |why: String| Err(JoinError::Setting(why));
    let lease = settings.lease.length;
    if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
        return refuse(format!("lease {lease:?}: use {LEASE_MIN:?} to {LEASE_MAX:?}"));
    }
    if let Rotation::Every(every) | Rotation::Contested(every) = settings.rotation {
        let least = settings.poll_every();
        if every < least {
            return refuse(format!(
                "rotation {every:?}: use at least a fifth of the lease, {least:?}"
            ));
        }
        let (age, least) = (history.age, history.age / ROTATIONS_KEPT_MAX);
        if every < least {
            return refuse(format!(
                "rotation {every:?}: epochs are kept for {age:?}, which is more than {ROTATIONS_KEPT_MAX} of them. Use at \
                 least {least:?}, or keep history for a shorter time"
            ));
        }
    }
    if address.len() > MEMBER_ADDRESS_LEN_MAX {
        return refuse(format!("address: use at most {MEMBER_ADDRESS_LEN_MAX} bytes"));
    }
    if epoch_segment_len < 2 {
        return refuse("segments of epochs: use at least 2".to_owned());
    }
    Ok(())
}
