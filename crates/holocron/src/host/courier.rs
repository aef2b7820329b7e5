//! Carries messages of this host's vnodes, with a client of its own that begins with the first message.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;

use super::shared::Shared;
use crate::{
    api::{
        call::Answer,
        courier::{Courier, Parcel},
    },
    client::Client,
};

/// The courier of one session.
#[derive(Debug)]
pub(crate) struct HostCourier {
    /// Weak, because the host has the session that has the courier.
    host: Weak<Shared>,
    client: OnceLock<Client>,
}

impl HostCourier {
    pub(crate) fn new(host: &Arc<Shared>) -> Self {
        Self { host: Arc::downgrade(host), client: OnceLock::new() }
    }
}

#[async_trait]
impl Courier for HostCourier {
    async fn deliver(&self, parcel: Parcel) -> Option<Answer> {
        let host = self.host.upgrade()?;
        let client = self.client.get_or_init(|| host.client());
        drop(host);
        if client.view().is_none() && client.ready().await.is_err() {
            return None;
        }
        client.attempt(parcel).await
    }
}
