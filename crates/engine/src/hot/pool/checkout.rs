//! A sandbox on its way from the pool to a call.

use std::sync::Arc;

use tokio::time::Instant;

use super::Waiter;
use crate::hot::instance::{Instance, Stop};
use crate::hot::lease::Lease;
use crate::hot::roster::{Roster, Taken};

/// A sandbox that a call got and has not used yet: dropped, it goes back untouched.
#[derive(Debug)]
pub(in crate::hot) struct Checkout {
    instance: Option<Arc<Instance>>,
    /// The call is the only one of its sandbox.
    pub(in crate::hot) first: bool,
    frozen: bool,
}

impl Checkout {
    pub(super) fn new(taken: Taken<Arc<Instance>>) -> Self {
        let pool = &taken.handle.pool;
        if taken.first {
            let metrics = &pool.hot.metrics;
            if taken.frozen {
                metrics.frozen.decrement(1.0);
            } else {
                metrics.idle.decrement(1.0);
            }
            metrics.busy.increment(1.0);
        }
        Self { instance: Some(taken.handle), first: taken.first, frozen: taken.frozen }
    }

    /// The sandbox.
    pub(in crate::hot) fn instance(&self) -> Option<&Arc<Instance>> {
        self.instance.as_ref()
    }

    /// Continues a frozen sandbox and measures what that costs.
    pub(super) fn thaw(&mut self) {
        let Some(instance) = self.instance.as_ref().filter(|_| std::mem::take(&mut self.frozen)) else {
            return;
        };
        let began = Instant::now();
        if let Some(freezer) = &instance.freezer
            && let Err(error) = freezer.thaw()
        {
            tracing::warn!(version = %instance.pool.version.id, %error, "a sandbox could not be thawed");
            instance.stop(Stop::Kill);
        }
        let now = Instant::now();
        instance.pool.lock().thaws.add(now - began, now);
    }

    /// Takes a grant back that nobody received; the caller holds the pool's lock.
    pub(super) fn undo(mut self, roster: &mut Roster<Arc<Instance>, Waiter>, now: Instant) {
        let Some(instance) = self.instance.take() else { return };
        roster.give_back(instance.key, true, now);
        if self.frozen {
            roster.set_frozen(instance.key);
        }
        if self.first {
            let metrics = &instance.pool.hot.metrics;
            if self.frozen {
                metrics.frozen.increment(1.0);
            } else {
                metrics.idle.increment(1.0);
            }
            metrics.busy.decrement(1.0);
        }
    }

    /// The right to use it: from here on it is only given back by [`Lease::keep`].
    pub(in crate::hot) fn lease(mut self) -> Option<(Arc<Instance>, Lease)> {
        let instance = self.instance.take()?;
        Some((instance.clone(), Lease::new(instance)))
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        self.thaw();
        if let Some(instance) = self.instance.take() {
            instance.pool.returned(instance.key, true);
        }
    }
}
