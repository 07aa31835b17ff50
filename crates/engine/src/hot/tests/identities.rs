//! Calls of routes whose functions have an identity.

use std::sync::Arc;
use std::time::Duration;

use picasso_sandbox::ProcessSpec;
use picasso_store::{IdentityStore as _, RouteStore as _};
use picasso_types::{
    App, Failure, Format, IdentityGrant, RouteChange, RouteIdentity, SystemClock, Timestamp, TrustId,
};

use super::fake::{Bench, eventually};
use crate::identities::IdentityRefusal;
use crate::identity_folders::tests::{Answer, FakeIdentities};
use crate::target::Target;

async fn bench() -> (Bench, Arc<FakeIdentities>) {
    let keystone = FakeIdentities::new(Arc::new(SystemClock));
    (Bench::with_identities(keystone.clone()).await, keystone)
}

/// The route as it is now, for its next callers.
async fn now(bench: &Bench, app: &Arc<App>, old: &Target) -> Arc<Target> {
    bench.engine.shared.parts.catalog.forget(&app.id).await;
    let route = bench.store.get_route_by_id(&old.route.id).await.unwrap();
    bench.target(app, route)
}

/// Grants the function of `old` an identity of the user `me`.
async fn grant(bench: &Bench, old: &Arc<Target>) -> Arc<Target> {
    let identity = RouteIdentity {
        route_id: old.route.id.clone(),
        project_id: old.app.project_id.clone(),
        user_id: "me".to_owned(),
        grant: IdentityGrant::Trust { id: TrustId::parse("0123abcd").unwrap() },
        roles: vec!["reader".to_owned()],
        granted_at: Timestamp(1),
        suspension: None,
    };
    bench.store.set_identity(&identity, old.route.latest.number, None).await.unwrap();
    now(bench, &old.app, old).await
}

/// Another user changes the function.
async fn change_by_another(bench: &Bench, old: &Target) -> Arc<Target> {
    let route = &old.route;
    let change = RouteChange {
        methods: route.methods.clone(),
        route_type: route.route_type,
        is_public: true,
        rate_limit: None,
        delivery: route.delivery.clone(),
        access: route.access.clone(),
        spec: route.latest.spec.clone(),
        created_by: "another".to_owned(),
        expected: None,
    };
    bench.store.update_route(&route.id, &change, route.latest.digest.as_ref()).await.unwrap();
    now(bench, &old.app, old).await
}

fn last(bench: &Bench) -> ProcessSpec {
    bench.world.processes.lock().unwrap().last().unwrap().clone()
}

fn has_identity(process: &ProcessSpec) -> bool {
    let variable = ("OS_CLOUD".to_owned(), "one".to_owned());
    assert_eq!(process.env.contains(&variable), process.identity.is_some());
    process.identity.is_some()
}

#[tokio::test]
async fn a_function_without_identity_never_asks_for_one() {
    let (bench, keystone) = bench().await;
    let f = bench.function(|_| ()).await;
    bench.call(&f, "answer").await.unwrap();
    assert!(!has_identity(&last(&bench)));
    assert_eq!((keystone.asked(), bench.engine.shared.identities.routes()), (0, 0));
    bench.finish().await;
}

#[tokio::test]
async fn a_granted_identity_is_that_of_the_next_sandbox_and_the_ones_without_end() {
    let (bench, keystone) = bench().await;
    let f = bench.function(|_| ()).await;
    let without = bench.call(&f, "answer").await.unwrap();
    let f = grant(&bench, &f).await;
    eventually("the one without ends", || bench.present() == 0).await;
    let with = bench.call(&f, "answer").await.unwrap();
    assert_ne!(with, without);
    assert!(has_identity(&last(&bench)));
    for _ in 0..3 {
        assert_eq!(bench.call(&f, "answer").await.unwrap(), with);
    }
    assert_eq!(keystone.asked(), 1, "warm calls ask nothing");
    bench.finish().await;
    eventually("nobody looks after it", || bench.engine.shared.identities.routes() == 0).await;
}

#[tokio::test]
async fn a_suspended_identity_ends_its_sandboxes_and_fails_calls_until_there_is_consent() {
    let (bench, keystone) = bench().await;
    let bench = Arc::new(bench);
    let f = bench.function(|spec| spec.max_concurrency = Some(4)).await;
    let f = grant(&bench, &f).await;
    let held = bench.begin(&f, "hold");
    eventually("it runs", || bench.inside() == 1).await;
    bench.call(&f, "answer").await.unwrap();
    keystone.answer(Answer::Refused(IdentityRefusal::Suspended));
    let suspended = change_by_another(&bench, &f).await;
    eventually("the idle one ends", || bench.present() == 1).await;
    let started = bench.started();
    assert_eq!(bench.call(&suspended, "answer").await, Err(Failure::IdentitySuspended));
    // Whoever has read the route before gets no sandbox with it either.
    assert_eq!(bench.call(&f, "answer").await, Err(Failure::IdentitySuspended));
    assert_eq!(bench.started(), started);
    bench.world.release.add_permits(1);
    held.await.unwrap().unwrap();
    eventually("the busy one ends after its call", || bench.present() == 0).await;

    let seen = bench.store.get_identity(&f.route.id).await.unwrap();
    bench.store.consent_to_identity(&seen).await.unwrap();
    keystone.answer(Answer::Token { env: "one", lasts: None });
    let consented = now(&bench, &f.app, &f).await;
    bench.call(&consented, "answer").await.unwrap();
    assert!(has_identity(&last(&bench)));
    bench.finish().await;
}

#[tokio::test]
async fn what_another_process_suspends_ends_sandboxes_here() {
    let (bench, keystone) = bench().await;
    let f = bench.function(|_| ()).await;
    let f = grant(&bench, &f).await;
    bench.call(&f, "answer").await.unwrap();
    keystone.answer(Answer::Refused(IdentityRefusal::Suspended));
    // Through the store alone: nobody in this process says that something changed.
    bench.store.delete_identity(&f.route.id, None).await.unwrap();
    eventually("it ends", || bench.present() == 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn an_identity_that_cannot_be_had_fails_calls_of_every_format_and_starts_nothing() {
    let (bench, keystone) = bench().await;
    for format in [Format::Json, Format::Default] {
        let f = bench.function(|spec| spec.format = format).await;
        let f = grant(&bench, &f).await;
        for refusal in [IdentityRefusal::Unavailable, IdentityRefusal::Refused("gone".to_owned())] {
            keystone.answer(Answer::Refused(refusal.clone()));
            let invocation = Bench::invocation(&f, "answer");
            let error = bench.engine.run(invocation).await.err().unwrap();
            let reason = refusal.to_string();
            assert_eq!(error.failure, Failure::IdentityUnavailable { reason });
            assert_eq!(error.retry_after, Some(Duration::from_secs(5)));
        }
        keystone.answer(Answer::Refused(IdentityRefusal::Suspended));
        let error = bench.engine.run(Bench::invocation(&f, "answer")).await.err().unwrap();
        assert_eq!(error.failure, Failure::IdentitySuspended);
        assert_eq!(error.retry_after, None, "only its grantor's consent helps");
    }
    assert_eq!((bench.started(), bench.present()), (0, 0));
    bench.finish().await;
}

#[tokio::test]
async fn a_call_of_format_default_has_its_identity_until_it_ends() {
    let (bench, _) = bench().await;
    let f = bench.function(|spec| spec.format = Format::Default).await;
    let f = grant(&bench, &f).await;
    let world = bench.world.clone();
    let run = bench.engine.run(Bench::invocation(&f, "answer"));
    let end = async {
        eventually("it is started", || world.processes.lock().unwrap().len() == 1).await;
        let folders = world.identities.lock().unwrap().as_ref().unwrap().0.path().join("i");
        let entries = || std::fs::read_dir(&folders).unwrap().map(|entry| entry.unwrap().path());
        let tokens: Vec<_> =
            entries().map(|path| std::fs::read_to_string(path.join("token")).unwrap()).collect();
        assert_eq!(tokens, ["token 1"]);
        world.end(last(&bench).identity.map(|_| 1).unwrap(), super::fake::exited(0));
        folders
    };
    let (ran, folders) = tokio::join!(run, end);
    ran.unwrap();
    eventually("nothing of it is left", || std::fs::read_dir(&folders).unwrap().next().is_none()).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_loses_its_identity_while_it_starts_serves_no_call() {
    let (bench, keystone) = bench().await;
    let bench = Arc::new(bench);
    *bench.world.start_takes.lock().unwrap() = Duration::from_millis(300);
    let f = bench.function(|_| ()).await;
    let f = grant(&bench, &f).await;
    let call = bench.begin(&f, "answer");
    eventually("it starts", || bench.started() == 1).await;
    keystone.answer(Answer::Refused(IdentityRefusal::Suspended));
    change_by_another(&bench, &f).await;
    let failure = call.await.unwrap().unwrap_err();
    assert!(
        matches!(failure, Failure::IdentityUnavailable { .. } | Failure::IdentitySuspended),
        "{failure:?}"
    );
    bench.finish().await;
}
