//! What all clones of a client share: its routes, its request numbers, and whether it needs a newer view.

use core::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use holocron_protocol::{
    epoch::record::EpochRecord,
    format::keys,
    ids::{ClientId, ClusterId, Epoch},
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, futures::Notified},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    CallError, ClientParts, LocalHost, Views, connection::Connection,
    request_numbers::RequestNumbers, routes::Routes, view_watcher, watch::WATCHERS_MAX,
};
use crate::{
    api::random::Random,
    transport::{frame::Hello, net::Network, serve::View},
};

/// The first pause after a failure, in milliseconds; doubles with each further one.
const PAUSE_MIN_MS: u64 = 10;
/// The longest pause after a failure, in milliseconds.
const PAUSE_MAX_MS: u64 = 250;

/// Why a newer view is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// No newer view is wanted.
    Nothing,
    /// A host has named a newer epoch, whose record has not arrived yet.
    Announced,
    /// A caller may be blocked for lack of a newer view.
    Needed,
}

#[derive(Debug)]
pub(super) struct Shared {
    id: ClientId,
    pub(super) network: Arc<dyn Network>,
    pub(super) views: Option<Arc<dyn Views>>,
    pub(super) local: Option<LocalHost>,
    pub(super) numbers: RequestNumbers,
    pub(super) end: CancellationToken,
    seeds: Vec<String>,
    cluster: OnceLock<ClusterId>,
    random: Random,
    in_flight: Semaphore,
    watching: Semaphore,
    routes: RwLock<Arc<Routes>>,
    /// Held while a view is installed: one at a time.
    installing: Mutex<()>,
    /// The routes were replaced. Wakes callers in the order they began to wait.
    changed: Notify,
    /// The newest epoch that any answer named.
    newest_named: AtomicU64,
    /// Callers that may be blocked for lack of a newer view.
    blocked: AtomicUsize,
    /// Callers that wait for the first view.
    without_view: AtomicUsize,
    /// A newer view is wanted.
    wanted: Notify,
    /// The last obstacle to a newer view.
    obstacle: Mutex<String>,
    /// How the store was lost, if the last read of it showed that.
    store_lost: Mutex<Option<String>>,
}

impl Shared {
    /// Starts the client's tasks.
    pub(super) fn start(parts: ClientParts) -> Arc<Self> {
        let ClientParts { network, seeds, views, local, cluster, random, in_flight_max } = parts;
        let id = random.client();
        let shared = Arc::new(Self {
            id,
            network,
            views,
            local,
            numbers: RequestNumbers::new(id, in_flight_max),
            end: CancellationToken::new(),
            seeds,
            cluster: cluster.map_or_else(OnceLock::new, OnceLock::from),
            random,
            in_flight: Semaphore::new(in_flight_max),
            watching: Semaphore::new(WATCHERS_MAX),
            routes: RwLock::default(),
            installing: Mutex::default(),
            changed: Notify::new(),
            newest_named: AtomicU64::new(0),
            blocked: AtomicUsize::new(0),
            without_view: AtomicUsize::new(0),
            wanted: Notify::new(),
            obstacle: Mutex::new("no host was asked yet".into()),
            store_lost: Mutex::default(),
        });
        let seeds = &shared.seeds;
        let connections =
            seeds.iter().map(|seed| (seed.clone(), Connection::start(&shared, seed))).collect();
        shared.replace(Routes::to_seeds(connections));
        tokio::spawn(view_watcher::run(Arc::clone(&shared)));
        if let Some(local) = &shared.local {
            tokio::spawn(view_watcher::follow(Arc::clone(&shared), local.serve.views()));
        }
        shared
    }

    pub(super) fn id(&self) -> ClientId {
        self.id
    }

    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Completes at the next change of routes after this was called.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Installs a view if it is newer.
    pub(super) fn install(self: &Arc<Self>, view: View) {
        let _one = self.installing.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = self.routes();
        if view.record.epoch <= routes.epoch() {
            return;
        }
        tracing::debug!(client = %self.id, epoch = %view.record.epoch, "new view");
        let is_here = |name: &_| self.local.as_ref().is_some_and(|local| local.name == *name);
        let connect = |address: &str| Connection::start(self, address);
        self.replace(routes.of_view(view, is_here, &self.seeds, connect));
        self.changed.notify_waiters();
    }

    fn replace(&self, routes: Routes) {
        let old = {
            let mut current = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            core::mem::replace(&mut *current, Arc::new(routes))
        };
        // Connections that the view dropped close here, outside the lock.
        drop(old);
    }

    /// Installs a pushed record if it is newer.
    pub(super) fn install_pushed(self: &Arc<Self>, epoch: Epoch, stored: Bytes, from: &str) {
        if epoch <= self.routes().epoch() {
            return;
        }
        match EpochRecord::decode(&keys::epoch(epoch), &stored) {
            Ok(record) => self.install(View { record: Arc::new(record), stored }),
            Err(error) => {
                tracing::warn!(from, %error, "pushed epoch record can't be read; ignored");
            }
        }
    }

    /// Notes that an epoch exists.
    pub(super) fn note_epoch(&self, epoch: Epoch) {
        if epoch.get() > self.newest_named.load(Ordering::Relaxed) {
            self.newest_named.fetch_max(epoch.get(), Ordering::Relaxed);
            self.wanted.notify_one();
        }
    }

    /// The newest epoch known to exist, for calls to carry.
    pub(super) fn newest_epoch(&self, routes: &Routes) -> Epoch {
        routes.epoch().max(Epoch::new(self.newest_named.load(Ordering::Relaxed)))
    }

    /// Why a newer view is wanted.
    pub(super) fn want(&self) -> Want {
        let routes = self.routes();
        // Once there is a view, callers that waited for the first one are served, even if they have not looked yet.
        // Otherwise a client that only reads the view would begin to connect to hosts, and end in the middle of that.
        let without_view = routes.view().is_none() && self.without_view.load(Ordering::Relaxed) > 0;
        if without_view || self.blocked.load(Ordering::Relaxed) > 0 {
            return Want::Needed;
        }
        let is_announced = self.newest_named.load(Ordering::Relaxed) > routes.epoch().get();
        if is_announced { Want::Announced } else { Want::Nothing }
    }

    /// Completes when a newer view may be wanted.
    pub(super) fn wanted(&self) -> Notified<'_> {
        self.wanted.notified()
    }

    /// While the returned value lives, the client looks for a newer view.
    pub(super) fn need_view(&self) -> ViewNeed<'_> {
        self.counted(&self.blocked)
    }

    fn counted<'a>(&'a self, count: &'a AtomicUsize) -> ViewNeed<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        self.wanted.notify_one();
        ViewNeed(count)
    }

    /// The first view, once there is one.
    pub(super) async fn first_view(&self) -> View {
        let _need = self.counted(&self.without_view);
        loop {
            let changed = self.changed();
            if let Some(view) = self.routes().view() {
                return view.clone();
            }
            changed.await;
        }
    }

    /// Room for one more call.
    pub(super) async fn admit(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, CallError> {
        if let Ok(permit) = self.in_flight.try_acquire() {
            return Ok(permit);
        }
        let permit = timeout_at(deadline, self.in_flight.acquire()).await;
        Ok(permit.map_err(|_elapsed| CallError::Busy)?.expect("never closed"))
    }

    /// Room for one more watcher.
    pub(super) async fn admit_watcher(
        &self,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, CallError> {
        let permit = timeout_at(deadline, self.watching.acquire()).await;
        Ok(permit.map_err(|_elapsed| CallError::Busy)?.expect("never closed"))
    }

    /// How long to pause after so many failures in a row.
    pub(super) fn back_off(&self, failures: u32) -> Duration {
        let doubled = PAUSE_MIN_MS << failures.saturating_sub(1).min(10);
        self.jittered(Duration::from_millis(doubled.min(PAUSE_MAX_MS)))
    }

    /// A random duration between half of `span` and all of it.
    pub(super) fn jittered(&self, span: Duration) -> Duration {
        let micros = u64::try_from(span.as_micros()).expect("a pause is short");
        Duration::from_micros(micros / 2 + self.random.below(micros / 2 + 1))
    }

    /// A number below `end`, or zero.
    pub(super) fn below(&self, end: usize) -> usize {
        usize::try_from(self.random.below(end as u64)).expect("below a usize")
    }

    pub(super) fn hello(&self) -> Hello {
        Hello { cluster: self.cluster.get().copied(), who: format!("client {}", self.id) }
    }

    /// Notes the cluster of the first host reached; from then on, hosts of other clusters refuse the client.
    pub(super) fn note_cluster(&self, cluster: ClusterId) {
        self.cluster.get_or_init(|| cluster);
    }

    /// The last obstacle to a newer view.
    pub(super) fn obstacle(&self) -> String {
        let last = || self.obstacle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.store_lost().unwrap_or_else(last)
    }

    /// How the store was lost, if it was. Then hosts are not expected to help.
    pub(super) fn store_lost(&self) -> Option<String> {
        self.store_lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_store_lost(&self, why: Option<String>) {
        *self.store_lost.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(super) fn set_obstacle(&self, why: String) {
        *self.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// Counts a caller that needs a newer view, until dropped.
#[derive(Debug)]
pub(super) struct ViewNeed<'a>(&'a AtomicUsize);

impl Drop for ViewNeed<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
