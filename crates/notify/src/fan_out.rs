//! Several drivers at once, or none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Notification, Notifier};

/// [`Notifier`] that hands each notification to all of its drivers; without any it does nothing.
#[derive(Debug, Default)]
pub struct FanOut(Vec<Arc<dyn Notifier>>);

impl FanOut {
    /// One of these drivers.
    pub const fn new(drivers: Vec<Arc<dyn Notifier>>) -> Self {
        Self(drivers)
    }
}

#[async_trait]
impl Notifier for FanOut {
    fn notify(&self, notification: &Notification) {
        for driver in &self.0 {
            driver.notify(notification);
        }
    }

    async fn flush(&self, within: Duration) {
        let deadline = tokio::time::Instant::now() + within;
        for driver in &self.0 {
            driver.flush(deadline.saturating_duration_since(tokio::time::Instant::now())).await;
        }
    }
}
