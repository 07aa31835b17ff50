//! The deliveries of one connection: fetched ahead, or in hand.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picasso_types::{CallId, ProjectId};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A delivery: its priority, which is its channel's, and the broker's number of it there.
pub(super) type Tag = (usize, u64);
/// A call and its project.
pub(super) type Named = (CallId, ProjectId);

/// After this time without a receiver, what was fetched ahead goes back.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Hands {
    visible_after: Duration,
    state: Mutex<State>,
    /// Something was fetched, or the connection ended.
    pub(super) arrived: Notify,
}

#[derive(Debug)]
struct State {
    /// By priority.
    fetched: [VecDeque<(Named, Tag)>; 3],
    /// With the end of their visibility time.
    held: HashMap<Tag, Instant>,
    receivers: usize,
    last_wanted: Instant,
}

/// Somebody waits for deliveries, as long as this lives.
pub(super) struct Wanting(Arc<Hands>);

impl Wanting {
    pub(super) fn hands(&self) -> &Hands {
        &self.0
    }
}

impl Drop for Wanting {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.receivers -= 1;
        state.last_wanted = Instant::now();
    }
}

impl Hands {
    pub(super) fn new(visible_after: Duration) -> Arc<Self> {
        Arc::new(Self {
            visible_after,
            state: Mutex::new(State {
                fetched: Default::default(),
                held: HashMap::new(),
                receivers: 0,
                last_wanted: Instant::now(),
            }),
            arrived: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn want(self: &Arc<Self>) -> Wanting {
        self.state().receivers += 1;
        Wanting(self.clone())
    }

    pub(super) fn fetched(&self, named: Named, tag: Tag) {
        if let Some(queue) = self.state().fetched.get_mut(tag.0) {
            queue.push_back((named, tag));
        }
        self.arrived.notify_waiters();
    }

    /// Up to `max` of what was fetched, now in hand; the highest priority first.
    pub(super) fn take(&self, max: u32) -> Vec<(Named, Tag)> {
        let mut state = self.state();
        let State { fetched, held, .. } = &mut *state;
        let until = Instant::now() + self.visible_after;
        let mut taken = Vec::new();
        for queue in fetched.iter_mut().rev() {
            let free = (max as usize).saturating_sub(taken.len()).min(queue.len());
            taken.extend(queue.drain(..free));
        }
        held.extend(taken.iter().map(|(_, tag)| (*tag, until)));
        taken
    }

    /// Whether it was in hand.
    pub(super) fn release(&self, tag: Tag) -> bool {
        self.state().held.remove(&tag).is_some()
    }

    /// What is in hand for longer than the visibility time, which is not any more.
    pub(super) fn take_overdue(&self) -> Vec<Tag> {
        let now = Instant::now();
        self.state().held.extract_if(|_, until| *until <= now).map(|(tag, _)| tag).collect()
    }

    /// Whether nobody has asked for work for a moment.
    pub(super) fn at_rest(&self) -> bool {
        let state = self.state();
        state.receivers == 0 && state.last_wanted.elapsed() >= REST
    }

    /// What was fetched ahead, which is to go back.
    pub(super) fn give_up_fetched(&self) -> Vec<Tag> {
        self.state().fetched.iter_mut().flat_map(|queue| queue.drain(..)).map(|(_, tag)| tag).collect()
    }

    pub(super) fn fetched_count(&self) -> u64 {
        self.state().fetched.iter().map(|queue| queue.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> Named {
        (CallId::generate(), ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").unwrap())
    }

    #[test]
    fn the_highest_priority_is_taken_first_and_no_more_than_asked() {
        let hands = Hands::new(Duration::from_mins(1));
        for (number, priority) in (0..).zip([0, 1, 2, 1]) {
            hands.fetched(named(), (priority, number));
        }
        let tags = |max| hands.take(max).into_iter().map(|(_, tag)| tag.1).collect::<Vec<_>>();
        assert_eq!(tags(2), [2, 1]);
        assert_eq!(tags(10), [3, 0]);
        assert!(hands.release((1, 3)) && !hands.release((1, 3)) && !hands.release((2, 0)));
        assert!(hands.take_overdue().is_empty());
    }

    #[test]
    fn what_is_in_hand_too_long_is_overdue_once() {
        let hands = Hands::new(Duration::ZERO);
        hands.fetched(named(), (1, 7));
        hands.take(1);
        assert_eq!(hands.take_overdue(), [(1, 7)]);
        assert!(hands.take_overdue().is_empty());
        assert!(!hands.release((1, 7)), "it is in nobody's hand");
    }
}
