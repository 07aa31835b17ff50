//! What a function writes for its owner: becomes log lines, and the end of stderr is kept for the
//! caller of a failed call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use picasso_types::CallId;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::kept_output::KeptOutput;
use crate::target::Target;

/// How much of the end is kept.
pub const TAIL_BYTES: usize = 4096;
/// A longer line is cut into pieces of this size.
const MAX_LINE: usize = 8192;

/// Where lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Its end is kept.
    Stderr,
    /// Only of formats whose answers come another way.
    Stdout,
}

impl LogStream {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stderr => "stderr",
            Self::Stdout => "stdout",
        }
    }
}

/// The log of one sandbox: its lines carry the id of the call it holds, where that is one.
#[derive(Debug)]
pub struct FunctionLog {
    target: Arc<Target>,
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    call: Option<CallId>,
    /// Of the call; ends with it, also where the sandbox goes on.
    kept: Weak<KeptOutput>,
    tail: VecDeque<u8>,
    logged: u64,
    cut: bool,
}

impl FunctionLog {
    /// A log that writes at most `max_bytes` for each call (and for the time between two).
    pub fn new(target: Arc<Target>, max_bytes: u64) -> Self {
        Self { target, max_bytes, state: Mutex::default() }
    }

    /// Lines belong to this call from now on; `None` where the sandbox holds none, or several.
    /// An asynchronous call also keeps them.
    pub fn begin(&self, call: Option<CallId>, kept: Option<&Arc<KeptOutput>>) {
        let mut state = self.state();
        (state.call, state.kept) = (call, kept.map(Arc::downgrade).unwrap_or_default());
        state.tail.clear();
        (state.logged, state.cut) = (0, false);
    }

    /// The last up to 4 KiB of stderr since [`FunctionLog::begin`].
    pub fn tail(&self) -> Vec<u8> {
        self.state().tail.iter().copied().collect()
    }

    /// Writes a line of ours: what a format found wrong with the bytes of the function, told to
    /// its owner where telling the caller might show bytes that belong to another call.
    pub fn note(&self, line: &str) {
        self.write_pieces(LogStream::Stdout, line.as_bytes());
    }

    /// Reads a stream to its end and logs it line by line.
    ///
    /// Past the bound one line says that the log was cut; reading goes on so that the function
    /// is not blocked by a full pipe.
    pub async fn follow(&self, mut stream: impl AsyncRead + Unpin, name: LogStream) {
        let mut line = Vec::new();
        // Small, because a thousand idle sandboxes have two of them each.
        let mut buffer = vec![0; 2048];
        // A read error is the end as well: the pipe belongs to a process that is gone.
        while let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            let mut chunk = &buffer[..read];
            if name == LogStream::Stderr {
                self.state().keep(chunk);
            }
            if line.is_empty() && self.drop_if_full(chunk) {
                continue;
            }
            while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(&chunk[..end]);
                self.write_pieces(name, &line);
                line.clear();
                chunk = &chunk[end + 1..];
            }
            line.extend_from_slice(chunk);
            if line.len() >= MAX_LINE {
                self.write_pieces(name, &line);
                line.clear();
            }
            if let Some(kept) = self.kept() {
                kept.relieve_log().await;
            }
        }
        if !line.is_empty() {
            self.write_pieces(name, &line);
        }
    }

    fn write_pieces(&self, name: LogStream, line: &[u8]) {
        if line.is_empty() {
            return self.write(name, line);
        }
        for piece in line.chunks(MAX_LINE) {
            self.write(name, piece);
        }
    }

    fn write(&self, name: LogStream, line: &[u8]) {
        let (call, kept, cut_before, cut) = {
            let mut state = self.state();
            let cut_before = state.cut;
            state.logged = state.logged.saturating_add(line.len() as u64 + 1);
            state.cut = state.logged > self.max_bytes;
            (state.call.clone(), state.kept.clone(), cut_before, state.cut)
        };
        let kept = kept.upgrade();
        if cut_before && kept.is_none() {
            return;
        }
        let line = String::from_utf8_lossy(line);
        if let Some(kept) = kept {
            kept.push_line(name.as_str(), &line);
        }
        // The log of the server has a bound of its own.
        if !cut {
            self.emit(name, call.as_ref(), &line);
        } else if !cut_before {
            self.emit(name, call.as_ref(), &format!("[log cut: more than {} bytes]", self.max_bytes));
        }
    }

    /// Where nobody keeps another line, what begins a line is only counted. A flood costs little so.
    fn drop_if_full(&self, chunk: &[u8]) -> bool {
        let kept = {
            let state = self.state();
            if !state.cut {
                return false;
            }
            state.kept.upgrade()
        };
        match kept {
            Some(kept) if kept.log_is_full() => {
                let ends = chunk.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
                kept.drop_lines(ends, chunk.len() as u64 - ends);
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    fn kept(&self) -> Option<Arc<KeptOutput>> {
        self.state().kept.upgrade()
    }

    fn emit(&self, name: LogStream, call: Option<&CallId>, line: &str) {
        let Target { app, route, version, .. } = &*self.target;
        tracing::info!(
            target: "picasso::function",
            call_id = call.map(tracing::field::display),
            project = %app.project_id,
            app = %app.full_name,
            route = %route.pattern,
            version = version.as_ref().map(|version| version.number),
            stream = name.as_str(),
            line
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole: a panic elsewhere harms nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, chunk: &[u8]) {
        let overflow = (self.tail.len() + chunk.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..overflow.min(self.tail.len()));
        self.tail.extend(&chunk[chunk.len().saturating_sub(TAIL_BYTES)..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn the_last_four_kibibytes_of_stderr_are_kept_for_each_call() {
        let log = FunctionLog::new(Arc::new(testing::target("/a")), 1000);
        let mut text = vec![b'a'; 10_000];
        text.extend(b"the end\n");
        log.begin(Some(CallId::generate()), None);
        log.follow(text.as_slice(), LogStream::Stderr).await;
        assert_eq!(log.tail().len(), TAIL_BYTES);
        assert!(log.tail().ends_with(b"the end\n"));
        log.begin(Some(CallId::generate()), None);
        log.follow(b"oops".as_slice(), LogStream::Stderr).await;
        log.follow(b"hello".as_slice(), LogStream::Stdout).await;
        assert_eq!(log.tail(), b"oops");
    }
}
