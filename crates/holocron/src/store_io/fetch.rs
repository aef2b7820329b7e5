//! Reading a whole journal: the batches above its low water in one round of gets, then its packs, or only their
//! indexes, in another. Fetched objects are cached: the bytes of a position never change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};
use holocron_protocol::{
    format::{codec::Malformed, keys},
    ids::{PackNumber, Position, SessionId},
    journal::batch::{self, Batch, JournalObject, Record},
    slot::replay::JournalEnd,
    state::{
        checkpoint::Checkpoint,
        pack::{PackIndex, PackRef},
    },
};
use holocron_store::{GaveUp, Patience, Store, get_range_until, get_until};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::planted;

/// Gets in flight for one journal.
const GETS_MAX: usize = 64;

/// A pack up to this long is read whole instead of only its index: at 100 MB/s that takes 3 ms more, and then the first
/// use of each vnode in it needs no request of its own.
const WHOLE_LEN_MAX: u32 = 256 << 10;

/// Which part of a journal is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Everything at or below is in the checkpoint.
    pub(crate) low_water: Position,
    /// The position of the newest checkpoint record; 0 when there is none.
    pub(crate) checkpoint_at: Position,
    /// The last batch.
    pub(crate) through: Position,
    /// What follows it.
    pub(crate) end: JournalEnd,
}

impl Extent {
    fn contains(&self, position: Position) -> bool {
        self.low_water < position && position <= self.through
    }
}

/// A journal as it was fetched: everything a recovery takes from it.
#[derive(Debug)]
pub(crate) struct FetchedJournal {
    pub(crate) end: JournalEnd,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) packs: Vec<PackIndex>,
    /// The packs, in the same order; `None` for those too large to be read whole.
    pub(crate) whole: Vec<Option<Bytes>>,
    pub(crate) batches: Vec<(Batch, Bytes)>,
}

/// Why a journal wasn't fetched.
#[derive(Debug)]
pub(crate) enum NotFetched {
    /// The object at this key is gone: it was trimmed meanwhile. Find the extent again.
    Moved(String),
    /// An object can't be decoded: an operator has to look.
    Malformed(Malformed),
    /// The read was cancelled.
    Stopped,
}

/// Fetches journals, and caches the objects until [`JournalReader::keep_only`] drops them.
#[derive(Debug)]
pub(crate) struct JournalReader {
    store: Arc<dyn Store>,
    patience: Patience,
    stop: CancellationToken,
    cached: Mutex<BTreeMap<SessionId, CachedJournal>>,
}

type Cell = Arc<OnceCell<Bytes>>;

#[derive(Debug, Default)]
struct CachedJournal {
    positions: BTreeMap<Position, Cell>,
    /// Whole packs, or the indexes of large ones.
    packs: BTreeMap<PackNumber, Cell>,
}

impl JournalReader {
    pub(crate) fn new(store: Arc<dyn Store>, patience: Patience, stop: CancellationToken) -> Self {
        Self { store, patience, stop, cached: Mutex::default() }
    }

    /// Fetches a range of a journal: one round for the batches, one for the packs.
    pub(crate) async fn fetch(
        &self,
        session: SessionId,
        extent: Extent,
    ) -> Result<FetchedJournal, NotFetched> {
        let first = extent.low_water.next().get();
        let positions = (first..=extent.through.get()).map(Position::new);
        let objects: Vec<(Position, Bytes)> = stream::iter(positions)
            .map(|position| async move { Ok((position, self.position(session, position).await?)) })
            .buffered(GETS_MAX)
            .filter(|object| future::ready(!planted::missing_is_empty(object)))
            .try_collect()
            .await?;
        let mut batches = Vec::with_capacity(objects.len());
        let mut checkpoint = None;
        for (position, object) in objects {
            let key = keys::journal_position(session, position);
            let JournalObject::Batch(batch) = batch::decode(&key, &object)? else {
                return Err(NotFetched::Malformed(Malformed::new(
                    &key,
                    "not a batch, below the end of its journal",
                )));
            };
            if position == extent.checkpoint_at {
                checkpoint = Some(checkpoint_of(&key, &batch)?);
            }
            batches.push((batch, object));
        }
        if extent.checkpoint_at > Position::ZERO && !extent.contains(extent.checkpoint_at) {
            let key = keys::journal_position(session, extent.checkpoint_at);
            return Err(NotFetched::Malformed(Malformed::new(
                &key,
                "its checkpoint is not above its low water",
            )));
        }
        let named =
            checkpoint.as_ref().map(|checkpoint| checkpoint.packs.clone()).unwrap_or_default();
        let fetched: Vec<(PackIndex, Option<Bytes>)> = stream::iter(named)
            .map(|pack| self.pack(session, pack))
            .buffered(GETS_MAX)
            .try_collect()
            .await?;
        let (packs, whole) = fetched.into_iter().unzip();
        Ok(FetchedJournal { end: extent.end, checkpoint, packs, whole, batches })
    }

    /// One position.
    pub(crate) async fn position(
        &self,
        session: SessionId,
        position: Position,
    ) -> Result<Bytes, NotFetched> {
        let cell =
            self.cell(session, |cached| Arc::clone(cached.positions.entry(position).or_default()));
        let key = keys::journal_position(session, position);
        let got = cell.get_or_try_init(|| async {
            present(get_until(&*self.store, &key, self.patience, &self.stop).await, &key)
        });
        got.await.cloned()
    }

    /// The index of a pack, and the pack itself if it is small.
    async fn pack(
        &self,
        session: SessionId,
        pack: PackRef,
    ) -> Result<(PackIndex, Option<Bytes>), NotFetched> {
        let cell =
            self.cell(session, |cached| Arc::clone(cached.packs.entry(pack.number).or_default()));
        let key = keys::pack(session, pack.number);
        let is_whole = pack.length <= WHOLE_LEN_MAX;
        let range = if is_whole { 0..pack.length.into() } else { pack.index_range() };
        let got = cell.get_or_try_init(|| async {
            let got = get_range_until(&*self.store, &key, range, self.patience, &self.stop);
            present(got.await, &key)
        });
        let bytes = got.await?;
        if !is_whole {
            return Ok((PackIndex::decode(&key, &pack, bytes)?, None));
        }
        let (found, index) = PackIndex::of_object(&key, bytes)?;
        if found != pack {
            return Err(NotFetched::Malformed(Malformed::new(
                &key,
                "holds another pack than the checkpoint names",
            )));
        }
        Ok((index, Some(bytes.clone())))
    }

    fn cell(&self, session: SessionId, find: impl FnOnce(&mut CachedJournal) -> Cell) -> Cell {
        find(self.cached.lock().expect("a map's lock").entry(session).or_default())
    }

    /// Drops the cached objects of all sessions for which `keep` is false.
    pub(crate) fn keep_only(&self, keep: impl Fn(SessionId) -> bool) {
        self.cached.lock().expect("a map's lock").retain(|&session, _| keep(session));
    }
}

fn present(got: Result<Option<Bytes>, GaveUp>, key: &str) -> Result<Bytes, NotFetched> {
    match got {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(NotFetched::Moved(key.to_owned())),
        Err(GaveUp::Stopped | GaveUp::Spent { .. }) => Err(NotFetched::Stopped),
        Err(GaveUp::Rejected(error)) => {
            Err(NotFetched::Malformed(Malformed::new(key, &holocron_store::explain(&error))))
        }
    }
}

fn checkpoint_of(key: &str, batch: &Batch) -> Result<Checkpoint, NotFetched> {
    for record in batch.records() {
        if let (_, Record::Checkpoint(content)) = record? {
            return Ok(Checkpoint::decode(&content)?);
        }
    }
    Err(NotFetched::Malformed(Malformed::new(key, "should hold a checkpoint, but holds none")))
}

impl From<Malformed> for NotFetched {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

#[cfg(test)]
mod tests;
