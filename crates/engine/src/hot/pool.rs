//! The warm pool of one version of a route: gives calls sandboxes, newest first, and decides
//! whether another is started, kept or ended.
//!
//! All of it happens under one lock that only calls of this version take, held for some hundred
//! nanoseconds and never across I/O - but for freezing, which is one write to a kernel file and
//! must not happen to a sandbox that is being taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picasso_types::{RouteVersion, VersionSpec};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::demand::{Average, Situation, Thaws};
use super::instance::{Instance, Stop};
use super::keeper;
use super::lease::Lease;
use super::link::HotFormat;
use super::pools::Hot;
use super::roster::{Now, Roster, Taken};
use crate::admission::Gates;
use crate::call_events::End;
use crate::catalog::Target;

/// What a start is taken to last before one was measured.
const UNKNOWN_COLD_START: Duration = Duration::from_millis(50);
/// A start that hangs counts as that many usual ones: it must not keep others from being started.
const HANGING: u32 = 4;
/// A pool without second sandbox serves its own line that long before it makes place for others.
const TURN: Duration = Duration::from_millis(100);
/// SIGTERM to SIGKILL where somebody waits for the memory.
const EVICTION_GRACE: Duration = Duration::from_millis(300);
/// Pause after a sandbox that did not start or died young; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A sandbox that dies unasked at this age is no sign of a broken image.
const GROWN_UP: Duration = Duration::from_secs(10);

/// A call in the line.
#[derive(Debug)]
struct Waiter {
    ticket: u64,
    since: Instant,
    grant: oneshot::Sender<Result<Checkout, NoSandbox>>,
}

/// Why a call got no sandbox.
#[derive(Debug, Clone)]
pub(super) enum NoSandbox {
    /// None became free in time, or the line is full.
    NoCapacity,
    /// None could be started.
    Failed(Box<End>),
    /// The pool is no longer in use: ask for it anew.
    Closed,
    /// The engine is shutting down.
    ShuttingDown,
}

#[derive(Debug)]
struct State {
    roster: Roster<Arc<Instance>, Waiter>,
    service: Average,
    cold_start: Average,
    thaws: Thaws,
    /// The ticket of the call that joins the line next.
    next_ticket: u64,
    /// Starts that wait for memory.
    blocked: usize,
    /// When the first of the sandboxes that are on their way was asked for.
    oldest_start: Option<Instant>,
    /// When a sandbox became ready last.
    last_ready: Option<Instant>,
    /// Starts that failed and sandboxes that died young, one after the other.
    failures: u32,
    /// No start but for callers without any sandbox before this.
    not_before: Option<Instant>,
    /// Another version took over, or the route is gone.
    retired: bool,
    /// Why it takes no calls.
    closed: Option<NoSandbox>,
    /// The janitor was told to look at it and has not done so yet.
    told: bool,
    /// When the janitor looks at it next.
    due: Option<Instant>,
    last_used: Instant,
}

/// What to do once the lock is released.
#[derive(Debug, Default, Clone, Copy)]
#[must_use]
struct Todo {
    starts: usize,
    /// Tell the janitor.
    watch: bool,
    /// Starts that wait for memory may be called off.
    withdraw: bool,
}

/// The warm pool of one version.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) id: u64,
    pub(super) hot: Arc<Hot>,
    pub(super) target: Arc<Target>,
    pub(super) version: Arc<RouteVersion>,
    pub(super) format: Arc<dyn HotFormat>,
    pub(super) gates: Gates,
    pub(super) withdraw: Notify,
    state: Mutex<State>,
}

/// A sandbox that a call got and has not used yet: dropped, it goes back untouched.
#[derive(Debug)]
pub(super) struct Checkout {
    instance: Option<Arc<Instance>>,
    /// The call is the only one of its sandbox.
    pub(super) first: bool,
    frozen: bool,
}

impl Checkout {
    fn new(taken: Taken<Arc<Instance>>) -> Self {
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
    pub(super) fn instance(&self) -> Option<&Arc<Instance>> {
        self.instance.as_ref()
    }

    /// Continues a frozen sandbox and measures what that costs.
    fn thaw(&mut self) {
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
    fn undo(mut self, roster: &mut Roster<Arc<Instance>, Waiter>, now: Instant) {
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
    pub(super) fn lease(mut self) -> Option<(Arc<Instance>, Lease)> {
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

impl Pool {
    pub(super) fn new(
        hot: Arc<Hot>,
        target: &Target,
        version: &Arc<RouteVersion>,
        format: Arc<dyn HotFormat>,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let concurrency = if version.spec.format.is_concurrent() { version.spec.concurrency } else { 1 };
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            gates: target.place.gates(&hot.admission, target, version).clone(),
            hot,
            // Without its place, which would hold this pool for ever.
            target: Arc::new(target.clone()),
            version: version.clone(),
            format,
            withdraw: Notify::new(),
            state: Mutex::new(State {
                roster: Roster::new(concurrency as usize),
                service: Average::default(),
                cold_start: Average::default(),
                thaws: Thaws::default(),
                next_ticket: 0,
                blocked: 0,
                oldest_start: None,
                last_ready: None,
                failures: 0,
                not_before: None,
                retired: false,
                closed: None,
                told: false,
                due: None,
                last_used: Instant::now(),
            }),
        })
    }

    pub(super) fn spec(&self) -> &VersionSpec {
        &self.version.spec
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sandbox for one call: at once, or in the order of arrival before `until`. A start that is
    /// under way for it is waited for longer: it has its own time limit.
    pub(super) async fn checkout(self: &Arc<Self>, until: Instant) -> Result<Checkout, NoSandbox> {
        let (todo, mut granted, since, ticket) = {
            let mut state = self.lock();
            if let Some(closed) = &state.closed {
                return Err(closed.clone());
            }
            let now = Instant::now();
            state.last_used = now;
            if state.roster.line.is_empty()
                && let Some(taken) = state.roster.take()
            {
                drop(state);
                let mut checkout = Checkout::new(taken);
                checkout.thaw();
                return Ok(checkout);
            }
            let most = self.hot.parts.settings.max_waiting_calls;
            if state.roster.line.len() >= most {
                state.roster.line.retain(|waiter| !waiter.grant.is_closed());
                if state.roster.line.len() >= most {
                    return Err(NoSandbox::NoCapacity);
                }
            }
            let (grant, granted) = oneshot::channel();
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.roster.line.push_back(Waiter { ticket, since: now, grant });
            (self.settle(&mut state, now), granted, now, ticket)
        };
        self.hot.metrics.waits.increment(1);
        self.act(todo);
        loop {
            let look_again = self.look_again(since, until);
            tokio::select! {
                biased;
                outcome = &mut granted => {
                    let mut checkout = outcome.unwrap_or(Err(NoSandbox::ShuttingDown))?;
                    checkout.thaw();
                    return Ok(checkout);
                }
                () = tokio::time::sleep_until(look_again) => {}
            }
            let now = Instant::now();
            let todo = {
                let mut state = self.lock();
                let todo = self.settle(&mut state, now);
                if now >= until && !state.is_coming(ticket) {
                    drop(state);
                    self.act(todo);
                    return Err(NoSandbox::NoCapacity);
                }
                todo
            };
            self.act(todo);
        }
    }

    /// When a call that waits since `since` and may wait `until` is to look again, but not within
    /// 5 ms from now unless that is all it has.
    fn look_again(&self, since: Instant, until: Instant) -> Instant {
        let (state, now) = (self.lock(), Instant::now());
        let from = state.last_ready.map_or(since, |ready| ready.max(since));
        let overdue = (from + state.cold_start_now(now)).max(now + Duration::from_millis(5));
        if until > now { overdue.min(until) } else { overdue }
    }

    /// A start has to wait for memory, or has got it.
    pub(super) fn blocked(&self, is: bool) {
        let mut state = self.lock();
        if is { state.blocked += 1 } else { state.blocked -= 1 }
    }

    /// A call is over.
    pub(super) fn returned(self: &Arc<Self>, key: usize, kept: bool) {
        let now = Instant::now();
        let mut state = self.lock();
        let became = state.roster.give_back(key, kept, now);
        let instance = state.roster.handle(key).cloned();
        let mut cpu = None;
        if let Some(instance) = &instance {
            if matches!(became, Now::Idle | Now::Spent) {
                cpu = instance.set_cpu(None);
                self.hot.metrics.busy.decrement(1.0);
            }
            match became {
                Now::Idle => self.hot.metrics.idle.increment(1.0),
                Now::Spent => instance.stop(self.end_of_use(if kept { Stop::Kill } else { Stop::Soon })),
                Now::Shared | Now::Unchanged => {}
            }
        }
        if let Some(how) = self.gives_up(&state, became, now) {
            self.end_member(&mut state, key, how);
        }
        let todo = self.settle(&mut state, now);
        drop(state);
        drop((cpu, instance));
        self.act(todo);
    }

    /// How a sandbox whose use is over ends: one that serves many calls is told first.
    fn end_of_use(&self, otherwise: Stop) -> Stop {
        if self.spec().format.is_concurrent() {
            Stop::Gently(self.hot.parts.settings.stop_grace)
        } else {
            otherwise
        }
    }

    fn eviction(&self) -> Stop {
        if self.spec().format.is_concurrent() { Stop::Gently(EVICTION_GRACE) } else { Stop::Kill }
    }

    /// Whether a sandbox that has just ended a call is not to take another one.
    fn gives_up(&self, state: &State, became: Now, now: Instant) -> Option<Stop> {
        if !matches!(became, Now::Idle | Now::Shared) {
            return None;
        }
        if state.closed.is_some() || state.retired && state.roster.line.is_empty() {
            return Some(self.end_of_use(Stop::Kill));
        }
        // Others wait for its memory: it makes place, unless calls of its own wait too, it is the
        // only one that serves them, and it has not had its turn.
        if let Some(lack) = self.hot.admission.lack(&self.gates, self.id) {
            let turn = TURN.max(2 * state.cold_start_now(now));
            if state.roster.line.is_empty() && became == Now::Idle
                || state.roster.live() > 1
                || lack.longest > turn
            {
                self.hot.metrics.evictions.increment(1);
                return Some(self.eviction());
            }
        }
        let spec = self.spec();
        let unwanted = became == Now::Idle
            && spec.idle_timeout_s == 0
            && state.roster.line.is_empty()
            && state.roster.live() > spec.min_instances as usize;
        unwanted.then(|| self.end_of_use(Stop::Kill))
    }

    /// The sandbox takes no new calls, and ends now if it has none.
    fn end_member(&self, state: &mut State, key: usize, how: Stop) {
        let frozen = state.roster.is_frozen(key);
        if state.roster.condemn(key) == Now::Spent {
            let metrics = &self.hot.metrics;
            if frozen {
                metrics.frozen.decrement(1.0);
            } else {
                metrics.idle.decrement(1.0);
            }
            if let Some(instance) = state.roster.handle(key) {
                instance.stop(how);
            }
        }
    }

    /// Hands free sandboxes to the line, and finds out what else is to be done.
    fn settle(&self, state: &mut State, now: Instant) -> Todo {
        while let Some((waiter, taken)) = state.roster.next(|waiter| waiter.grant.is_closed()) {
            let checkout = Checkout::new(taken);
            if let Err(Ok(checkout)) = waiter.grant.send(Ok(checkout)) {
                // It went away this very moment.
                checkout.undo(&mut state.roster, now);
            }
        }
        let mut todo = Todo { withdraw: state.roster.line.is_empty(), ..Todo::default() };
        let backing_off = state.roster.live() > 0 && state.not_before.is_some_and(|time| now < time);
        if !state.roster.line.is_empty() && !backing_off && state.closed.is_none() {
            todo.starts = state.situation(now).starts();
            self.note_starts(state, todo.starts, now);
        }
        todo.watch = !state.told && self.needs_care(state, now);
        state.told |= todo.watch;
        todo
    }

    /// Whether the janitor is to look at it sooner than it is going to.
    fn needs_care(&self, state: &State, now: Instant) -> bool {
        let later_than = |time: Instant| state.due.is_none_or(|due| due > time);
        let lacks_warm = state.roster.live() + state.roster.starting < self.warm(state);
        if lacks_warm && later_than(state.not_before.unwrap_or(now)) {
            return true;
        }
        // A sandbox that has just become idle is the one that is frozen last.
        let freeze_after = self.hot.parts.settings.freeze_after;
        let idles = state.roster.idle().next().is_some();
        idles && (state.due.is_none() || !freeze_after.is_zero() && later_than(now + freeze_after))
    }

    fn note_starts(&self, state: &mut State, starts: usize, now: Instant) {
        if starts > 0 {
            if state.roster.starting == 0 {
                state.oldest_start = Some(now);
            }
            state.roster.starting += starts;
            for _ in 0..starts {
                self.hot.metrics.starting.increment(1.0);
            }
        }
    }

    fn act(self: &Arc<Self>, todo: Todo) {
        for _ in 0..todo.starts {
            keeper::spawn(self.clone(), keeper::Cause::Calls);
        }
        if todo.watch {
            self.hot.watch(self);
        }
        if todo.withdraw {
            self.withdraw.notify_waiters();
        }
    }

    /// How many sandboxes are kept even without calls.
    fn warm(&self, state: &State) -> usize {
        if state.retired || state.closed.is_some() { 0 } else { self.spec().min_instances as usize }
    }

    /// Whether a start that waits for memory is of no use any more; it is then off the book.
    pub(super) fn calls_off(self: &Arc<Self>) -> bool {
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
    pub(super) fn no_spare_room(self: &Arc<Self>) {
        let now = Instant::now();
        let mut state = self.lock();
        self.start_ended(&mut state);
        state.not_before = Some(now + FIRST_PAUSE);
        let todo = self.settle(&mut state, now);
        drop(state);
        self.act(todo);
    }

    /// A sandbox is ready for calls.
    pub(super) fn ready(
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
    pub(super) fn failed(self: &Arc<Self>, end: &End) {
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
    pub(super) fn gone(self: &Arc<Self>, instance: &Instance, age: Duration) {
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
    pub(super) fn served(&self, took: Duration) {
        let mut state = self.lock();
        state.service.add(took);
        if state.failures > 0 {
            state.failures = 0;
            state.not_before = None;
        }
    }

    /// Freezes and ends what has been idle long enough, starts what is to be kept warm. Says when
    /// there is something to do next.
    pub(super) fn tend(self: &Arc<Self>) -> Option<Instant> {
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
    pub(super) fn watch(self: &Arc<Self>) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.told, true) {
            drop(state);
            self.hot.watch(self);
        }
    }

    /// Another version took over or the route is gone: idle sandboxes end, busy ones after their
    /// calls. Calls that still name this version are served.
    pub(super) fn retire(self: &Arc<Self>) {
        let mut state = self.lock();
        state.retired = true;
        let idle: Vec<usize> = state.roster.idle().map(|(key, ..)| key).collect();
        for key in idle {
            self.end_member(&mut state, key, self.end_of_use(Stop::Kill));
        }
    }

    /// It is the active version again.
    pub(super) fn revive(&self) {
        self.lock().retired = false;
    }

    /// Takes no more calls, if it has nothing and was not used since `unused_since`.
    pub(super) fn close_unused(&self, unused_since: Instant) -> bool {
        let mut state = self.lock();
        let unused = state.roster.is_empty()
            && (state.retired || self.spec().min_instances == 0 && state.last_used < unused_since);
        if unused {
            state.closed = Some(NoSandbox::Closed);
        }
        unused
    }

    /// Ends everything.
    pub(super) fn shut_down(&self) {
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
    pub(super) fn evictable(&self) -> Vec<(usize, Instant, bool)> {
        let state = self.lock();
        let spare = state.roster.live().saturating_sub(self.warm(&state));
        let idle = state.roster.idle().enumerate();
        idle.map(|(number, (key, _, since, _))| (key, since, number >= spare)).collect()
    }

    /// Ends a sandbox that is still idle; whether it did.
    pub(super) fn evict(&self, key: usize) -> bool {
        let mut state = self.lock();
        let idle = state.roster.is_idle(key);
        if idle {
            self.hot.metrics.evictions.increment(1);
            self.end_member(&mut state, key, self.eviction());
        }
        idle
    }
}

impl State {
    /// Whether a sandbox is being started that the call will get.
    fn is_coming(&self, ticket: u64) -> bool {
        let before = self.roster.line.partition_point(|waiter| waiter.ticket < ticket);
        before < self.roster.starting.saturating_sub(self.blocked) * self.roster.concurrency()
    }

    fn situation(&self, now: Instant) -> Situation {
        let cold_start = self.cold_start_now(now);
        let overdue = match self.last_ready {
            Some(ready) if now < ready + cold_start => 0,
            _ => self.roster.line.partition_point(|waiter| now >= waiter.since + cold_start),
        };
        Situation {
            live: self.roster.live(),
            starting: self.roster.starting,
            concurrency: self.roster.concurrency(),
            running: self.roster.running(),
            waiting: self.roster.line.len(),
            overdue,
            service: self.service.of_at_least(3),
            cold_start,
        }
    }

    /// How long a start takes; the one that is under way may know better than the average.
    fn cold_start_now(&self, now: Instant) -> Duration {
        let under_way = self.oldest_start.map_or(Duration::ZERO, |began| now - began);
        match self.cold_start.of_at_least(1) {
            Some(usual) => usual.max(under_way.min(usual * HANGING)),
            None => UNKNOWN_COLD_START.max(under_way),
        }
    }

    fn note_failure(&mut self, now: Instant) {
        let pause = FIRST_PAUSE * 2u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        self.not_before = Some(now + pause.min(LONGEST_PAUSE));
    }
}
