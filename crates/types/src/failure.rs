//! Why a call did not succeed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::Resource;

/// Why a call did not succeed. Shown to callers with a token; holds nothing of other tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The time limit of the route passed.
    Timeout {
        /// The limit, seconds.
        limit_s: u32,
    },
    /// The function ended with a non-zero exit code.
    Exit {
        /// Its exit code.
        code: i32,
    },
    /// The function was ended by a signal that was not ours.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// The kernel ended the function at its memory limit.
    OutOfMemory {
        /// The limit, MiB.
        limit_mb: u32,
    },
    /// The function wrote more than the output limit.
    OutputTooLarge {
        /// The limit, bytes.
        limit_bytes: u64,
    },
    /// No place became free within the route's `queue_timeout`.
    NoCapacity,
    /// The project is at a limit of its own, and a little later may not be.
    OverLimit {
        /// Of what.
        resource: Resource,
        /// The limit.
        limit: u64,
    },
    /// The caller went away.
    HungUp,
    /// The image of the version is not ready.
    NotReady {
        /// Why, in a sentence.
        reason: String,
    },
    /// The function could not be started for a reason in its image (missing program, …).
    CannotStart {
        /// Why, in a sentence.
        reason: String,
    },
    /// A hot sandbox did not become ready for its first call, or said that it cannot.
    InitFailed {
        /// Why, in a sentence.
        reason: String,
    },
    /// The function's answer broke its format's contract, or its sandbox ended without one.
    BadAnswer {
        /// How, in a sentence.
        reason: String,
    },
    /// The function itself reported an error instead of an answer (Lambda's
    /// `/runtime/invocation/…/error`).
    FunctionError {
        /// `errorType`, at most 256 bytes.
        error_type: String,
        /// `errorMessage`, at most 4 KiB.
        message: String,
    },
    /// The function answered with a status that means failure. Only asynchronous calls fail by
    /// it: who waits gets the function's answer itself.
    Status {
        /// The HTTP status, 400 or more.
        status: u16,
    },
    /// The processes that ran the call ended before it did, so often that it was given up.
    Lost {
        /// How many runs were lost.
        runs: u32,
    },
    /// The call did not begin, or not again, within the route's `max_age`.
    Expired {
        /// The limit, seconds.
        max_age_s: u32,
        /// Why its last run failed, where it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_error: Option<String>,
    },
    /// So many calls caused each other before it that it looks like a loop.
    TooDeep {
        /// How deep a call may be.
        max_depth: u32,
    },
    /// Another user changed the function since its identity was granted, and who granted it has not
    /// consented yet.
    IdentitySuspended,
    /// The function's identity could not be had.
    IdentityUnavailable {
        /// Why, in a sentence.
        reason: String,
    },
    /// A fault of ours; the log has the story.
    Internal,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { limit_s } => {
                write!(f, "The function did not finish within its timeout of {limit_s} s")
            }
            Self::Exit { code } => write!(f, "The function exited with code {code}"),
            Self::Signal { signal } => write!(f, "The function was ended by signal {signal}"),
            Self::OutOfMemory { limit_mb } => {
                write!(f, "The function ran out of memory (limit {limit_mb} MiB)")
            }
            Self::InitFailed { reason } => write!(f, "The function did not become ready: {reason}"),
            Self::BadAnswer { reason } => write!(f, "The function gave no valid answer: {reason}"),
            Self::FunctionError { error_type, message } => {
                write!(f, "The function reported an error: {error_type}: {message}")
            }
            Self::Status { status } => write!(f, "The function answered with status {status}"),
            Self::OutputTooLarge { limit_bytes } => {
                write!(f, "The function wrote more than {limit_bytes} bytes")
            }
            Self::NoCapacity => f.write_str("No place to run the function became free in time"),
            Self::OverLimit { resource, limit } => {
                write!(f, "The project is at its limit of {limit} ({}); try again later", resource.name())
            }
            Self::HungUp => f.write_str("The caller closed the connection before the function finished"),
            Self::NotReady { reason } => write!(f, "The function is not ready: {reason}"),
            Self::CannotStart { reason } => write!(f, "The function could not be started: {reason}"),
            Self::Lost { runs } => {
                write!(f, "The call was given up: {runs} runs of it ended with the process that ran them")
            }
            Self::Expired { max_age_s, last_error } => {
                write!(f, "The call was given up: it did not succeed within its max_age of {max_age_s} s")?;
                last_error.as_ref().map_or(Ok(()), |last| write!(f, ". Its last run: {last}"))
            }
            Self::TooDeep { max_depth } => write!(
                f,
                "The call was refused: more than {max_depth} calls caused each other, which looks like a loop"
            ),
            Self::IdentitySuspended => f.write_str(
                "The function's identity is suspended: another user changed the function, and who granted the \
                 identity has not consented yet",
            ),
            Self::IdentityUnavailable { reason } => write!(f, "The function's identity cannot be had: {reason}"),
            Self::Internal => f.write_str("The function could not be run because of a fault of the service"),
        }
    }
}
