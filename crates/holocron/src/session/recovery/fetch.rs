//! Fetches a journal: finds its end and which of its objects must exist, then gets them.

use std::sync::Arc;

use holocron_protocol::{
    format::{codec::Malformed, keys},
    ids::{Position, SessionId},
    journal::batch::{self, JournalObject},
    slot::{recovery::FetchUpTo, replay::JournalEnd},
};
use holocron_store::{GaveUp, list_until};
use tokio::sync::oneshot;

use crate::{
    session::{Session, journal::Closed},
    store_io::{
        fetch::{Extent, FetchedJournal, JournalReader, NotFetched},
        sealer::{SealEnd, Sealer},
    },
    transport::peer::{PeerReply, Progress},
};

/// Why a journal was not fetched.
pub(super) enum FetchError {
    /// The session is detached: the epoch that named it as a source is old.
    Detached,
    /// It was trimmed during the fetch; the object of this key is missing.
    Missing(String),
    /// The store rejects the request, or an object can't be decoded.
    Unreadable(Malformed),
    /// The fetching session is over, or the requests' budget is spent.
    GaveUp,
}

/// Fetches a journal.
pub(super) async fn fetch(
    up_to: FetchUpTo,
    session: SessionId,
    reader: &JournalReader,
    sealer: &Sealer,
    own: &Session,
) -> Result<Box<FetchedJournal>, FetchError> {
    let extent = extent(up_to, session, reader, sealer, own).await?;
    Ok(Box::new(reader.fetch(session, extent).await?))
}

/// The range that must exist. Determined after the end was seen, never before.
async fn extent(
    up_to: FetchUpTo,
    session: SessionId,
    reader: &JournalReader,
    sealer: &Sealer,
    own: &Session,
) -> Result<Extent, FetchError> {
    match up_to {
        FetchUpTo::Seal(hint) => {
            match sealer.seal(session, own.epoch(), hint, own.journal.ended()).await {
                SealEnd::Sealed(sealed) => Ok(Extent {
                    low_water: sealed.low_water,
                    checkpoint_at: sealed.checkpoint_at,
                    through: sealed.position.previous().expect("position 0 is never sealed"),
                    end: JournalEnd::Sealed(sealed.position),
                }),
                SealEnd::Detached => Err(FetchError::Detached),
                SealEnd::Broken(malformed) => Err(FetchError::Unreadable(malformed)),
                SealEnd::Stopped => Err(FetchError::GaveUp),
            }
        }
        FetchUpTo::Release(position) => live(session, position, reader).await,
        FetchUpTo::NewestBatch => {
            let prefix = keys::journal(session);
            let listed =
                list_until(&*sealer.store, &prefix, sealer.patience, own.journal.ended()).await;
            let listed = listed.map_err(|gave_up| match gave_up {
                GaveUp::Stopped | GaveUp::Spent { .. } => FetchError::GaveUp,
                GaveUp::Rejected(error) => {
                    let why = holocron_store::explain(&error);
                    FetchError::Unreadable(Malformed::new(&prefix, &why))
                }
            })?;
            let positions =
                listed.iter().filter_map(|object| keys::position_in(session, &object.key));
            live(session, positions.max().unwrap_or_default(), reader).await
        }
        FetchUpTo::OwnCommitted => {
            let flushed = own.journal.flush_point();
            own.journal.until_committed(flushed.0).await.map_err(|Closed| FetchError::GaveUp)?;
            let Progress { committed, low_water, checkpoint_at, .. } = own.journal.progress();
            Ok(Extent { low_water, checkpoint_at, through: committed, end: JournalEnd::Live })
        }
    }
}

/// The range of a live journal up to `position`, from the header of the batch there.
async fn live(
    session: SessionId,
    position: Position,
    reader: &JournalReader,
) -> Result<Extent, FetchError> {
    let nothing = Extent {
        low_water: Position::ZERO,
        checkpoint_at: Position::ZERO,
        through: Position::ZERO,
        end: JournalEnd::Live,
    };
    if position == Position::ZERO {
        return Ok(nothing);
    }
    let key = keys::journal_position(session, position);
    let object = reader.position(session, position).await.map_err(FetchError::from)?;
    match batch::decode(&key, &object) {
        Ok(JournalObject::Batch(batch)) => {
            let header = batch.header;
            Ok(Extent {
                low_water: header.low_water,
                checkpoint_at: header.checkpoint_at,
                through: position,
                end: JournalEnd::Live,
            })
        }
        // Sealed, though the newest epoch that we know doesn't say so: a newer one will.
        Ok(JournalObject::Seal(_)) => Err(FetchError::Missing(key)),
        Ok(JournalObject::Opening(_)) => Ok(nothing),
        Err(malformed) => Err(FetchError::Unreadable(malformed)),
    }
}

/// Fetches the known objects of a journal before its end is known: their bytes never change. Replies when that is done,
/// with success or not.
pub(super) fn prefetch(
    reader: &Arc<JournalReader>,
    session: SessionId,
    progress: Progress,
    reply: oneshot::Sender<PeerReply>,
) {
    let reader = Arc::clone(reader);
    tokio::spawn(async move {
        let extent = Extent {
            low_water: progress.low_water,
            checkpoint_at: progress.checkpoint_at,
            through: progress.committed,
            end: JournalEnd::Live,
        };
        // Only warms the reader's cache; the fetch after the seal detects a wrong hint.
        drop(reader.fetch(session, extent).await);
        // The leader may not wait for it any more.
        drop(reply.send(PeerReply::Noted));
    });
}

impl From<NotFetched> for FetchError {
    fn from(not_fetched: NotFetched) -> Self {
        match not_fetched {
            NotFetched::Moved(key) => Self::Missing(key),
            NotFetched::Malformed(malformed) => Self::Unreadable(malformed),
            NotFetched::Stopped => Self::GaveUp,
        }
    }
}
