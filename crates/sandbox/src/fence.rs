//! The two pipes of a hot function that answers on stdout, and the fence between its calls.
//!
//! Nothing on a pipe says which request an answer belongs to. What the kernel can tell is order:
//! whether the process has read everything that was written to its stdin, and whether anything
//! waits on its stdout. A caller who holds back the end of a request, waits until the rest was
//! read and finds stdout still empty knows that nothing of what comes then was written before the
//! process read this request.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ioctl_fionbio, ioctl_fionread};
use rustix::pipe::fcntl_setpipe_size;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A pipe of one page is full as long as it holds a byte: the kernel then wakes its writer
/// whenever it was read empty, which it does for no larger one.
const ONE_PAGE: usize = 4096;
/// Enough for long bodies: the size pipes are made with.
const WIDE: usize = 64 * 1024;

/// Our end of a function's stdin. Shutdown closes it: the function sees the end of its input
/// then, not when the last of us forgets the pipe.
#[derive(Debug)]
pub struct StdinPipe(Option<Arc<AsyncFd<OwnedFd>>>);

/// Our end of a function's stdout.
#[derive(Debug)]
pub struct StdoutPipe(Arc<AsyncFd<OwnedFd>>);

/// What the kernel knows of the two pipes. Keeps neither open.
#[derive(Debug, Clone)]
pub struct Fence {
    stdin: Weak<AsyncFd<OwnedFd>>,
    stdout: Weak<AsyncFd<OwnedFd>>,
}

/// Takes our ends of both pipes. Needs a tokio runtime.
pub fn fenced_pipes(stdin: OwnedFd, stdout: OwnedFd) -> io::Result<(StdinPipe, StdoutPipe, Fence)> {
    ioctl_fionbio(&stdin, true)?;
    ioctl_fionbio(&stdout, true)?;
    let stdin = Arc::new(register(stdin, Interest::WRITABLE)?);
    let stdout = Arc::new(register(stdout, Interest::READABLE)?);
    let fence = Fence { stdin: Arc::downgrade(&stdin), stdout: Arc::downgrade(&stdout) };
    Ok((StdinPipe(Some(stdin)), StdoutPipe(stdout), fence))
}

#[expect(unsafe_code, reason = "tokio takes descriptors only with a promise that they stay open")]
fn register(pipe: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one open descriptor until it is dropped, and the `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register_with_interest(pipe, interest) }?)
}

impl Fence {
    /// Makes stdin a pipe of one page, which [`Fence::poll_consumed`] needs. Fails with
    /// `ResourceBusy` while more than a page is unread.
    pub fn narrow(&self) -> io::Result<()> {
        fcntl_setpipe_size(open(&self.stdin)?.as_fd(), ONE_PAGE)?;
        Ok(())
    }

    /// Makes stdin wide enough for a long body. It stays as it is where the kernel allows this
    /// user no more memory for pipes: slower, nothing else.
    pub fn widen(&self) {
        if let Ok(stdin) = open(&self.stdin) {
            let _ = fcntl_setpipe_size(stdin.as_fd(), WIDE);
        }
    }

    /// Whether any process still has the other end of stdin.
    pub fn has_reader(&self) -> io::Result<bool> {
        let stdin = open(&self.stdin)?;
        let mut polled = [PollFd::new(&stdin, PollFlags::empty())];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(!polled[0].revents().intersects(PollFlags::ERR))
    }

    /// Bytes that were written to stdin and that the process has not read.
    pub fn unread_input(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(open(&self.stdin)?.as_fd())?)
    }

    /// Bytes that the process wrote to stdout and we have not read.
    pub fn waiting_output(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(open(&self.stdout)?.as_fd())?)
    }

    /// Ready when the process has read everything that was written to its stdin; an error when
    /// it never will. Uses the waker of stdin's writer. Only after [`Fence::narrow`].
    pub fn poll_consumed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stdin = open(&self.stdin)?;
        loop {
            if ioctl_fionread(stdin.as_fd())? == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut guard = ready!(stdin.poll_write_ready(cx))?;
            // Read after the event: an event that came meanwhile is not cleared.
            if ioctl_fionread(stdin.as_fd())? == 0 {
                return Poll::Ready(Ok(()));
            }
            if guard.ready().is_write_closed() {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            guard.clear_ready();
        }
    }
}

fn open(pipe: &Weak<AsyncFd<OwnedFd>>) -> io::Result<Arc<AsyncFd<OwnedFd>>> {
    pipe.upgrade().ok_or_else(|| ErrorKind::BrokenPipe.into())
}

impl AsyncWrite for StdinPipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(pipe) = &self.0 else {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        };
        loop {
            let mut guard = ready!(pipe.poll_write_ready(cx))?;
            match guard.try_io(|pipe| Ok(rustix::io::write(pipe.as_fd(), bytes)?)) {
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(outcome) => return Poll::Ready(outcome),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for StdoutPipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let unfilled = buffer.initialize_unfilled();
            match guard.try_io(|pipe| Ok(rustix::io::read(pipe.as_fd(), &mut *unfilled)?)) {
                Ok(Ok(read)) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::time::Duration;

    use rustix::pipe::{PipeFlags, pipe_with};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    struct Function {
        stdin: std::fs::File,
        stdout: std::fs::File,
    }

    fn started() -> (Function, StdinPipe, StdoutPipe, Fence) {
        let (stdin, to) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (from, stdout) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (to, from, fence) = fenced_pipes(to, from).unwrap();
        fence.narrow().unwrap();
        (Function { stdin: stdin.into(), stdout: stdout.into() }, to, from, fence)
    }

    #[tokio::test]
    async fn what_was_written_is_consumed_when_its_last_byte_was_read() {
        let (mut function, mut stdin, _stdout, fence) = started();
        let consumed = tokio::spawn({
            let fence = fence.clone();
            stdin.write_all(b"four").await.unwrap();
            async move { poll_fn(|cx| fence.poll_consumed(cx)).await }
        });
        let mut byte = [0];
        for unread in (0..4).rev() {
            tokio::task::yield_now().await;
            assert!(!consumed.is_finished());
            function.stdin.read_exact(&mut byte).unwrap();
            assert_eq!(fence.unread_input().unwrap(), unread);
        }
        timeout(SOON, consumed).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_process_that_is_gone_consumes_nothing() {
        let (function, mut stdin, _stdout, fence) = started();
        stdin.write_all(b"four").await.unwrap();
        assert!(fence.has_reader().unwrap());
        drop(function);
        assert!(!fence.has_reader().unwrap());
        let gone = timeout(SOON, poll_fn(|cx| fence.poll_consumed(cx))).await.unwrap();
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn waiting_output_is_seen_before_any_event_is() {
        let (mut function, _stdin, mut stdout, fence) = started();
        assert_eq!(fence.waiting_output().unwrap(), 0);
        function.stdout.write_all(b"early").unwrap();
        assert_eq!(fence.waiting_output().unwrap(), 5);
        let mut five = [0; 5];
        stdout.read_exact(&mut five).await.unwrap();
        assert_eq!(&five, b"early");
        assert_eq!(fence.waiting_output().unwrap(), 0);
    }

    #[tokio::test]
    async fn a_fence_keeps_no_pipe_open() {
        let (mut function, mut stdin, _stdout, fence) = started();
        stdin.shutdown().await.unwrap();
        assert_eq!(function.stdin.read(&mut [0]).unwrap(), 0, "the function sees the end of its input");
        assert_eq!(fence.unread_input().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_megabyte_passes_narrow_and_wide_pipes_unchanged() {
        let (mut function, mut stdin, _stdout, fence) = started();
        let sent: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
        let expected = [sent.clone(), sent.clone()].concat();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            function.stdin.read_to_end(&mut all).unwrap();
            all
        });
        stdin.write_all(&sent).await.unwrap();
        fence.widen();
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
        assert!(reader.join().unwrap() == expected);
    }
}
