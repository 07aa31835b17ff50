//! The log lines of the privileged processes, in the form of the server's own: a line of text or a
//! JSON object on stderr. Never a tenant's string: numbers, and texts of ours.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells a helper process that lines are JSON; set by the supervisor, never by people.
pub(crate) const JSON_VARIABLE: &str = "PICASSO_INTERNAL_JSON_LOG";

static JSON: AtomicBool = AtomicBool::new(false);

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

/// Lines are JSON from now on.
pub(crate) fn use_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Whether lines are JSON.
pub(crate) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed) || std::env::var_os(JSON_VARIABLE).is_some()
}

/// Writes one line.
pub(crate) fn log(level: Level, process: &str, message: &str) {
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let (time, pid) = (jiff::Timestamp::now(), std::process::id());
    let line = if is_json() {
        let target = format!("picasso_sandbox::{process}");
        let timestamp = time.to_string();
        serde_json::json!({
            "timestamp": timestamp, "level": level, "target": target, "pid": pid, "message": message,
        })
        .to_string()
    } else {
        format!("{time:.6} {level:>5} picasso_sandbox::{process}: {message} pid={pid}")
    };
    // One write, so that lines of several processes do not mix. Nothing to do where it fails.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
