//! Standard input, output and error.

use std::sync::Arc;
use std::time::Duration;

use picasso_sandbox::EndedBy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::{Bed, Started, line, probe, spec, within};

pub async fn what_goes_in_comes_out(bed: Arc<Bed>) {
    let input: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).take(3_000_000).collect();
    let Started { slot, io } = bed.start(&spec(), &probe(&["echo"])).await.unwrap();
    let (mut stdin, mut stdout) = (io.stdin, io.stdout);
    let mut output = Vec::new();
    let write = async {
        stdin.write_all(&input).await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    within("an echo", async { tokio::join!(write, stdout.read_to_end(&mut output)).1.unwrap() }).await;
    assert!(output == input, "{} of {} bytes came back alike", output.len(), input.len());
    assert_eq!(bed.wait(slot).await.by, EndedBy::Exit(0));
    bed.remove(slot).await;
}

pub async fn stdout_and_stderr_are_apart(bed: Arc<Bed>) {
    let run = bed.check(&["say", "to the caller", "to the log"]).await;
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("to the caller\n", "to the log\n"));
}

pub async fn shutting_stdin_down_ends_it(bed: Arc<Bed>) {
    let Started { slot, mut io } = bed.start(&spec(), &probe(&["wait-for-stdin"])).await.unwrap();
    assert_eq!(line(&mut io.stdout).await, "ready");
    io.stdin.write_all(b"some").await.unwrap();
    io.stdin.shutdown().await.unwrap();
    assert_eq!(bed.wait(slot).await.by, EndedBy::Exit(0));
    bed.remove(slot).await;
}

pub async fn dropping_stdin_ends_it(bed: Arc<Bed>) {
    let Started { slot, mut io } = bed.start(&spec(), &probe(&["wait-for-stdin"])).await.unwrap();
    assert_eq!(line(&mut io.stdout).await, "ready");
    drop(io.stdin);
    assert_eq!(bed.wait(slot).await.by, EndedBy::Exit(0));
    bed.remove(slot).await;
}

pub async fn large_output_arrives_whole(bed: Arc<Bed>) {
    const BYTES: usize = 20_000_000;
    let Started { slot, io } = bed.start(&spec(), &probe(&["output", &BYTES.to_string()])).await.unwrap();
    let (mut stdout, mut read) = (io.stdout, Vec::new());
    within("the output", stdout.read_to_end(&mut read)).await.unwrap();
    assert_eq!(read.len(), BYTES);
    assert!(read.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251));
    assert_eq!(bed.wait(slot).await.by, EndedBy::Exit(0));
    bed.remove(slot).await;
}

pub async fn unread_output_holds_the_function_back(bed: Arc<Bed>) {
    const BYTES: usize = 50_000_000;
    let Started { slot, mut io } = bed.start(&spec(), &probe(&["output", &BYTES.to_string()])).await.unwrap();
    assert_eq!(io.stdout.read_u8().await.unwrap(), 0);
    let early = tokio::time::timeout(Duration::from_secs(1), bed.sandbox.wait(slot)).await;
    assert!(early.is_err(), "it ended although nobody read its output: {early:?}");
    let mut left = Vec::new();
    within("the rest", io.stdout.read_to_end(&mut left)).await.unwrap();
    assert_eq!(left.len(), BYTES - 1);
    assert_eq!(bed.wait(slot).await.by, EndedBy::Exit(0));
    bed.remove(slot).await;
}
