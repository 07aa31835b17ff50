//! An open queue whose visibility time a test can wait for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use picasso_queue::{Delivery, Dispatch, Queue};
use picasso_types::{CallId, ProjectId};

/// Longer than any test should take: a deadline, never a time that passes.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Opening = Pin<Box<dyn Future<Output = Arc<dyn Queue>> + Send>>;

/// How long the deliveries of a fixture's queue are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Longer than the test runs.
    Lasting,
    /// The test waits for its end.
    Ending,
}

/// A queue and a way to open the same one again.
pub struct Fixture {
    pub queue: Arc<dyn Queue>,
    pub open: Box<dyn Fn() -> Opening + Send + Sync>,
    /// How long a delivery is hidden at least; `MAX` where the clock stands until it is moved.
    pub hidden_for: Duration,
    /// Moves the clock past the visibility time; nothing where it is the broker's.
    pub end_visibility: Box<dyn Fn() + Send + Sync>,
}

/// An id of middle priority.
pub fn dispatch() -> Dispatch {
    let project_id = ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").unwrap();
    Dispatch { call_id: CallId::generate(), project_id, priority: 1 }
}

impl Fixture {
    pub async fn publish(&self, dispatches: &[&Dispatch]) {
        let dispatches: Vec<_> = dispatches.iter().map(|dispatch| (*dispatch).clone()).collect();
        self.queue.publish(&dispatches).await.unwrap();
    }

    /// Exactly `count` deliveries, in the order they came.
    pub async fn receive(&self, count: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < count {
            let got = self.queue.receive(10, PATIENCE).await.unwrap();
            assert!(!got.is_empty(), "waited in vain for the rest of {count}: {all:?}");
            all.extend(got);
        }
        assert_eq!(all.len(), count, "{all:?}");
        all
    }

    pub async fn receive_one(&self) -> Delivery {
        self.receive(1).await.remove(0)
    }

    /// Nothing of what was published up to now is delivered: all of it would come before an id
    /// that is published last, which is taken off again.
    pub async fn nothing_comes(&self) {
        let last = Dispatch { priority: 0, ..dispatch() };
        self.publish(&[&last]).await;
        let got = self.receive_one().await;
        assert_eq!(got.call_id, last.call_id);
        self.queue.ack(std::slice::from_ref(&got)).await.unwrap();
    }

    /// Nothing is delivered even when the visibility time of every delivery so far has ended.
    pub async fn nothing_comes_again(&self) {
        let last = Dispatch { priority: 0, ..dispatch() };
        self.publish(&[&last]).await;
        for _ in 0..2 {
            let got = self.receive_one().await;
            assert_eq!(got.call_id, last.call_id);
            (self.end_visibility)();
        }
    }

    /// Asserts that what was received at `since` is still hidden, unless its time has passed.
    pub async fn hidden(&self, since: Instant) {
        let got = self.queue.receive(10, Duration::ZERO).await.unwrap();
        assert!(got.is_empty() || since.elapsed() >= self.hidden_for, "{got:?} came early");
    }
}
