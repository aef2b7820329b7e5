//! Where a vnode's newest committed state is: its slot's tenures, their journals and packs, read as a recovery reads
//! them, without sealing or adopting anything.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holocron_protocol::{
    epoch::record::{EpochRecord, Holding},
    ids::{CommitNumber, DomainId, Position, SessionId, Slot, Tenure, VnodeName},
    slot::{
        find::{Find, find},
        replay::{Base, JournalEnd, JournalReplay, Scope},
    },
    state::place::{FileId, Files, Place, PlaceKind},
};
use holocron_store::GaveUp;

use super::{ClusterReader, ReadError};
use crate::{
    store_io::{
        fetch::{JournalReader, NotFetched},
        journal_end::{NoEnd, journal_extent},
        state_reader::{Located, Unloadable},
    },
    transport::serve::View,
};

/// How often the search starts over because the slot moved, or objects were deleted, while it read.
const ATTEMPTS_MAX: u32 = 5;
/// The pause before it starts over.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(200);

/// What the store says of a vnode.
#[derive(Clone, Debug)]
pub struct FoundVnode {
    /// The newest epoch record, by which it was searched.
    pub record: Arc<EpochRecord>,
    /// The vnode's domain.
    pub domain: DomainId,
    /// The vnode's slot, in its domain.
    pub slot: Slot,
    /// The slot's owner and sources.
    pub holding: Holding,
    /// The journals that were read, the owner's first.
    pub journals: Vec<JournalRead>,
    /// Its newest record.
    pub newest: NewestRecord,
}

/// A journal, as far as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalRead {
    /// Its session.
    pub session: SessionId,
    /// Its last committed position.
    pub committed: Position,
    /// Whether it is sealed.
    pub end: JournalEnd,
}

/// A vnode's newest committed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewestRecord {
    /// There is none: the vnode was never written. Its state is the kind's default.
    Never,
    /// It is here.
    Stored(StoredAt),
    /// An index names it, but its bytes are damaged; the text says what is wrong.
    Damaged(StoredAt, String),
}

/// The place of a record in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// The object.
    pub file: FileId,
    /// The offset of the record in the object, in bytes.
    pub offset: u32,
    /// The length of the record, in bytes.
    pub length: u32,
    /// The tenure under which it was written or copied.
    pub tenure: Tenure,
    /// Its commit number: how often the vnode's state was written.
    pub commit: CommitNumber,
    /// Whether it holds a state, or says that the vnode was deleted.
    pub kind: PlaceKind,
}

/// Why an attempt ended.
enum Attempt {
    /// The store changed meanwhile; the object at this key is gone.
    Changed(String),
    Failed(ReadError),
}

impl From<ReadError> for Attempt {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}

impl ClusterReader {
    /// Finds a vnode's newest committed record. Reads the journals and the indexes of packs of the
    /// slot's tenures as far as needed, then the record.
    ///
    /// # Errors
    ///
    /// [`ReadError`], when something that is needed can't be read.
    pub async fn find_vnode(&self, name: &VnodeName) -> Result<FoundVnode, ReadError> {
        let mut view = self.newest(None).await?;
        let mut gone = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let attempt = self.find_in(&view.record, name).await;
            let newer = self.newest(Some(view)).await?;
            match attempt {
                Ok(found) => {
                    if newer.record.holding(found.domain, found.slot) == Some(&found.holding) {
                        return Ok(FoundVnode { record: newer.record, ..found });
                    }
                    gone = format!("the owner of {}", found.slot);
                }
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Changed(key)) => gone = key,
            }
            view = newer;
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        Err(ReadError::Missing(gone))
    }

    async fn newest(&self, known: Option<View>) -> Result<View, ReadError> {
        let newest = self.log.newest(known).await?;
        newest.ok_or_else(|| ReadError::NoCluster("the cluster has no epoch yet".to_owned()))
    }

    async fn find_in(
        &self,
        record: &Arc<EpochRecord>,
        name: &VnodeName,
    ) -> Result<FoundVnode, Attempt> {
        let (hash, slot) = (name.hash(), name.hash().slot(record.slot_count));
        let domain = record.domain_of(name).ok_or_else(|| {
            ReadError::NoDomain(format!("no domain of the cluster takes the name {name}"))
        })?;
        let entry = &record.domains[&domain];
        let holding = entry.slots.holding(slot).clone();
        let there = self.in_domain(domain, entry).await?;
        let reader = JournalReader::new(
            Arc::clone(&there.log.store),
            self.log.patience,
            self.log.stop.clone(),
        );
        let (mut files, mut journals) = (Files::default(), Vec::new());
        let mut replays: BTreeMap<SessionId, JournalReplay> = BTreeMap::new();
        let newest = loop {
            let sources =
                replays.iter().map(|(&session, replay)| (session, replay.source(slot))).collect();
            match find(&holding, &sources, hash) {
                Find::Read(session) => {
                    let (replay, read) = there.replay(session, slot, &reader, &mut files).await?;
                    journals.push(read);
                    replays.insert(session, replay);
                }
                Find::At(tenure, place) => {
                    let found = stored_at(&files, tenure, &place);
                    break there.verify(found, place, name).await?;
                }
                Find::Nowhere => break NewestRecord::Never,
            }
        };
        Ok(FoundVnode { record: Arc::clone(record), domain, slot, holding, journals, newest })
    }

    /// Replays a journal as it is now, for one slot.
    async fn replay(
        &self,
        session: SessionId,
        slot: Slot,
        reader: &JournalReader,
        files: &mut Files,
    ) -> Result<(JournalReplay, JournalRead), Attempt> {
        let (store, segments) = (&*self.log.store, self.log.cluster.journal_segments());
        let extent = journal_extent(store, session, segments, self.log.patience, &self.log.stop);
        let extent = extent.await.map_err(|no_end| match no_end {
            NoEnd::Detached => Attempt::Changed(format!("the journal of session {session}")),
            NoEnd::Broken(malformed) => Attempt::Failed(malformed.into()),
            NoEnd::GaveUp(gave_up) => Attempt::Failed(gave_up.into()),
        })?;
        let journal = reader.fetch(session, extent).await.map_err(|failed| match failed {
            NotFetched::Moved(key) => Attempt::Changed(key),
            NotFetched::Malformed(malformed) => Attempt::Failed(malformed.into()),
            NotFetched::Stopped => Attempt::Failed(GaveUp::Spent { last: None }.into()),
        })?;
        let base = journal
            .checkpoint
            .as_ref()
            .map(|checkpoint| Base { checkpoint, packs: &journal.packs });
        let slot_count = self.log.cluster.slots;
        let scope = Scope { slots: BTreeSet::from([slot]), slot_count };
        let mut replay =
            JournalReplay::new(session, scope, base, files).map_err(ReadError::from)?;
        for (batch, _) in &journal.batches {
            replay.batch(batch, files).map_err(ReadError::from)?;
        }
        if let JournalEnd::Sealed(position) = extent.end {
            replay.seal(position);
        }
        let read = JournalRead { session, committed: extent.through, end: extent.end };
        Ok((replay, read))
    }

    /// Reads the record itself, and checks it.
    async fn verify(
        &self,
        found: StoredAt,
        place: Place,
        name: &VnodeName,
    ) -> Result<NewestRecord, Attempt> {
        let located = Located { file: found.file, hash: name.hash(), place };
        match located.read(&*self.log.store, self.log.patience, &self.log.stop).await {
            Ok(Some(record)) if record.name == *name => Ok(NewestRecord::Stored(found)),
            Ok(Some(record)) => {
                let why = format!("{} has the same hash: rename one of them", record.name);
                Ok(NewestRecord::Damaged(found, why))
            }
            Ok(None) => Err(Attempt::Changed(found.file.key())),
            Err(Unloadable::Unreadable(why)) => Ok(NewestRecord::Damaged(found, why)),
            Err(Unloadable::Over) => Err(Attempt::Failed(GaveUp::Spent { last: None }.into())),
        }
    }
}

fn stored_at(files: &Files, tenure: Tenure, place: &Place) -> StoredAt {
    StoredAt {
        file: files.id(place.file),
        offset: place.offset,
        length: place.length,
        tenure,
        commit: place.commit,
        kind: place.kind,
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::format::keys;
    use holocron_store::{Counting, Memory, Store, Verb};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{
        Context, Host, PeerMessage, PeerReply, Settings, Vnode, VnodeStatus, ask, net::Tcp,
    };

    const VNODES: usize = 40;

    #[derive(Default, Serialize, Deserialize)]
    struct Count(u64);

    impl Vnode for Count {
        const KIND: &'static str = "count";
        type Command = ();
        type Reply = u64;
        type Query = ();
        type Answer = u64;
        type Env = ();

        fn command(&mut self, _: &mut Context<'_, Self>, (): ()) -> u64 {
            self.0 += 1;
            self.0
        }

        fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
            self.0
        }
    }

    fn name(number: usize) -> VnodeName {
        VnodeName::new(Count::KIND, &format!("v{number}")).unwrap()
    }

    /// Calls vnode `n` `n` more times.
    async fn call_all(host: &Host) {
        for number in 0..VNODES {
            for _ in 0..number {
                let vnode = host.client().get::<Count>(name(number).key());
                vnode.command(()).await.unwrap();
            }
        }
    }

    async fn host(store: &Arc<dyn Store>, name: &str) -> Host {
        // Checkpoints and trims are due all the time.
        let settings =
            Settings { slots: 8, checkpoint_batches: 8, segment_len: 4, ..Settings::default() };
        let builder = Host::builder("memory://").store(Arc::clone(store)).name(name);
        builder.settings(settings).vnode::<Count>().start().await.unwrap()
    }

    /// Finds each vnode, checks that it was written `times` its number, and that nothing was written to the store.
    async fn check_all(store: &Arc<dyn Store>, times: u64) -> Vec<FoundVnode> {
        let counting = Arc::new(Counting::new(Arc::clone(store), keys::purpose));
        let opened = Arc::clone(&counting) as Arc<dyn Store>;
        let reader = ClusterReader::open(opened, Duration::from_secs(20)).await.unwrap();
        let mut all = Vec::new();
        for number in 0..VNODES {
            let found = reader.find_vnode(&name(number)).await.unwrap();
            let commit = match &found.newest {
                NewestRecord::Never => 0,
                NewestRecord::Stored(stored) => stored.commit.get(),
                NewestRecord::Damaged(_, why) => panic!("v{number}: {why}"),
            };
            assert_eq!(commit, number as u64 * times, "v{number}: {found:?}");
            all.push(found);
        }
        for verb in [Verb::Create, Verb::Put, Verb::Delete] {
            assert_eq!(counting.counts().of_verb(verb).requests, 0, "{verb:?}");
        }
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_newest_committed_record_is_found_while_slots_move_and_after_all_hosts_are_gone() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let first = host(&store, "h1").await;
        call_all(&first).await;
        check_all(&store, 1).await;
        let second = host(&store, "h2").await;
        // While half of the slots move.
        while second.status().slots_serving == 0 {
            check_all(&store, 1).await;
        }
        call_all(&second).await;
        let moved = tokio::time::timeout(Duration::from_secs(20), async {
            while second.status().slots_serving == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        moved.await.expect("half of the slots move");
        let found = check_all(&store, 2).await;
        let owners: BTreeSet<SessionId> =
            found.iter().filter_map(|found| Some(found.holding.owner?.session)).collect();
        assert_eq!(owners.len(), 2, "both own slots");
        first.stop().await;
        check_all(&store, 2).await;
        call_all(&second).await;
        second.stop().await;
        let found = check_all(&store, 3).await;
        let packed = |found: &&FoundVnode| {
            matches!(&found.newest, NewestRecord::Stored(stored)
                if matches!(stored.file.object, holocron_protocol::state::place::FileObject::Pack(_)))
        };
        assert!(found.iter().any(|found| packed(&found)), "some are in packs");
        assert!(!found.iter().all(|found| packed(&found)), "some are in batches");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn damage_of_the_record_is_reported_with_its_place() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let host = host(&store, "h1").await;
        let vnode = host.client().get::<Count>("v1");
        vnode.command(()).await.unwrap();
        host.stop().await;
        let reader = ClusterReader::open(Arc::clone(&store), Duration::from_secs(20)).await;
        let reader = reader.unwrap();
        let found = reader.find_vnode(&name(1)).await.unwrap();
        let NewestRecord::Stored(stored) = found.newest else { panic!("{found:?}") };
        let key = stored.file.key();
        let object = store.get(&key).await.unwrap().unwrap();
        let mut damaged = object.to_vec();
        damaged[stored.offset as usize + 40] ^= 1;
        store.put(&key, damaged.into()).await.unwrap();
        let error = reader.find_vnode(&name(1)).await.unwrap_err();
        assert!(error.to_string().contains(&key), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_host_says_whether_a_vnode_is_in_its_memory() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let host = host(&store, "h1").await;
        host.client().get::<Count>("v1").command(()).await.unwrap();
        let status = async |number| {
            let message = PeerMessage::Vnode { domain: DomainId::HOME, hash: name(number).hash() };
            match ask(&Tcp, host.address(), message, Duration::from_secs(20)).await {
                Ok(PeerReply::Vnode(status)) => status,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(status(1).await, VnodeStatus::Active { waiting: 0 });
        assert_eq!(status(2).await, VnodeStatus::Dormant);
    }
}
