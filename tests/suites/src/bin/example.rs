//! `scripts/example NAME`: starts an OpenStack and a Picasso, runs an example in it, ends both.

use std::process::ExitCode;

use picasso_suites::example::Testbed;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "this is a program for people")]
async fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("usage: example NAME");
        return ExitCode::from(2);
    };
    if let Some(missing) = Testbed::missing() {
        eprintln!("error: the testbed cannot run here: {missing}");
        return ExitCode::FAILURE;
    }
    match run(&name).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(name: &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let work = async {
        let testbed = Testbed::start().await?;
        testbed.prepare(name).await?;
        Ok(testbed.show(name).await?.success())
    };
    // What was started ends with the testbed, also when somebody does not want to wait.
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}
