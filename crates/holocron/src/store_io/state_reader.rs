//! Reading single states from the store.

use holocron_protocol::{
    ids::VnodeHash,
    journal::batch::StateRecord,
    state::place::{FileId, Place},
};
use holocron_store::{GaveUp, Patience, Store, get_range_until};
use tokio_util::sync::CancellationToken;

/// Why a stored state can't be loaded.
#[derive(Clone, Debug)]
pub(crate) enum Unloadable {
    /// It exists, but this host can't read it.
    Unreadable(String),
    /// The session ended meanwhile.
    Over,
}

/// A state record in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) file: FileId,
    pub(crate) hash: VnodeHash,
    pub(crate) place: Place,
}

impl Located {
    /// Reads it by one ranged get; `None` when the object is gone.
    pub(crate) async fn read(
        &self,
        store: &dyn Store,
        patience: Patience,
        stop: &CancellationToken,
    ) -> Result<Option<StateRecord>, Unloadable> {
        let key = self.file.key();
        let begin = u64::from(self.place.offset);
        let range = begin..begin + u64::from(self.place.length);
        match get_range_until(store, &key, range, patience, stop).await {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => self
                .place
                .open(&key, self.hash, &bytes)
                .map(Some)
                .map_err(|malformed| Unloadable::Unreadable(malformed.to_string())),
            Err(GaveUp::Stopped | GaveUp::Spent { .. }) => Err(Unloadable::Over),
            Err(GaveUp::Rejected(error)) => {
                Err(Unloadable::Unreadable(format!("{key}: {}", holocron_store::explain(&error))))
            }
        }
    }
}
