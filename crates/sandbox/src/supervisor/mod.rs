//! The process people start, and what the engine sees of it.
//!
//! `picasso serve` is the supervisor: single-threaded, root where it may be. It starts the
//! spawner, the unpacker and the engine - the same binary under hidden subcommands - and joins
//! them by sockets. It restarts a spawner or unpacker that died, after removing what the dead
//! one left, and hands the engine the new socket; it ends with the engine's exit code.

mod children;
mod control;
mod data_dir;
mod host;
mod id_block;
mod settings;
mod sockets;
mod user;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

pub use children::{SpawnedNative, spawn_native};
pub use control::{Control, EngineSide};
pub use settings::{NativeSettings, SupervisorSettings};
pub use sockets::{ListeningSocket, UnixSocketSettings};

use crate::native::raw;
use crate::native::spawner::{Level, log, use_json};

/// The hidden subcommand whose entry point is [`spawner_main`].
pub const SPAWNER_COMMAND: &str = "internal-spawner";
/// The hidden subcommand whose entry point is [`unpacker_main`].
pub const UNPACKER_COMMAND: &str = "internal-unpacker";
/// The hidden subcommand whose entry point belongs to the server: it calls [`EngineSide::take`]
/// before it starts a runtime or any thread.
pub const ENGINE_COMMAND: &str = "internal-engine";

/// Runs the supervisor until the engine has ended; its exit code is the engine's.
///
/// To be called before any thread is started. Faults found at start (missing user, locked data
/// directory, missing capability) are said on stderr and give exit code 1.
pub fn run(settings: &SupervisorSettings) -> ExitCode {
    if settings.json_logs {
        use_json();
    }
    match watch::Supervisor::start(settings) {
        Ok(supervisor) => ExitCode::from(supervisor.watch()),
        Err(faults) => {
            for fault in faults {
                log(Level::Error, "supervisor", &fault);
            }
            ExitCode::FAILURE
        }
    }
}

/// Entry point of the hidden subcommand [`SPAWNER_COMMAND`]: `args` are what follows its name. To
/// be called before any thread is started.
pub fn spawner_main(args: &[OsString]) -> ExitCode {
    crate::native::spawner::main(args)
}

/// Entry point of the hidden subcommand [`UNPACKER_COMMAND`]: `args` are what follows its name.
/// To be called before any thread is started.
pub fn unpacker_main(args: &[OsString]) -> ExitCode {
    let [socket, layers] = args else {
        log(Level::Error, "unpacker", "this subcommand is started by `picasso serve` only");
        return ExitCode::FAILURE;
    };
    let socket = socket.to_str().and_then(|number| number.parse().ok()).and_then(raw::inherited);
    match socket {
        Some(socket) => {
            // A terminal's Ctrl-C reaches the whole group; only the socket's end ends it.
            raw::ignore_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]);
            crate::unpacker::unpacker_main(socket, Path::new(layers))
        }
        None => {
            log(Level::Error, "unpacker", "the descriptor it was told is not open");
            ExitCode::FAILURE
        }
    }
}
