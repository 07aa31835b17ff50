//! Closing a connection whose request was answered before it was read whole.
//!
//! A socket closed with unread bytes resets the connection, and the reset can overtake the
//! answer: the sender of a large upload would see a broken pipe instead of its 401 or 413. So
//! our side is closed first and what still comes is thrown away for a moment (RFC 9112, 9.6).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

/// The longest that a peer may take to see the answer and stop.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that is thrown away.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The moment between our close and the end.
#[derive(Debug)]
pub(crate) struct Linger {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Linger {
    pub(crate) fn begin() -> Self {
        Self { until: Box::pin(tokio::time::sleep(PATIENCE)), left: MAX_BYTES }
    }

    /// Throws away what comes until the peer closes, the moment is over, or it was too much.
    pub(crate) fn poll<L: AsyncRead + Unpin>(
        &mut self,
        link: &mut L,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut waste = [0; 16 * 1024];
        while self.left > 0 {
            if self.until.as_mut().poll(context).is_ready() {
                break;
            }
            let mut buffer = ReadBuf::new(&mut waste);
            // A peer that is gone is what was waited for.
            if ready!(Pin::new(&mut *link).poll_read(context, &mut buffer)).is_err() {
                break;
            }
            match buffer.filled().len() {
                0 => break,
                read => self.left = self.left.saturating_sub(read),
            }
        }
        Poll::Ready(Ok(()))
    }
}
