//! What every store on a database server does: several stores on one database, and a server that
//! dies and comes back.
//!
//! A driver's test file calls `server_conformance!` with its support module, which has
//! `pair() -> Option<(Fixture, Arc<dyn Store>)>`, two stores on one database, and
//! `own_server() -> Option<(impl Killable, Fixture)>`, a store on a server of the test's own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use picasso_store::{Store, StoreError};
use picasso_testkit::mariadb::MariaDbServer;
use picasso_testkit::postgres::PostgresServer;
use picasso_testkit::process::wait_until;
use picasso_types::{CallId, InstanceId};
use tokio::sync::Mutex;

use crate::conformance::fixture::{Fixture, take};

/// A server that a test can kill.
pub trait Killable {
    /// Ends it as a power cut would.
    async fn kill(&mut self);
    /// Starts it again on what it left.
    async fn start_again(&mut self);
}

impl Killable for PostgresServer {
    async fn kill(&mut self) {
        Self::kill(self).await.unwrap();
    }

    async fn start_again(&mut self) {
        Self::start_again(self).await.unwrap();
    }
}

impl Killable for MariaDbServer {
    async fn kill(&mut self) {
        Self::kill(self).await.unwrap();
    }

    async fn start_again(&mut self) {
        Self::start_again(self).await.unwrap();
    }
}

/// Makes the tests of this suite; see above.
#[macro_export]
macro_rules! server_conformance {
    ($support:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn two_stores_that_claim_the_same_calls_run_each_once() {
            let Some((fixture, other)) = $support::pair().await else { return };
            server_conformance::two_stores_that_claim_the_same_calls_run_each_once(fixture, other).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_route_that_is_deleted_while_calls_arrive_leaves_no_waiting_call() {
            let Some((fixture, other)) = $support::pair().await else { return };
            server_conformance::a_route_that_is_deleted_while_calls_arrive_leaves_no_waiting_call(
                fixture, other,
            )
            .await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_killed_server_loses_no_accepted_call_and_the_pool_recovers() {
            let Some((server, fixture)) = $support::own_server().await else { return };
            server_conformance::a_killed_server_loses_no_accepted_call_and_the_pool_recovers(server, fixture)
                .await;
        }
    };
}

pub async fn two_stores_that_claim_the_same_calls_run_each_once(f: Fixture, two: Arc<dyn Store>) {
    let one = f.store.clone();
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let mut calls = Vec::new();
    for number in 0..60 {
        let call = f.new_call(&app, &route);
        let store = if number % 2 == 0 { &one } else { &two };
        store.accept_call(&call).await.unwrap();
        calls.push(call.id);
    }
    let lease = f.lease();
    let claims: Vec<_> = [one, two]
        .into_iter()
        .map(|store| {
            let calls = calls.clone();
            tokio::spawn(async move {
                let owner = InstanceId::generate();
                let mut mine = Vec::new();
                for id in calls {
                    if store.claim_call(&id, &owner, lease).await.unwrap().is_some() {
                        mine.push(id);
                    }
                }
                mine
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for claim in claims {
        claimed.extend(claim.await.unwrap());
    }
    assert_eq!(claimed.len(), calls.len());
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), calls.len());
}

pub async fn a_route_that_is_deleted_while_calls_arrive_leaves_no_waiting_call(
    f: Fixture,
    other: Arc<dyn Store>,
) {
    let store = f.store.clone();
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            let calls: Vec<_> = (0..500).map(|_| f.new_call(&app, &route)).collect();
            tokio::spawn(async move {
                for (number, call) in calls.iter().enumerate() {
                    match store.accept_call(call).await {
                        Ok(_) => {}
                        Err(StoreError::NotFound) => return number,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                calls.len()
            })
        })
        .collect();
    wait_until(Duration::from_secs(20), "some calls", || async {
        store.count_queued().await.unwrap().iter().any(|queued| queued.calls >= 10)
    })
    .await
    .unwrap();
    other.delete_route(&route.id).await.unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(f.drain_outbox().await, []);
    assert_eq!(f.store.list_referenced_digests().await.unwrap(), []);
}

pub async fn a_killed_server_loses_no_accepted_call_and_the_pool_recovers(
    mut server: impl Killable,
    f: Fixture,
) {
    let store = f.store.clone();
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let accepted: Arc<Mutex<Vec<CallId>>> = Arc::default();
    let callers: Vec<_> = (0..6)
        .map(|_| {
            let (store, accepted) = (store.clone(), accepted.clone());
            let calls: Vec<_> = (0..20_000).map(|_| f.new_call(&app, &route)).collect();
            tokio::spawn(async move {
                for call in calls {
                    match store.accept_call(&call).await {
                        Ok(_) => accepted.lock().await.push(call.id),
                        Err(error) => return error,
                    }
                }
                panic!("the server was not killed in time")
            })
        })
        .collect();
    wait_until(Duration::from_mins(1), "300 accepted calls", || async { accepted.lock().await.len() >= 300 })
        .await
        .unwrap();
    server.kill().await;
    for caller in callers {
        let error = caller.await.unwrap();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    let refused = f.store.get_app_by_id(&app.id).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");

    server.start_again().await;
    wait_until(Duration::from_secs(30), "an answer after the restart", || async {
        store.ping().await.is_ok()
    })
    .await
    .unwrap();
    let waiting = store.take_outbox(&take(u32::MAX)).await.unwrap();
    let waiting: HashSet<_> = waiting.entries.into_iter().map(|entry| entry.call_id).collect();
    let accepted = accepted.lock().await;
    for id in accepted.iter() {
        assert!(waiting.contains(id), "{id} was accepted and is lost");
    }
    let claimed = store.claim_call(&accepted[0], &InstanceId::generate(), f.lease()).await.unwrap().unwrap();
    assert_eq!((claimed.envelope, claimed.payload), (b"envelope".to_vec(), b"payload".to_vec()));
}
