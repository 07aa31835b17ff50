//! The process people start, and what the engine sees of it.
//!
//! `picasso serve` is the supervisor: single-threaded, root where it may be. It starts the
//! spawner, the unpacker and the engine - the same binary under hidden subcommands - and joins
//! them by sockets. It restarts a spawner or unpacker that died, after removing what the dead
//! one left, and hands the engine the new socket; it ends with the engine's exit code.

mod control;
mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

pub use control::{Control, EngineSide};
pub use settings::{NativeSettings, SupervisorSettings};

/// The hidden subcommand whose entry point is [`spawner_main`].
pub const SPAWNER_COMMAND: &str = "internal-spawner";
/// The hidden subcommand whose entry point is `unpacker_main`.
pub const UNPACKER_COMMAND: &str = "internal-unpacker";
/// The hidden subcommand whose entry point belongs to the server: it calls [`EngineSide::take`]
/// before it starts a runtime or any thread.
pub const ENGINE_COMMAND: &str = "internal-engine";

/// Runs the supervisor until the engine has ended; its exit code is the engine's.
///
/// To be called before any thread is started. Faults found at start (missing user, locked data
/// directory, missing capability) are said on stderr and give exit code 1.
pub fn run(settings: &SupervisorSettings) -> ExitCode {
    let _ = settings;
    ExitCode::FAILURE
}

/// Entry point of the hidden subcommand [`SPAWNER_COMMAND`]: `args` are what follows its name.
pub fn spawner_main(args: &[OsString]) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
