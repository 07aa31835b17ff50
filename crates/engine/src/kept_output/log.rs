//! The lines of a call's run: one JSON object for each, in the order in which they were read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use picasso_types::{KeptObject, Timestamp};
use serde::{Deserialize, Serialize};

use super::spool::{Kept, Spool};
use crate::headed;
use crate::large_outputs::ObjectRef;

/// Lines that those who follow a running call can still read, bytes of text.
const WINDOW_BYTES: usize = 256 << 10;
/// What a line costs beside its text, so that empty lines are bounded too.
const LINE_COST: usize = 32;
/// The stream of lines of ours.
const NOTES: &str = "picasso";

/// One line that a function wrote for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read.
    #[serde(rename = "t")]
    pub time: Timestamp,
    /// `stderr` or `stdout`; `picasso` of a note of ours.
    #[serde(rename = "s")]
    pub stream: String,
    /// Its text, without its end; not UTF-8: replaced.
    #[serde(rename = "l")]
    pub line: String,
}

impl LogLine {
    fn note(time: Timestamp, line: String) -> Self {
        Self { time, stream: NOTES.to_owned(), line }
    }
}

/// What of a log is not kept: everything from some line on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCut {
    /// Since when.
    pub at: Timestamp,
    /// How many lines.
    pub lines: u64,
    /// Their text, bytes.
    pub bytes: u64,
}

impl LogCut {
    /// The last line of a log that was cut.
    pub fn note(&self) -> LogLine {
        let Self { at, lines, bytes } = self;
        LogLine::note(*at, format!("[log cut: {lines} more lines, {bytes} bytes, were not kept]"))
    }
}

/// The log of a call's last run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptLog {
    /// The lines that are kept here.
    pub lines: Vec<LogLine>,
    /// The lines that are kept elsewhere, instead; to be read with [`LogLines`].
    pub object: Option<ObjectRef>,
    /// What is not kept.
    pub cut: Option<LogCut>,
}

#[derive(Serialize, Deserialize)]
struct LogHead {
    cut: Option<LogCut>,
    object: Option<ObjectRef>,
}

impl KeptLog {
    /// Reads what the store kept; `None` when it is damaged.
    pub fn decode(encoded: &[u8]) -> Option<Self> {
        if encoded.is_empty() {
            return Some(Self::default());
        }
        let (LogHead { cut, object }, text) = headed::decode(encoded)?;
        let lines = LogLines::default().read(&text)?;
        Some(Self { lines, object, cut })
    }
}

/// Reads the lines of a log that comes in pieces.
#[derive(Debug, Default)]
pub struct LogLines {
    /// The beginning of a line whose end is in the next piece.
    begun: Vec<u8>,
}

impl LogLines {
    /// The lines that end in this piece; `None` when it is damaged.
    pub fn read(&mut self, piece: &[u8]) -> Option<Vec<LogLine>> {
        let mut lines = Vec::new();
        for piece in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                lines.push(serde_json::from_slice(&self.begun).ok()?);
                self.begun.clear();
            }
        }
        Some(lines)
    }
}

/// Lines of a call that runs.
#[derive(Debug)]
pub struct NewLines {
    /// In their order.
    pub lines: Vec<LogLine>,
    /// The number of the next one.
    pub next: usize,
    /// No more lines are kept.
    pub full: bool,
}

/// Takes the lines of a run.
#[derive(Debug)]
pub(super) struct LogKeeper {
    spool: Spool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    window: VecDeque<LogLine>,
    window_bytes: usize,
    /// Lines that were kept.
    lines: usize,
    cut: Option<LogCut>,
}

/// A log whose run is over.
pub(super) struct ClosedLog {
    kept: Kept,
    cut: Option<LogCut>,
    empty: bool,
}

impl LogKeeper {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, state: Mutex::default() }
    }

    /// Keeps a line; how many are kept then, `None` where this one is not.
    pub(super) fn push(&self, time: Timestamp, stream: &'static str, line: &str) -> Option<usize> {
        let mut state = self.state();
        if let Some(cut) = &mut state.cut {
            cut.lines += 1;
            cut.bytes += line.len() as u64;
            return None;
        }
        let entry = LogLine { time, stream: stream.to_owned(), line: line.to_owned() };
        // Strings and a number: there is no failing case.
        let mut encoded = serde_json::to_vec(&entry).unwrap_or_default();
        encoded.push(b'\n');
        if !self.spool.has_room(encoded.len()) {
            state.cut = Some(LogCut { at: time, lines: 1, bytes: line.len() as u64 });
            return None;
        }
        self.spool.push(&encoded);
        state.lines += 1;
        state.window_bytes += entry.line.len() + LINE_COST;
        state.window.push_back(entry);
        while state.window_bytes > WINDOW_BYTES
            && let Some(oldest) = state.window.pop_front()
        {
            state.window_bytes -= oldest.line.len() + LINE_COST;
        }
        Some(state.lines)
    }

    pub(super) fn is_full(&self) -> bool {
        self.state().cut.is_some()
    }

    pub(super) fn drop_lines(&self, lines: u64, bytes: u64) {
        if let Some(cut) = &mut self.state().cut {
            cut.lines += lines;
            cut.bytes += bytes;
        }
    }

    pub(super) async fn relieve(&self) {
        self.spool.relieve().await;
    }

    pub(super) fn lines_from(&self, from: usize, now: Timestamp) -> NewLines {
        let state = self.state();
        let first = state.lines - state.window.len();
        let missed = first.saturating_sub(from);
        let note = (missed > 0).then(|| {
            let text =
                format!("[{missed} lines are not shown here, but kept: see the log after the call's end]");
            LogLine::note(state.window.front().map_or(now, |line| line.time), text)
        });
        let lines = state.window.iter().skip(from.saturating_sub(first)).cloned();
        NewLines {
            lines: note.into_iter().chain(lines).collect(),
            next: state.lines,
            full: state.cut.is_some(),
        }
    }

    pub(super) async fn close(&self, now: Timestamp) -> ClosedLog {
        let mut kept = self.spool.close().await;
        let mut state = self.state();
        let mut cut = state.cut.take();
        if kept.object.is_none() {
            // What was to lie elsewhere and does not, was cut anywhere.
            let whole = kept.inline.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            kept.inline.truncate(whole);
            let lines = kept.inline.split_inclusive(|byte| *byte == b'\n').count();
            if lines < state.lines {
                let cut = cut.get_or_insert(LogCut { at: now, lines: 0, bytes: 0 });
                cut.lines += (state.lines - lines) as u64;
                cut.bytes += self.spool.head().0.saturating_sub(whole as u64);
            }
        }
        // Lines that come late are of no call.
        state.cut = Some(LogCut { at: now, lines: 0, bytes: 0 });
        ClosedLog { empty: state.lines == 0 && cut.is_none(), kept, cut }
    }

    pub(super) async fn abandon(&self) {
        self.spool.abandon().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClosedLog {
    pub(super) fn object(&self) -> Option<KeptObject> {
        self.kept.object()
    }

    pub(super) fn encode(self) -> Vec<u8> {
        if self.empty {
            return Vec::new();
        }
        headed::encode(&LogHead { cut: self.cut, object: self.kept.object }, &self.kept.inline)
    }
}
