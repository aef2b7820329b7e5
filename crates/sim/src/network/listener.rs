//! A node that listens for connections.

use core::fmt;
use std::io;

use async_trait::async_trait;
use holocron::net::{Arrival, Listener, Stream};
use tokio::sync::mpsc;

use super::{End, Wire};

/// A listener of a node; dropping it closes it.
pub(super) struct SimListener {
    pub(super) wire: Wire,
    pub(super) address: String,
    pub(super) accepts: tokio::sync::Mutex<mpsc::UnboundedReceiver<(u64, u64, String)>>,
}

impl fmt::Debug for SimListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimListener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.wire.state().listeners.remove(&self.address);
    }
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&self) -> io::Result<Arrival> {
        let arrival = self.accepts.lock().await.recv().await;
        let (there, back, from) =
            arrival.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        let stream = Stream::new(
            End { wire: self.wire.clone(), pipe: there },
            End { wire: self.wire.clone(), pipe: back },
        );
        Ok(Arrival::open_already(from, stream))
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}
