//! Opens queues in real brokers, a broker for each test, and holds them to their word when they are
//! killed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use picasso_queue::{Dispatch, Queue, QueueError};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::process::{require, wait_until};

use crate::conformance::fixture::{Fixture, PATIENCE, Visibility, dispatch};

type Connecting = Pin<Box<dyn Future<Output = Result<Arc<dyn Queue>, QueueError>> + Send>>;
/// Connects to a URL with a visibility time.
pub type Connect = fn(String, Duration) -> Connecting;

/// Longer than any test.
const LASTING: Duration = Duration::from_mins(10);
/// What a test waits for in real time: it is the broker's clock that counts.
const ENDING: Duration = Duration::from_secs(2);

async fn start(kind: Kind) -> Option<Broker> {
    picasso_testkit::keystone::install_tls_provider();
    let here = require(&format!("{kind:?}"), Broker::missing(kind).as_deref());
    if here { Some(Broker::start(kind).await.unwrap()) } else { None }
}

/// An empty queue in a broker of its own; `None` where the broker is not installed.
pub async fn fresh(kind: Kind, connect: Connect, visibility: Visibility) -> Option<Fixture> {
    let broker = Arc::new(start(kind).await?);
    let visible_after = if visibility == Visibility::Lasting { LASTING } else { ENDING };
    let queue = connect(broker.url(), visible_after).await.unwrap();
    Some(Fixture {
        queue,
        open: Box::new(move || {
            let connecting = connect(broker.url(), visible_after);
            Box::pin(async move { connecting.await.unwrap() })
        }),
        hidden_for: visible_after,
        end_visibility: Box::new(|| {}),
    })
}

/// What was published before a SIGKILL is delivered after it; meanwhile there are errors, and the
/// same queue comes back by itself.
pub async fn nothing_published_is_lost_when_the_broker_is_killed(kind: Kind, connect: Connect) {
    let Some(mut broker) = start(kind).await else { return };
    // RabbitMQ 3.10 may never again elect the leader of a queue that was made a moment before the
    // SIGKILL; ids are what this is about.
    drop(connect(broker.url(), LASTING).await.unwrap());
    broker.stop().await.unwrap();
    broker.start_again().await.unwrap();
    let queue = connect(broker.url(), LASTING).await.unwrap();
    let mut published = Vec::new();
    for _ in 0..20 {
        let batch: Vec<_> = (0..50).map(|n| Dispatch { priority: n % 3, ..dispatch() }).collect();
        queue.publish(&batch).await.unwrap();
        published.extend(batch.into_iter().map(|dispatch| dispatch.call_id));
    }
    broker.kill().await.unwrap();
    let refused = queue.publish(&[dispatch()]).await.unwrap_err();
    assert!(matches!(refused, QueueError::Broker { .. }), "{refused:?}");
    assert!(!format!("{refused:?} {queue:?}").contains(broker.password()), "{refused:?} {queue:?}");
    broker.start_again().await.unwrap();
    wait_until(PATIENCE, "the queue to be back", || async { queue.publish(&[dispatch()]).await.is_ok() })
        .await
        .unwrap();
    published.sort();
    let collect = async {
        while !published.is_empty() {
            for delivery in queue.receive(100, Duration::from_secs(1)).await.unwrap_or_default() {
                if let Ok(at) = published.binary_search(&delivery.call_id) {
                    published.remove(at);
                }
                queue.ack(std::slice::from_ref(&delivery)).await.unwrap();
            }
        }
    };
    let collected = tokio::time::timeout(PATIENCE, collect).await.is_ok();
    assert!(collected, "{} of 1000 are lost", published.len());
}
