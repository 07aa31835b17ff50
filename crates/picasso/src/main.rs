//! The one binary: server, command line, and the server's own helper processes.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use picasso_cli::args::{Cli, Command, DbCommand, PolicyCommand};
use picasso_config::Inputs;
use picasso_sandbox::supervisor;
use picasso_server::{DatabaseTask, PolicyCheck, PolicyTask};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some((name, rest)) = arguments.get(1..).and_then(<[OsString]>::split_first)
        && let Some(code) = helper(name.to_str().unwrap_or_default(), rest)
    {
        return code;
    }
    let command = Cli::parse().command;
    match &command {
        Command::Serve(args) => picasso_server::serve(&args.inputs()),
        Command::Db(DbCommand::Upgrade(args)) => {
            picasso_server::look_after_database(&args.settings.inputs(), DatabaseTask::Upgrade)
        }
        Command::Db(DbCommand::Check(args)) => {
            picasso_server::look_after_database(&args.settings.inputs(), DatabaseTask::Check)
        }
        Command::Policy(command) => policy(command).unwrap_or_else(|failure| {
            picasso_cli::complain(&failure);
            ExitCode::FAILURE
        }),
        other => picasso_cli::run(other).unwrap_or(ExitCode::FAILURE),
    }
}

/// `picasso policy`: 0 where all is as it should be, 1 where it is not.
fn policy(command: &PolicyCommand) -> Result<ExitCode, Box<dyn Error>> {
    let report = match command {
        PolicyCommand::Sample => picasso_server::look_at_policy(&Inputs::default(), &PolicyTask::Sample),
        PolicyCommand::List(args) => {
            picasso_server::look_at_policy(&args.settings.inputs(), &PolicyTask::List { json: args.json })
        }
        PolicyCommand::Check(args) => {
            let check = PolicyCheck {
                token: picasso_cli::read_token(args.token_file.as_deref())?,
                rule: args.rule.clone(),
                project: args.project.clone(),
                target: args.target.clone(),
            };
            picasso_server::look_at_policy(&args.settings.inputs(), &PolicyTask::Check(check))
        }
    }?;
    for warning in &report.warnings {
        picasso_cli::complain(&format_args!("warning: {warning}"));
    }
    picasso_cli::print(&report.text)?;
    Ok(if report.is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
