//! Sees every request head on the wire, before the HTTP library does.
//!
//! `Content-Length` together with `Transfer-Encoding` is how requests are smuggled past a proxy
//! that reads the other one of the two (RFC 9112, 6.3 and 11.2). hyper quietly drops the length,
//! so the only place where both can be seen is the byte stream. This follows the framing just
//! far enough to know where heads begin, and notes for each whether it is ambiguous. What it
//! cannot follow hyper refuses as well, so falling out of step ends in a closed connection.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::linger::Linger;

/// Of a line no more is kept than a header name with a length or coding needs.
const MAX_LINE: usize = 256;

/// What was seen of the heads that hyper has not handed over yet, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads(Arc<Mutex<VecDeque<bool>>>);

impl Heads {
    /// Whether the next request's head is ambiguous.
    pub(crate) fn next_is_ambiguous(&self) -> bool {
        self.0.lock().ok().and_then(|mut heads| heads.pop_front()).unwrap_or(false)
    }

    fn push(&self, ambiguous: bool) {
        if let Ok(mut heads) = self.0.lock() {
            heads.push_back(ambiguous);
        }
    }
}

/// A byte stream whose incoming heads are watched.
#[derive(Debug)]
pub(crate) struct Watched<L> {
    link: L,
    scanner: Scanner,
    heads: Heads,
    linger: Option<Linger>,
}

impl<L> Watched<L> {
    pub(crate) fn new(link: L, heads: Heads) -> Self {
        Self { link, scanner: Scanner::default(), heads, linger: None }
    }
}

impl<L: AsyncRead + Unpin> AsyncRead for Watched<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.link).poll_read(context, buffer);
        if matches!(polled, Poll::Ready(Ok(()))) {
            let this = &mut *self;
            this.scanner.feed(&buffer.filled()[before..], |ambiguous| this.heads.push(ambiguous));
        }
        polled
    }
}

impl<L: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<L> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.link).poll_shutdown(context))?;
            if !this.scanner.in_the_middle() {
                return Poll::Ready(Ok(()));
            }
        }
        this.linger.get_or_insert_with(Linger::begin).poll(&mut this.link, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }
}

/// Where in the stream the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before or in a request line.
    RequestLine,
    /// In the headers.
    Headers,
    /// In a body of known length.
    Body(u64),
    /// In the line that says how long the next chunk is.
    ChunkSize,
    /// In a chunk, its line end included.
    Chunk(u64),
    /// In the trailers behind the last chunk.
    Trailers,
    /// Out of step; hyper ends such a connection.
    Lost,
}

#[derive(Debug)]
struct Scanner {
    place: Place,
    line: Vec<u8>,
    length: Option<u64>,
    coded: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { place: Place::RequestLine, line: Vec::new(), length: None, coded: false }
    }
}

impl Scanner {
    /// Reads on; `head` is told of each complete head whether it is ambiguous.
    fn feed(&mut self, mut bytes: &[u8], mut head: impl FnMut(bool)) {
        while !bytes.is_empty() {
            match self.place {
                Place::Lost => return,
                Place::Body(left) => bytes = self.skip(bytes, left, Place::Body, Place::RequestLine),
                Place::Chunk(left) => bytes = self.skip(bytes, left, Place::Chunk, Place::ChunkSize),
                Place::RequestLine | Place::Headers | Place::ChunkSize | Place::Trailers => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    let room = MAX_LINE.saturating_sub(self.line.len());
                    self.line.extend_from_slice(&part[..part.len().min(room)]);
                    if end.is_none() {
                        return;
                    }
                    bytes = &rest[1..];
                    self.line_ended(&mut head);
                    self.line.clear();
                }
            }
        }
    }

    /// Whether the last request was not read to its end.
    fn in_the_middle(&self) -> bool {
        self.place != Place::RequestLine
    }

    fn skip<'a>(
        &mut self,
        bytes: &'a [u8],
        left: u64,
        still: impl Fn(u64) -> Place,
        then: Place,
    ) -> &'a [u8] {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - step as u64;
        self.place = if left == 0 { then } else { still(left) };
        &bytes[step..]
    }

    fn line_ended(&mut self, head: &mut impl FnMut(bool)) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match self.place {
            // Empty lines before a request are allowed (RFC 9112, 2.2).
            Place::RequestLine if line.is_empty() => {}
            Place::RequestLine => self.place = Place::Headers,
            Place::Headers if line.is_empty() => self.head_ended(head),
            Place::Headers => self.header(),
            Place::ChunkSize => {
                let digits =
                    line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
                let size =
                    std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
                self.place = match size {
                    Some(0) => Place::Trailers,
                    // The chunk's own line end follows it.
                    Some(size) => size.checked_add(2).map_or(Place::Lost, Place::Chunk),
                    None => Place::Lost,
                };
            }
            Place::Trailers if line.is_empty() => self.place = Place::RequestLine,
            Place::Trailers | Place::Body(_) | Place::Chunk(_) | Place::Lost => {}
        }
    }

    fn header(&mut self) {
        let Some(colon) = self.line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = self.line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.coded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(&value[1..]).unwrap_or_default().trim();
            // A length that is no number is hyper's to refuse; it is a length all the same.
            self.length = Some(value.parse().unwrap_or(0));
        }
    }

    fn head_ended(&mut self, head: &mut impl FnMut(bool)) {
        head(self.coded && self.length.is_some());
        self.place = match (self.coded, self.length) {
            (true, _) => Place::ChunkSize,
            (false, None | Some(0)) => Place::RequestLine,
            (false, Some(length)) => Place::Body(length),
        };
        self.coded = false;
        self.length = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was seen of each head, whatever the sizes the bytes arrive in.
    fn seen(bytes: &str) -> Vec<bool> {
        let all_at_once = in_pieces(bytes, bytes.len().max(1));
        for size in 1..9 {
            assert_eq!(in_pieces(bytes, size), all_at_once, "in pieces of {size}");
        }
        all_at_once
    }

    fn in_pieces(bytes: &str, size: usize) -> Vec<bool> {
        let mut heads = Vec::new();
        let mut scanner = Scanner::default();
        for piece in bytes.as_bytes().chunks(size) {
            scanner.feed(piece, |ambiguous| heads.push(ambiguous));
        }
        heads
    }

    #[test]
    fn a_head_with_both_is_ambiguous_in_either_order_and_case() {
        let both = "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(seen(both), [true]);
        let other = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncONTENT-lENGTH: 3\r\n\r\n";
        assert_eq!(seen(other), [true]);
        assert_eq!(seen("POST / HTTP/1.1\nTransfer-Encoding:chunked\nContent-Length:x\n\n"), [true]);
    }

    #[test]
    fn bodies_are_not_taken_for_heads() {
        let sized = "POST / HTTP/1.1\r\nContent-Length: 60\r\n\r\n\
                     A / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n  \
                     GET / HTTP/1.1\r\n\r\n";
        assert_eq!(seen(sized), [false, false]);
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                       5;ext=1\r\nab\r\nc\r\n0\r\nTrailer: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(seen(chunked), [false, false]);
    }

    #[test]
    fn an_ambiguous_head_behind_a_good_request_is_seen() {
        let two = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n\r\n\
                   POST /b HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(seen(two), [false, true]);
    }

    #[test]
    fn a_long_line_does_not_grow_in_memory() {
        let mut scanner = Scanner::default();
        scanner.feed(b"GET / HTTP/1.1\r\nX: ", |_| {});
        scanner.feed(&vec![b'a'; 1 << 20], |_| {});
        assert!(scanner.line.len() <= MAX_LINE);
    }
}
