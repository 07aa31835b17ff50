//! The bytes of one connection to a function.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A connection to a function.
pub(in crate::formats) trait Stream:
    AsyncRead + AsyncWrite + Unpin + Send + 'static
{
    /// Looks whether something arrived, asking the kernel itself: `WouldBlock` where nothing has,
    /// 0 where the other side is done, else how many of `into`.
    fn peek(&self, into: &mut [u8]) -> io::Result<usize>;
}

impl Stream for UnixStream {
    fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self, into, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
    }
}

impl Stream for TcpStream {
    fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self, into, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
    }
}

/// A connection as the HTTP client sees it: a function that takes no more of the request is no
/// error. Its answer may be there already, and counts.
pub(super) struct Io<S> {
    stream: TokioIo<S>,
    deaf: bool,
    /// The last write has to be repeated: bytes of the request are still to be sent.
    clogged: bool,
}

/// What a connection has after an answer.
pub(super) enum Rest<S> {
    /// Bytes that belong to no answer.
    Bytes,
    /// Nothing, and more can come.
    Open(S),
    /// Nothing ever, or it takes nothing more.
    Closed,
}

impl<S: Stream> Io<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: TokioIo::new(stream), deaf: false, clogged: false }
    }

    /// Whether the function said more, asking the kernel itself.
    pub(super) fn peek(self) -> Rest<S> {
        let stream = self.stream.into_inner();
        match stream.peek(&mut [0]) {
            Ok(read) if read > 0 => Rest::Bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock && !self.deaf && !self.clogged => {
                Rest::Open(stream)
            }
            _ => Rest::Closed,
        }
    }

    fn forgive(&mut self, outcome: io::Result<usize>, length: usize) -> io::Result<usize> {
        match outcome {
            Err(error) if is_gone(error.kind()) => {
                self.deaf = true;
                Ok(length)
            }
            outcome => outcome,
        }
    }
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

impl<S: Stream> Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Stream> Write for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.clogged = outcome.is_pending();
        let outcome = std::task::ready!(outcome);
        Poll::Ready(self.forgive(outcome, bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(length));
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.clogged = outcome.is_pending();
        let outcome = std::task::ready!(outcome);
        Poll::Ready(self.forgive(outcome, length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
