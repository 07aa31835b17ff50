//! How long sandboxes live: idle, frozen, kept warm, superseded, shut down.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use picasso_types::{AliasName, AliasSpec, Failure, Format, Share, Shares};

use super::fake::{Bench, Broken, eventually, exited};
use crate::engine::Engine;
use crate::settings::EngineSettings;

#[tokio::test]
async fn the_sandbox_that_was_used_last_is_used_first() {
    let bench = Arc::new(Bench::new().await);
    let f = bench.function(|_| ()).await;
    let calls = [bench.begin(&f, "hold"), bench.begin(&f, "hold")];
    eventually("both run", || bench.inside() == 2).await;
    bench.world.release.add_permits(1);
    eventually("one is over", || bench.inside() == 1).await;
    bench.world.release.add_permits(1);
    let slots: Vec<_> = futures_util::future::join_all(calls).await;
    let mut last = bench.call(&f, "answer").await.unwrap();
    assert!(slots.iter().any(|slot| slot.as_ref().unwrap() == &Ok(last)));
    for _ in 0..3 {
        let next = bench.call(&f, "answer").await.unwrap();
        assert_eq!(std::mem::replace(&mut last, next), next);
    }
    bench.finish().await;
}

#[tokio::test]
async fn a_burst_of_quick_calls_starts_no_storm() {
    let bench = Arc::new(Bench::new().await);
    // So long that no hiccup of the machine makes waiting for all these calls the longer way.
    *bench.world.start_takes.lock().unwrap() = Duration::from_secs(2);
    let f = bench.function(|_| ()).await;
    let calls: Vec<_> = (0..30).map(|_| bench.begin(&f, "answer")).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(bench.started(), 1);
    bench.finish().await;
}

#[tokio::test]
async fn slow_calls_get_sandboxes_but_never_more_than_there_are_calls() {
    let bench = Arc::new(Bench::new().await);
    let f = bench.function(|spec| spec.memory_mb = 16).await;
    let calls: Vec<_> = (0..8).map(|_| bench.begin(&f, "hold")).collect();
    // As many as the machine has memory and CPU for.
    eventually("four run", || bench.inside() == 4).await;
    bench.world.release.add_permits(8);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(bench.world.most.load(SeqCst) <= 8);
    bench.finish().await;
}

#[tokio::test]
async fn a_concurrent_sandbox_serves_several_calls() {
    let bench = Arc::new(Bench::new().await);
    let f = bench
        .function(|spec| {
            spec.format = Format::HttpServer;
            spec.concurrency = 10;
        })
        .await;
    let calls: Vec<_> = (0..10).map(|_| bench.begin(&f, "hold")).collect();
    eventually("all run", || bench.inside() == 10).await;
    bench.world.release.add_permits(10);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(bench.started(), 1);
    bench.finish().await;
}

#[tokio::test]
async fn a_concurrent_sandbox_that_lost_a_call_ends_after_its_others() {
    let bench = Arc::new(Bench::new().await);
    let f = bench
        .function(|spec| {
            spec.format = Format::HttpServer;
            spec.concurrency = 10;
        })
        .await;
    let (held, lost) = (bench.begin(&f, "hold"), bench.begin(&f, "for-ever"));
    eventually("both run", || bench.inside() == 2).await;
    lost.abort();
    eventually("one is gone", || bench.inside() == 1).await;
    let second = bench.call(&f, "answer").await.unwrap();
    assert_eq!(bench.present(), 2, "the first still has a call");
    bench.world.release.add_permits(1);
    assert_ne!(held.await.unwrap().unwrap(), second);
    eventually("the first is gone", || bench.present() == 1).await;
    bench.finish().await;
}

#[tokio::test]
async fn an_idle_timeout_of_zero_ends_the_sandbox_with_its_call() {
    let bench = Bench::new().await;
    let f = bench.function(|spec| spec.idle_timeout_s = 0).await;
    for started in 1..4 {
        bench.call(&f, "answer").await.unwrap();
        eventually("the sandbox is gone", || bench.present() == 0).await;
        assert_eq!(bench.started(), started);
    }
    bench.finish().await;
}

#[tokio::test]
async fn an_idle_sandbox_ends_at_its_idle_timeout() {
    let bench = Bench::new().await;
    let f = bench.function(|spec| spec.idle_timeout_s = 1).await;
    // Before the sandbox can be idle, so that no hiccup of the machine shortens what is seen here.
    let began = std::time::Instant::now();
    bench.call(&f, "answer").await.unwrap();
    eventually("the sandbox is gone", || bench.present() == 0).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    bench.finish().await;
}

#[tokio::test]
async fn an_idle_sandbox_is_frozen_and_thawed_for_its_next_call() {
    let settings = EngineSettings { freeze_after: Duration::from_millis(5), ..EngineSettings::default() };
    let bench = Bench::with(settings).await;
    *bench.world.freezers.lock().unwrap() = Some(tempfile::tempdir().unwrap());
    let f = bench.function(|_| ()).await;
    for _ in 0..3 {
        let slot = bench.call(&f, "answer").await.unwrap();
        eventually("it is frozen", || bench.world.frozen(slot)).await;
        assert_eq!(bench.call(&f, "answer").await.unwrap(), slot);
        assert_eq!(bench.started(), 1);
    }
    bench.finish().await;
}

#[tokio::test]
async fn sandboxes_are_kept_warm_without_calls_and_after_a_crash() {
    let bench = Bench::new().await;
    let f = bench.function(|spec| (spec.min_instances, spec.idle_timeout_s) = (2, 0)).await;
    bench.engine.shared.parts.catalog.forget(&f.app.id).await;
    eventually("two are warm", || bench.started() == 2).await;
    let slot = bench.call(&f, "answer").await.unwrap();
    assert_eq!(bench.started(), 2);
    bench.world.end(slot, exited(1));
    eventually("the lost one is replaced", || bench.started() == 3 && bench.present() == 2).await;
    bench.finish().await;
}

#[tokio::test]
async fn warm_sandboxes_that_do_not_start_are_not_tried_without_pause() {
    let bench = Bench::new().await;
    *bench.world.broken.lock().unwrap() = Some(Broken::Ends(exited(1)));
    let f = bench.function(|spec| spec.min_instances = 1).await;
    bench.engine.shared.parts.catalog.forget(&f.app.id).await;
    eventually("it was tried twice", || bench.started() == 2).await;
    let again = tokio::time::timeout(
        Duration::from_millis(500),
        eventually("it was tried a third time", || bench.started() > 2),
    );
    assert!(again.await.is_err(), "the pause does not grow");
    bench.finish().await;
}

#[tokio::test]
async fn a_start_of_the_engine_starts_what_is_to_be_warm() {
    let bench = Bench::new().await;
    bench.engine.shut_down(Duration::ZERO).await;
    bench.function(|spec| spec.min_instances = 1).await;
    assert_eq!(bench.started(), 0, "no engine runs");
    let second = Engine::new(bench.engine.shared.parts.clone());
    second.start().await.unwrap();
    eventually("one is warm", || bench.started() > 0).await;
    second.shut_down(Duration::ZERO).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_changed_configuration_never_meets_an_old_sandbox() {
    let bench = Arc::new(Bench::new().await);
    let old = bench.function(|_| ()).await;
    let (idle, busy) = (bench.begin(&old, "hold"), bench.begin(&old, "hold"));
    eventually("both run", || bench.inside() == 2).await;
    bench.world.release.add_permits(1);
    eventually("one is idle", || bench.inside() == 1).await;
    let new = bench.update(&old).await;
    let mut fresh = Vec::new();
    for _ in 0..5 {
        fresh.push(bench.call(&new, "answer").await.unwrap());
    }
    eventually("the idle old one is gone, the busy one not", || bench.present() == 2).await;
    bench.world.release.add_permits(1);
    let old = [idle.await.unwrap().unwrap(), busy.await.unwrap().unwrap()];
    assert!(fresh.iter().all(|slot| !old.contains(slot)));
    eventually("only the new one is left", || bench.present() == 1).await;
    bench.finish().await;
}

#[tokio::test]
async fn the_sandboxes_of_an_aliass_versions_stay_and_end_with_it() {
    let bench = Bench::new().await;
    let old = bench.function(|_| ()).await;
    let slot = bench.call(&old, "answer").await.unwrap();
    let store: &dyn picasso_store::Store = &*bench.store;
    let shares = Shares::parse(vec![Share { number: 1, weight: 1 }]).unwrap();
    let spec = AliasSpec { shares, is_public: false, sticky: None };
    let name = AliasName::parse("live").unwrap();
    store.create_alias(&old.route.id, &name, &spec, "me", 1).await.unwrap();
    let new = bench.update(&old).await;
    bench.call(&new, "answer").await.unwrap();
    // Another one, of no alias, shows that the change was followed.
    let newest = bench.update(&new).await;
    bench.call(&newest, "answer").await.unwrap();
    eventually("the one between is gone", || bench.present() == 2).await;
    assert_eq!(bench.call(&old, "answer").await.unwrap(), slot);

    store.delete_alias(&old.route.id, &name).await.unwrap();
    bench.engine.shared.parts.catalog.forget(&old.app.id).await;
    eventually("that of the alias is gone", || bench.present() == 1).await;
    bench.finish().await;
}

#[tokio::test]
async fn what_was_read_before_a_version_was_made_does_not_end_its_sandboxes() {
    let bench = Bench::new().await;
    let old = bench.function(|_| ()).await;
    let new = bench.update(&old).await;
    let slot = bench.call(&new, "answer").await.unwrap();
    bench.engine.shared.hot.reconcile(&old.app.id, std::slice::from_ref(&old));
    assert_eq!(bench.call(&new, "answer").await.unwrap(), slot);
    bench.engine.shared.hot.reconcile(&old.app.id, &[]);
    eventually("the route is gone, and so is its sandbox", || bench.present() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn the_sandboxes_of_a_deleted_route_end() {
    let bench = Bench::new().await;
    let f = bench.function(|spec| spec.min_instances = 1).await;
    bench.call(&f, "answer").await.unwrap();
    picasso_store::RouteStore::delete_route(&*bench.store, &f.route.id).await.unwrap();
    bench.engine.shared.parts.catalog.forget(&f.app.id).await;
    eventually("nothing is left", || bench.present() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn what_another_process_changes_starts_and_ends_sandboxes_here() {
    let bench = Bench::new().await;
    // Through the store alone: nobody in this process says that something changed.
    let f = bench.function(|spec| spec.min_instances = 1).await;
    eventually("one is warm", || bench.started() == 1).await;
    picasso_store::RouteStore::delete_route(&*bench.store, &f.route.id).await.unwrap();
    eventually("nothing is left", || bench.present() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn shutdown_lets_a_running_call_finish_and_ends_idle_sandboxes() {
    let bench = Arc::new(Bench::new().await);
    let (f, g) = (bench.function(|_| ()).await, bench.function(|_| ()).await);
    bench.call(&g, "answer").await.unwrap();
    let held = bench.begin(&f, "hold");
    eventually("it runs", || bench.inside() == 1).await;
    let engine = bench.engine.clone();
    let down = tokio::spawn(async move { engine.shut_down(Duration::from_secs(30)).await });
    bench.world.release.add_permits(1);
    held.await.unwrap().unwrap();
    down.await.unwrap();
    assert_eq!(bench.present(), 0);
    assert_eq!(bench.call(&f, "answer").await, Err(Failure::NoCapacity));
    bench.finish().await;
}

#[tokio::test]
async fn shutdown_ends_calls_that_do_not_finish_in_time() {
    let bench = Arc::new(Bench::new().await);
    let f = bench.function(|spec| spec.max_concurrency = Some(2)).await;
    let streaming = bench.answer(&f, "trickle").await.ok().unwrap();
    let held = bench.begin(&f, "linger");
    eventually("both run", || bench.inside() == 2).await;
    let waiting = bench.begin(&f, "answer");
    eventually("one waits", || bench.pool(&f).gates.route.calls.waiting() == 1).await;
    let engine = bench.engine.clone();
    let down = tokio::spawn(async move { engine.shut_down(Duration::from_millis(20)).await });
    eventually("their sandboxes are gone", || bench.present() == 0).await;
    assert!(matches!(held.await.unwrap(), Err(Failure::BadAnswer { .. })));
    drop(streaming);
    assert_eq!(waiting.await.unwrap(), Err(Failure::NoCapacity));
    down.await.unwrap();
    bench.finish().await;
}
