//! Single calls: answers, failures, deadlines, callers who leave.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::StreamExt;
use picasso_sandbox::Ended;
use picasso_types::Failure;

use super::fake::{Bench, Broken, eventually, exited, slot};
use crate::call_events::End;
use crate::settings::EngineSettings;

#[tokio::test]
async fn the_second_call_meets_the_first_ones_sandbox() {
    let bench = Bench::new().await;
    let f = bench.function(|_| ()).await;
    let first = bench.call(&f, "answer").await.unwrap();
    let answer = bench.answer(&f, "answer").await.ok().unwrap();
    assert_eq!(slot(&answer), first);
    assert_eq!((&answer.first[..], answer.rest.is_none()), (&b"hello"[..], true));
    assert_eq!(bench.started(), 1);
    bench.finish().await;
}

#[tokio::test]
async fn a_crashed_sandbox_fails_only_its_call_and_is_replaced() {
    let bench = Bench::new().await;
    let f = bench.function(|_| ()).await;
    let first = bench.call(&f, "answer").await.unwrap();
    let end = bench.answer(&f, "exit").await.err().unwrap();
    assert_eq!(end.failure, Some(Failure::Exit { code: 3 }));
    assert_eq!(end.stderr_tail, b"last words\n");
    assert_ne!(bench.call(&f, "answer").await.unwrap(), first);
    bench.finish().await;
}

#[tokio::test]
async fn a_crash_between_calls_is_nobodys_failure() {
    let bench = Bench::new().await;
    let f = bench.function(|_| ()).await;
    let first = bench.call(&f, "answer").await.unwrap();
    bench.world.end(first, exited(1));
    eventually("the sandbox is gone", || bench.present() == 0).await;
    assert_ne!(bench.call(&f, "answer").await.unwrap(), first);
    bench.finish().await;
}

#[tokio::test]
async fn running_out_of_memory_is_told_as_that() {
    let bench = Bench::new().await;
    let f = bench.function(|spec| spec.memory_mb = 64).await;
    assert_eq!(bench.call(&f, "exhaust").await, Err(Failure::OutOfMemory { limit_mb: 64 }));
    bench.finish().await;
}

#[tokio::test]
async fn a_broken_contract_ends_the_sandbox_with_its_reason() {
    let bench = Bench::new().await;
    let f = bench.function(|_| ()).await;
    let reason = "it wrote too much".to_owned();
    assert_eq!(bench.call(&f, "babble").await, Err(Failure::BadAnswer { reason }));
    eventually("the sandbox is gone", || bench.present() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_call_that_sandboxes_do_not_take_is_tried_three_times() {
    let bench = Bench::new().await;
    let f = bench.function(|_| ()).await;
    let end = bench.answer(&f, "refuse").await.err().unwrap();
    assert!(matches!(end.failure, Some(Failure::BadAnswer { .. })) && end.may_repeat);
    assert_eq!(bench.started(), 3);
    bench.finish().await;
}

#[tokio::test]
async fn a_call_past_its_time_limit_loses_its_sandbox() {
    let bench = Bench::new().await;
    let f = bench.function(|spec| spec.timeout_s = 1).await;
    assert_eq!(bench.call(&f, "for-ever").await, Err(Failure::Timeout { limit_s: 1 }));
    eventually("the sandbox is gone", || bench.present() == 0).await;
    bench.call(&f, "answer").await.unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn a_body_past_the_time_limit_is_cut_short_even_when_nobody_reads() {
    let bench = Bench::new().await;
    let f = bench.function(|spec| spec.timeout_s = 1).await;
    let answer = bench.answer(&f, "trickle").await.ok().unwrap();
    eventually("the sandbox is gone", || bench.present() == 0 && bench.inside() == 0).await;
    let mut rest = answer.rest.unwrap();
    assert_eq!(rest.next().await.unwrap().unwrap_err(), Failure::Timeout { limit_s: 1 });
    assert!(rest.next().await.is_none());
    bench.finish().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_cut_short() {
    let bench = Bench::with(EngineSettings { max_output_bytes: 10, ..EngineSettings::default() }).await;
    let f = bench.function(|_| ()).await;
    let mut rest = bench.answer(&f, "trickle").await.ok().unwrap().rest.unwrap();
    assert_eq!(rest.next().await.unwrap().unwrap(), "drop");
    assert_eq!(rest.next().await.unwrap().unwrap(), "drop");
    let too_large = Failure::OutputTooLarge { limit_bytes: 10 };
    assert_eq!(rest.next().await.unwrap().unwrap_err(), too_large);
    eventually("the sandbox is gone", || bench.present() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_caller_who_drops_the_body_ends_the_call() {
    let bench = Bench::new().await;
    let f = bench.function(|_| ()).await;
    drop(bench.answer(&f, "trickle").await.ok().unwrap());
    eventually("the sandbox is gone", || bench.present() == 0 && bench.inside() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_caller_who_leaves_takes_nothing_along() {
    let bench = Arc::new(Bench::new().await);
    let f = bench.function(|spec| spec.max_concurrency = Some(1)).await;
    let call = bench.begin(&f, "for-ever");
    eventually("the call runs", || bench.inside() == 1).await;
    call.abort();
    // Its place, its memory and its CPU are free again.
    bench.call(&f, "answer").await.unwrap();
    assert_eq!(bench.inside(), 0);
    bench.finish().await;
}

#[tokio::test]
async fn a_start_goes_on_when_its_caller_leaves() {
    let bench = Arc::new(Bench::new().await);
    *bench.world.start_takes.lock().unwrap() = Duration::from_millis(50);
    let f = bench.function(|_| ()).await;
    let call = bench.begin(&f, "answer");
    eventually("the start has begun", || bench.started() == 1).await;
    call.abort();
    bench.call(&f, "answer").await.unwrap();
    assert_eq!(bench.started(), 1);
    bench.finish().await;
}

#[tokio::test]
async fn a_function_that_does_not_start_fails_all_that_wait_for_it() {
    let bench = Arc::new(Bench::new().await);
    *bench.world.broken.lock().unwrap() = Some(Broken::Ends(exited(7)));
    let f = bench.function(|_| ()).await;
    let calls: Vec<_> = (0..5).map(|_| bench.begin(&f, "answer")).collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Err(Failure::Exit { code: 7 }));
    }
    let end = bench.answer(&f, "answer").await.err().unwrap();
    assert_eq!((end.exit_code, &end.stderr_tail[..]), (Some(7), &b"last words\n"[..]));
    *bench.world.broken.lock().unwrap() = Some(Broken::Ends(Ended { out_of_memory: true, ..exited(137) }));
    assert_eq!(bench.call(&f, "answer").await, Err(Failure::OutOfMemory { limit_mb: 128 }));
    *bench.world.broken.lock().unwrap() = None;
    bench.call(&f, "answer").await.unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn a_function_that_never_gets_ready_fails_at_the_start_timeout() {
    let start_timeout = Duration::from_millis(30);
    let bench = Bench::with(EngineSettings { start_timeout, ..EngineSettings::default() }).await;
    *bench.world.broken.lock().unwrap() = Some(Broken::Silent);
    let f = bench.function(|_| ()).await;
    assert!(matches!(bench.call(&f, "answer").await, Err(Failure::InitFailed { .. })));
    eventually("the sandbox is gone", || bench.present() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn no_more_calls_run_than_max_concurrency() {
    let bench = Arc::new(Bench::new().await);
    let f = bench.function(|spec| spec.max_concurrency = Some(2)).await;
    let calls: Vec<_> = (0..6).map(|_| bench.begin(&f, "hold")).collect();
    eventually("two run", || bench.inside() == 2).await;
    bench.world.release.add_permits(6);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(bench.world.most_inside.load(SeqCst), 2);
    assert_eq!(bench.world.most.load(SeqCst), 2);
    bench.finish().await;
}

#[tokio::test]
async fn a_queue_timeout_of_zero_gets_a_sandbox_but_no_place_in_a_line() {
    let bench = Arc::new(Bench::new().await);
    *bench.world.start_takes.lock().unwrap() = Duration::from_millis(30);
    let f = bench
        .function(|spec| {
            spec.max_concurrency = Some(1);
            spec.queue_timeout_s = 0;
        })
        .await;
    let held = bench.begin(&f, "hold");
    eventually("it runs", || bench.inside() == 1).await;
    assert_eq!(bench.call(&f, "answer").await, Err(Failure::NoCapacity));
    bench.world.release.add_permits(1);
    held.await.unwrap().unwrap();
    bench.call(&f, "answer").await.unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn the_line_is_bounded() {
    let bench =
        Arc::new(Bench::with(EngineSettings { max_waiting_calls: 2, ..EngineSettings::default() }).await);
    let f = bench.function(|spec| spec.max_concurrency = Some(1)).await;
    let first = bench.begin(&f, "hold");
    eventually("it runs", || bench.inside() == 1).await;
    let (second, third) = (bench.begin(&f, "answer"), bench.begin(&f, "answer"));
    eventually("two wait", || bench.pool(&f).gates.route.calls.waiting() == 2).await;
    assert_eq!(bench.call(&f, "answer").await, Err(Failure::NoCapacity));
    bench.world.release.add_permits(1);
    for call in [first, second, third] {
        call.await.unwrap().unwrap();
    }
    bench.finish().await;
}

#[tokio::test]
async fn a_status_of_failure_fails_only_calls_that_nobody_waits_for() {
    let bench = Bench::new().await;
    let f = bench.function(|_| ()).await;
    let answer = bench.answer(&f, "404").await.ok().unwrap();
    assert_eq!(answer.head.unwrap().status, 404);
    let End { failure, status, .. } = bench.engine.run_to_end(Bench::invocation(&f, "404")).await;
    assert_eq!((failure, status), (Some(Failure::Status { status: 404 }), Some(404)));
    let end = bench.engine.run_to_end(Bench::invocation(&f, "answer")).await;
    assert_eq!(end.failure, None);
    bench.finish().await;
}
