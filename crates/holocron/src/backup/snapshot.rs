//! A snapshot: a cut, and where its objects are.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use holocron_protocol::{
    backup::{
        contents::{Cut, End},
        ending,
    },
    epoch::record::EpochRecord,
    format::{cluster::Cluster, keys},
    ids::{ClusterId, Epoch, Position, SessionId},
    journal::batch::Opening,
};
use holocron_store::{Listed, Patience, Store, get_until, list_until};
use tokio_util::sync::CancellationToken;

use super::{
    BackupError, Original,
    cut::{Taken, take},
    keeping::Keeping,
    view::{CutView, Known},
};
use crate::{
    api::random::Random,
    audit::{Audit, ScrubReport},
};

/// How long one request to a store is repeated.
const STORE_WITHIN: Duration = Duration::from_secs(60);
/// Openings that are read at a time.
const GETS_MAX: usize = 32;

/// One moment of a cluster, to be copied. While a snapshot of a running cluster exists, its hosts delete nothing that belongs
/// to it, so don't hold it for longer than it takes to copy.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) cut: Cut,
    /// The cluster it is of.
    pub(super) cluster: Cluster,
    /// The cluster that a copy becomes.
    becomes: ClusterId,
    pub(super) taken_ms: u64,
    frozen_for: Duration,
    pub(super) view: Arc<CutView>,
    _keeping: Option<Keeping>,
}

impl Snapshot {
    /// Takes a cut of a running cluster. Its commits wait meanwhile: two round trips to its hosts, and at most two seconds.
    ///
    /// # Errors
    ///
    /// [`BackupError`]. After [`BackupError::NoCut`], try again.
    pub async fn take(original: &Original) -> Result<Self, BackupError> {
        let Taken { log, view, cut, frozen_for } = take(original).await?;
        let cluster = log.cluster;
        let keeping = Keeping::begin(original, log, view);
        let listed =
            list_until(&*original.store, "", patience(), &CancellationToken::new()).await?;
        let belongs = |listed: &Listed| {
            keys::parse(&listed.key).is_some_and(|key| cut.includes(&key, &cluster))
        };
        let objects = listed.into_iter().filter(belongs);
        let objects = objects.map(|object| (object.key, Known { len: object.len, checksum: None }));
        let parts = Parts {
            from: Arc::clone(&original.store),
            objects: objects.collect(),
            cut,
            taken_ms: original.clock.wall_ms(),
        };
        let snapshot = Self::of(parts, &original.random).await?;
        Ok(Self { frozen_for, _keeping: Some(keeping), ..snapshot })
    }

    /// The snapshot of these objects.
    pub(super) async fn of(parts: Parts, random: &Random) -> Result<Self, BackupError> {
        let Parts { from, objects, cut, taken_ms } = parts;
        let bare = CutView { from, objects, ending: BTreeMap::new() };
        let read = Reader { view: &bare, random };
        let cluster = Cluster::decode(keys::CLUSTER, &read.get(keys::CLUSTER).await?)?;
        let becomes = random.cluster();
        let ending = read.ending(&cut, &cluster, (becomes, taken_ms)).await?;
        let view = Arc::new(CutView { ending, ..bare });
        let frozen_for = Duration::ZERO;
        Ok(Self { cut, cluster, becomes, taken_ms, frozen_for, view, _keeping: None })
    }

    /// The cut.
    #[must_use]
    pub fn cut(&self) -> &Cut {
        &self.cut
    }

    /// The newest epoch of the cluster at that moment.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.cut.epoch
    }

    /// For how long commits waited while the cut was taken; zero for the snapshot of a backup.
    #[must_use]
    pub fn frozen_for(&self) -> Duration {
        self.frozen_for
    }

    /// The id of the cluster that a copy becomes. It is another one than the original's, so that neither's hosts and clients
    /// are taken for the other's.
    #[must_use]
    pub fn becomes(&self) -> ClusterId {
        self.becomes
    }

    /// The number and the bytes of its objects.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let lens = self.view.objects.values().map(|known| known.len);
        (self.view.objects.len() as u64, lens.sum())
    }

    /// Checks everything that a cluster needs which begins with this snapshot. Reads all of it.
    ///
    /// # Errors
    ///
    /// [`BackupError::Unsound`] with what is wrong.
    pub async fn verify(&self) -> Result<(), BackupError> {
        check(Arc::clone(&self.view)).await.map(drop)
    }
}

/// Checks everything that a cluster needs which begins with these objects.
pub(super) async fn check(objects: Arc<CutView>) -> Result<ScrubReport, BackupError> {
    let report = Audit::new(objects as Arc<dyn Store>).scrub().await?;
    if report.findings.is_empty() { Ok(report) } else { Err(BackupError::Unsound(report.findings)) }
}

/// What a snapshot is made of.
pub(super) struct Parts {
    /// Where the objects are, under their own keys.
    pub(super) from: Arc<dyn Store>,
    pub(super) objects: BTreeMap<String, Known>,
    pub(super) cut: Cut,
    pub(super) taken_ms: u64,
}

pub(super) fn patience() -> Patience {
    Patience::at_start(STORE_WITHIN)
}

/// Reads what has to be changed in a copy.
struct Reader<'a> {
    view: &'a CutView,
    random: &'a Random,
}

impl Reader<'_> {
    async fn get(&self, key: &str) -> Result<Bytes, BackupError> {
        let found = get_until(self.view, key, patience(), &CancellationToken::new()).await?;
        found.ok_or_else(|| BackupError::Object { key: key.to_owned(), why: "missing".to_owned() })
    }

    /// The objects that end a copy: another cluster's id, the seals, the last record.
    async fn ending(
        &self,
        cut: &Cut,
        cluster: &Cluster,
        (becomes, taken_ms): (ClusterId, u64),
    ) -> Result<BTreeMap<String, Bytes>, BackupError> {
        let key = keys::epoch(cut.epoch);
        let stored = self.get(&key).await?;
        let newest = EpochRecord::decode(&key, &stored)?;
        let session = self.random.session();
        let reason = format!("a backup of {} begins to live", cut.epoch);
        let newest = (&newest, &stored);
        let last = ending::record(cut, newest, session, &reason, taken_ms);
        let mut ending = BTreeMap::from([
            (keys::epoch(last.epoch), last.encode(self.random.nonce())),
            (
                keys::CLUSTER.to_owned(),
                Cluster { cluster: becomes, ..*cluster }.encode(self.random.nonce()),
            ),
        ]);
        for (session, position, seal) in ending::seals(cut) {
            let key = keys::journal_position(session, position);
            ending.insert(key, seal.encode(self.random.nonce()));
        }
        let had_opening = |(session, end): (&SessionId, &End)| match end {
            End::Frozen(_) | End::Sealed(_) => Some(*session),
            End::Detached(_) => None,
        };
        let sessions: Vec<SessionId> = cut.ends.iter().filter_map(had_opening).collect();
        let mut openings =
            stream::iter(sessions).map(|session| self.opening(session, becomes)).buffered(GETS_MAX);
        while let Some(opening) = openings.try_next().await? {
            ending.extend(opening);
        }
        drop(openings);
        Ok(ending)
    }

    /// The opening of a journal in the copy; `None` if it was trimmed.
    async fn opening(
        &self,
        session: SessionId,
        becomes: ClusterId,
    ) -> Result<Option<(String, Bytes)>, BackupError> {
        let key = keys::journal_position(session, Position::ZERO);
        if !self.view.objects.contains_key(&key) {
            return Ok(None);
        }
        let opening = Opening::decode(&key, &self.get(&key).await?)?;
        let opening = Opening { cluster: becomes, ..opening }.encode(self.random.nonce());
        Ok(Some((key, opening)))
    }
}
