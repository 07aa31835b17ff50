//! SIGTERM and SIGINT: the first asks, the second insists. SIGHUP asks to read files again.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::ServerFailure;

/// Listens for SIGHUP from now on.
pub(super) fn hangups() -> Result<Signal, ServerFailure> {
    signal(SignalKind::hangup())
        .map_err(|error| ServerFailure::new("cannot listen for signals").because(error))
}

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
