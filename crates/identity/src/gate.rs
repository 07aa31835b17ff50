//! How many requests may be under way to Keystone, and how many may wait to be.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::KeystoneError;

/// A bounded number of places with a bounded queue before them.
pub(crate) struct Gate {
    places: Semaphore,
    tickets: Semaphore,
}

/// The right to ask Keystone, until dropped.
pub(crate) struct Place<'a> {
    _place: SemaphorePermit<'a>,
    _ticket: SemaphorePermit<'a>,
}

impl Gate {
    pub(crate) fn new(places: usize, waiting: usize) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS / 2);
        let waiting = waiting.min(Semaphore::MAX_PERMITS / 2);
        Self { places: Semaphore::new(places), tickets: Semaphore::new(places + waiting) }
    }

    /// Waits for a place; at once `Busy` when too many wait already.
    pub(crate) async fn enter(&self) -> Result<Place<'_>, KeystoneError> {
        let ticket = self.tickets.try_acquire().map_err(|_| KeystoneError::Busy)?;
        let place = self.places.acquire().await.map_err(|_| KeystoneError::Busy)?;
        Ok(Place { _place: place, _ticket: ticket })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn one_works_one_waits_and_the_third_is_sent_away() {
        let gate = Gate::new(1, 1);
        let first = gate.enter().await.unwrap();
        let mut second = Box::pin(gate.enter());
        assert!((&mut second).now_or_never().is_none());
        assert!(matches!(gate.enter().await, Err(KeystoneError::Busy)));
        drop(first);
        assert!(second.await.is_ok());
    }
}
