//! The connections to one function: one for each call, the next opened ahead.

use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picasso_sandbox::FolderSocket;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::formats::exchange::Stream;

/// How long a connection that was opened ahead is good for. Servers of several FDKs end a
/// connection that carries no request for a minute, some with an answer to nothing.
const FRESH: Duration = Duration::from_secs(5);

/// Why there is no connection for a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoConnection {
    /// The function wrote to it before it was asked anything.
    Spoke,
    /// The function takes no connections any more.
    Unreachable,
}

/// Opens connections to one function.
#[derive(Debug)]
pub(super) struct Connections {
    socket: FolderSocket,
    next: Mutex<Option<Next>>,
}

#[derive(Debug)]
struct Next {
    stream: UnixStream,
    opened: Instant,
}

impl Connections {
    /// Connections to `socket`, of which `first` is there already.
    pub(super) fn new(socket: FolderSocket, first: UnixStream) -> Self {
        let connections = Self { socket, next: Mutex::new(None) };
        connections.put_back(first);
        connections
    }

    /// A connection that nothing was ever sent over.
    pub(super) async fn take(&self) -> Result<UnixStream, NoConnection> {
        let next = self.next().take();
        if let Some(Next { stream, opened }) = next {
            let is_fresh = opened.elapsed() < FRESH;
            match stream.peek(&mut [0]) {
                Ok(read) if read > 0 && (is_fresh || !ended(&stream)) => return Err(NoConnection::Spoke),
                Err(error) if is_fresh && error.kind() == ErrorKind::WouldBlock => return Ok(stream),
                // Closed by its server, or about to be.
                _ => {}
            }
        }
        self.socket.connect().await.map_err(|_| NoConnection::Unreachable)
    }

    /// Gives back a connection that nothing was sent over.
    pub(super) fn put_back(&self, stream: UnixStream) {
        *self.next() = Some(Next { stream, opened: Instant::now() });
    }

    /// Opens the connection of the next call. Where that fails, the next call finds out.
    pub(super) async fn open_next(&self) {
        if let Ok(stream) = self.socket.connect().await {
            self.put_back(stream);
        }
    }

    fn next(&self) -> MutexGuard<'_, Option<Next>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a server that said something has closed the connection behind it: it has given up a
/// connection that carried no request, in the words of HTTP.
fn ended(stream: &UnixStream) -> bool {
    let mut words = [0; 4096];
    let mut left = 16;
    while left > 0 {
        match stream.try_read(&mut words) {
            Ok(0) => return true,
            Ok(_) => left -= 1,
            Err(_) => return false,
        }
    }
    false
}
