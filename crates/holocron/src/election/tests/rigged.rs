//! A store and a clock that do what a test arranges, at a moment that no outside timing would meet.

use core::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use holocron_protocol::{format::keys, time::Time};
use holocron_store::{Error, Listed};

use super::{Arc, Clock, Duration, Store, TokioClock};

/// A clock that can jump: to a member it looks like a pause of its process.
#[derive(Debug)]
pub(super) struct Jumping {
    steady: TokioClock,
    ahead_ms: AtomicU64,
}

impl Jumping {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { steady: TokioClock::new(), ahead_ms: AtomicU64::new(0) })
    }

    fn jump(&self, by: Duration) {
        self.ahead_ms.fetch_add(by.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Jumping {
    fn now(&self) -> Time {
        self.steady.now() + Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        self.steady.wall_ms()
    }
}

/// A store that can be told to refuse lists of epochs, and to pause a member.
#[derive(Debug)]
pub(super) struct Rigged {
    inner: Arc<dyn Store>,
    clock: Arc<Jumping>,
    refuses_lists: AtomicBool,
    pause: Mutex<Option<Duration>>,
    last_hint: Mutex<Option<Bytes>>,
}

impl Rigged {
    pub(super) fn new(inner: &Arc<dyn Store>, clock: &Arc<Jumping>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            clock: Arc::clone(clock),
            refuses_lists: AtomicBool::new(false),
            pause: Mutex::new(None),
            last_hint: Mutex::new(None),
        })
    }

    /// From now on every list of the epochs is refused, as one that is too long.
    pub(super) fn refuse_lists(&self) {
        self.refuses_lists.store(true, Ordering::Relaxed);
    }

    /// The member is paused when it has read the leader's hint next, which has not moved, before it takes the answer.
    pub(super) fn pause_at_hint(&self, pause: Duration) {
        *self.pause.lock().unwrap() = Some(pause);
    }

    pub(super) fn has_paused(&self) -> bool {
        self.pause.lock().unwrap().is_none()
    }
}

#[async_trait]
impl Store for Rigged {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.inner.create(key, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.inner.put(key, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let got = self.inner.get(key).await?;
        if !key.ends_with(keys::LEADER_HINT) {
            return Ok(got);
        }
        let mut last = self.last_hint.lock().unwrap();
        match self.pause.lock().unwrap().take() {
            Some(pause) => self.clock.jump(pause),
            None => *last = got,
        }
        Ok(last.clone())
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.inner.get_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        if self.refuses_lists.load(Ordering::Relaxed) && prefix.ends_with(keys::EPOCHS) {
            return Err(Error::Rejected {
                key: prefix.to_owned(),
                source: "too many objects".into(),
            });
        }
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).await
    }
}
