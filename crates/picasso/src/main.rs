//! The one binary: server, command line, and the server's own helper processes.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use picasso_cli::args::{Cli, Command, DbCommand};
use picasso_sandbox::supervisor;
use picasso_server::DatabaseTask;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some((name, rest)) = arguments.get(1..).and_then(<[OsString]>::split_first)
        && let Some(code) = helper(name.to_str().unwrap_or_default(), rest)
    {
        return code;
    }
    let command = Cli::parse().command;
    match &command {
        Command::Serve(args) => picasso_server::serve(&args.settings.inputs()),
        Command::Db(DbCommand::Upgrade(args)) => {
            picasso_server::look_after_database(&args.settings.inputs(), DatabaseTask::Upgrade)
        }
        Command::Db(DbCommand::Check(args)) => {
            picasso_server::look_after_database(&args.settings.inputs(), DatabaseTask::Check)
        }
        other => picasso_cli::run(other).unwrap_or(ExitCode::FAILURE),
    }
}

/// The server starts this binary again for its helpers. They are no commands for people, so the
/// command line's grammar does not know them.
fn helper(name: &str, arguments: &[OsString]) -> Option<ExitCode> {
    match name {
        supervisor::SPAWNER_COMMAND => Some(supervisor::spawner_main(arguments)),
        supervisor::UNPACKER_COMMAND => Some(supervisor::unpacker_main(arguments)),
        supervisor::ENGINE_COMMAND => Some(picasso_server::engine_main(arguments)),
        picasso_server::DATABASE_COMMAND => Some(picasso_server::database_main(arguments)),
        _ => None,
    }
}
