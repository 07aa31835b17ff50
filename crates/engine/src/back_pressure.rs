//! Back-pressure: how many calls may be queued, of one project and in all.
//!
//! Counted approximately, so that accepting a call costs nothing: this process adds what it accepts
//! and takes away what it claims, and counts the outbox anew from time to time (an index is read; the
//! pause grows with what that takes). Between two counts it does not know what other processes did, so
//! a bound may be passed by what they accept meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::gauge;
use picasso_store::{QueuedCalls, StoreError};
use picasso_types::{Limits, ProjectId, Resource, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::parts::EngineParts;

/// How often the outbox is counted.
const EVERY: Duration = Duration::from_secs(1);
/// The pause is at least this many times what counting took.
const REST: u32 = 50;

/// A bound is reached: no further call is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueFull {
    /// The project has as many queued calls as one may.
    #[error("the project has {0} queued calls, which is the limit")]
    Project(u64),
    /// The whole service has as many as it may.
    #[error("the service has {0} queued calls, which is the limit")]
    Service(u64),
}

#[derive(Debug)]
pub(crate) struct BackPressure {
    limits: Arc<dyn Limits>,
    max: u64,
    queued: Mutex<Queued>,
}

#[derive(Debug, Default)]
struct Queued {
    all: i64,
    projects: HashMap<ProjectId, i64>,
    /// What changed since a count began that has not ended.
    since: Option<HashMap<ProjectId, i64>>,
}

impl Queued {
    fn add(&mut self, project: &ProjectId, calls: i64) {
        self.all += calls;
        *self.projects.entry(project.clone()).or_default() += calls;
        if let Some(since) = &mut self.since {
            *since.entry(project.clone()).or_default() += calls;
        }
    }

    fn of(&self, project: &ProjectId) -> u64 {
        self.projects.get(project).copied().and_then(|calls| calls.try_into().ok()).unwrap_or(0)
    }
}

/// Places in the queue that are given back unless their calls are queued.
pub(crate) struct Reserved<'a> {
    back_pressure: &'a BackPressure,
    project: ProjectId,
    calls: u32,
    kept: u32,
}

impl Reserved<'_> {
    /// How many there are.
    pub(crate) fn calls(&self) -> u32 {
        self.calls
    }

    /// As many calls are in the outbox.
    pub(crate) fn keep(self) {
        let calls = self.calls;
        self.keep_some(calls);
    }

    /// So many calls are in the outbox.
    pub(crate) fn keep_some(mut self, calls: u32) {
        self.kept = calls.min(self.calls);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if self.kept < self.calls {
            self.back_pressure.queued().add(&self.project, i64::from(self.kept) - i64::from(self.calls));
        }
    }
}

impl BackPressure {
    pub(crate) fn new(limits: Arc<dyn Limits>, max: u64) -> Self {
        Self { limits, max, queued: Mutex::default() }
    }

    fn queued(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more call of the project.
    pub(crate) fn reserve(&self, project: &ProjectId) -> Result<Reserved<'_>, QueueFull> {
        self.reserve_up_to(project, 1)
    }

    /// Places for as many calls of the project as there are, up to `calls`.
    pub(crate) fn reserve_up_to(&self, project: &ProjectId, calls: u32) -> Result<Reserved<'_>, QueueFull> {
        let max_of_project = self.limits.known(project).of(Resource::QueuedCalls).max_u64();
        let mut queued = self.queued();
        let of_project = max_of_project.saturating_sub(queued.of(project));
        if of_project == 0 {
            return Err(QueueFull::Project(max_of_project));
        }
        let in_all = self.max.saturating_sub(u64::try_from(queued.all).unwrap_or(0));
        if in_all == 0 {
            return Err(QueueFull::Service(self.max));
        }
        let calls = calls.min(u32::try_from(of_project.min(in_all)).unwrap_or(u32::MAX));
        queued.add(project, calls.into());
        Ok(Reserved { back_pressure: self, project: project.clone(), calls, kept: 0 })
    }

    /// A call of the project was claimed here.
    pub(crate) fn claimed(&self, project: &ProjectId) {
        self.queued().add(project, -1);
    }

    fn begin_count(&self) {
        self.queued().since = Some(HashMap::new());
    }

    /// Takes over what was counted, with what this process did meanwhile: it may be counted twice,
    /// until the next count.
    fn end_count(&self, counted: &[QueuedCalls]) {
        let mut queued = self.queued();
        let since = queued.since.take().unwrap_or_default();
        queued.projects = counted
            .iter()
            .map(|of| (of.project_id.clone(), i64::try_from(of.calls).unwrap_or(i64::MAX)))
            .collect();
        queued.all = queued.projects.values().sum();
        for (project, calls) in since {
            // What was claimed was counted, or it was not there any more when it was counted.
            if calls > 0 {
                queued.add(&project, calls);
            }
        }
    }

    /// Counts once.
    pub(crate) async fn count(&self, parts: &EngineParts) -> Result<(), StoreError> {
        self.begin_count();
        let counted = parts.store.count_queued().await?;
        self.end_count(&counted);
        show(&counted, parts.clock.now());
        Ok(())
    }

    /// Counts until the engine stops.
    pub(crate) async fn run(&self, parts: &EngineParts, stopping: &CancellationToken) {
        while !stopping.is_cancelled() {
            let began = Instant::now();
            if let Err(error) = self.count(parts).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "queued calls cannot be counted");
            }
            let pause = EVERY.max(began.elapsed() * REST);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => {}
            }
        }
    }
}

/// Sets the gauges: no series for each project, of which there may be many.
#[expect(clippy::cast_precision_loss, reason = "gauges of counts and seconds")]
fn show(counted: &[QueuedCalls], now: Timestamp) {
    let all: u64 = counted.iter().map(|of| of.calls).sum();
    gauge!("picasso_calls_queued").set(all as f64);
    gauge!("picasso_projects_with_queued_calls").set(counted.len() as f64);
    let longest = counted.iter().map(|of| of.calls).max().unwrap_or(0);
    gauge!("picasso_calls_queued_longest_project").set(longest as f64);
    let oldest = counted.iter().filter_map(|of| of.due_since).min().map_or(0, |due| now.since(due).max(0));
    gauge!("picasso_calls_queued_oldest_seconds").set(oldest as f64 / 1e6);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn project(n: u8) -> ProjectId {
        ProjectId::parse(&format!("{n:032x}")).unwrap()
    }

    fn counted(n: u8, calls: u64) -> QueuedCalls {
        QueuedCalls { project_id: project(n), calls, due_since: None }
    }

    fn keep(back_pressure: &BackPressure, n: u8, times: usize) {
        for _ in 0..times {
            back_pressure.reserve(&project(n)).unwrap().keep();
        }
    }

    #[test]
    fn a_project_and_the_service_have_bounds_of_their_own() {
        let bounds = BackPressure::new(testing::limits(2), 3);
        keep(&bounds, 1, 2);
        assert_eq!(bounds.reserve(&project(1)).err(), Some(QueueFull::Project(2)));
        keep(&bounds, 2, 1);
        assert_eq!(bounds.reserve(&project(2)).err(), Some(QueueFull::Service(3)));
        bounds.claimed(&project(1));
        keep(&bounds, 1, 1);
    }

    #[test]
    fn a_call_that_is_not_accepted_after_all_takes_no_place() {
        let bounds = BackPressure::new(testing::limits(1), 1);
        for _ in 0..3 {
            drop(bounds.reserve(&project(1)).unwrap());
        }
        keep(&bounds, 1, 1);
        assert!(bounds.reserve(&project(1)).is_err());
    }

    #[test]
    fn of_many_places_what_is_not_used_is_given_back() {
        let bounds = BackPressure::new(testing::limits(5), 100);
        keep(&bounds, 1, 2);
        let many = bounds.reserve_up_to(&project(1), 250).unwrap();
        assert_eq!(many.calls(), 3);
        assert!(bounds.reserve(&project(1)).is_err());
        many.keep_some(1);
        assert_eq!(bounds.queued().of(&project(1)), 3);
    }

    #[test]
    fn a_count_brings_what_others_did_and_keeps_what_happened_meanwhile() {
        let bounds = BackPressure::new(testing::limits(10), 100);
        keep(&bounds, 1, 5);
        bounds.begin_count();
        keep(&bounds, 1, 2);
        bounds.end_count(&[counted(1, 7), counted(2, 10)]);
        assert_eq!(bounds.queued().of(&project(1)), 9, "two of them may be counted twice");
        assert_eq!(bounds.reserve(&project(2)).err(), Some(QueueFull::Project(10)));
        bounds.begin_count();
        bounds.end_count(&[counted(1, 7)]);
        assert_eq!(bounds.queued().of(&project(1)), 7);
        assert_eq!(bounds.queued().all, 7, "a project without queued calls is forgotten");
    }
}
