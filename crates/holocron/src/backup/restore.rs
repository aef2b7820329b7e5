//! Making a snapshot a cluster of its own.

use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::{
    format::keys,
    ids::{ClusterId, Epoch},
};
use holocron_store::{Store, list_until};
use tokio_util::sync::CancellationToken;

use super::{
    BackupError, Progress, Snapshot,
    copy::{Copied, copy, create},
    snapshot::{check, patience},
    view::{CutView, Known},
};

/// A cluster that was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its id.
    pub cluster: ClusterId,
    /// Its newest epoch, which says that no host is there.
    pub epoch: Epoch,
    /// The number of its objects.
    pub objects: u64,
}

/// Copies a snapshot to an empty store, where it becomes a cluster of its own: a host that starts there recovers what was
/// committed at the moment of the cut. Effects that were asked for and not done then are run there, too.
///
/// The object that makes it a cluster is written last: a copy that was interrupted is no cluster, and no host starts in it. Delete it and
/// restore again.
///
/// # Errors
///
/// [`BackupError`]; the store isn't a cluster then.
pub async fn restore(
    snapshot: &Snapshot,
    to: Arc<dyn Store>,
    progress: Arc<Progress>,
) -> Result<Restored, BackupError> {
    let there = list_until(&*to, "", patience(), &CancellationToken::new()).await?;
    if let Some(object) = there.first() {
        return Err(BackupError::NotEmpty(object.key.clone()));
    }
    let view = &snapshot.view;
    let but_last = view.all().filter(|(key, _)| *key != keys::CLUSTER);
    let but_last = but_last.map(|(key, len)| (key.clone(), len));
    let mut missing = None;
    copy(&**view, &to, but_last, &progress, |copied| {
        if let Copied::Missing(key) = copied {
            missing.get_or_insert(key);
        }
    })
    .await?;
    if let Some(key) = missing {
        return Err(BackupError::Object { key, why: "missing in the backup".to_owned() });
    }
    let cluster = view.ending[keys::CLUSTER].clone();
    // As it will be with the last object.
    let copied = CutView {
        from: Arc::clone(&to),
        objects: view
            .all()
            .map(|(key, len)| (key.clone(), Known { len, checksum: None }))
            .collect(),
        ending: BTreeMap::from([(keys::CLUSTER.to_owned(), cluster.clone())]),
    };
    let objects = copied.objects.len() as u64;
    let report = check(Arc::new(copied)).await?;
    create(&to, keys::CLUSTER, cluster).await?;
    Ok(Restored { cluster: snapshot.becomes(), epoch: report.epoch, objects })
}
