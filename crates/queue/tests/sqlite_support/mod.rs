//! Opens SQLite queues in temporary folders.

use std::path::Path;
use std::sync::Arc;

use picasso_queue::{SqliteQueue, SqliteQueueSettings};
use picasso_types::Clock;

use crate::conformance::fixture::{Fixture, TestClock};

/// Opens a queue and brings its schema up to date.
pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> SqliteQueue {
    let queue = SqliteQueue::connect(&SqliteQueueSettings::at(path), clock).await.unwrap();
    queue.upgrade().await.unwrap();
    queue
}

/// An empty queue in a folder of its own.
pub async fn fresh() -> Fixture {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let clock = TestClock::new();
    let queue = Arc::new(open(&folder.path().join("queue.db"), clock.clone()).await);
    let again = clock.clone();
    Fixture {
        queue,
        clock,
        open: Box::new(move || {
            let (folder, clock) = (folder.clone(), again.clone());
            Box::pin(async move { Arc::new(open(&folder.path().join("queue.db"), clock).await) as _ })
        }),
    }
}
