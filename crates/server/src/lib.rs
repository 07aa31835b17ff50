//! The daemon: the only place where settings become constructor arguments.
//!
//! [`serve`] is the process people start (checks, key, supervisor), [`engine_main`] the one that
//! answers requests. Everything here is wiring; what it wires is in the other crates.

mod catalog_services;
mod convert;
mod database;
mod engine_process;
mod events;
mod failure;
mod handover;
mod identities;
mod key_file;
mod limits;
mod notifications;
mod objects;
mod policy;
mod queue;
mod queue_hold;
mod start;
mod trigger_tokens;

use std::ffi::OsString;
use std::process::ExitCode;

use picasso_config::Inputs;

pub use database::DatabaseTask;
pub use failure::ServerFailure;
pub use policy::{PolicyCheck, PolicyReport, PolicyTask};

/// The hidden subcommand that looks after the database as the user it belongs to.
pub const DATABASE_COMMAND: &str = database::CHILD_COMMAND;

/// `picasso serve`: runs until the server has ended.
pub fn serve(inputs: &Inputs) -> ExitCode {
    start::serve(inputs).unwrap_or_else(|failure| failure::told(&failure))
}

/// `picasso db upgrade` and `picasso db check`.
pub fn look_after_database(inputs: &Inputs, task: DatabaseTask) -> ExitCode {
    database::run(inputs, task).unwrap_or_else(|failure| failure::told(&failure))
}

/// `picasso policy sample`, `list` and `check`.
pub fn look_at_policy(inputs: &Inputs, task: &PolicyTask) -> Result<PolicyReport, ServerFailure> {
    policy::report(inputs, task)
}

/// Entry point of [`DATABASE_COMMAND`], `args` being what follows it.
pub fn database_main(args: &[OsString]) -> ExitCode {
    database::child(args).unwrap_or_else(|failure| failure::told(&failure))
}

/// Entry point of the engine process, `args` being what follows its hidden subcommand. To be
/// called before any thread is started.
pub fn engine_main(args: &[OsString]) -> ExitCode {
    engine_process::main(args).unwrap_or_else(|failure| failure::told(&failure))
}
