//! `make soak`: calls of every format for minutes, while functions crash, run into their limits and
//! are killed, callers hang up, and the spawner dies. Every call must get an answer or a clear
//! error, and in the end file descriptors, memory, cgroups, mounts, namespaces and processes must be
//! back where they began.
//!
//! usage: picasso-soak \[SECONDS\]     (600 by default)

mod chance;
mod disturb;
mod functions;
mod level;
mod traffic;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use picasso_suites::cloud::{Cloud, ready};

use crate::chance::Chance;
use crate::functions::Functions;
use crate::level::Level;
use crate::traffic::Tally;

/// What ends a soak early.
type Fault = Box<dyn Error + Send + Sync>;

/// Calls at one time.
const CALLERS: u64 = 12;
/// For the first calls of all functions, before the starting level is taken.
const WARM_UP: Duration = Duration::from_secs(10);

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a command for people")]
async fn main() -> ExitCode {
    let seconds = std::env::args().nth(1).map_or(Ok(600), |word| word.parse());
    let Ok(seconds) = seconds else {
        eprintln!("usage: picasso-soak [SECONDS]");
        return ExitCode::FAILURE;
    };
    match soak(Duration::from_secs(seconds)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command for people")]
async fn soak(time: Duration) -> Result<(), Fault> {
    if !ready() {
        return Err("this machine lacks what the soak needs".into());
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    println!("seed {seed}, {} s", time.as_secs());
    let cloud = Arc::new(Cloud::start().await);
    let functions = Arc::new(Functions::make(&cloud).await);

    let warm = traffic(&cloud, &functions, WARM_UP, seed).await?;
    println!("warm-up: {warm}");
    let before = Level::settled(&cloud).await?;
    println!("at the start: {before}");

    let disturbing =
        tokio::spawn(disturb::until(cloud.clone(), Instant::now() + time, Chance::new(seed ^ 0xd157)));
    let tally = traffic(&cloud, &functions, time, seed + 1).await?;
    let done = disturbing.await?;
    println!("calls: {tally}\ndisturbances: {done}");
    tally.check(&done)?;

    let after = Level::back_to(&cloud, &before).await?;
    println!("at the end: {after}");
    // It still works.
    let last = traffic(&cloud, &functions, Duration::from_secs(3), seed + 2).await?;
    println!("afterwards: {last}");
    last.check_that_it_works()?;
    if cloud.picasso.log().contains(" panicked at ") {
        return Err("a process of the server panicked; its log has where".into());
    }
    println!("Everything is back where it began.");
    Ok(())
}

/// [`CALLERS`] callers for this time; what became of their calls.
async fn traffic(
    cloud: &Arc<Cloud>,
    functions: &Arc<Functions>,
    time: Duration,
    seed: u64,
) -> Result<Tally, Fault> {
    let until = Instant::now() + time;
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let chance = Chance::new(seed.wrapping_mul(1000) + n);
            tokio::spawn(traffic::caller(cloud.clone(), functions.clone(), until, chance))
        })
        .collect();
    let mut tally = Tally::default();
    for caller in callers {
        tally.add(caller.await??);
    }
    Ok(tally)
}
