//! `make bench`: measures what the project promises about speed, beside a peer or a floor in the
//! same run. The machines are shared and noisy: ratios hold, absolute figures do not.

mod cold;
mod report;
mod samples;

use std::process::ExitCode;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a command for people")]
async fn main() -> ExitCode {
    match cold::measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
