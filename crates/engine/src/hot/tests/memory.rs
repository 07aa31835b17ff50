//! Memory: what sandboxes hold, who gives it up, and who is served when it is short.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use picasso_types::Failure;

use super::fake::{Bench, eventually};
use crate::settings::EngineSettings;

/// Room for two sandboxes of 100 MiB.
async fn small() -> Arc<Bench> {
    let settings = EngineSettings { memory_mb: 200, project_memory_mb: 200, ..EngineSettings::default() };
    Arc::new(Bench::with(settings).await)
}

#[tokio::test]
async fn an_idle_sandbox_holds_its_memory_but_no_cpu() {
    let bench = small().await;
    let f = bench.function(|spec| spec.memory_mb = 100).await;
    bench.call(&f, "answer").await.unwrap();
    assert_eq!(bench.engine.shared.admission.memory_in_use_mb(), 100);
    assert_eq!(bench.engine.shared.admission.cpu_in_use(), 0);
    bench.finish().await;
}

#[tokio::test]
async fn the_longest_idle_sandbox_is_evicted_for_another_function() {
    let bench = small().await;
    let mut functions = Vec::new();
    for _ in 0..3 {
        functions.push(bench.function(|spec| spec.memory_mb = 100).await);
    }
    let [a, b, c] = &functions[..] else { unreachable!() };
    let (of_a, of_b) = (bench.call(a, "answer").await.unwrap(), bench.call(b, "answer").await.unwrap());
    assert_eq!(bench.call(a, "answer").await.unwrap(), of_a);
    bench.call(c, "answer").await.unwrap();
    assert_eq!(bench.call(a, "answer").await.unwrap(), of_a, "it was not the longest idle one");
    assert_eq!(bench.world.most.load(SeqCst), 2);
    assert_ne!(bench.call(b, "answer").await.unwrap(), of_b);
    bench.finish().await;
}

#[tokio::test]
async fn no_more_is_evicted_than_is_lacking() {
    let settings = EngineSettings { memory_mb: 400, project_memory_mb: 400, ..EngineSettings::default() };
    let bench = Arc::new(Bench::with(settings).await);
    let f = bench.function(|spec| spec.memory_mb = 100).await;
    let calls: Vec<_> = (0..4).map(|_| bench.begin(&f, "hold")).collect();
    eventually("all run", || bench.inside() == 4).await;
    bench.world.release.add_permits(4);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let g = bench.function(|spec| spec.memory_mb = 100).await;
    bench.call(&g, "answer").await.unwrap();
    assert_eq!(bench.present(), 4);
    bench.finish().await;
}

#[tokio::test]
async fn a_second_function_is_served_while_the_first_is_saturated() {
    let bench = small().await;
    let busy = bench.function(|spec| spec.memory_mb = 100).await;
    let other = bench.function(|spec| spec.memory_mb = 100).await;
    let mut callers = Vec::new();
    for _ in 0..20 {
        let (bench, busy) = (bench.clone(), busy.clone());
        callers.push(tokio::spawn(async move {
            loop {
                bench.call(&busy, "answer").await.unwrap();
            }
        }));
    }
    eventually("the first is busy", || bench.started() > 0).await;
    for _ in 0..5 {
        bench.call(&other, "answer").await.unwrap();
    }
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("the callers are gone", || bench.inside() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn two_functions_share_the_place_of_one() {
    let settings = EngineSettings { memory_mb: 100, project_memory_mb: 100, ..EngineSettings::default() };
    let bench = Arc::new(Bench::with(settings).await);
    let functions = [
        bench.function(|spec| spec.memory_mb = 100).await,
        bench.function(|spec| spec.memory_mb = 100).await,
    ];
    let mut callers = Vec::new();
    for number in 0..16 {
        let (bench, f) = (bench.clone(), functions[number % 2].clone());
        callers.push(tokio::spawn(async move {
            for _ in 0..50 {
                bench.call(&f, "answer").await.unwrap();
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(bench.world.most.load(SeqCst), 1);
    bench.finish().await;
}

#[tokio::test]
async fn what_can_never_fit_is_told_at_once() {
    let bench = small().await;
    let f = bench.function(|spec| (spec.memory_mb, spec.queue_timeout_s) = (300, 300)).await;
    assert!(matches!(bench.call(&f, "answer").await, Err(Failure::CannotStart { .. })));
    bench.finish().await;
}

#[tokio::test]
async fn a_call_that_finds_no_memory_is_refused_at_its_queue_timeout() {
    let bench = small().await;
    let f = bench.function(|spec| spec.memory_mb = 200).await;
    let held = bench.begin(&f, "hold");
    eventually("it runs", || bench.inside() == 1).await;
    let g = bench.function(|spec| (spec.memory_mb, spec.queue_timeout_s) = (100, 1)).await;
    assert_eq!(bench.call(&g, "answer").await, Err(Failure::NoCapacity));
    let h = bench.function(|spec| (spec.memory_mb, spec.queue_timeout_s) = (100, 0)).await;
    assert_eq!(bench.call(&h, "answer").await, Err(Failure::NoCapacity));
    bench.world.release.add_permits(1);
    held.await.unwrap().unwrap();
    bench.call(&g, "answer").await.unwrap();
    bench.finish().await;
}
