//! The signals that stop a process.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Fail;

/// SIGTERM and SIGINT; both mean the same.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches the signals: from now on they don't end the process.
    pub(crate) fn new() -> Result<Self, Fail> {
        let listen = |kind| {
            signal(kind).map_err(|error| Fail::failed(format!("can't listen to signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        let came = tokio::select! {
            biased;
            came = self.terminate.recv() => came,
            came = self.interrupt.recv() => came,
        };
        if came.is_none() {
            // The signal streams are closed: no signal will arrive.
            pending::<()>().await;
        }
    }
}
