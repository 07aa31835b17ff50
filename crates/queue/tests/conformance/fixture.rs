//! An open queue with a clock in the test's hand.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use picasso_queue::{Delivery, Dispatch, Queue};
use picasso_types::{CallId, Clock, Timestamp};

pub const MINUTE: Duration = Duration::from_mins(1);
pub const ALMOST_A_MINUTE: Duration = Duration::from_micros(59_999_999);
pub const THE_REST: Duration = Duration::from_micros(1);
/// Longer than any test should take: a deadline, never a time that passes.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Opening = Pin<Box<dyn Future<Output = Arc<dyn Queue>> + Send>>;

/// A queue and a way to open the same one again.
pub struct Fixture {
    pub queue: Arc<dyn Queue>,
    pub clock: Arc<TestClock>,
    pub open: Box<dyn Fn() -> Opening + Send + Sync>,
}

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

    pub fn after(&self, by: Duration) -> Timestamp {
        self.now().plus_micros(i64::try_from(by.as_micros()).unwrap())
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

impl Fixture {
    /// An id that is due now, with middle priority.
    pub fn due(&self) -> Dispatch {
        Dispatch { call_id: CallId::generate(), not_before: self.clock.now(), priority: 1 }
    }

    pub async fn publish(&self, dispatches: &[&Dispatch]) {
        let dispatches: Vec<_> = dispatches.iter().map(|dispatch| (*dispatch).clone()).collect();
        self.queue.publish(&dispatches).await.unwrap();
    }

    /// What is there now, hidden for a minute.
    pub async fn receive(&self, max: u32) -> Vec<Delivery> {
        self.queue.receive(max, MINUTE, Duration::ZERO).await.unwrap()
    }

    pub async fn receive_ids(&self, max: u32) -> Vec<CallId> {
        self.receive(max).await.into_iter().map(|delivery| delivery.call_id).collect()
    }

    pub async fn receive_one(&self) -> Delivery {
        let mut all = self.receive(10).await;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}
