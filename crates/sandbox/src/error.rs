//! What can go wrong with a sandbox.

use thiserror::Error;

/// Why a driver did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub enum SandboxError {
    /// The image's fault: the program is missing, not executable, the working directory does not
    /// exist, … A sentence for the function's owner.
    #[error("{0}")]
    CannotStart(String),
    /// The driver cannot do this on this machine.
    #[error("the {driver} driver cannot do this here: {reason}")]
    Unsupported {
        /// Which driver.
        driver: &'static str,
        /// Why, and what would help.
        reason: String,
    },
    /// The slot does not exist or is not in the state the call needs.
    #[error("sandbox slot: {0}")]
    Slot(String),
    /// The spawner process or the Docker Engine went away.
    #[error("the {driver} driver is not available: {reason}")]
    Unavailable {
        /// Which driver.
        driver: &'static str,
        /// What happened.
        reason: String,
    },
    /// The kernel or the Docker Engine refused.
    #[error("{context}: {reason}")]
    Failed {
        /// What was being done.
        context: String,
        /// The reason given.
        reason: String,
    },
}
