//! Copies objects from store to store, many small ones or few large ones at a time.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use holocron_store::{Created, GaveUp, Store, create_once, get_until};
use tokio_util::sync::CancellationToken;

use super::{BackupError, Progress, snapshot::patience};

/// Objects from this length on are copied few at a time: a pack may have 64 MiB.
const LARGE: u64 = 1 << 20;
const SMALL_MAX: usize = 32;
const LARGE_MAX: usize = 2;

/// What became of one object.
pub(super) enum Copied {
    /// It is at the target.
    There(String, Bytes),
    /// It is gone at the source.
    Missing(String),
}

/// Copies objects of a store under the same keys. `done` sees each.
pub(super) async fn copy(
    from: &dyn Store,
    to: &Arc<dyn Store>,
    keys: impl Iterator<Item = (String, u64)>,
    progress: &Progress,
    mut done: impl FnMut(Copied),
) -> Result<(), BackupError> {
    let (large, small): (Vec<_>, Vec<_>) = keys.partition(|(_, len)| *len >= LARGE);
    progress.objects_known.fetch_add((large.len() + small.len()) as u64, Ordering::Relaxed);
    for (keys, at_a_time) in [(small, SMALL_MAX), (large, LARGE_MAX)] {
        let mut copying =
            stream::iter(keys).map(|(key, _)| copy_one(from, to, key)).buffered(at_a_time);
        while let Some(copied) = copying.try_next().await? {
            if let Copied::There(_, object) = &copied {
                progress.objects.fetch_add(1, Ordering::Relaxed);
                progress.bytes.fetch_add(object.len() as u64, Ordering::Relaxed);
            }
            done(copied);
        }
    }
    Ok(())
}

async fn copy_one(
    from: &dyn Store,
    to: &Arc<dyn Store>,
    key: String,
) -> Result<Copied, BackupError> {
    let stop = CancellationToken::new();
    let Some(object) = get_until(from, &key, patience(), &stop).await? else {
        return Ok(Copied::Missing(key));
    };
    create(to, &key, object.clone()).await?;
    Ok(Copied::There(key, object))
}

/// Creates an object, or finds that it is there already.
pub(super) async fn create(
    to: &Arc<dyn Store>,
    key: &str,
    object: Bytes,
) -> Result<(), BackupError> {
    match create_once(to, key, object, patience(), &CancellationToken::new()).await {
        Created::Won => Ok(()),
        Created::Lost(_) => Err(BackupError::Object {
            key: key.to_owned(),
            why: "another object of this name is there already".to_owned(),
        }),
        Created::Unknown => Err(GaveUp::Spent { last: None }.into()),
    }
}
