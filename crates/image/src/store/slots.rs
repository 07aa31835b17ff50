//! Places for imports and pulls: they cost bandwidth and disk, and one project gets at most half.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Scope;

#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    each: usize,
    scopes: Mutex<HashMap<Scope, Arc<Semaphore>>>,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub fn new(max_parallel: usize) -> Self {
        let most = max_parallel.max(1);
        Self { all: Arc::new(Semaphore::new(most)), each: most.div_ceil(2), scopes: Mutex::default() }
    }

    /// Waits for a place. The scope's own limit comes first, so that who waits for it does not
    /// block the others.
    pub async fn take(&self, scope: &Scope) -> Slot {
        let own = {
            let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
            // A scope that holds no place needs no semaphore of its own.
            scopes.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            let fresh = || Arc::new(Semaphore::new(self.each));
            Arc::clone(scopes.entry(scope.clone()).or_insert_with(fresh))
        };
        // Neither semaphore is ever closed, so neither wait can fail.
        let own = own.acquire_owned().await.ok();
        Slot { _own: own, _all: Arc::clone(&self.all).acquire_owned().await.ok() }
    }
}
