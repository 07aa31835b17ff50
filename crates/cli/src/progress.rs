//! The line that shows how far a long upload is; only on a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::output::size;

/// Redrawn at most this often.
const INTERVAL: Duration = Duration::from_millis(100);

/// A progress line on standard error.
pub(crate) struct Progress {
    what: String,
    total: Option<u64>,
    done: u64,
    drawn: Option<Instant>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(what: String, total: Option<u64>) -> Self {
        Self { what, total, done: 0, drawn: None, terminal: std::io::stderr().is_terminal() }
    }

    /// `bytes` more are done.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        if !self.terminal || self.drawn.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        self.drawn = Some(Instant::now());
        self.draw();
    }

    fn draw(&self) {
        let line = match self.total {
            Some(total) if total > 0 => format!(
                "{}: {} of {} ({}%)",
                self.what,
                size(self.done),
                size(total),
                u128::from(self.done) * 100 / u128::from(total)
            ),
            _ => format!("{}: {}", self.what, size(self.done)),
        };
        let _ = write!(std::io::stderr().lock(), "\r\x1b[K{line}");
    }
}

impl Drop for Progress {
    /// Leaves an empty line for what comes next.
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}
