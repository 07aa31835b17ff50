//! A function that takes requests on stdin and answers on stdout: its two pipes, with a fence
//! between one call and the next.
//!
//! Nothing on a pipe says which request an answer belongs to, so the end of every request is held
//! back until the function has read the rest of it, and stdout must be empty then. It is asked
//! twice: when all but the end was read, and again when one byte more was. For that byte it came
//! back to reading, so whatever it wrote before it read this request, or when it saw the request
//! begin - a late answer, a second one - is seen before it could be taken for the answer. Bytes that nobody asked for end the sandbox; they are told to
//! the function's owner and never to a caller, whose they may not be.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use picasso_sandbox::Fence;
use picasso_types::Failure;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::function_log::FunctionLog;
use crate::hot::lease::Lease;
use crate::hot::link::{HotCall, LinkFault, Started};
use crate::target::Target;

/// How many unasked bytes are read at most: enough to be shown to the function's owner.
const SHOWN: usize = 80;

/// Where the end of a request is that is held back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hold {
    /// This many bytes may go, the last of them alone.
    After(usize),
    /// The head of an HTTP/1.1 message: all up to its empty line may go, then that line's first
    /// byte alone.
    HeadEnd,
}

/// Why a sandbox cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PipeFault {
    /// The function wrote what no request asked for: its first bytes.
    #[error(
        "it wrote to stdout without being asked: stdout is for answers, one to each request that was read to its end, and stderr for everything else"
    )]
    Unasked(Vec<u8>),
    /// It left much of the request before unread.
    #[error("it did not read the whole of the request before this one")]
    Unread,
    /// The process ended, or closed its stdin or stdout.
    #[error("it closed its stdin or stdout, or ended, before its answer was complete")]
    Closed,
}

/// What the bytes at `Hold` are waiting for.
#[derive(Debug)]
enum Gate {
    /// The request's end is held back.
    Closed {
        hold: Hold,
        /// How much of the empty line that ends a head was seen.
        matched: usize,
        /// How far the function has come.
        stage: Stage,
    },
    /// What comes from the function is the answer.
    Open,
}

/// How far the function has come with a request whose end is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// All but the last byte before the fence is on its way.
    Most,
    /// That byte may go: the rest was read.
    Last,
    /// That byte is on its way as well.
    All,
}

/// Both pipes of one function, for one call at a time.
pub(super) struct Pipes {
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    stdout: Pin<Box<dyn AsyncRead + Send>>,
    fence: Option<Fence>,
    gate: Gate,
    /// Whether white space around answers means nothing (JSON).
    blank_is_nothing: bool,
    /// Whether stdin was made wide for a body.
    widened: bool,
    /// Whether a call has ended well.
    proven: bool,
    /// The first bytes of the answer.
    seen: Vec<u8>,
    fault: Option<PipeFault>,
    log: Arc<FunctionLog>,
}

impl std::fmt::Debug for Pipes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipes").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Pipes {
    /// The pipes of a process that was just started.
    pub(super) fn new(started: Started, blank_is_nothing: bool) -> Self {
        let Started { stdin, stdout, fence, log, .. } = started;
        let gate = Gate::Open;
        // A narrow pipe from the start: most functions never see a long body, and a thousand idle
        // ones would use up what the kernel gives one user for pipes.
        if let Some(fence) = &fence
            && let Err(error) = fence.narrow()
        {
            tracing::warn!(%error, "the stdin of a sandbox cannot be made narrow");
        }
        Self {
            stdin,
            stdout,
            fence,
            gate,
            blank_is_nothing,
            widened: false,
            proven: false,
            seen: Vec::new(),
            fault: None,
            log,
        }
    }

    /// Begins a call: nothing may be left of the one before. The request's end will be held back.
    pub(super) async fn begin(&mut self, hold: Hold) -> Result<(), PipeFault> {
        self.seen.clear();
        if let Some(fence) = &self.fence
            && !fence.has_reader().unwrap_or(false)
        {
            return Err(PipeFault::Closed);
        }
        self.nothing_left().await?;
        if self.widened
            && let Some(fence) = &self.fence
        {
            fence.narrow().map_err(|_| PipeFault::Unread)?;
            self.widened = false;
        }
        self.gate = Gate::Closed { hold, matched: 0, stage: Stage::Most };
        Ok(())
    }

    /// Ends a call whose answer is complete: the function has read its request and written
    /// nothing beyond its answer, so far.
    pub(super) async fn finish(&mut self) -> Result<(), PipeFault> {
        self.nothing_left().await?;
        self.proven = true;
        Ok(())
    }

    /// What becomes of a call that could not begin. The function has seen nothing of it, so
    /// another sandbox may take it - unless this one never did well: the next would do no better.
    pub(super) fn refuse(&self, call: HotCall, fault: &PipeFault) -> LinkFault {
        let sentence = fault.to_string();
        self.note(&sentence);
        if self.proven { LinkFault::Unsent(Box::new(call)) } else { LinkFault::BrokenOff(sentence) }
    }

    /// Reads a little more of an answer; `Closed` at the end of stdout.
    pub(super) async fn read_more(&mut self, into: &mut BytesMut) -> Result<(), PipeFault> {
        match self.read_buf(into).await {
            Ok(0) => Err(PipeFault::Closed),
            Ok(_) => Ok(()),
            Err(_) => Err(self.fault()),
        }
    }

    /// Why reading or writing failed.
    pub(super) fn fault(&self) -> PipeFault {
        self.fault.clone().unwrap_or(PipeFault::Closed)
    }

    /// Tells the function's owner what was wrong, with the bytes that a caller is not shown.
    pub(super) fn note(&self, sentence: &str) {
        let shown = match &self.fault {
            Some(PipeFault::Unasked(bytes)) => bytes,
            _ => &self.seen,
        };
        let first = shown[..shown.len().min(SHOWN)].escape_ascii();
        self.log.note(&format!("[the function broke its contract: {sentence}; stdout: \"{first}\"]"));
    }

    async fn nothing_left(&mut self) -> Result<(), PipeFault> {
        let asked = match self.fence.as_ref().map(Fence::unread_input) {
            Some(Err(_)) => return Err(PipeFault::Closed),
            // The two bytes that end a JSON document: a reader may stop before the last.
            Some(Ok(unread)) if unread > if self.blank_is_nothing { 2 } else { 0 } => {
                return Err(PipeFault::Unread);
            }
            Some(Ok(_)) | None => poll_fn(|cx| self.poll_empty(cx)).await,
        };
        asked.map_err(|_| self.fault())
    }

    /// Ready when nothing waits on stdout at this moment; an error when something does.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.fence.as_ref().map(Fence::waiting_output) {
                Some(Ok(0)) => return Poll::Ready(Ok(())),
                Some(Ok(_)) => ready!(self.poll_unasked(cx))?,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                // Without a fence what has come so far is all that can be known.
                None => match self.poll_unasked(cx) {
                    Poll::Pending => return Poll::Ready(Ok(())),
                    Poll::Ready(outcome) => outcome?,
                },
            }
        }
    }

    /// Reads what nobody asked for: ready when it was nothing, an error when it was something.
    fn poll_unasked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; SHOWN];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(self.stdout.as_mut().poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if !read.is_empty() && self.blank_is_nothing && read.iter().all(u8::is_ascii_whitespace) {
            return Poll::Ready(Ok(()));
        }
        let fault = if read.is_empty() { PipeFault::Closed } else { PipeFault::Unasked(read.to_vec()) };
        self.fault = Some(fault.clone());
        Poll::Ready(Err(io::Error::other(fault)))
    }

    /// Ready when the function has read all that went to it and stdout is empty.
    fn poll_fence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(fence) = &self.fence
            && fence.poll_consumed(cx)?.is_pending()
        {
            return self.poll_until_unasked(cx);
        }
        self.poll_empty(cx)
    }

    /// Pending, unless the function writes meanwhile: it may wait for us to read that.
    fn poll_until_unasked<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            ready!(self.poll_unasked(cx))?;
        }
    }

    /// How many of `bytes`, the next ones of a request, may go before the byte that goes alone.
    fn before_fence(hold: Hold, matched: usize, bytes: &[u8]) -> usize {
        match hold {
            Hold::After(left) => left.saturating_sub(1).min(bytes.len()),
            Hold::HeadEnd => {
                let mut matched = matched;
                bytes
                    .iter()
                    .position(|byte| {
                        matched = after(matched, *byte);
                        matched == HEAD_END.len() - 1
                    })
                    .unwrap_or(bytes.len())
            }
        }
    }

    fn note_sent(&mut self, bytes: &[u8]) {
        if let Gate::Closed { hold, matched, stage } = &mut self.gate {
            if *stage == Stage::Last && !bytes.is_empty() {
                *stage = Stage::All;
            }
            match hold {
                Hold::After(left) => *left -= bytes.len().min(*left),
                Hold::HeadEnd => *matched = bytes.iter().fold(*matched, |m, byte| after(m, *byte)),
            }
        }
    }
}

const HEAD_END: &[u8] = b"\r\n\r\n";

/// How much of [`HEAD_END`] the bytes so far end with, one byte later.
fn after(matched: usize, byte: u8) -> usize {
    if HEAD_END.get(matched) == Some(&byte) { matched + 1 } else { usize::from(byte == b'\r') }
}

impl AsyncWrite for Pipes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut allowed = bytes;
        if let Gate::Closed { hold, matched, mut stage } = self.gate {
            if stage == Stage::Most {
                allowed = &bytes[..Self::before_fence(hold, matched, bytes)];
                if allowed.is_empty() && !bytes.is_empty() {
                    ready!(self.poll_fence(cx))?;
                    stage = Stage::Last;
                    self.gate = Gate::Closed { hold, matched, stage };
                }
            }
            if stage == Stage::Last {
                allowed = &bytes[..bytes.len().min(1)];
            } else if stage == Stage::All && !bytes.is_empty() {
                ready!(self.poll_fence(cx))?;
                self.gate = Gate::Open;
                // A body may follow.
                if matches!(hold, Hold::HeadEnd)
                    && let Some(fence) = &self.fence
                {
                    fence.widen();
                    self.widened = true;
                }
                allowed = bytes;
            }
        }
        match self.stdin.as_mut().poll_write(cx, allowed) {
            Poll::Ready(written) => {
                let written = written?;
                self.note_sent(&allowed[..written]);
                Poll::Ready(Ok(written))
            }
            Poll::Pending if matches!(self.gate, Gate::Closed { .. }) => self.poll_until_unasked(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin.as_mut().poll_shutdown(cx)
    }
}

impl AsyncRead for Pipes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.gate, Gate::Closed { .. }) {
            return self.poll_until_unasked(cx);
        }
        let before = buffer.filled().len();
        ready!(self.stdout.as_mut().poll_read(cx, buffer))?;
        let room = SHOWN.saturating_sub(self.seen.len());
        self.seen.extend(buffer.filled()[before..].iter().take(room));
        Poll::Ready(Ok(()))
    }
}

/// The place of a sandbox's pipes between calls.
#[derive(Debug)]
pub(super) struct Rest(Mutex<Option<Pipes>>);

impl Rest {
    /// With the pipes in it.
    pub(super) fn new(pipes: Pipes) -> Self {
        Self(Mutex::new(Some(pipes)))
    }

    /// The pipes for a call; `None` after a call that did not give them back, and after
    /// [`Rest::close`].
    pub(super) fn take(&self) -> Option<Pipes> {
        self.place().take()
    }

    /// Gives the pipes back, before the lease.
    pub(super) fn give_back(&self, pipes: Pipes) {
        *self.place() = Some(pipes);
    }

    /// Closes both pipes: the function sees the end of its input.
    pub(super) fn close(&self) {
        self.place().take();
    }

    fn place(&self) -> MutexGuard<'_, Option<Pipes>> {
        // Taking and putting leave it whole: a panic elsewhere harms nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease of a sandbox that has not seen its call yet: given back unharmed when it is dropped,
/// because the caller hung up or sent a broken body.
pub(super) struct Unstarted(Option<Lease>);

impl Unstarted {
    /// Nothing of the call went to the sandbox so far.
    pub(super) fn new(lease: Lease) -> Self {
        Self(Some(lease))
    }

    /// From now on only a complete exchange saves the sandbox.
    pub(super) fn start(mut self) -> Option<Lease> {
        self.0.take()
    }
}

impl Drop for Unstarted {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.keep();
        }
    }
}

/// A call whose exchange was cut off at its deadline.
pub(super) fn timed_out(target: &Target) -> Failure {
    match &target.version {
        Some(version) => Failure::Timeout { limit_s: version.spec.timeout_s },
        None => Failure::Internal,
    }
}
