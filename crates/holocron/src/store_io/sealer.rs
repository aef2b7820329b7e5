//! Carries out a sealing: `protocol::journal::sealing` decides, this module asks the store.

use core::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use holocron_protocol::{
    format::{codec::Malformed, keys, segment::SegmentLen},
    ids::{Epoch, HostName, Position, Segment, SessionId},
    journal::{
        batch::{self, JournalObject, Seal},
        sealing::{CreateOutcome, Hint, SealEffect, SealEvent, Sealed, Sealing, Seen},
    },
};
use holocron_store::{Created, GaveUp, Patience, create_once, get_until, list_until};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::api::random::Random;

/// The pause before the second list of a sealing; doubles up to a second. There is none before the first.
const LIST_PAUSE: Duration = Duration::from_millis(20);

/// How long one create of a seal is retried before the journal is read again: its owner may be writing.
const SEAL_BUDGET: Duration = Duration::from_secs(10);

/// Reads and seals journals for one host.
#[derive(Clone, Debug)]
pub(crate) struct Sealer {
    pub(crate) store: Arc<dyn holocron_store::Store>,
    pub(crate) by: HostName,
    pub(crate) random: Random,
    pub(crate) segment_len: SegmentLen,
    pub(crate) patience: Patience,
}

/// One round of gets.
pub(super) struct Round {
    pub(super) positions: Vec<Position>,
    pub(super) marks: Vec<Segment>,
    /// Whether the end mark is wanted.
    pub(super) end: bool,
}

/// The reads of a sealing.
#[derive(Clone, Copy)]
pub(super) struct Reads<'a> {
    pub(super) store: &'a dyn holocron_store::Store,
    pub(super) session: SessionId,
    pub(super) patience: Patience,
    pub(super) stop: &'a CancellationToken,
}

/// How a sealing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SealEnd {
    /// The session is sealed; it ended there.
    Sealed(Sealed),
    /// No slot needs the session any more: read the epoch log.
    Detached,
    /// A required object can't be decoded: an operator has to look.
    Broken(Malformed),
    /// The sealing was cancelled.
    Stopped,
}

impl Sealer {
    /// Ends a session, or finds where it ended. Several hosts may do this at once.
    pub(crate) async fn seal(
        &self,
        session: SessionId,
        epoch: Epoch,
        hint: Hint,
        stop: &CancellationToken,
    ) -> SealEnd {
        let mut sealing = Sealing::new(session, self.segment_len, hint, self.by.clone(), epoch);
        let mut effect = sealing.start();
        let mut pause = Duration::ZERO;
        let reads = Reads { store: &*self.store, session, patience: self.patience, stop };
        loop {
            let event = match effect {
                SealEffect::List => reads.list(&mut pause).await,
                SealEffect::Get { positions, marks, end } => {
                    reads.get(Round { positions, marks, end }).await
                }
                SealEffect::Create { position, seal } => {
                    self.create(session, position, &seal, stop).await.map(SealEvent::Created)
                }
                SealEffect::Done(sealed) => return SealEnd::Sealed(sealed),
                SealEffect::Detached => return SealEnd::Detached,
                SealEffect::Broken(malformed) => return SealEnd::Broken(malformed),
            };
            effect = match event {
                Ok(event) => sealing.step(event),
                Err(GaveUp::Stopped | GaveUp::Spent { .. }) => return SealEnd::Stopped,
                Err(GaveUp::Rejected(error)) => {
                    let why = holocron_store::explain(&error);
                    return SealEnd::Broken(Malformed::new(&keys::journal(session), &why));
                }
            };
        }
    }

    async fn create(
        &self,
        session: SessionId,
        position: Position,
        seal: &Seal,
        stop: &CancellationToken,
    ) -> Result<CreateOutcome, GaveUp> {
        let key = keys::journal_position(session, position);
        let body = seal.encode(self.random.nonce());
        let patience = Patience { budget: Some(SEAL_BUDGET), ..self.patience };
        let created = create_once(&self.store, &key, body, patience, stop).await;
        if stop.is_cancelled() {
            return Err(GaveUp::Stopped);
        }
        Ok(match created {
            Created::Won => CreateOutcome::Won,
            Created::Lost(existing) => CreateOutcome::Lost(seen(&key, Some(&existing))),
            Created::Unknown => CreateOutcome::Unknown,
        })
    }
}

impl Reads<'_> {
    /// Lists the journal, after a pause that grows with each list.
    pub(super) async fn list(self, pause: &mut Duration) -> Result<SealEvent, GaveUp> {
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).clamp(LIST_PAUSE, Duration::from_secs(1));
        let Self { store, session, patience, stop } = self;
        let listed = list_until(store, &keys::journal(session), patience, stop).await?;
        let positions = listed.iter().filter_map(|object| keys::position_in(session, &object.key));
        Ok(SealEvent::Listed(positions.collect()))
    }

    pub(super) async fn get(self, round: Round) -> Result<SealEvent, GaveUp> {
        let Round { positions, marks, end } = round;
        let Self { store, session, patience, stop } = self;
        let get = async |key: String| get_until(store, &key, patience, stop).await;
        let seen = join_all(positions.iter().map(|&position| async move {
            let key = keys::journal_position(session, position);
            get(key.clone()).await.map(|found| (position, seen(&key, found.as_ref())))
        }));
        let marked = join_all(marks.iter().map(|&segment| async move {
            let found = get(keys::trim_mark(session, segment)).await;
            found.map(|found| (segment, found.is_some()))
        }));
        let ended = async {
            if !end {
                return Ok(None);
            }
            get(keys::end_mark(session)).await.map(|found| Some(found.is_some()))
        };
        let (seen, marked, ended) = futures::join!(seen, marked, ended);
        Ok(SealEvent::Got {
            positions: seen.into_iter().collect::<Result<_, _>>()?,
            marks: marked.into_iter().collect::<Result<_, _>>()?,
            end: ended?,
        })
    }
}

fn seen(key: &str, found: Option<&Bytes>) -> Seen {
    let Some(object) = found else {
        return Seen::Absent;
    };
    match batch::decode(key, object) {
        Ok(JournalObject::Batch(batch)) => Seen::Batch(batch.header),
        Ok(JournalObject::Seal(seal)) => Seen::Seal(seal),
        Ok(JournalObject::Opening(_)) => Seen::Opening,
        Err(malformed) => Seen::Undecodable(malformed),
    }
}
