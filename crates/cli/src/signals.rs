//! What tells a process to end.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Fail;

/// SIGTERM and SIGINT, which mean the same.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they don't end the process.
    pub(crate) fn new() -> Result<Self, Fail> {
        let listen = |kind| {
            signal(kind).map_err(|error| Fail::failed(format!("can't listen to signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        let came = tokio::select! {
            biased;
            came = self.terminate.recv() => came,
            came = self.interrupt.recv() => came,
        };
        if came.is_none() {
            // No more signals can come: nobody will tell.
            pending::<()>().await;
        }
    }
}
