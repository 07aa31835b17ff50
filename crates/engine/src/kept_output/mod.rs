//! What is kept of an asynchronous call for its owner: its answer and its log lines, both bounded
//! in size, and read while the call still runs. Small ones go into the database with the call's end,
//! large ones into the object store while the function writes them.

mod log;
mod result;
mod spool;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::HeaderMap;
use picasso_types::{CallOutput, Clock};
use tokio::sync::watch;

pub use log::{KeptLog, LogCut, LogLine, LogLines, NewLines};
pub use result::KeptResult;

use crate::large_outputs::{LargeOutputs, ObjectWriter, OutputOf, PART_BYTES};
use crate::settings::CallKeeping;
use log::LogKeeper;
use spool::{Spool, SpoolBounds};

/// The output of a running call as it grows.
#[derive(Debug)]
pub struct KeptOutput {
    clock: Arc<dyn Clock>,
    head: Mutex<Head>,
    /// Whether the answer's headers are wanted, too: for a callback.
    keeps_headers: bool,
    result: Spool,
    log: LogKeeper,
    /// Whether a sandbox had to be started for it.
    cold_start: OnceLock<bool>,
    /// Grows with each line; closed with the call.
    written: watch::Sender<usize>,
}

/// What comes before an answer.
#[derive(Debug, Default)]
struct Head {
    content_type: Option<String>,
    headers: HeaderMap,
}

impl KeptOutput {
    /// `large` where there is an object store. Of the answer's beginning, `head` bytes are remembered
    /// for what the call's end sends, at most a part.
    pub(crate) fn new(
        keeping: &CallKeeping,
        clock: Arc<dyn Clock>,
        of: &OutputOf,
        large: Option<&Arc<LargeOutputs>>,
        head: usize,
    ) -> Self {
        let spool = |max: usize, head: usize| {
            // Without an object store, everything that is kept lies in the database.
            let whole = max.min(PART_BYTES);
            let inline = if large.is_some() { keeping.max_inline_bytes.min(whole) } else { whole };
            let max = if large.is_some() { max } else { inline };
            let bounds = SpoolBounds { inline, head: inline.max(head.min(whole)), max };
            let writer = ObjectWriter::new(large.cloned(), of.clone(), max);
            Spool::new(bounds, large.is_some(), writer)
        };
        Self {
            clock,
            head: Mutex::default(),
            keeps_headers: false,
            result: spool(keeping.max_result_bytes, head),
            log: LogKeeper::new(spool(keeping.max_log_bytes, 0)),
            cold_start: OnceLock::new(),
            written: watch::Sender::new(0),
        }
    }

    /// Keeps a line, unless the log is full; to be followed by [`KeptOutput::relieve_log`].
    pub(crate) fn push_line(&self, stream: &'static str, line: &str) {
        if let Some(lines) = self.log.push(self.clock.now(), stream, line) {
            self.written.send_replace(lines);
        }
    }

    /// Whether no line is kept any more.
    pub(crate) fn log_is_full(&self) -> bool {
        self.log.is_full()
    }

    /// Counts lines that came after the log was full.
    pub(crate) fn drop_lines(&self, lines: u64, bytes: u64) {
        self.log.drop_lines(lines, bytes);
    }

    /// Waits until little of the log is in memory.
    pub(crate) async fn relieve_log(&self) {
        self.log.relieve().await;
    }

    /// Keeps a part of the answer, as far as there is room, and waits until little is in memory.
    pub(crate) async fn keep_result(&self, chunk: &[u8]) {
        self.result.push(chunk);
        self.result.relieve().await;
    }

    /// The same that keeps the answer's headers, too.
    pub(crate) fn with_headers(self, keeps_headers: bool) -> Self {
        Self { keeps_headers, ..self }
    }

    /// Notes the content type of the answer, and its headers where they are wanted.
    pub(crate) fn set_head(&self, headers: &HeaderMap) {
        let content_type = headers.get(http::header::CONTENT_TYPE);
        let mut head = self.head();
        head.content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        if self.keeps_headers {
            head.headers = headers.clone();
        }
    }

    /// The answer's headers; empty where they are not kept.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.head().headers.clone()
    }

    /// Notes how it came to its sandbox; of several the last one counts that was first noted.
    pub(crate) fn set_cold_start(&self, cold: bool) {
        // A call that several sandboxes did not take began with the first of them.
        let _ = self.cold_start.set(cold);
    }

    pub(crate) fn cold_start(&self) -> Option<bool> {
        self.cold_start.get().copied()
    }

    /// The lines from number `from` on that are still in memory.
    pub fn lines_from(&self, from: usize) -> NewLines {
        self.log.lines_from(from, self.clock.now())
    }

    /// Tells of new lines; its end is the end of the call here.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.written.subscribe()
    }

    /// The answer as far as it is remembered here.
    pub(crate) fn result(&self) -> KeptResult {
        let (total_bytes, body) = self.result.head();
        KeptResult { content_type: self.content_type(), total_bytes, body, object: None }
    }

    /// The run is over: stores what is left, and says what the database keeps.
    pub(crate) async fn close(&self) -> CallOutput {
        let (total_bytes, result) = (self.result.head().0, self.result.close().await);
        let log = self.log.close(self.clock.now()).await;
        let objects = result.object().into_iter().chain(log.object()).collect();
        let result = KeptResult {
            content_type: self.content_type(),
            total_bytes,
            body: result.inline,
            object: result.object,
        };
        CallOutput { result: result.encode(), log: log.encode(), objects }
    }

    /// The call did not end with this run: what was stored of it goes.
    pub(crate) async fn abandon(&self) {
        tokio::join!(self.result.abandon(), self.log.abandon());
    }

    fn content_type(&self) -> Option<String> {
        self.head().content_type.clone()
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        // Every update leaves it whole.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
