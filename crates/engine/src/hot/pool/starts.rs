//! What becomes of the starts a pool asked for, and of sandboxes whose process ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{FIRST_PAUSE, GROWN_UP, NoSandbox, Pool, State};
use crate::call_events::End;
use crate::hot::instance::Instance;
use crate::hot::roster::Now;

impl Pool {
    /// Whether a start that waits for memory is of no use any more; it is then off the book.
    pub(in crate::hot) fn calls_off(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        state.roster.line.retain(|waiter| !waiter.grant.is_closed());
        let unwanted = state.roster.line.is_empty();
        if unwanted {
            self.start_ended(&mut state);
        }
        unwanted
    }

    fn start_ended(&self, state: &mut State) {
        state.roster.starting -= 1;
        if state.roster.starting == 0 {
            state.oldest_start = None;
        }
        self.hot.metrics.starting.decrement(1.0);
    }

    /// There is no memory to spare for keeping another sandbox warm; later.
    pub(in crate::hot) fn no_spare_room(self: &Arc<Self>) {
        let now = Instant::now();
        let mut state = self.lock();
        self.start_ended(&mut state);
        state.not_before = Some(now + FIRST_PAUSE);
        let todo = self.settle(&mut state, now);
        drop(state);
        self.act(todo);
    }

    /// A sandbox is ready for calls.
    pub(in crate::hot) fn ready(
        self: &Arc<Self>,
        took: Duration,
        make: impl FnOnce(usize) -> Arc<Instance>,
    ) -> Arc<Instance> {
        let now = Instant::now();
        let metrics = &self.hot.metrics;
        metrics.cold_starts.increment(1);
        metrics.cold_start_seconds.record(took.as_secs_f64());
        let mut state = self.lock();
        self.start_ended(&mut state);
        state.cold_start.add(took);
        state.last_ready = Some(now);
        state.not_before = None;
        metrics.idle.increment(1.0);
        let instance = state.roster.add(make, now);
        let mut todo = self.settle(&mut state, now);
        // Nobody waits for it any more.
        if let Some(how) =
            state.roster.is_idle(instance.key).then(|| self.gives_up(&state, Now::Idle, now)).flatten()
        {
            self.end_member(&mut state, instance.key, how);
            todo.watch |= self.settle(&mut state, now).watch;
        }
        drop(state);
        self.act(todo);
        instance
    }

    /// A sandbox did not start. Calls that nothing else can serve fail as it did.
    pub(in crate::hot) fn failed(self: &Arc<Self>, end: &End) {
        let now = Instant::now();
        self.hot.metrics.failed_starts.increment(1);
        let mut state = self.lock();
        self.start_ended(&mut state);
        state.note_failure(now);
        let mut fail = Vec::new();
        if state.roster.live() == 0 && state.roster.starting == 0 {
            fail.extend(state.roster.line.drain(..));
        }
        let todo = self.settle(&mut state, now);
        drop(state);
        for waiter in fail {
            // It may be gone.
            let _ = waiter.grant.send(Err(NoSandbox::Failed(Box::new(end.clone()))));
        }
        self.act(todo);
    }

    /// The process of a sandbox is gone.
    pub(in crate::hot) fn gone(self: &Arc<Self>, instance: &Instance, age: Duration) {
        let now = Instant::now();
        let mut state = self.lock();
        let frozen = state.roster.is_frozen(instance.key);
        let removed = state.roster.remove(instance.key);
        let metrics = &self.hot.metrics;
        if removed.running {
            metrics.busy.decrement(1.0);
        } else if removed.unasked {
            if frozen { metrics.frozen.decrement(1.0) } else { metrics.idle.decrement(1.0) }
        }
        if removed.unasked && age < GROWN_UP {
            state.note_failure(now);
        }
        let todo = self.settle(&mut state, now);
        drop(state);
        self.act(todo);
    }

    /// How long a call took, where calls of one sandbox overlap or not.
    pub(in crate::hot) fn served(&self, took: Duration) {
        let mut state = self.lock();
        state.service.add(took);
        if state.failures > 0 {
            state.failures = 0;
            state.not_before = None;
        }
    }
}
