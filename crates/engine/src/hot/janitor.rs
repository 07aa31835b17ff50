//! The janitor: one task that freezes sandboxes which have been idle for a moment, ends those
//! that have been idle too long and starts those that are to be kept warm. It sleeps until the
//! next of these is due, and without a timer when there is nothing to tend.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pool::Pool;

/// Tends the pools it is told of.
#[derive(Debug)]
pub(crate) struct Janitor {
    told: mpsc::UnboundedReceiver<Arc<Pool>>,
    /// When which pool is to be looked at next, by its id.
    due: BTreeSet<(Instant, u64)>,
    pools: HashMap<u64, (Instant, Weak<Pool>)>,
}

impl Janitor {
    pub(super) fn new(told: mpsc::UnboundedReceiver<Arc<Pool>>) -> Self {
        Self { told, due: BTreeSet::new(), pools: HashMap::new() }
    }

    /// Works until `stopping`.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        loop {
            let next = self.due.first().map(|(time, _)| *time);
            let alarm = async {
                match next {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                pool = self.told.recv() => match pool {
                    Some(pool) => self.tend(&pool),
                    None => return,
                },
                () = alarm => self.tend_due(),
            }
        }
    }

    fn tend_due(&mut self) {
        let now = Instant::now();
        while let Some((_, id)) = self.due.first().copied().filter(|(time, _)| *time <= now) {
            let pool = self.pools.get(&id).and_then(|(_, pool)| pool.upgrade());
            self.forget(id);
            if let Some(pool) = pool {
                self.tend(&pool);
            }
        }
    }

    fn tend(&mut self, pool: &Arc<Pool>) {
        self.forget(pool.id);
        if let Some(next) = pool.tend() {
            self.due.insert((next, pool.id));
            self.pools.insert(pool.id, (next, Arc::downgrade(pool)));
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some((time, _)) = self.pools.remove(&id) {
            self.due.remove(&(time, id));
        }
    }
}
