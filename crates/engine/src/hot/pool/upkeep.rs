//! What happens to a pool without a call: freezing, idle ends, sandboxes kept warm, eviction,
//! retirement, the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{NoSandbox, Pool, Waiter};
use crate::hot::instance::Stop;
use crate::hot::keeper;

impl Pool {
    /// Freezes and ends what has been idle long enough, starts what is to be kept warm. Says when
    /// there is something to do next.
    pub(in crate::hot) fn tend(self: &Arc<Self>) -> Option<Instant> {
        let now = Instant::now();
        let settings = &self.hot.parts.settings;
        let idle_timeout = Duration::from_secs(self.spec().idle_timeout_s.into());
        let mut state = self.lock();
        let freezes = !settings.freeze_after.is_zero() && state.thaws.are_cheap(now);
        let mut spare = state.roster.live().saturating_sub(self.warm(&state));
        let mut next: Option<Instant> = None;
        let mut due = |time: Instant| next = Some(next.map_or(time, |next| next.min(time)));
        let (mut ends, mut frozen) = (Vec::new(), Vec::new());
        for (key, instance, since, is_frozen) in state.roster.idle() {
            if spare > 0 && now >= since + idle_timeout {
                spare -= 1;
                ends.push(key);
                continue;
            }
            if spare > 0 {
                due(since + idle_timeout);
            }
            if let Some(freezer) = instance.freezer.as_ref().filter(|_| freezes && !is_frozen) {
                if now < since + settings.freeze_after {
                    due(since + settings.freeze_after);
                } else {
                    match freezer.freeze() {
                        Ok(()) => frozen.push(key),
                        // It is probably ending; else it only uses the CPU it wants.
                        Err(error) => {
                            tracing::debug!(version = %self.version.id, %error, "a sandbox was not frozen");
                        }
                    }
                }
            }
        }
        for key in ends {
            self.end_member(&mut state, key, self.end_of_use(Stop::Kill));
        }
        for key in frozen {
            state.roster.set_frozen(key);
            self.hot.metrics.idle.decrement(1.0);
            self.hot.metrics.frozen.increment(1.0);
        }
        let lacking = self.warm(&state).saturating_sub(state.roster.live() + state.roster.starting);
        let mut starts = 0;
        match state.not_before {
            Some(time) if lacking > 0 && now < time => due(time),
            _ => starts = lacking,
        }
        self.note_starts(&mut state, starts, now);
        (state.told, state.due) = (false, next);
        drop(state);
        for _ in 0..starts {
            keeper::spawn(self.clone(), keeper::Cause::Warmth);
        }
        next
    }

    /// Has its idle sandboxes frozen and ended, and those that are to be warm started.
    pub(in crate::hot) fn watch(self: &Arc<Self>) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.told, true) {
            drop(state);
            self.hot.watch(self);
        }
    }

    /// Another version took over or the route is gone: idle sandboxes end, busy ones after their
    /// calls. Calls that still name this version are served.
    pub(in crate::hot) fn retire(self: &Arc<Self>) {
        let mut state = self.lock();
        state.retired = true;
        let idle: Vec<usize> = state.roster.idle().map(|(key, ..)| key).collect();
        for key in idle {
            self.end_member(&mut state, key, self.end_of_use(Stop::Kill));
        }
    }

    /// Whether its route has an identity.
    pub(in crate::hot) fn has_identity(&self) -> bool {
        self.has_identity.load(Ordering::Acquire)
    }

    /// The route has an identity now, or none: sandboxes that were started without one end. Those that
    /// have one that does not hold any more hear of it themselves.
    pub(in crate::hot) fn follow_identity(self: &Arc<Self>, has: bool) {
        if self.has_identity.swap(has, Ordering::AcqRel) == has || !has {
            return;
        }
        let mut state = self.lock();
        let all: Vec<usize> = state.roster.all().map(|(key, _)| key).collect();
        for key in all {
            self.end_member(&mut state, key, self.end_of_use(Stop::Kill));
        }
        let todo = self.settle(&mut state, Instant::now());
        drop(state);
        self.act(todo);
    }

    /// A sandbox takes no new calls, and ends when it has none.
    pub(in crate::hot) fn condemn(self: &Arc<Self>, key: usize) {
        let mut state = self.lock();
        self.end_member(&mut state, key, self.end_of_use(Stop::Kill));
        let todo = self.settle(&mut state, Instant::now());
        drop(state);
        self.act(todo);
    }

    /// It is the active version again.
    pub(in crate::hot) fn revive(&self) {
        self.lock().retired = false;
    }

    /// Takes no more calls, if it has nothing and was not used since `unused_since`.
    pub(in crate::hot) fn close_unused(&self, unused_since: Instant) -> bool {
        let mut state = self.lock();
        let unused = state.roster.is_empty()
            && (state.retired || self.spec().min_instances == 0 && state.last_used < unused_since);
        if unused {
            state.closed = Some(NoSandbox::Closed);
        }
        unused
    }

    /// Ends everything.
    pub(in crate::hot) fn shut_down(&self) {
        let mut state = self.lock();
        state.closed = Some(NoSandbox::ShuttingDown);
        let line: Vec<Waiter> = state.roster.line.drain(..).collect();
        let idle: Vec<usize> = state.roster.idle().map(|(key, ..)| key).collect();
        for key in idle {
            self.end_member(&mut state, key, self.eviction());
        }
        for (_, instance) in state.roster.all() {
            instance.stop(self.eviction());
        }
        drop(state);
        self.withdraw.notify_waiters();
        for waiter in line {
            // It may be gone.
            let _ = waiter.grant.send(Err(NoSandbox::ShuttingDown));
        }
    }

    /// The memory of its sandboxes, and since when each idle one of them has been idle.
    pub(in crate::hot) fn evictable(&self) -> Vec<(usize, Instant, bool)> {
        let state = self.lock();
        let spare = state.roster.live().saturating_sub(self.warm(&state));
        let idle = state.roster.idle().enumerate();
        idle.map(|(number, (key, _, since, _))| (key, since, number >= spare)).collect()
    }

    /// Ends a sandbox that is still idle; whether it did.
    pub(in crate::hot) fn evict(&self, key: usize) -> bool {
        let mut state = self.lock();
        let idle = state.roster.is_idle(key);
        if idle {
            self.hot.metrics.evictions.increment(1);
            self.end_member(&mut state, key, self.eviction());
        }
        idle
    }
}
