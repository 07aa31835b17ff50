//! What a running call tells the one who waits for it, and how a call ended.

use bytes::Bytes;
use picasso_types::Failure;
use tokio::sync::mpsc;

use crate::invocation::BodyError;

/// The answer's head waits for this many bytes, or the end of the function.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Chunks of output between function and caller; bounds memory, makes a slow caller slow the function.
const CHUNKS_IN_FLIGHT: usize = 4;
/// What a running call tells the one who waits for it.
#[derive(Debug)]
pub enum Event {
    /// Output of the function.
    Output(Bytes),
    /// The function ended; nothing follows.
    Ended(End),
}

/// How a call ended and what is known of it.
#[derive(Debug, Clone)]
pub struct End {
    /// Why it failed; `None` for success.
    pub failure: Option<Failure>,
    /// The status that the function answered with, where its format has one.
    pub status: Option<u16>,
    /// The request body was the reason.
    pub body_error: Option<BodyError>,
    /// The end of stderr.
    pub stderr_tail: Vec<u8>,
    /// Exit code, where there was one.
    pub exit_code: Option<i32>,
    /// Most memory used, bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Whether a sandbox had to be started for it; `None` when it got to none.
    pub cold_start: Option<bool>,
    /// The function never started, or the platform failed: running it again is right.
    pub may_repeat: bool,
}

impl End {
    /// The end of a call that succeeded.
    pub fn success() -> Self {
        Self { failure: None, ..Self::of(Failure::Internal) }
    }

    /// The end of a call that failed for a reason of its own before or outside the sandbox.
    pub fn of(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            status: None,
            body_error: None,
            stderr_tail: Vec::new(),
            exit_code: None,
            memory_peak_bytes: None,
            cold_start: None,
            may_repeat: false,
        }
    }
}

/// The channel between a call and its caller.
pub fn channel() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(CHUNKS_IN_FLIGHT)
}
