//! The warm pool of one version of a route: gives calls sandboxes, newest first, and decides
//! whether another is started, kept or ended.
//!
//! All of it happens under one lock that only calls of this version take, held for some hundred
//! nanoseconds and never across I/O - but for freezing, which is one write to a kernel file and
//! must not happen to a sandbox that is being taken.

mod checkout;
mod starts;
mod upkeep;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picasso_types::{RouteVersion, VersionSpec};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub(super) use checkout::Checkout;

use super::conduct::Conduct;
use super::demand::{Average, Situation, Thaws};
use super::instance::{Instance, Stop};
use super::keeper;
use super::link::HotFormat;
use super::pools::Hot;
use super::roster::{Now, Roster};
use crate::admission::Gates;
use crate::call_events::End;
use crate::target::Target;

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
    pub(super) conduct: Conduct,
    /// Whether its route has an identity.
    has_identity: AtomicBool,
    state: Mutex<State>,
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
            gates: target.place.gates(&hot.admission, &target.app.project_id, version).clone(),
            hot,
            // Without its place, which would hold this pool for ever.
            target: Arc::new(target.clone()),
            version: version.clone(),
            format,
            withdraw: Notify::new(),
            conduct: Conduct::default(),
            has_identity: AtomicBool::new(target.route.identity.is_some()),
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
