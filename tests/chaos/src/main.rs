//! `make chaos`: calls are accepted while the server, its broker or its database is killed and
//! started again, while the network to them is cut, and while the disk is full. Every call that was
//! answered with an id must run to its end, and none that a living server held may run twice.
//!
//! usage: picasso-chaos \[CALLS\] \[QUEUE\]     (10000 of every fault, every queue)

mod cable;
mod fault;
mod load;
mod verdict;
mod world;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use picasso_suites::cloud::ready;

use crate::fault::Fault;
use crate::load::Load;
use crate::verdict::Verdict;
use crate::world::{Queue, World};

/// Queues whose rounds run at one time: most of a round is waiting for what was cut or killed.
const SIDE_BY_SIDE: usize = 2;

/// What ends a run early.
type Trouble = Box<dyn Error + Send + Sync>;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a command for people")]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let calls = words.next().map_or(Ok(10_000), |word| word.parse());
    let queues = words.next().map_or(Some(Queue::ALL.to_vec()), |word| Queue::named(&word).map(|q| vec![q]));
    let (Ok(calls), Some(queues)) = (calls, queues) else {
        eprintln!("usage: picasso-chaos [CALLS] [sqlite|rabbitmq|nats|redis]");
        return ExitCode::FAILURE;
    };
    match rounds(calls, &queues).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command for people")]
async fn rounds(calls: usize, queues: &[Queue]) -> Result<(), Trouble> {
    if !ready() {
        return Err("this machine lacks what the rounds need".into());
    }
    println!("{calls} accepted calls in every round\n");
    println!("{}", Verdict::TITLE);
    let began = Instant::now();
    let failed: u32 = stream::iter(queues)
        .map(|queue| rounds_of(calls, *queue))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_fold(0, |all, failed| std::future::ready(Ok(all + failed)))
        .await?;
    if failed > 0 {
        return Err(format!("{failed} rounds went wrong").into());
    }
    println!("\nEvery accepted call ran to its end, in {:.0} s.", began.elapsed().as_secs_f64());
    Ok(())
}

/// All faults of one queue; how many rounds went wrong.
#[expect(clippy::print_stdout, reason = "a command for people")]
async fn rounds_of(calls: usize, queue: Queue) -> Result<u32, Trouble> {
    let mut failed = 0;
    let mut world = World::start(queue).await?;
    for fault in Fault::of(queue) {
        let began = Instant::now();
        let verdict = round(&mut world, fault, calls).await;
        let verdict = verdict.map_err(|error| {
            format!("{} / {fault}: {error}\nthe server's last words:\n{}", queue.name(), world.last_words())
        })?;
        println!("{}", verdict.line(queue.name(), fault, began.elapsed()));
        failed += u32::from(!verdict.is_good(fault));
    }
    Ok(failed)
}

/// Calls are accepted all the while; the fault strikes when a third of them are, and is mended.
async fn round(world: &mut World, fault: Fault, calls: usize) -> Result<Verdict, Trouble> {
    let log_before = world.cloud.picasso.log().len();
    let load = Load::start(world, calls);
    load.accepted(calls / 3).await?;
    fault.strike(world, &load).await?;
    let accepted = load.finish().await?;
    Verdict::of(world, &accepted, log_before).await
}
