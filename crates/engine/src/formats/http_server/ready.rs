//! Waiting for a starting server to take connections.

use std::io::ErrorKind;
use std::time::Duration;

use picasso_sandbox::Dialer;
use picasso_types::Failure;
use tokio::time::{Instant, sleep_until};

/// Shortest and longest pause between two attempts: nothing tells of the moment at which a
/// process begins to listen on a port.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Connects until something listens. The connection is closed again without a word: a server may
/// give one that carries no request up, so the first call opens its own.
pub(super) async fn wait(dialer: &Dialer, port: u16, within: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + within;
    let mut pause = PAUSES.0;
    loop {
        match tokio::time::timeout_at(deadline, dialer.connect()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "connecting into a sandbox failed");
                return Err(Failure::Internal);
            }
            Err(_) => return Err(too_late(port, within)),
        }
        let next = Instant::now() + pause;
        if next >= deadline {
            return Err(too_late(port, within));
        }
        sleep_until(next).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

fn too_late(port: u16, within: Duration) -> Failure {
    let seconds = within.as_secs_f32();
    Failure::InitFailed { reason: format!("it did not listen on 0.0.0.0:{port} ($PORT) within {seconds} s") }
}
