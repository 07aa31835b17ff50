//! The asynchronous calls that this process is to run next: a bounded line of ids for each project,
//! and whose turn it is.
//!
//! Ids, not calls: each is still guarded by its outbox entry and is claimed only when there is a place
//! to run it. The projects take turns; one holds at most its share of the places, so that another's
//! first call finds one whatever the first project's calls do. A line is as long as the project's
//! calls are fast: about what is claimed in half a second.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picasso_queue::Delivery;
use picasso_types::{CallId, ProjectId};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Most ids of all projects together; one takes about 200 bytes.
const MAX_WAITING: usize = 32_768;
/// Most ids of one project, in the lines of all processes and in the queue: what
/// [`picasso_store::OutboxTake::window`] is set to.
pub(crate) const WINDOW: u32 = 1024;
/// A line of a project whose calls are slow.
const SHORT_LINE: u32 = 32;
/// What is claimed within this time says how long a line has to be.
const PACE_WINDOW: Duration = Duration::from_millis(250);
/// What was handed to the queue and did not come in this time went to another process.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// Whether an id was put into its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is in line now.
    Taken,
    /// It is in line or runs already.
    Known,
    /// There is no room for it here; another process may have some.
    NoRoom,
}

/// The lines of one process.
#[derive(Debug)]
pub(crate) struct Lanes {
    places: usize,
    per_project: usize,
    state: Mutex<State>,
    /// There is something to run, or a place to run it.
    pub(crate) changed: Notify,
    /// A line is short of ids: the dispatcher may take more.
    pub(crate) low: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    lanes: BTreeMap<ProjectId, Lane>,
    /// In line, or running.
    known: HashSet<CallId>,
    waiting: usize,
    running: usize,
    /// Whose turn it was.
    last: Option<ProjectId>,
}

#[derive(Debug)]
struct Lane {
    /// By priority.
    waiting: [VecDeque<CallId>; 3],
    running: usize,
    on_the_way: u32,
    sent_at: Instant,
    claimed: u32,
    claimed_before: u32,
    window_began: Instant,
}

/// A place to run one call; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct RunPlace {
    lanes: Arc<Lanes>,
    project: ProjectId,
    call_id: CallId,
}

impl RunPlace {
    /// The call that it was given for.
    pub(crate) fn call_id(&self) -> &CallId {
        &self.call_id
    }
}

impl Drop for RunPlace {
    fn drop(&mut self) {
        self.lanes.leave(&self.project, &self.call_id);
    }
}

impl Lane {
    fn new(now: Instant) -> Self {
        Self {
            waiting: Default::default(),
            running: 0,
            on_the_way: 0,
            sent_at: now,
            claimed: 0,
            claimed_before: 0,
            window_began: now,
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.waiting.iter().map(VecDeque::len).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// How long the line is to be.
    fn goal(&mut self, per_project: usize, now: Instant) -> u32 {
        let windows = now.saturating_duration_since(self.window_began).as_millis() / PACE_WINDOW.as_millis();
        if windows > 0 {
            self.claimed_before = if windows == 1 { self.claimed } else { 0 };
            (self.claimed, self.window_began) = (0, now);
        }
        let places = u32::try_from(per_project).unwrap_or(u32::MAX);
        let fast = self.claimed.max(self.claimed_before).saturating_mul(2);
        fast.max(places.saturating_mul(2)).clamp(SHORT_LINE, WINDOW)
    }

    fn expected(&mut self, now: Instant) -> u32 {
        if now.saturating_duration_since(self.sent_at) >= ON_THE_WAY {
            self.on_the_way = 0;
        }
        self.on_the_way
    }
}

impl Lanes {
    /// Room to run `places` calls at one time, of one project `per_project` of them.
    pub(crate) fn new(places: usize, per_project: usize) -> Arc<Self> {
        Arc::new(Self {
            places: places.max(1),
            per_project: per_project.clamp(1, places.max(1)),
            state: Mutex::default(),
            changed: Notify::new(),
            low: Arc::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many ids may come now.
    pub(crate) fn room(&self) -> usize {
        MAX_WAITING.saturating_sub(self.state().waiting)
    }

    /// How many ids the outbox may give for projects that have a line here; of any other project
    /// [`Lanes::usual`].
    pub(crate) fn wanted(&self) -> HashMap<ProjectId, u32> {
        let now = Instant::now();
        let mut state = self.state();
        state.lanes.retain(|_, lane| {
            lane.len() > 0
                || lane.running > 0
                || lane.expected(now) > 0
                || now.saturating_duration_since(lane.window_began) < 2 * PACE_WINDOW
        });
        let wanted = state.lanes.iter_mut().map(|(project, lane)| {
            let held = lane.len() + lane.expected(now);
            (project.clone(), lane.goal(self.per_project, now).saturating_sub(held))
        });
        wanted.collect()
    }

    /// The line of a project that has none yet.
    pub(crate) fn usual(&self) -> u32 {
        u32::try_from(self.per_project).unwrap_or(u32::MAX).saturating_mul(2).clamp(SHORT_LINE, WINDOW)
    }

    /// Ids of the project were handed to the queue, and may come here.
    pub(crate) fn expect(&self, project: &ProjectId, calls: u32) {
        let now = Instant::now();
        let mut state = self.state();
        let lane = state.lanes.entry(project.clone()).or_insert_with(|| Lane::new(now));
        lane.on_the_way = lane.expected(now) + calls;
        lane.sent_at = now;
    }

    /// An id came.
    pub(crate) fn offer(&self, delivery: &Delivery) -> Offered {
        let now = Instant::now();
        let mut guard = self.state();
        let state = &mut *guard;
        if state.known.contains(&delivery.call_id) {
            return Offered::Known;
        }
        let lane = state.lanes.entry(delivery.project_id.clone()).or_insert_with(|| Lane::new(now));
        lane.on_the_way = lane.on_the_way.saturating_sub(1);
        // More than the goal: what several processes took at one time may come to one of them.
        if lane.len() >= lane.goal(self.per_project, now).saturating_mul(2) || state.waiting >= MAX_WAITING {
            return Offered::NoRoom;
        }
        let Some(ids) = lane.waiting.get_mut(usize::from(delivery.priority)) else { return Offered::NoRoom };
        ids.push_back(delivery.call_id.clone());
        state.known.insert(delivery.call_id.clone());
        state.waiting += 1;
        drop(guard);
        self.changed.notify_one();
        Offered::Taken
    }

    /// The next call to run, if there is one and a place for it, and `may_start` says so.
    pub(crate) fn next_if(self: &Arc<Self>, may_start: impl FnOnce() -> bool) -> Option<RunPlace> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.running >= self.places || state.waiting == 0 {
            return None;
        }
        let ready = |(_, lane): &(&ProjectId, &Lane)| lane.running < self.per_project && lane.len() > 0;
        let behind = match &state.last {
            Some(last) => state.lanes.range::<ProjectId, _>((Excluded(last), Unbounded)).find(ready),
            None => None,
        };
        let (project, _) = behind.or_else(|| state.lanes.iter().find(ready))?;
        if !may_start() {
            return None;
        }
        let project = project.clone();
        let lane = state.lanes.get_mut(&project)?;
        let call_id = lane.waiting.iter_mut().rev().find_map(VecDeque::pop_front)?;
        lane.running += 1;
        lane.claimed += 1;
        state.running += 1;
        state.waiting -= 1;
        state.last = Some(project.clone());
        let now = Instant::now();
        if lane.len() + lane.expected(now) <= lane.goal(self.per_project, now) / 2 {
            self.low.notify_one();
        }
        Some(RunPlace { lanes: self.clone(), project, call_id })
    }

    fn leave(&self, project: &ProjectId, call_id: &CallId) {
        let mut state = self.state();
        state.running -= 1;
        state.known.remove(call_id);
        if let Some(lane) = state.lanes.get_mut(project) {
            lane.running -= 1;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Empties all lines: what is in them is not going to run here.
    pub(crate) fn clear(&self) -> Vec<CallId> {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut ids = Vec::with_capacity(state.waiting);
        for lane in state.lanes.values_mut() {
            ids.extend(lane.waiting.iter_mut().flat_map(|line| line.drain(..)));
        }
        for id in &ids {
            state.known.remove(id);
        }
        state.waiting = 0;
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(lanes: &Arc<Lanes>) -> Option<RunPlace> {
        lanes.next_if(|| true)
    }

    fn project(n: usize) -> ProjectId {
        ProjectId::parse(&format!("{n:032x}")).unwrap()
    }

    fn delivery(n: usize, priority: u8) -> Delivery {
        let (call_id, receipt) = (CallId::generate(), String::new());
        Delivery { call_id, project_id: project(n), priority, receipt }
    }

    fn offer(lanes: &Lanes, n: usize, calls: usize) -> Vec<CallId> {
        let offered = (0..calls).map(|_| {
            let delivery = delivery(n, 1);
            assert_eq!(lanes.offer(&delivery), Offered::Taken);
            delivery.call_id
        });
        offered.collect()
    }

    #[tokio::test]
    async fn projects_take_turns_and_none_has_more_than_its_share_of_the_places() {
        let lanes = Lanes::new(6, 3);
        let ids = offer(&lanes, 1, 10);
        let first: Vec<_> = std::iter::from_fn(|| next(&lanes)).collect();
        assert_eq!(first.iter().map(|place| place.call_id.clone()).collect::<Vec<_>>(), ids[..3]);
        offer(&lanes, 2, 1);
        offer(&lanes, 3, 9);
        let second: Vec<_> =
            std::iter::from_fn(|| next(&lanes)).map(|place| (place.project.clone(), place)).collect();
        let order: Vec<_> = second.iter().map(|(project, _)| project.clone()).collect();
        assert_eq!(order, [project(2), project(3), project(3)]);
        drop(first);
        assert_eq!(next(&lanes).unwrap().project, project(1));
    }

    #[tokio::test]
    async fn a_higher_priority_of_a_project_comes_first() {
        let lanes = Lanes::new(3, 3);
        for priority in [0, 2, 1] {
            lanes.offer(&delivery(1, priority));
        }
        let waiting = lanes.state().lanes[&project(1)].waiting.clone();
        let expected: Vec<_> = waiting.iter().rev().flatten().cloned().collect();
        assert!(lanes.next_if(|| false).is_none());
        let taken: Vec<_> = std::iter::from_fn(|| next(&lanes)).collect();
        assert_eq!(taken.iter().map(|place| place.call_id.clone()).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn an_id_that_waits_or_runs_is_not_taken_twice() {
        let lanes = Lanes::new(1, 1);
        let first = delivery(1, 1);
        assert_eq!(lanes.offer(&first), Offered::Taken);
        assert_eq!(lanes.offer(&first), Offered::Known);
        let place = next(&lanes).unwrap();
        assert_eq!(lanes.offer(&first), Offered::Known);
        drop(place);
        assert_eq!(lanes.offer(&first), Offered::Taken, "it may have been given back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_as_long_as_the_projects_calls_are_fast() {
        let lanes = Lanes::new(4, 2);
        assert_eq!(lanes.usual(), SHORT_LINE);
        offer(&lanes, 1, 60);
        assert_eq!(lanes.wanted()[&project(1)], 0);
        for _ in 0..4 {
            assert_eq!(lanes.offer(&delivery(1, 1)), Offered::Taken);
        }
        assert_eq!(lanes.offer(&delivery(1, 1)), Offered::NoRoom, "twice the goal");
        for _ in 0..60 {
            drop(next(&lanes).unwrap());
        }
        assert_eq!(lanes.wanted()[&project(1)], 120 - 4, "60 ran within a moment");
        tokio::time::advance(3 * PACE_WINDOW).await;
        assert_eq!(lanes.wanted()[&project(1)], SHORT_LINE - 4, "none ran for a while");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_the_way_counts_until_it_must_have_gone_elsewhere() {
        let lanes = Lanes::new(4, 2);
        lanes.expect(&project(1), 20);
        assert_eq!(lanes.wanted()[&project(1)], SHORT_LINE - 20);
        offer(&lanes, 1, 5);
        assert_eq!(lanes.wanted()[&project(1)], SHORT_LINE - 20);
        tokio::time::advance(ON_THE_WAY).await;
        assert_eq!(lanes.wanted()[&project(1)], SHORT_LINE - 5);
    }

    #[tokio::test]
    async fn the_dispatcher_is_woken_when_a_line_runs_low() {
        let lanes = Lanes::new(100, 1);
        offer(&lanes, 1, SHORT_LINE as usize);
        let mut low = Box::pin(lanes.low.notified());
        for _ in 0..SHORT_LINE / 2 - 1 {
            drop(next(&lanes).unwrap());
        }
        assert!(futures_util::poll!(&mut low).is_pending());
        drop(next(&lanes).unwrap());
        assert!(futures_util::poll!(&mut low).is_ready());
    }

    #[tokio::test]
    async fn a_cleared_line_names_what_was_in_it() {
        let lanes = Lanes::new(1, 1);
        let ids = offer(&lanes, 1, 3);
        let _runs = next(&lanes).unwrap();
        assert_eq!(lanes.clear(), ids[1..]);
        assert!(next(&lanes).is_none());
        assert_eq!(lanes.room(), MAX_WAITING);
    }
}
