//! What is kept of an asynchronous call for its owner: its answer and its log lines, both bounded
//! in size, and read while the call still runs.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::HeaderMap;
use picasso_types::{CallOutput, Clock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::headed;
use crate::settings::CallKeeping;

/// What a line costs beside its text, so that empty lines are bounded too.
const LINE_COST: usize = 32;

/// One line that a function wrote for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read.
    #[serde(rename = "t")]
    pub time: Timestamp,
    /// `stderr` or `stdout`.
    #[serde(rename = "s")]
    pub stream: String,
    /// Its text, without its end; not UTF-8: replaced.
    #[serde(rename = "l")]
    pub line: String,
}

/// The lines of a call's last run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLog {
    /// In the order in which they were read.
    pub lines: Vec<LogLine>,
    /// More was written than is kept.
    pub cut: bool,
}

/// The answer of a call's last run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptResult {
    /// The content type that the function chose, where its format has one.
    pub content_type: Option<String>,
    /// How much the function wrote, bytes; more than `body` has where it was cut.
    pub total_bytes: u64,
    /// What is kept of it.
    pub body: Vec<u8>,
}

impl KeptLog {
    /// Reads what [`KeptOutput::encode`] made; `None` when it is damaged.
    pub fn decode(encoded: &[u8]) -> Option<Self> {
        if encoded.is_empty() {
            return Some(Self::default());
        }
        serde_json::from_slice(encoded).ok()
    }
}

/// The head of an encoded [`KeptResult`].
#[derive(Serialize, Deserialize)]
struct ResultHead {
    content_type: Option<String>,
    total_bytes: u64,
}

impl KeptResult {
    fn encode(&self) -> Vec<u8> {
        if self.body.is_empty() {
            return Vec::new();
        }
        let head = ResultHead { content_type: self.content_type.clone(), total_bytes: self.total_bytes };
        headed::encode(&head, &self.body)
    }

    /// Reads what [`KeptOutput::encode`] made; `None` when it is damaged.
    pub fn decode(encoded: &[u8]) -> Option<Self> {
        if encoded.is_empty() {
            return Some(Self::default());
        }
        let (ResultHead { content_type, total_bytes }, body) = headed::decode(encoded)?;
        Some(Self { content_type, total_bytes, body })
    }
}

/// The output of a running call as it grows.
#[derive(Debug)]
pub struct KeptOutput {
    max_result_bytes: usize,
    max_log_bytes: usize,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Whether the answer's headers are wanted, too: for a callback.
    keeps_headers: bool,
    /// Whether a sandbox had to be started for it.
    cold_start: OnceLock<bool>,
    /// Grows with each line; closed with the call.
    written: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    result: KeptResult,
    headers: HeaderMap,
    log: KeptLog,
    log_bytes: usize,
}

impl KeptOutput {
    pub(crate) fn new(keeping: &CallKeeping, clock: Arc<dyn Clock>) -> Self {
        Self {
            max_result_bytes: keeping.max_result_bytes,
            max_log_bytes: keeping.max_log_bytes,
            clock,
            state: Mutex::default(),
            keeps_headers: false,
            cold_start: OnceLock::new(),
            written: watch::Sender::new(0),
        }
    }

    /// Keeps a line, unless the log is full.
    pub(crate) fn push_line(&self, stream: &'static str, line: &str) {
        let mut state = self.state();
        if state.log.cut {
            return;
        }
        let cost = line.len() + LINE_COST;
        if state.log_bytes + cost > self.max_log_bytes {
            state.log.cut = true;
        } else {
            state.log_bytes += cost;
            let line = LogLine { time: self.clock.now(), stream: stream.to_owned(), line: line.to_owned() };
            state.log.lines.push(line);
        }
        let lines = state.log.lines.len();
        drop(state);
        self.written.send_replace(lines);
    }

    /// Keeps a part of the answer, as far as there is room.
    pub(crate) fn push_result(&self, chunk: &[u8]) {
        let mut state = self.state();
        let room = self.max_result_bytes.saturating_sub(state.result.body.len());
        state.result.total_bytes += chunk.len() as u64;
        state.result.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    /// The same that keeps the answer's headers, too.
    pub(crate) fn with_headers(self, keeps_headers: bool) -> Self {
        Self { keeps_headers, ..self }
    }

    /// Notes the content type of the answer, and its headers where they are wanted.
    pub(crate) fn set_head(&self, headers: &HeaderMap) {
        let content_type = headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut state = self.state();
        state.result.content_type = content_type;
        if self.keeps_headers {
            state.headers = headers.clone();
        }
    }

    /// The answer's headers; empty where they are not kept.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.state().headers.clone()
    }

    /// Notes how it came to its sandbox; of several the last one counts that was first noted.
    pub(crate) fn set_cold_start(&self, cold: bool) {
        // A call that several sandboxes did not take began with the first of them.
        let _ = self.cold_start.set(cold);
    }

    pub(crate) fn cold_start(&self) -> Option<bool> {
        self.cold_start.get().copied()
    }

    /// The lines from number `from` on, and whether the log was cut.
    pub fn lines_from(&self, from: usize) -> (Vec<LogLine>, bool) {
        let state = self.state();
        (state.log.lines.get(from..).unwrap_or_default().to_vec(), state.log.cut)
    }

    /// Tells of new lines; its end is the end of the call here.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.written.subscribe()
    }

    /// The answer as far as it is kept.
    pub(crate) fn result(&self) -> KeptResult {
        self.state().result.clone()
    }

    /// What the store keeps.
    pub(crate) fn encode(&self) -> CallOutput {
        let state = self.state();
        let log = if state.log.lines.is_empty() && !state.log.cut {
            Vec::new()
        } else {
            serde_json::to_vec(&state.log).unwrap_or_default()
        };
        CallOutput { result: state.result.encode(), log }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use picasso_types::SystemClock;

    use super::*;

    fn kept(max_result_bytes: usize, max_log_bytes: usize) -> KeptOutput {
        let keeping = CallKeeping { max_result_bytes, max_log_bytes, ..CallKeeping::default() };
        KeptOutput::new(&keeping, Arc::new(SystemClock))
    }

    #[test]
    fn an_output_is_cut_at_its_bounds_and_says_so() {
        let kept = kept(5, 100);
        kept.set_head(&HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/plain"),
        )]));
        for _ in 0..1000 {
            kept.push_result(b"abc");
            kept.push_line("stderr", "");
        }
        let output = kept.encode();
        let result = KeptResult::decode(&output.result).unwrap();
        assert_eq!((result.body.as_slice(), result.total_bytes), (b"abcab".as_slice(), 3000));
        assert_eq!(result.content_type.as_deref(), Some("text/plain"));
        let log = KeptLog::decode(&output.log).unwrap();
        assert_eq!((log.lines.len(), log.cut), (3, true));
    }

    #[test]
    fn any_bytes_come_back_and_nothing_is_kept_of_nothing() {
        let kept = kept(1000, 1000);
        assert_eq!(kept.encode(), CallOutput::default());
        let bytes: Vec<u8> = (0..=255).collect();
        kept.push_result(&bytes);
        kept.push_line("stdout", "line");
        let output = kept.encode();
        assert_eq!(KeptResult::decode(&output.result).unwrap().body, bytes);
        let log = KeptLog::decode(&output.log).unwrap();
        assert_eq!((log.lines[0].line.as_str(), log.lines[0].stream.as_str()), ("line", "stdout"));
        assert_eq!(KeptResult::decode(&[]), Some(KeptResult::default()));
        assert_eq!(KeptLog::decode(b"{"), None);
    }
}
