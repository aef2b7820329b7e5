//! Finds an election in a store, or founds it.

use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    format::{election::ElectionObject, keys},
    ids::Nonce,
};
use holocron_store::{Created, GaveUp, Patience, Store, create_once, get_until, list_until};
use tokio_util::sync::CancellationToken;

use super::JoinError;

/// Finds or founds an election; `store` begins at the election's root.
pub(super) struct Finder<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) patience: Patience,
    pub(super) stop: &'a CancellationToken,
}

/// An election and its `election` object.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) election: ElectionObject,
    pub(super) object: Bytes,
}

impl Finder<'_> {
    /// The election at the root. If there is none, founds `proposed`, unless something else is there.
    pub(super) async fn find_or_found(
        &self,
        proposed: ElectionObject,
        nonce: Nonce,
    ) -> Result<Found, JoinError> {
        if let Some(found) = self.find().await? {
            return Ok(found);
        }
        if self.get(keys::CLUSTER).await?.is_some() {
            return Err(JoinError::IsCluster);
        }
        let mut remains = 0;
        for prefix in [keys::EPOCHS, keys::EPOCH_MARKS] {
            let listed = list_until(&**self.store, prefix, self.patience, self.stop).await?;
            remains += listed.len();
        }
        if remains > 0 {
            // Another member may have founded it since, and these records are of this election.
            return self.find().await?.ok_or(JoinError::Remains { remains });
        }
        let object = proposed.encode(nonce);
        let created =
            create_once(self.store, keys::ELECTION, object.clone(), self.patience, self.stop).await;
        match created {
            Created::Won => Ok(Found { election: proposed, object }),
            Created::Lost(object) => decode(object),
            Created::Unknown => Err(GaveUp::Spent { last: None }.into()),
        }
    }

    async fn find(&self) -> Result<Option<Found>, JoinError> {
        self.get(keys::ELECTION).await?.map(decode).transpose()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, GaveUp> {
        get_until(&**self.store, key, self.patience, self.stop).await
    }
}

fn decode(object: Bytes) -> Result<Found, JoinError> {
    Ok(Found { election: ElectionObject::decode(keys::ELECTION, &object)?, object })
}
