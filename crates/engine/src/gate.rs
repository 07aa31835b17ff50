//! A weighted, first-come gate: at most `capacity` units at one time, waiters served in order.
//!
//! Unlike a semaphore its capacity can change while units are out, which a route's
//! `max_concurrency` does when the route is updated; and its holders can be asked to leave: it
//! tells how much its waiters lack ([`Gate::lack`]) and counts what is about to be given back
//! ([`Pass::leave`]).
//!
//! Every call passes gates that all calls share, so entering and leaving take no lock unless
//! somebody waits. `waiting` decides that: who is about to wait raises it before a last look at
//! `used`, who leaves lowers `used` before a look at `waiting`, all in one total order - so one
//! of the two always sees the other, and nobody waits for units that are free.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

#[derive(Debug)]
struct Waiter {
    weight: u64,
    owner: u64,
    since: Instant,
    admit: oneshot::Sender<Pass>,
}

/// The gate. Cheap to clone through its `Arc`.
#[derive(Debug)]
pub struct Gate {
    capacity: AtomicU64,
    used: AtomicU64,
    /// Units of passes whose holders are on their way out.
    leaving: AtomicU64,
    /// At least 1 while anybody is in `line` or about to be.
    waiting: AtomicUsize,
    line: Mutex<VecDeque<Waiter>>,
    max_waiting: usize,
}

/// Units held; given back on drop.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    weight: u64,
    leaving: AtomicBool,
}

/// Why a gate did not admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The weight is more than the whole capacity: waiting cannot help.
    TooLarge,
    /// Too many wait already.
    TooManyWaiting,
}

/// What the waiters of a gate lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// Units, beyond those that are free or about to be.
    pub units: u64,
    /// How long the first of them has waited.
    pub longest: Duration,
}

impl Gate {
    /// A gate of `capacity` units where at most `max_waiting` wait.
    pub fn new(capacity: u64, max_waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: AtomicU64::new(capacity),
            used: AtomicU64::new(0),
            leaving: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            line: Mutex::default(),
            max_waiting,
        })
    }

    /// Takes `weight` units if they are free and nobody waits for any.
    pub fn try_enter(self: &Arc<Self>, weight: u64) -> Result<Option<Pass>, Refused> {
        if weight > self.capacity.load(SeqCst) {
            return Err(Refused::TooLarge);
        }
        Ok((self.waiting.load(SeqCst) == 0 && self.take(weight)).then(|| self.pass(weight)))
    }

    /// Waits for `weight` units. Dropping the future leaves the line.
    pub async fn enter(self: &Arc<Self>, weight: u64) -> Result<Pass, Refused> {
        self.enter_for(weight, 0, || ()).await
    }

    /// The same for `owner`, whose own waiters do not count as others' ([`Gate::lack`]).
    /// `on_wait` is called once if it has to wait, when its place in the line is visible.
    pub async fn enter_for(
        self: &Arc<Self>,
        weight: u64,
        owner: u64,
        on_wait: impl FnOnce(),
    ) -> Result<Pass, Refused> {
        if let Some(pass) = self.try_enter(weight)? {
            return Ok(pass);
        }
        let mut place = match self.line_up(weight, owner)? {
            Ok(pass) => return Ok(pass),
            Err(place) => place,
        };
        on_wait();
        match &mut place.admitted {
            // Dropping the sender says that the capacity sank below the weight.
            Some(admitted) => admitted.await.map_err(|_| Refused::TooLarge),
            None => Err(Refused::TooLarge),
        }
    }

    /// A pass at once, or a place in the line.
    fn line_up(self: &Arc<Self>, weight: u64, owner: u64) -> Result<Result<Pass, Place>, Refused> {
        let mut line = self.lock();
        // A caller that went away leaves its place: it must not count against the bound.
        line.retain(|waiter| !waiter.admit.is_closed());
        self.waiting.store(line.len() + 1, SeqCst);
        if line.is_empty() && self.take(weight) {
            self.waiting.store(0, SeqCst);
            return Ok(Ok(self.pass(weight)));
        }
        if line.len() >= self.max_waiting {
            self.waiting.store(line.len(), SeqCst);
            return Err(Refused::TooManyWaiting);
        }
        let (admit, admitted) = oneshot::channel();
        line.push_back(Waiter { weight, owner, since: Instant::now(), admit });
        Ok(Err(Place { gate: self.clone(), admitted: Some(admitted) }))
    }

    /// Changes the capacity; units that are out stay out.
    pub fn set_capacity(self: &Arc<Self>, capacity: u64) {
        if self.capacity.swap(capacity, SeqCst) != capacity {
            self.admit();
        }
    }

    /// Units held now.
    pub fn used(&self) -> u64 {
        self.used.load(SeqCst)
    }

    /// How many units there are.
    pub fn capacity(&self) -> u64 {
        self.capacity.load(SeqCst)
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Whether nobody holds or waits for anything.
    pub fn is_idle(&self) -> bool {
        self.used() == 0 && self.waiting.load(SeqCst) == 0
    }

    /// What the waiters other than `owner` lack, if they lack anything. No lock while none waits.
    pub fn lack(&self, owner: u64) -> Option<Lack> {
        if self.waiting.load(SeqCst) == 0 {
            return None;
        }
        let line = self.lock();
        let others = || line.iter().filter(|waiter| waiter.owner != owner && !waiter.admit.is_closed());
        let wanted: u64 = others().map(|waiter| waiter.weight).sum();
        let held = self.used().saturating_sub(self.leaving.load(SeqCst));
        let units = (held + wanted).saturating_sub(self.capacity.load(SeqCst)).min(wanted);
        let longest = others().next()?.since.elapsed();
        (units > 0).then_some(Lack { units, longest })
    }

    fn take(&self, weight: u64) -> bool {
        let capacity = self.capacity.load(SeqCst);
        self.used
            .fetch_update(SeqCst, SeqCst, |used| used.checked_add(weight).filter(|sum| *sum <= capacity))
            .is_ok()
    }

    fn pass(self: &Arc<Self>, weight: u64) -> Pass {
        Pass { gate: self.clone(), weight, leaving: AtomicBool::new(false) }
    }

    fn give_back(self: &Arc<Self>, weight: u64) {
        self.used.fetch_sub(weight, SeqCst);
        self.admit();
    }

    fn admit(self: &Arc<Self>) {
        if self.waiting.load(SeqCst) == 0 {
            return;
        }
        let mut line = self.lock();
        while let Some(first) = line.front() {
            // Too large since the capacity sank: dropping the sender tells it so.
            if !first.admit.is_closed() && first.weight <= self.capacity.load(SeqCst) {
                if !self.take(first.weight) {
                    break;
                }
                let Some(waiter) = line.pop_front() else { break };
                if let Err(pass) = waiter.admit.send(self.pass(waiter.weight)) {
                    // It went away in between. Its pass must not come back here for the lock.
                    self.used.fetch_sub(pass.discard(), SeqCst);
                }
            } else {
                line.pop_front();
            }
        }
        self.waiting.store(line.len(), SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        // Every update leaves the line whole.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line. Whoever leaves it before its turn lets those behind it pass.
struct Place {
    gate: Arc<Gate>,
    admitted: Option<oneshot::Receiver<Pass>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // A pass that was admitted meanwhile goes back with the receiver.
        drop(self.admitted.take());
        self.gate.admit();
    }
}

impl Pass {
    /// Says that the holder is about to give its units back.
    pub fn leave(&self) {
        if !self.leaving.swap(true, SeqCst) {
            self.gate.leaving.fetch_add(self.weight, SeqCst);
        }
    }

    fn discard(mut self) -> u64 {
        std::mem::take(&mut self.weight)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.weight > 0 {
            if *self.leaving.get_mut() {
                self.gate.leaving.fetch_sub(self.weight, SeqCst);
            }
            self.gate.give_back(self.weight);
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

    #[tokio::test]
    async fn one_that_leaves_the_line_lets_a_smaller_one_pass() {
        let gate = Gate::new(10, 4);
        let _held = gate.enter(8).await.unwrap();
        let (gate2, gate3) = (gate.clone(), gate.clone());
        let mut large = Box::pin(gate2.enter(5));
        let mut small = Box::pin(gate3.enter(2));
        assert!(futures_util::poll!(&mut large).is_pending());
        assert!(futures_util::poll!(&mut small).is_pending());
        drop(large);
        small.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_lacking_counts_others_and_not_what_is_leaving() {
        let gate = Gate::new(10, 4);
        let held = gate.enter(8).await.unwrap();
        assert_eq!(gate.lack(7), None);
        let gate2 = gate.clone();
        let mut waiting = Box::pin(gate2.enter_for(5, 7, || ()));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(gate.lack(7), None, "its own");
        assert_eq!(gate.lack(8).unwrap().units, 3);
        held.leave();
        assert_eq!(gate.lack(8), None, "enough is about to be free");
        drop(held);
        waiting.await.unwrap();
        assert!(gate.is_idle());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_that_come_and_go_at_once_never_exceed_the_capacity_nor_wait_for_ever() {
        const CAPACITY: u64 = 7;
        let gate = Gate::new(CAPACITY, 10_000);
        let inside = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..32u64)
            .map(|task| {
                let (gate, inside) = (gate.clone(), inside.clone());
                tokio::spawn(async move {
                    for round in 0..500u64 {
                        let weight = 1 + (task * 31 + round * 17) % CAPACITY;
                        if round % 5 == 0 {
                            // Leaves again at once, in whatever state the gate is.
                            let mut entering = Box::pin(gate.enter(weight));
                            let _ = futures_util::poll!(&mut entering);
                            continue;
                        }
                        let pass = gate.enter(weight).await.unwrap();
                        assert!(inside.fetch_add(weight, SeqCst) + weight <= CAPACITY);
                        if round % 3 == 0 {
                            tokio::task::yield_now().await;
                        }
                        inside.fetch_sub(weight, SeqCst);
                        drop(pass);
                    }
                })
            })
            .collect();
        let all = futures_util::future::join_all(tasks);
        let done = tokio::time::timeout(Duration::from_mins(1), all).await.expect("somebody waits for ever");
        done.into_iter().for_each(Result::unwrap);
        assert!(gate.is_idle());
    }
}
