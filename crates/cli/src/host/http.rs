//! The HTTP gateway of `holocron host`.

use core::net::SocketAddr;

use holocron::Host;
use holocron_gateway::{Gateway, ServeSettings, serve};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::exit::{Fail, Failure};

/// A gateway that serves.
pub(super) struct Http {
    pub(super) address: SocketAddr,
    ends: CancellationToken,
    serving: JoinHandle<()>,
}

impl Http {
    /// Begins to serve the host's gateway.
    pub(super) async fn start(host: &Host, address: &str) -> Result<Self, Fail> {
        let unusable = |error: std::io::Error| {
            Fail::new(Failure::Usage, format!("can't serve HTTP at {address}: {error}"))
        };
        let listener = TcpListener::bind(address).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let (gateway, ends) = (Gateway::of_host(host).build(), CancellationToken::new());
        let told = ends.clone();
        let serving = tokio::spawn(async move {
            serve(listener, gateway, ServeSettings::default(), told.cancelled()).await;
        });
        Ok(Self { address, ends, serving })
    }

    /// Accepts nothing more, and waits until requests under way are answered; for a bounded time.
    pub(super) async fn end(self) {
        self.ends.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the HTTP gateway panicked");
        }
    }
}
