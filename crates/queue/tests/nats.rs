//! The conformance suite over NATS JetStream, and what a killed broker keeps.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod broker_support;
mod conformance;

use std::sync::Arc;
use std::time::Duration;

use broker_support::Connect;
use conformance::fixture::{Fixture, Visibility};
use picasso_queue::NatsQueue;
use picasso_testkit::broker::Kind;

const CONNECT: Connect = |url: String, visible_after: Duration| {
    Box::pin(async move { Ok(Arc::new(NatsQueue::connect(&url, visible_after).await?) as _) })
};

async fn fresh(visibility: Visibility) -> Option<Fixture> {
    broker_support::fresh(Kind::Nats, CONNECT, visibility).await
}

queue_conformance!(fresh);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_published_is_lost_when_the_broker_is_killed() {
    broker_support::nothing_published_is_lost_when_the_broker_is_killed(Kind::Nats, CONNECT).await;
}
