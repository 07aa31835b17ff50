//! Admission: a call runs only when its route, its project and the machine have room.
//!
//! Three bounds, taken in one order so that they cannot deadlock: the route's
//! `max_concurrency`, the project's share of memory, the machine's memory and CPU. One
//! `queue_timeout` covers the wait for all of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use picasso_types::{ProjectId, RouteId, VersionSpec};

use crate::gate::{Gate, Pass, Refused};
use crate::settings::EngineSettings;

/// Everything a running call holds; dropped when its sandbox is gone.
#[derive(Debug)]
pub struct Admitted {
    _route: Pass,
    _project: Pass,
    _memory: Pass,
    _cpu: Pass,
}

/// Why a call got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The `queue_timeout` passed.
    WaitedTooLong,
    /// The line is full.
    LineFull,
    /// The route needs more than the project or the machine may ever use.
    NeverFits,
}

/// The gates of one engine.
#[derive(Debug)]
pub struct Admission {
    routes: Keyed<RouteId>,
    projects: Keyed<ProjectId>,
    memory: Arc<Gate>,
    cpu: Arc<Gate>,
    cpu_per_call: u64,
    default_concurrency: u64,
    project_memory_mb: u64,
    max_waiting: usize,
}

impl Admission {
    /// Gates for what the settings say this machine has.
    pub fn new(settings: &EngineSettings) -> Self {
        let max_waiting = settings.max_waiting_calls;
        Self {
            routes: Keyed::default(),
            projects: Keyed::default(),
            memory: Gate::new(settings.memory_mb, max_waiting),
            cpu: Gate::new(settings.cpu_millis, max_waiting),
            cpu_per_call: u64::from(settings.call_cpu_millis).min(settings.cpu_millis),
            default_concurrency: settings.cpu_millis.max(1),
            project_memory_mb: settings.project_memory_mb,
            max_waiting,
        }
    }

    /// Waits, at most the route's `queue_timeout`, for a place to run.
    pub async fn admit(
        &self,
        project: &ProjectId,
        route: &RouteId,
        spec: &VersionSpec,
    ) -> Result<Admitted, NotAdmitted> {
        let wait = Duration::from_secs(u64::from(spec.queue_timeout_s));
        let memory = u64::from(spec.memory_mb);
        let concurrency = spec.max_concurrency.map_or(self.default_concurrency, u64::from);
        let all = async {
            let route = self.routes.gate(route, concurrency, self.max_waiting).enter(1).await?;
            let project = self.projects.gate(project, self.project_memory_mb, self.max_waiting);
            let project = project.enter(memory).await?;
            let memory = self.memory.enter(memory).await?;
            let cpu = self.cpu.enter(self.cpu_per_call).await?;
            Ok(Admitted { _route: route, _project: project, _memory: memory, _cpu: cpu })
        };
        // A free place is taken even when the route does not want to wait at all.
        tokio::pin!(all);
        let outcome = tokio::select! {
            biased;
            outcome = &mut all => outcome,
            () = tokio::time::sleep(wait) => return Err(NotAdmitted::WaitedTooLong),
        };
        outcome.map_err(|refused| match refused {
            Refused::TooLarge => NotAdmitted::NeverFits,
            Refused::TooManyWaiting => NotAdmitted::LineFull,
        })
    }

    /// MiB of memory promised to running calls.
    pub fn memory_in_use_mb(&self) -> u64 {
        self.memory.used()
    }
}

/// Gates made on demand, one per key, dropped again when idle.
#[derive(Debug)]
struct Keyed<K> {
    gates: Mutex<HashMap<K, Arc<Gate>>>,
}

impl<K> Default for Keyed<K> {
    fn default() -> Self {
        Self { gates: Mutex::new(HashMap::new()) }
    }
}

/// Idle gates are swept when the map has grown to a power of two of at least this.
const SWEEP_FROM: usize = 1024;

impl<K: Eq + Hash + Clone> Keyed<K> {
    fn gate(&self, key: &K, capacity: u64, max_waiting: usize) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(key) {
            gate.set_capacity(capacity);
            return gate.clone();
        }
        if gates.len() >= SWEEP_FROM && gates.len().is_power_of_two() {
            // Nobody else holds the Arc of an idle gate with one owner: it can go.
            gates.retain(|_, gate| Arc::strong_count(gate) > 1 || !gate.is_idle());
        }
        let gate = Gate::new(capacity, max_waiting);
        gates.insert(key.clone(), gate.clone());
        gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use picasso_types::{Config, Format, ImageRef, NetworkMode};

    fn spec(memory_mb: u32, max_concurrency: Option<u32>, queue_timeout_s: u32) -> VersionSpec {
        VersionSpec {
            image: ImageRef::parse("hello:1").unwrap(),
            format: Format::Default,
            config: Config::default(),
            memory_mb,
            timeout_s: 30,
            max_concurrency,
            concurrency: 1,
            idle_timeout_s: 30,
            min_instances: 0,
            queue_timeout_s,
            network: NetworkMode::None,
        }
    }

    fn project(name: &str) -> ProjectId {
        ProjectId::parse(name).unwrap()
    }

    fn admission() -> Admission {
        Admission::new(&EngineSettings {
            memory_mb: 1000,
            project_memory_mb: 500,
            cpu_millis: 100_000,
            call_cpu_millis: 1000,
            max_waiting_calls: 2,
            ..EngineSettings::default()
        })
    }

    #[tokio::test]
    async fn a_route_runs_no_more_than_its_max_concurrency() {
        let admission = admission();
        let route = RouteId::generate();
        let first = admission.admit(&project("a"), &route, &spec(10, Some(1), 0)).await.unwrap();
        let second = admission.admit(&project("a"), &route, &spec(10, Some(1), 0)).await;
        assert_eq!(second.unwrap_err(), NotAdmitted::WaitedTooLong);
        drop(first);
        admission.admit(&project("a"), &route, &spec(10, Some(1), 0)).await.unwrap();
    }

    #[tokio::test]
    async fn one_project_leaves_its_other_half_of_the_machine_to_the_others() {
        let admission = admission();
        let _mine = admission.admit(&project("a"), &RouteId::generate(), &spec(500, None, 0)).await.unwrap();
        let more = admission.admit(&project("a"), &RouteId::generate(), &spec(8, None, 0)).await;
        assert_eq!(more.unwrap_err(), NotAdmitted::WaitedTooLong);
        let _theirs =
            admission.admit(&project("b"), &RouteId::generate(), &spec(500, None, 0)).await.unwrap();
        assert_eq!(admission.memory_in_use_mb(), 1000);
    }

    #[tokio::test]
    async fn what_can_never_fit_is_told_at_once() {
        let admission = admission();
        let outcome = admission.admit(&project("a"), &RouteId::generate(), &spec(501, None, 300)).await;
        assert_eq!(outcome.unwrap_err(), NotAdmitted::NeverFits);
    }
}
