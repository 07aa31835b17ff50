//! A weighted, first-come gate: at most `capacity` units at one time, waiters served in order.
//!
//! Unlike a semaphore its capacity can change while units are out, which a route's
//! `max_concurrency` does when the route is updated.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

#[derive(Debug)]
struct Waiter {
    weight: u64,
    admit: oneshot::Sender<Pass>,
}

#[derive(Debug)]
struct Inner {
    capacity: u64,
    used: u64,
    waiters: VecDeque<Waiter>,
    max_waiting: usize,
}

/// The gate. Cheap to clone through its `Arc`.
#[derive(Debug)]
pub struct Gate {
    inner: Mutex<Inner>,
}

/// Units held; given back on drop.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    weight: u64,
}

/// Why a gate did not admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The weight is more than the whole capacity: waiting cannot help.
    TooLarge,
    /// Too many wait already.
    TooManyWaiting,
}

impl Gate {
    /// A gate of `capacity` units where at most `max_waiting` wait.
    pub fn new(capacity: u64, max_waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner { capacity, used: 0, waiters: VecDeque::new(), max_waiting }),
        })
    }

    /// Waits for `weight` units. Dropping the future leaves the line.
    pub async fn enter(self: &Arc<Self>, weight: u64) -> Result<Pass, Refused> {
        let admitted = {
            let mut inner = self.lock();
            if weight > inner.capacity {
                return Err(Refused::TooLarge);
            }
            if inner.waiters.is_empty() && inner.used + weight <= inner.capacity {
                inner.used += weight;
                return Ok(Pass { gate: self.clone(), weight });
            }
            // A caller that went away leaves its place: it must not count against the bound.
            inner.waiters.retain(|waiter| !waiter.admit.is_closed());
            if inner.waiters.len() >= inner.max_waiting {
                return Err(Refused::TooManyWaiting);
            }
            let (admit, admitted) = oneshot::channel();
            inner.waiters.push_back(Waiter { weight, admit });
            admitted
        };
        admitted.await.map_err(|_| Refused::TooLarge)
    }

    /// Changes the capacity; units that are out stay out.
    pub fn set_capacity(self: &Arc<Self>, capacity: u64) {
        let mut inner = self.lock();
        if inner.capacity != capacity {
            inner.capacity = capacity;
            self.admit(&mut inner);
        }
    }

    /// Units held now.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Whether nobody holds or waits for anything.
    pub fn is_idle(&self) -> bool {
        let inner = self.lock();
        inner.used == 0 && inner.waiters.is_empty()
    }

    fn admit(self: &Arc<Self>, inner: &mut Inner) {
        while let Some(first) = inner.waiters.front() {
            if first.admit.is_closed() {
                inner.waiters.pop_front();
                continue;
            }
            if first.weight > inner.capacity {
                // The capacity sank below it: dropping the sender tells it so.
                inner.waiters.pop_front();
                continue;
            }
            if inner.used + first.weight > inner.capacity {
                return;
            }
            let Some(waiter) = inner.waiters.pop_front() else { return };
            let pass = Pass { gate: self.clone(), weight: waiter.weight };
            match waiter.admit.send(pass) {
                Ok(()) => inner.used += waiter.weight,
                // It went away in between. Its pass was never counted and must not be given back.
                Err(pass) => pass.discard(),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    fn discard(mut self) {
        self.weight = 0;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.weight > 0 {
            let gate = self.gate.clone();
            let mut inner = gate.lock();
            inner.used -= self.weight;
            gate.admit(&mut inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiters_are_served_in_order_and_never_above_capacity() {
        let gate = Gate::new(2, 10);
        let first = gate.enter(2).await.unwrap();
        let (gate2, gate3) = (gate.clone(), gate.clone());
        let mut second = Box::pin(gate2.enter(2));
        let mut third = Box::pin(gate3.enter(1));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        let second = second.await.unwrap();
        assert!(futures_util::poll!(&mut third).is_pending(), "the third overtook the second");
        drop(second);
        third.await.unwrap();
        assert!(gate.is_idle());
    }

    #[tokio::test]
    async fn a_waiter_that_leaves_gives_its_place_away() {
        let gate = Gate::new(1, 1);
        let held = gate.enter(1).await.unwrap();
        let (gate2, gate3) = (gate.clone(), gate.clone());
        let mut left = Box::pin(gate2.enter(1));
        assert!(futures_util::poll!(&mut left).is_pending());
        drop(left);
        let mut next = Box::pin(gate3.enter(1));
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(held);
        drop(next.await.unwrap());
        assert!(gate.is_idle());
    }

    #[tokio::test]
    async fn a_pass_that_nobody_takes_is_given_back() {
        let gate = Gate::new(1, 4);
        let held = gate.enter(1).await.unwrap();
        let gate2 = gate.clone();
        let mut waiting = Box::pin(gate2.enter(1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        // Admitted, but dropped before it looked.
        drop(waiting);
        assert!(gate.is_idle());
    }

    #[tokio::test]
    async fn the_line_is_bounded_and_a_giant_is_refused_at_once() {
        let gate = Gate::new(1, 0);
        let _held = gate.enter(1).await.unwrap();
        assert_eq!(gate.enter(1).await.unwrap_err(), Refused::TooManyWaiting);
        assert_eq!(gate.enter(2).await.unwrap_err(), Refused::TooLarge);
    }

    #[tokio::test]
    async fn a_raised_capacity_admits_waiters() {
        let gate = Gate::new(1, 4);
        let _held = gate.enter(1).await.unwrap();
        let gate2 = gate.clone();
        let mut waiting = Box::pin(gate2.enter(1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        gate.set_capacity(2);
        waiting.await.unwrap();
    }
}
