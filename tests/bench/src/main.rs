//! `make bench`: measures what the project promises about speed, beside a peer or a floor in the
//! same run. The machines are shared and noisy: ratios hold, absolute figures do not.
//!
//! usage: picasso-bench [cold] [warm] [load] [idle] [routes] [accept] [drain] [backlog] [notifications] [schedules]     (all of them by default)

mod accept;
mod backlog;
mod cold;
mod drain;
mod http;
mod idle;
mod load;
mod memory;
mod notifications;
mod peer;
mod queued;
mod report;
mod routes;
mod samples;
mod schedules;
mod stage;
mod warm;

use std::process::ExitCode;

use stage::Fault;

const TABLES: [&str; 10] =
    ["cold", "warm", "load", "idle", "routes", "accept", "drain", "backlog", "notifications", "schedules"];

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a command for people")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[String]) -> Result<(), Fault> {
    if let [first, port, socket] = words
        && first == peer::PROXY
    {
        match peer::proxy(port.parse()?, socket.into()).await? {}
    }
    if let [first, url] = words
        && first == notifications::FLOOR
    {
        match notifications::acknowledge(url).await? {}
    }
    if let Some(word) = words.iter().find(|word| !TABLES.contains(&word.as_str())) {
        return Err(format!("there is no table {word}; choose of: {}", TABLES.join(", ")).into());
    }
    let wanted = |table: &str| words.is_empty() || words.iter().any(|word| word == table);
    if wanted("cold") {
        cold::measure().await?;
    }
    if wanted("warm") {
        warm::measure().await?;
    }
    if wanted("load") {
        load::measure().await?;
    }
    if wanted("idle") {
        idle::measure().await?;
    }
    if wanted("routes") {
        routes::measure().await?;
    }
    if wanted("accept") {
        accept::measure().await?;
    }
    if wanted("drain") {
        drain::measure().await?;
    }
    if wanted("backlog") {
        backlog::measure().await?;
    }
    if wanted("notifications") {
        notifications::measure().await?;
    }
    if wanted("schedules") {
        schedules::measure().await?;
    }
    Ok(())
}
