//! The log lines of the privileged processes: one JSON object a line on stderr, as the server's
//! JSON logs look. Never a tenant's string: numbers, and texts of ours.

use std::io::Write;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

/// Writes one line.
pub(crate) fn log(level: Level, process: &str, message: &str) {
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let line = serde_json::json!({
        "timestamp": jiff::Timestamp::now().to_string(),
        "level": level,
        "target": format!("picasso_sandbox::{process}"),
        "pid": std::process::id(),
        "message": message,
    });
    // One write, so that lines of several processes do not mix. Nothing to do where it fails.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
