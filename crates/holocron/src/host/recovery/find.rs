//! Finding a journal: where it ends, what of it must be there, and its bytes.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use holocron_protocol::{
    format::{codec::Malformed, keys},
    ids::{Position, SessionId},
    journal::{
        batch::{self, JournalObject},
        sealing::Hint,
    },
    slot::replay::JournalEnd,
};
use holocron_store::list_until;

use crate::{
    session::{
        Session,
        journal::{Closed, FlushPoint},
    },
    store_io::{
        fetch::{Extent, FetchedJournal, JournalReader, NotFetched},
        sealer::{SealEnd, Sealer},
    },
    transport::peer::Progress,
};

/// How a journal is to be found.
pub(super) enum Find {
    /// It is over: seal it if nobody has, and read it to the seal.
    Sealed(Hint),
    /// It goes on: read it through that batch, which is said to hold a Release.
    Through(Position),
    /// It goes on, and nobody said how far: list it and read it through the newest batch.
    Newest,
    /// It is this session's own: wait until what was appended so far is committed, then read that.
    Own(FlushPoint),
}

/// What became of it.
pub(super) enum Found {
    Journal(Box<FetchedJournal>),
    /// The session is detached: the epoch that wanted it is old.
    Detached,
    /// It was trimmed while it was read; the object of this key wasn't there.
    Moved(String),
    /// Something in it can't be understood.
    Broken(Malformed),
    Stopped,
}

pub(super) fn find(
    find: Find,
    session: SessionId,
    reader: Arc<JournalReader>,
    sealer: Sealer,
    own: Arc<Session>,
) -> BoxFuture<'static, (SessionId, Found)> {
    async move {
        let found = match extent(find, session, &reader, &sealer, &own).await {
            Ok(extent) => match reader.fetch(session, extent).await {
                Ok(journal) => Found::Journal(Box::new(journal)),
                Err(not_fetched) => not_fetched.into(),
            },
            Err(found) => found,
        };
        (session, found)
    }
    .boxed()
}

/// The range that must be there; decided after the end was seen, never before.
async fn extent(
    find: Find,
    session: SessionId,
    reader: &JournalReader,
    sealer: &Sealer,
    own: &Session,
) -> Result<Extent, Found> {
    match find {
        Find::Sealed(hint) => {
            match sealer.seal(session, own.epoch(), hint, own.journal.ended()).await {
                SealEnd::Sealed(sealed) => Ok(Extent {
                    low_water: sealed.low_water,
                    checkpoint_at: sealed.checkpoint_at,
                    through: sealed.position.previous().expect("position 0 is never sealed"),
                    end: JournalEnd::Sealed(sealed.position),
                }),
                SealEnd::Detached => Err(Found::Detached),
                SealEnd::Broken(malformed) => Err(Found::Broken(malformed)),
                SealEnd::Stopped => Err(Found::Stopped),
            }
        }
        Find::Through(position) => live(session, position, reader).await,
        Find::Newest => {
            let prefix = keys::journal(session);
            let listed =
                list_until(&*sealer.store, &prefix, sealer.patience, own.journal.ended()).await;
            let listed = listed.map_err(|gave_up| {
                tracing::debug!(%gave_up, "a journal was not listed");
                Found::Stopped
            })?;
            let positions =
                listed.iter().filter_map(|object| keys::position_in(session, &object.key));
            live(session, positions.max().unwrap_or_default(), reader).await
        }
        Find::Own(quiet) => {
            own.journal.until_committed(quiet.0).await.map_err(|Closed| Found::Stopped)?;
            let Progress { committed, low_water, checkpoint_at, .. } = own.journal.progress();
            Ok(Extent { low_water, checkpoint_at, through: committed, end: JournalEnd::Live })
        }
    }
}

/// The range of a journal that goes on, from the header of one batch of it.
async fn live(
    session: SessionId,
    position: Position,
    reader: &JournalReader,
) -> Result<Extent, Found> {
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
    let object = reader.position(session, position).await.map_err(Found::from)?;
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
        // Sealed, though the newest epoch we know doesn't say so: a newer one will.
        Ok(JournalObject::Seal(_)) => Err(Found::Moved(key)),
        Ok(JournalObject::Opening(_)) => Ok(nothing),
        Err(malformed) => Err(Found::Broken(malformed)),
    }
}

/// Fetches what a journal is known to hold before its end is known: its bytes never change.
pub(super) fn prefetch(reader: &Arc<JournalReader>, session: SessionId, progress: Progress) {
    let reader = Arc::clone(reader);
    tokio::spawn(async move {
        let extent = Extent {
            low_water: progress.low_water,
            checkpoint_at: progress.checkpoint_at,
            through: progress.committed,
            end: JournalEnd::Live,
        };
        // Only the bytes count; a hint that was wrong is found out when they are asked for.
        drop(reader.fetch(session, extent).await);
    });
}

impl From<NotFetched> for Found {
    fn from(not_fetched: NotFetched) -> Self {
        match not_fetched {
            NotFetched::Moved(key) => Self::Moved(key),
            NotFetched::Malformed(malformed) => Self::Broken(malformed),
            NotFetched::Stopped => Self::Stopped,
        }
    }
}
