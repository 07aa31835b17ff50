//! Admission: a call runs only when its route, its project and the machine have room.
//!
//! Four bounds. A call holds a place of its route (`max_concurrency`) and, while it runs, CPU. A
//! sandbox holds memory, of its project's share and of the machine, from before its start until
//! it is gone: for the call of format `default` that is the call's own time, a hot sandbox holds
//! it while it is idle too, and is ended when others need it ([`Relief`]). They are taken in the
//! order route, project, machine, CPU, and nobody who holds a later one waits for an earlier one,
//! so that they cannot deadlock. One `queue_timeout` covers the wait for all of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use picasso_types::{ProjectId, RouteId, RouteVersion, VersionSpec};

use crate::gate::{Gate, Lack, Pass, Refused};
use crate::settings::EngineSettings;

/// Everything a running call of format `default` holds; dropped when its sandbox is gone.
#[derive(Debug)]
pub struct Admitted {
    _route: Pass,
    _room: Room,
    _cpu: Pass,
}

/// The memory of one sandbox; dropped when it is gone.
#[derive(Debug)]
pub struct Room {
    project: Pass,
    memory: Pass,
}

impl Room {
    /// Says that the sandbox is about to end.
    pub fn leave(&self) {
        self.project.leave();
        self.memory.leave();
    }
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

impl From<Refused> for NotAdmitted {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge => Self::NeverFits,
            Refused::TooManyWaiting => Self::LineFull,
        }
    }
}

/// Whose memory is short.
#[derive(Debug, Clone, Copy)]
pub enum Short<'a> {
    /// This project's share.
    Project(&'a ProjectId),
    /// The machine's.
    Machine,
}

/// Ends idle sandboxes for those that wait for memory.
pub trait Relief: Send + Sync {
    /// Somebody has lined up at that gate.
    fn relieve(&self, short: Short<'_>);
}

/// The gates that the calls of one route go through.
#[derive(Debug, Clone)]
pub struct Gates {
    /// Calls of the route.
    pub route: Arc<Gate>,
    /// MiB of its project.
    pub project: Arc<Gate>,
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

    /// The gates of a route, as wide as `version` says unless a newer one has spoken. Looked up
    /// once per target, not per call.
    pub fn gates(&self, project: &ProjectId, version: &RouteVersion) -> Gates {
        let concurrency = version.spec.max_concurrency.map_or(self.default_concurrency, u64::from);
        Gates {
            route: self.routes.gate(&version.route_id, version.number, concurrency, self.max_waiting),
            project: self.projects.gate(project, 0, self.project_memory_mb, self.max_waiting),
        }
    }

    /// Waits, at most the route's `queue_timeout`, for a place to run a call of format `default`.
    pub async fn admit(
        &self,
        project: &ProjectId,
        gates: &Gates,
        spec: &VersionSpec,
        relief: &dyn Relief,
    ) -> Result<Admitted, NotAdmitted> {
        let wait = Duration::from_secs(u64::from(spec.queue_timeout_s));
        let all = async {
            let route = gates.route.enter(1).await?;
            let room = self.room(project, gates, spec, 0, relief).await?;
            let cpu = self.cpu().await?;
            Ok(Admitted { _route: route, _room: room, _cpu: cpu })
        };
        // A free place is taken even when the route does not want to wait at all.
        tokio::pin!(all);
        tokio::select! {
            biased;
            outcome = &mut all => outcome,
            () = tokio::time::sleep(wait) => Err(NotAdmitted::WaitedTooLong),
        }
    }

    /// Waits for the memory of one sandbox. `owner` names the pool it is for; 0 is none.
    pub async fn room(
        &self,
        project: &ProjectId,
        gates: &Gates,
        spec: &VersionSpec,
        owner: u64,
        relief: &dyn Relief,
    ) -> Result<Room, NotAdmitted> {
        let memory_mb = u64::from(spec.memory_mb);
        let of_project = || relief.relieve(Short::Project(project));
        let project = gates.project.enter_for(memory_mb, owner, of_project).await?;
        let memory = self.memory.enter_for(memory_mb, owner, || relief.relieve(Short::Machine)).await?;
        Ok(Room { project, memory })
    }

    /// The memory of one sandbox if it is free and nobody waits for it.
    pub fn free_room(&self, gates: &Gates, spec: &VersionSpec) -> Option<Room> {
        let memory_mb = u64::from(spec.memory_mb);
        let project = gates.project.try_enter(memory_mb).ok()??;
        let memory = self.memory.try_enter(memory_mb).ok()??;
        Some(Room { project, memory })
    }

    /// Waits for the CPU of one running call.
    pub async fn cpu(&self) -> Result<Pass, NotAdmitted> {
        Ok(self.cpu.enter(self.cpu_per_call).await?)
    }

    /// What those lack who wait for memory that a sandbox of `owner` holds.
    pub fn lack(&self, gates: &Gates, owner: u64) -> Option<Lack> {
        gates.project.lack(owner).or_else(|| self.memory.lack(owner))
    }

    /// What those lack who wait for the machine's memory.
    pub fn machine_lack(&self) -> Option<Lack> {
        self.memory.lack(NOBODY)
    }

    /// Thousandths of a CPU that running calls hold.
    #[cfg(test)]
    pub fn cpu_in_use(&self) -> u64 {
        self.cpu.used()
    }

    /// MiB of memory promised to sandboxes.
    pub fn memory_in_use_mb(&self) -> u64 {
        self.memory.used()
    }
}

/// No pool's id: everybody is another.
pub const NOBODY: u64 = u64::MAX;

/// Gates made on demand, one per key, dropped again when idle. The capacity is what the newest
/// version said that has asked.
#[derive(Debug)]
struct Keyed<K> {
    gates: Mutex<HashMap<K, (u32, Arc<Gate>)>>,
}

impl<K> Default for Keyed<K> {
    fn default() -> Self {
        Self { gates: Mutex::new(HashMap::new()) }
    }
}

/// Idle gates are swept when the map has grown to a power of two of at least this.
const SWEEP_FROM: usize = 1024;

impl<K: Eq + Hash + Clone> Keyed<K> {
    fn gate(&self, key: &K, version: u32, capacity: u64, max_waiting: usize) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((newest, gate)) = gates.get_mut(key) {
            if version >= *newest {
                *newest = version;
                gate.set_capacity(capacity);
            }
            return gate.clone();
        }
        if gates.len() >= SWEEP_FROM && gates.len().is_power_of_two() {
            // Nobody else holds the Arc of an idle gate with one owner: it can go.
            gates.retain(|_, (_, gate)| Arc::strong_count(gate) > 1 || !gate.is_idle());
        }
        let gate = Gate::new(capacity, max_waiting);
        gates.insert(key.clone(), (version, gate.clone()));
        gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    struct NoRelief;

    impl Relief for NoRelief {
        fn relieve(&self, _: Short<'_>) {}
    }

    /// A version of a route of its own.
    fn version(memory_mb: u32, max_concurrency: Option<u32>, queue_timeout_s: u32) -> RouteVersion {
        let mut version = testing::target("/a").version.unwrap().as_ref().clone();
        version.spec = VersionSpec { memory_mb, max_concurrency, queue_timeout_s, ..version.spec };
        version
    }

    async fn admit(
        admission: &Admission,
        project: &ProjectId,
        version: &RouteVersion,
    ) -> Result<Admitted, NotAdmitted> {
        let gates = admission.gates(project, version);
        admission.admit(project, &gates, &version.spec, &NoRelief).await
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
        let version = version(10, Some(1), 0);
        let first = admit(&admission, &project("a"), &version).await.unwrap();
        let second = admit(&admission, &project("a"), &version).await;
        assert_eq!(second.unwrap_err(), NotAdmitted::WaitedTooLong);
        drop(first);
        admit(&admission, &project("a"), &version).await.unwrap();
    }

    #[tokio::test]
    async fn an_older_version_does_not_narrow_the_route_of_a_newer_one() {
        let admission = admission();
        let (a, old) = (project("a"), version(10, Some(1), 0));
        let mut new = old.clone();
        (new.number, new.spec.max_concurrency) = (2, Some(2));
        let first = admit(&admission, &a, &old).await.unwrap();
        let second = admit(&admission, &a, &new).await.unwrap();
        assert_eq!(admit(&admission, &a, &old).await.unwrap_err(), NotAdmitted::WaitedTooLong);
        drop((first, second));
        let _first = admit(&admission, &a, &old).await.unwrap();
        admit(&admission, &a, &old).await.unwrap();
    }

    #[tokio::test]
    async fn one_project_leaves_its_other_half_of_the_machine_to_the_others() {
        let admission = admission();
        let _mine = admit(&admission, &project("a"), &version(500, None, 0)).await.unwrap();
        let more = admit(&admission, &project("a"), &version(8, None, 0)).await;
        assert_eq!(more.unwrap_err(), NotAdmitted::WaitedTooLong);
        let _theirs = admit(&admission, &project("b"), &version(500, None, 0)).await.unwrap();
        assert_eq!(admission.memory_in_use_mb(), 1000);
    }

    #[tokio::test]
    async fn what_can_never_fit_is_told_at_once() {
        let admission = admission();
        let outcome = admit(&admission, &project("a"), &version(501, None, 300)).await;
        assert_eq!(outcome.unwrap_err(), NotAdmitted::NeverFits);
    }
}
