//! SIGTERM and SIGINT: the first asks, the second insists.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::ServerFailure;

/// The signals that end a server.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, ServerFailure> {
        let listen = |kind| {
            signal(kind).map_err(|error| ServerFailure::new("cannot listen for signals").because(error))
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
