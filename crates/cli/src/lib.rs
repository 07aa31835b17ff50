//! The `picasso` command for people: its arguments, and every command but the server itself.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 not
//! done (the message says why and what to do), 2 the command line was not understood.

pub mod args;

mod admin;
mod config;
mod failure;
mod image;
mod output;
mod progress;
mod token;

use std::process::ExitCode;

pub use args::{Command, ServeArgs, Settings};
pub use failure::CliFailure;
pub use output::{complain, print};
pub use token::read_token;

/// Runs a command that needs no server of this process. `None`: the command is the server's.
pub fn run(command: &Command) -> Option<ExitCode> {
    let done = match command {
        Command::Serve(_) | Command::Db(_) | Command::Policy(_) => return None,
        Command::Image(command) => image::run(command),
        Command::Config(command) => config::run(command),
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    })
}
