//! Checks that the store is still the one that the cluster lives in: carries out
//! [`holocron_protocol::control::loss`].
//!
//! A look is one get in parallel with the request that an answer waits for anyway, so it adds no round trip. A lost
//! store stays lost: the host stops, and neither reads nor writes the store any more.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    control::loss::{Doubt, Look, StoreState},
    format::keys,
    ids::{Epoch, Position, Segment, SessionId},
};
use holocron_store::{GaveUp, Patience, Store, get_range_until, get_until};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{api::clock::Clock, planted};

/// The pause between two looks for a missing object.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Bytes that a look reads of a batch: it only has to exist.
const LOOK_LEN: u64 = 32;

/// The `cluster` object is of another cluster.
pub(crate) const FOREIGN: &str = "the store is lost: it holds another cluster where this one was";
/// There is no `cluster` object.
pub(crate) const EMPTIED: &str = "the store is lost: the `cluster` object is missing. The bucket or directory was \
                                  emptied, recreated, or replaced";

/// The store of a domain holds another domain's object.
const FOREIGN_DOMAIN: &str =
    "the domain's store is lost: it holds another domain where this one was";
/// There is no `domain` object.
const EMPTIED_DOMAIN: &str = "the domain's store is lost: the `domain` object is missing. The bucket or directory was \
                              emptied, recreated, or replaced";

/// The object that says whose store it is. It never changes.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// The `cluster` object of the home domain.
    Cluster(Bytes),
    /// The `domain` object of another domain.
    Domain(Bytes),
}

impl Identity {
    const fn key(&self) -> &'static str {
        match self {
            Self::Cluster(_) => keys::CLUSTER,
            Self::Domain(_) => keys::DOMAIN,
        }
    }

    const fn object(&self) -> &Bytes {
        match self {
            Self::Cluster(object) | Self::Domain(object) => object,
        }
    }

    fn look(&self, found: Option<&[u8]>) -> Look {
        match self {
            Self::Cluster(ours) => Look::at_cluster(ours, found),
            Self::Domain(ours) => Look::at_domain(ours, found),
        }
    }

    const fn foreign(&self) -> &'static str {
        match self {
            Self::Cluster(_) => FOREIGN,
            Self::Domain(_) => FOREIGN_DOMAIN,
        }
    }

    const fn emptied(&self) -> &'static str {
        match self {
            Self::Cluster(_) => EMPTIED,
            Self::Domain(_) => EMPTIED_DOMAIN,
        }
    }
}

/// The object that a look reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// The `cluster` object, as it was when the host started; of another domain, the `domain` object.
    Cluster,
    /// A committed batch of this host's session.
    Batch(SessionId, Position),
    /// The newest epoch this host knows; the mark of its segment serves as well.
    Epoch(Epoch, Segment),
}

/// Why a look doesn't confirm that the store is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSame {
    /// The session is over, or the host is stopping: the state of the store is unknown.
    SessionOver,
    /// The store is lost; [`LossWatch::why`] says how.
    Lost,
}

/// Watches for the loss of a host's store.
#[derive(Debug)]
pub(crate) struct LossWatch {
    store: Arc<dyn Store>,
    identity: Identity,
    clock: Arc<dyn Clock>,
    patience: Patience,
    lost: watch::Sender<Option<String>>,
    /// How many looks miss their object at the moment.
    doubts: watch::Sender<u32>,
}

/// Counts a look that misses its object, until dropped.
struct CountedDoubt<'a>(&'a watch::Sender<u32>);

impl<'a> CountedDoubt<'a> {
    fn begin(doubts: &'a watch::Sender<u32>) -> Self {
        doubts.send_modify(|doubts| *doubts += 1);
        Self(doubts)
    }
}

impl Drop for CountedDoubt<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|doubts| *doubts -= 1);
    }
}

impl LossWatch {
    /// A watch over a store in which `identity` was found. One try of a request takes at most `try_timeout`.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        identity: Identity,
        clock: Arc<dyn Clock>,
        try_timeout: Duration,
    ) -> Self {
        let patience = Patience { try_timeout, ..Patience::forever() };
        let (lost, doubts) = (watch::Sender::new(None), watch::Sender::new(0));
        Self { store, identity, clock, patience, lost, doubts }
    }

    /// How the store was lost, if it was.
    pub(crate) fn why(&self) -> Option<String> {
        self.lost.borrow().clone()
    }

    /// Completes when the store is lost.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        let why = lost.wait_for(Option::is_some).await.expect("the sender is in self").clone();
        why.expect("it was waited for")
    }

    /// Completes when a look that began after this call has found its object, and no other look misses one. `object`
    /// is called for each look: a witness of a moment ago may be trimmed by now.
    pub(crate) async fn confirm(
        &self,
        mut object: impl FnMut() -> Object,
        stop: &CancellationToken,
    ) -> Result<(), NotSame> {
        if planted::skip_witness() {
            return Ok(());
        }
        let (mut doubt, mut counted) = (Doubt::default(), None);
        loop {
            if self.lost.borrow().is_some() {
                return Err(NotSame::Lost);
            }
            let object = object();
            let look = self.look(object, stop).await.map_err(|_stopped| NotSame::SessionOver)?;
            // The time of the answer: a look may have waited for an unavailable store.
            match doubt.looked(self.clock.now(), look) {
                StoreState::Same => {
                    drop(counted);
                    return self.until_no_doubt(stop).await;
                }
                StoreState::SessionOver => return Err(NotSame::SessionOver),
                StoreState::Doubtful => {
                    if counted.is_none() {
                        tracing::warn!(
                            ?object,
                            "object is missing in the store; answers wait until it is found"
                        );
                        counted = Some(CountedDoubt::begin(&self.doubts));
                    }
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return Err(NotSame::SessionOver),
                        () = tokio::time::sleep(LOOK_PAUSE) => {}
                    }
                }
                StoreState::Lost => {
                    let why = self.explain(object, stop).await;
                    self.lost.send_if_modified(|lost| {
                        let first = lost.is_none();
                        lost.get_or_insert(why);
                        first
                    });
                    return Err(NotSame::Lost);
                }
            }
        }
    }

    /// Waits until no look misses its object any more, or the store is lost.
    async fn until_no_doubt(&self, stop: &CancellationToken) -> Result<(), NotSame> {
        if *self.doubts.borrow() > 0 {
            let mut doubts = self.doubts.subscribe();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(NotSame::SessionOver),
                _ = self.lost() => {}
                _ = doubts.wait_for(|doubts| *doubts == 0) => {}
            }
        }
        if self.lost.borrow().is_some() { Err(NotSame::Lost) } else { Ok(()) }
    }

    async fn look(&self, object: Object, stop: &CancellationToken) -> Result<Look, GaveUp> {
        match object {
            Object::Cluster => {
                let found = self.get(self.identity.key(), stop).await?;
                let look = self.identity.look(found.as_deref());
                if look == Look::There && found.as_ref() != Some(self.identity.object()) {
                    tracing::error!(
                        key = self.identity.key(),
                        "object is damaged; hosts that start now will stop"
                    );
                }
                Ok(look)
            }
            Object::Batch(session, position) => {
                let key = keys::journal_position(session, position);
                if self.exists(&key, stop).await? {
                    Ok(Look::There)
                } else if self.get(&keys::end_mark(session), stop).await?.is_some() {
                    Ok(Look::Detached)
                } else {
                    Ok(Look::Missing)
                }
            }
            Object::Epoch(epoch, segment) => {
                let found = self.exists(&keys::epoch(epoch), stop).await?
                    // The epoch log may have been trimmed while this host slept.
                    || self.get(&keys::epoch_mark(segment), stop).await?.is_some();
                Ok(if found { Look::There } else { Look::Missing })
            }
        }
    }

    async fn get(&self, key: &str, stop: &CancellationToken) -> Result<Option<Bytes>, GaveUp> {
        get_until(&*self.store, key, self.patience, stop).await
    }

    async fn exists(&self, key: &str, stop: &CancellationToken) -> Result<bool, GaveUp> {
        match get_range_until(&*self.store, key, 0..LOOK_LEN, self.patience, stop).await {
            Ok(found) => Ok(found.is_some()),
            // A damaged object is another fault than a lost store.
            Err(GaveUp::Rejected(_)) => Ok(true),
            Err(gave_up) => Err(gave_up),
        }
    }

    /// The reason, for the operator.
    async fn explain(&self, object: Object, stop: &CancellationToken) -> String {
        let key = match object {
            Object::Cluster => self.identity.key().to_owned(),
            Object::Batch(session, position) => keys::journal_position(session, position),
            Object::Epoch(epoch, _) => keys::epoch(epoch),
        };
        match self.look(Object::Cluster, stop).await {
            Ok(Look::Foreign) => self.identity.foreign().to_owned(),
            Ok(Look::Missing) => self.identity.emptied().to_owned(),
            Ok(Look::There | Look::Detached) | Err(_) => format!(
                "the store is lost: {key} is missing, though it was committed. An older copy was restored, or it was \
                 deleted"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::{
        epoch::domain::DomainStore,
        format::cluster::Cluster,
        ids::{ClusterId, Nonce, StoreId},
    };
    use holocron_store::Memory;

    use super::*;
    use crate::api::clock::TokioClock;

    const SESSION: SessionId = SessionId::new(7);

    fn cluster(id: u128) -> Bytes {
        Cluster::new(ClusterId::new(id)).encode(Nonce::new(1))
    }

    /// A watch over a store that holds its cluster object and one batch.
    async fn watch() -> (Arc<dyn Store>, LossWatch) {
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        store.put(keys::CLUSTER, cluster(1)).await.unwrap();
        store.put(&batch_key(1), Bytes::from(vec![0; 64])).await.unwrap();
        let clock = Arc::new(TokioClock::new());
        let of = Arc::clone(&store);
        (store, LossWatch::new(of, Identity::Cluster(cluster(1)), clock, Duration::from_secs(5)))
    }

    fn batch_key(position: u64) -> String {
        keys::journal_position(SESSION, Position::new(position))
    }

    async fn look(watch: &LossWatch, object: Object) -> Result<(), NotSame> {
        watch.confirm(|| object, &CancellationToken::new()).await
    }

    const fn batch(position: u64) -> Object {
        Object::Batch(SESSION, Position::new(position))
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_is_found_confirms_the_store() {
        let (_store, watch) = watch().await;
        for object in [Object::Cluster, batch(1)] {
            assert_eq!(look(&watch, object).await, Ok(()));
        }
        assert_eq!(watch.why(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_is_permanently_lost_when_an_object_is_missing_for_long() {
        let (store, watch) = watch().await;
        store.delete(&batch_key(1)).await.unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(look(&watch, batch(1)).await, Err(NotSame::Lost));
        assert!(began.elapsed() >= holocron_protocol::control::loss::DOUBT_MIN);
        assert!(watch.why().unwrap().contains(&batch_key(1)), "{:?}", watch.why());
        assert_eq!(look(&watch, Object::Cluster).await, Err(NotSame::Lost), "permanently");
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_look_misses_its_object_no_other_confirms_the_store() {
        let (store, watch) = watch().await;
        store.delete(&batch_key(1)).await.unwrap();
        let misses = look(&watch, batch(1));
        let finds = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let began = tokio::time::Instant::now();
            (look(&watch, Object::Cluster).await, began.elapsed())
        };
        let brings_back = async {
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            store.put(&batch_key(1), Bytes::from(vec![0; 64])).await.unwrap();
        };
        let (missed, (found, waited), ()) = tokio::join!(misses, finds, brings_back);
        assert_eq!((missed, found), (Ok(()), Ok(())), "it was missing for a moment only");
        assert!(waited >= Duration::from_millis(600), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_cluster_is_a_lost_store_at_once_and_a_damaged_object_is_not() {
        let (store, watch) = watch().await;
        store.put(keys::CLUSTER, Bytes::from_static(b"{ damaged")).await.unwrap();
        assert_eq!(look(&watch, Object::Cluster).await, Ok(()));
        store.put(keys::CLUSTER, cluster(2)).await.unwrap();
        assert_eq!(look(&watch, Object::Cluster).await, Err(NotSame::Lost));
        assert!(watch.why().unwrap().contains("another cluster"), "{:?}", watch.why());
    }

    #[tokio::test(start_paused = true)]
    async fn a_domains_store_is_lost_with_its_own_object() {
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let object = |store| {
            let (cluster, store) = (ClusterId::new(1), StoreId::new(store));
            DomainStore { cluster, name: "acme".to_owned(), store }.encode(Nonce::new(1))
        };
        store.put(keys::DOMAIN, object(7)).await.unwrap();
        let watch = || {
            let (of, clock) = (Arc::clone(&store), Arc::new(TokioClock::new()));
            LossWatch::new(of, Identity::Domain(object(7)), clock, Duration::from_secs(5))
        };
        let (same, other, emptied) = (watch(), watch(), watch());
        assert_eq!(look(&same, Object::Cluster).await, Ok(()));
        store.put(keys::DOMAIN, object(8)).await.unwrap();
        assert_eq!(look(&other, Object::Cluster).await, Err(NotSame::Lost));
        assert!(other.why().unwrap().contains("another domain"), "{:?}", other.why());
        store.delete(keys::DOMAIN).await.unwrap();
        assert_eq!(look(&emptied, Object::Cluster).await, Err(NotSame::Lost));
        assert!(emptied.why().unwrap().contains("`domain` object"), "{:?}", emptied.why());
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_for_a_trimmed_batch_is_followed_by_one_for_the_current_witness() {
        let (_store, watch) = watch().await;
        let mut trimmed = [batch(9), batch(1)].into_iter();
        let object = || trimmed.next().expect("two looks");
        assert_eq!(watch.confirm(object, &CancellationToken::new()).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_was_deleted_is_over_and_the_store_is_not_lost() {
        let (store, watch) = watch().await;
        store.put(&keys::end_mark(SESSION), Bytes::from_static(b"mark")).await.unwrap();
        assert_eq!(look(&watch, batch(9)).await, Err(NotSame::SessionOver));
        assert_eq!(watch.why(), None);
    }
}
