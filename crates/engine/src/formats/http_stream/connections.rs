//! The connections to one function.
//!
//! A connection whose answer is complete rests before it is used again, so that what a function
//! says too much - a second answer, a body longer than announced - is found on a connection that
//! nobody listens to: the sandbox is then given up, and from that moment no connection to this
//! version of the function is ever used twice.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picasso_sandbox::FolderSocket;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::formats::exchange::{Home, Stream};
use crate::hot::conduct::Conduct;

/// How long a connection that was opened ahead is good for. Servers of several FDKs end a
/// connection that carries no request for a minute, some with an answer to nothing.
const FRESH: Duration = Duration::from_secs(5);
/// A connection rests until the function has given so many answers over others: a function that
/// answers one call after the other has then said all that belonged to this one.
const REST_ANSWERS: u64 = 8;
/// Or for so long, where calls are rare.
const REST: Duration = Duration::from_millis(100);
/// A connection that rested longer is not used again: servers close idle connections after some
/// seconds (two in the shortest default that is known), and a request may not meet that moment.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Why there is no connection for a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoConnection {
    /// The function wrote to a new one before it was asked anything.
    Spoke,
    /// The function said more than its answer to an earlier call.
    SaidMore,
    /// The function takes no connections any more.
    Unreachable,
}

/// The connections to one function.
#[derive(Debug)]
pub(super) struct Connections {
    socket: FolderSocket,
    conduct: Conduct,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Opened ahead, never used.
    next: Option<Next>,
    /// Used, oldest first.
    resting: VecDeque<Resting>,
    /// Answers whose connection was laid to rest.
    answers: u64,
}

#[derive(Debug)]
struct Next {
    stream: UnixStream,
    opened: Instant,
}

#[derive(Debug)]
struct Resting {
    stream: UnixStream,
    since: Instant,
    answer: u64,
}

impl Book {
    /// A connection that has rested enough.
    fn rested(&mut self) -> Option<UnixStream> {
        while let Some(oldest) = self.resting.front() {
            let rest = oldest.since.elapsed();
            if rest < REST && self.answers - oldest.answer < REST_ANSWERS {
                return None;
            }
            let oldest = self.resting.pop_front()?;
            if rest < LONGEST_REST {
                return Some(oldest.stream);
            }
        }
        None
    }
}

impl Connections {
    /// Connections to `socket`, of which `first` is there already.
    pub(super) fn new(socket: FolderSocket, first: UnixStream, conduct: Conduct) -> Self {
        let connections = Self { socket, conduct, book: Mutex::default() };
        connections.put_back(first);
        connections
    }

    /// A connection over which nothing is under way.
    pub(super) async fn take(&self) -> Result<UnixStream, NoConnection> {
        while let Some(stream) = self.rested() {
            match stream.peek(&mut [0]) {
                Ok(read) if read > 0 => {
                    self.conduct.note_said_more();
                    return Err(NoConnection::SaidMore);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(stream),
                // Closed by its server.
                _ => {}
            }
        }
        let next = self.book().next.take();
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
        self.book().next = Some(Next { stream, opened: Instant::now() });
    }

    /// Opens a connection ahead where there is none. Where that fails, the next call finds out.
    pub(super) async fn open_next(&self) {
        if self.book().next.is_some() {
            return;
        }
        if let Ok(stream) = self.socket.connect().await {
            self.put_back(stream);
        }
    }

    fn rested(&self) -> Option<UnixStream> {
        let mut book = self.book();
        // It may have been another sandbox of the version that said more.
        if self.conduct.said_more() {
            book.resting.clear();
        }
        book.rested()
    }

    /// Whether any connection is at rest.
    #[cfg(test)]
    pub(super) fn is_resting(&self) -> bool {
        !self.book().resting.is_empty()
    }

    /// Lets all connections have rested enough, as further answers would.
    #[cfg(test)]
    pub(super) fn end_rest(&self) {
        self.book().answers += REST_ANSWERS;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home<UnixStream> for Connections {
    fn rest(&self, stream: UnixStream) {
        if self.conduct.said_more() {
            return;
        }
        let mut book = self.book();
        book.answers += 1;
        let answer = book.answers;
        book.resting.push_back(Resting { stream, since: Instant::now(), answer });
    }

    fn said_more(&self) {
        self.conduct.note_said_more();
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
