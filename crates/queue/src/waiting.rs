//! Waiting for work where the broker does not say that there is some: looks now and then, and at
//! once after a publication of this process.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::{Delivery, QueueError};

/// What one look brought.
pub(crate) enum Look {
    Some(Vec<Delivery>),
    /// Nothing; look again after this time, or after the poll interval when that is shorter.
    Nothing(Duration),
}

/// Looks until something is there or `wait` has passed.
pub(crate) async fn poll<L, F>(
    wait: Duration,
    interval: Duration,
    published: &Notify,
    mut look: L,
) -> Result<Vec<Delivery>, QueueError>
where
    L: FnMut() -> F,
    F: Future<Output = Result<Look, QueueError>>,
{
    let deadline = Instant::now() + wait;
    loop {
        // Registered before looking: a publication in between is not missed.
        let published = published.notified();
        tokio::pin!(published);
        published.as_mut().enable();
        let pause = match look().await? {
            Look::Some(deliveries) => return Ok(deliveries),
            Look::Nothing(pause) => pause.min(interval),
        };
        let now = Instant::now();
        if now >= deadline {
            return Ok(Vec::new());
        }
        // Either way it is time to look again.
        drop(timeout_at(deadline.min(now + pause), published).await);
    }
}
