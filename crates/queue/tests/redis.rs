//! The conformance suite over Redis, and what a killed broker keeps.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod broker_support;
mod conformance;

use std::sync::Arc;
use std::time::Duration;

use broker_support::Connect;
use conformance::fixture::{Fixture, Visibility};
use picasso_queue::{QueueError, RedisQueue};
use picasso_testkit::broker::{Broker, Kind};

const CONNECT: Connect = |url: String, visible_after: Duration| {
    Box::pin(async move { Ok(Arc::new(RedisQueue::connect(&url, visible_after).await?) as _) })
};

async fn fresh(visibility: Visibility) -> Option<Fixture> {
    broker_support::fresh(Kind::Redis, CONNECT, visibility).await
}

queue_conformance!(fresh);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_published_is_lost_when_the_broker_is_killed() {
    broker_support::nothing_published_is_lost_when_the_broker_is_killed(Kind::Redis, CONNECT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_is_refused() {
    let kind = Kind::ForgetfulRedis;
    if !picasso_testkit::process::require("Redis", Broker::missing(kind).as_deref()) {
        return;
    }
    let broker = Broker::start(kind).await.unwrap();
    let refused = RedisQueue::connect(&broker.url(), Duration::from_secs(30)).await.unwrap_err();
    assert!(
        matches!(&refused, QueueError::Broker { source, .. } if source.to_string().contains("appendonly yes")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_publication_replaces_the_first() {
    let Some(f) = fresh(conformance::fixture::Visibility::Lasting).await else { return };
    let id = conformance::fixture::dispatch();
    f.publish(&[&id]).await;
    f.publish(&[&picasso_queue::Dispatch { priority: 2, ..id.clone() }]).await;
    assert_eq!(f.queue.depth().await.unwrap(), 1);
}
