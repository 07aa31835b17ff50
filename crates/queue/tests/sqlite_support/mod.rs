//! Opens SQLite queues in temporary folders, with a clock in the test's hand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use picasso_queue::{SqliteQueue, SqliteQueueSettings};
use picasso_types::{Clock, Timestamp};

use crate::conformance::fixture::{Fixture, Visibility};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000_000_000)))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Opens a queue and brings its schema up to date.
pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> SqliteQueue {
    let queue = SqliteQueue::connect(&SqliteQueueSettings::at(path), clock).await.unwrap();
    queue.upgrade().await.unwrap();
    queue
}

/// An empty queue in a folder of its own.
pub async fn fresh(_: Visibility) -> Option<Fixture> {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let clock = TestClock::new();
    let queue = Arc::new(open(&folder.path().join("queue.db"), clock.clone()).await);
    let (again, moved) = (clock.clone(), clock);
    Some(Fixture {
        queue,
        open: Box::new(move || {
            let (folder, clock) = (folder.clone(), again.clone());
            Box::pin(async move { Arc::new(open(&folder.path().join("queue.db"), clock).await) as _ })
        }),
        hidden_for: Duration::MAX,
        end_visibility: Box::new(move || moved.advance(Duration::from_secs(30))),
    })
}
