//! Admission: a call runs only when its route, its project and the machine have room.
//!
//! Five bounds. A call holds a place among its project's calls, then one of its route
//! (`max_concurrency`) and, while it runs, CPU. A sandbox holds memory, of its project's share and
//! of the machine, from before its start until it is gone: for the call of format `default` that is
//! the call's own time, a hot sandbox holds it while it is idle too, and is ended when others need
//! it ([`Relief`]). They are taken in the order calls, route, project, machine, CPU, and nobody who
//! holds a later one waits for an earlier one, so that they cannot deadlock. One `queue_timeout`
//! covers the wait for all of them; a caller who waits for the answer does not wait for a place
//! among the project's calls, but is told at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use picasso_types::{Limits, ProjectId, Resource, RouteId, RouteVersion, VersionSpec};
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::gate::{Gate, Lack, Pass, Refused};
use crate::keyed::Keyed;
use crate::project_gates::{ProjectGates, ProjectLimitSource};
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
    /// The project is at its limit of this.
    OverLimit(Resource, u64),
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
    /// Those of the route.
    pub route: Arc<RouteGates>,
    /// Those of its project.
    pub project: Arc<ProjectGates>,
}

/// The gates of one route.
#[derive(Debug)]
pub struct RouteGates {
    /// Its calls.
    pub(crate) calls: Arc<Gate>,
    /// The rate of its calls without a token.
    pub(crate) bucket: Bucket,
    /// The newest version that has said how many calls there may be.
    newest: Mutex<u32>,
}

/// How much a project uses of this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// Calls that run or wait for a place.
    pub calls: u64,
    /// Memory of its sandboxes, MiB.
    pub memory_mb: u64,
}

/// The gates of one engine.
#[derive(Debug)]
pub struct Admission {
    routes: Keyed<RouteId, RouteGates>,
    projects: Keyed<ProjectId, ProjectGates>,
    limits: ProjectLimitSource,
    memory: Arc<Gate>,
    cpu: Arc<Gate>,
    cpu_per_call: u64,
    default_concurrency: u64,
    project_memory_mb: u64,
    max_waiting: usize,
}

impl Admission {
    /// Gates for what the settings say this machine has, and what projects may have of it.
    pub fn new(settings: &EngineSettings, limits: Arc<dyn Limits>) -> Self {
        let max_waiting = settings.max_waiting_calls;
        Self {
            routes: Keyed::default(),
            projects: Keyed::default(),
            limits: ProjectLimitSource::new(limits),
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
        let now = self.now();
        let route = self.routes.of(
            &version.route_id,
            || RouteGates {
                calls: Gate::new(concurrency, self.max_waiting),
                bucket: Bucket::default(),
                newest: Mutex::new(version.number),
            },
            |gates| gates.calls.is_idle() && gates.bucket.is_full(now),
        );
        {
            let mut newest = route.newest.lock().unwrap_or_else(PoisonError::into_inner);
            if version.number >= *newest {
                *newest = version.number;
                route.calls.set_capacity(concurrency);
            }
        }
        let make = || ProjectGates::new(&self.limits, project, self.project_memory_mb, self.max_waiting);
        let project = self.projects.of(project, make, |gates| gates.is_idle(now));
        Gates { route, project }
    }

    /// The clock that rates are counted by, nanoseconds.
    pub fn now(&self) -> u64 {
        self.limits.now()
    }

    /// The gates of the project, as wide as its limits are by now.
    pub fn project<'a>(&self, project: &ProjectId, gates: &'a Gates) -> &'a ProjectGates {
        gates.project.renew(&self.limits, project);
        &gates.project
    }

    /// How much a project uses of this node.
    pub fn usage(&self, project: &ProjectId) -> NodeUsage {
        self.projects.find(project).map_or_else(NodeUsage::default, |gates| NodeUsage {
            calls: gates.calls.used(),
            memory_mb: gates.memory.used(),
        })
    }

    /// A place among the calls of the project: at once, or by `until` for a call that nobody waits
    /// for.
    pub async fn call(
        &self,
        project: &ProjectId,
        gates: &Gates,
        until: Option<Instant>,
    ) -> Result<Pass, NotAdmitted> {
        let gate = &self.project(project, gates).calls;
        let entered = match (gate.try_enter(1), until) {
            (Ok(Some(pass)), _) => Some(pass),
            (Ok(None), Some(until)) => {
                tokio::time::timeout_at(until, gate.enter(1)).await.ok().and_then(Result::ok)
            }
            (Ok(None) | Err(_), _) => None,
        };
        entered.ok_or_else(|| NotAdmitted::OverLimit(Resource::ConcurrentCalls, gate.capacity()))
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
            let route = gates.route.calls.enter(1).await?;
            let room = self.room(project, gates, spec, 0, relief).await?;
            let cpu = self.cpu().await?;
            Ok(Admitted { _route: route, _room: room, _cpu: cpu })
        };
        // A free place is taken even when the route does not want to wait at all.
        tokio::pin!(all);
        tokio::select! {
            biased;
            outcome = &mut all => outcome,
            () = tokio::time::sleep(wait) => Err(match gates.project.short_of_memory() {
                Some(limit) => NotAdmitted::OverLimit(Resource::Memory, limit),
                None => NotAdmitted::WaitedTooLong,
            }),
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
        let project = gates.project.memory.enter_for(memory_mb, owner, of_project).await?;
        let memory = self.memory.enter_for(memory_mb, owner, || relief.relieve(Short::Machine)).await?;
        Ok(Room { project, memory })
    }

    /// The memory of one sandbox if it is free and nobody waits for it.
    pub fn free_room(&self, gates: &Gates, spec: &VersionSpec) -> Option<Room> {
        let memory_mb = u64::from(spec.memory_mb);
        let project = gates.project.memory.try_enter(memory_mb).ok()??;
        let memory = self.memory.try_enter(memory_mb).ok()??;
        Some(Room { project, memory })
    }

    /// Waits for the CPU of one running call.
    pub async fn cpu(&self) -> Result<Pass, NotAdmitted> {
        Ok(self.cpu.enter(self.cpu_per_call).await?)
    }

    /// What those lack who wait for memory that a sandbox of `owner` holds.
    pub fn lack(&self, gates: &Gates, owner: u64) -> Option<Lack> {
        gates.project.memory.lack(owner).or_else(|| self.memory.lack(owner))
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
        limited(|_| None)
    }

    /// Where a project may have so much; `None` is no limit.
    fn limited(max: impl Fn(Resource) -> Option<u64>) -> Admission {
        let settings = EngineSettings {
            memory_mb: 1000,
            project_memory_mb: 500,
            cpu_millis: 100_000,
            call_cpu_millis: 1000,
            max_waiting_calls: 2,
            ..EngineSettings::default()
        };
        Admission::new(&settings, testing::project_limits(max))
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
    #[tokio::test]
    async fn a_project_at_its_limit_of_calls_is_told_at_once_and_a_call_from_the_queue_waits() {
        let admission = Arc::new(limited(|resource| (resource == Resource::ConcurrentCalls).then_some(2)));
        let (a, b, version) = (project("a"), project("b"), version(10, None, 0));
        let gates = admission.gates(&a, &version);
        let first = admission.call(&a, &gates, None).await.unwrap();
        let _second = admission.call(&a, &gates, None).await.unwrap();
        let over = NotAdmitted::OverLimit(Resource::ConcurrentCalls, 2);
        assert_eq!(admission.call(&a, &gates, None).await.unwrap_err(), over);
        assert_eq!(admission.call(&a, &gates, Some(Instant::now())).await.unwrap_err(), over);
        assert_eq!(admission.usage(&a), NodeUsage { calls: 2, memory_mb: 0 });
        admission.call(&b, &admission.gates(&b, &version), None).await.unwrap();

        let (waits, in_line) = (admission.clone(), gates.clone());
        let later = Instant::now() + Duration::from_mins(1);
        let mine = a.clone();
        let waiting = tokio::spawn(async move { waits.call(&mine, &in_line, Some(later)).await });
        while gates.project.calls.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(first);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_waits_too_long_for_memory_is_told_of_the_projects_limit_where_that_is_why() {
        let admission = limited(|resource| (resource == Resource::Memory).then_some(100));
        let held = admit(&admission, &project("a"), &version(100, None, 0)).await.unwrap();
        let more = admit(&admission, &project("a"), &version(10, None, 0)).await;
        assert_eq!(more.unwrap_err(), NotAdmitted::OverLimit(Resource::Memory, 100));
        assert_eq!(admission.usage(&project("a")).memory_mb, 100);
        admit(&admission, &project("b"), &version(100, None, 0)).await.unwrap();
        drop(held);
        assert_eq!(admission.usage(&project("a")).memory_mb, 0);
        let never = admit(&admission, &project("a"), &version(101, None, 0)).await;
        assert_eq!(never.unwrap_err(), NotAdmitted::NeverFits);
    }

    #[tokio::test]
    async fn a_limit_that_changes_counts_within_seconds_for_gates_that_are_in_use() {
        let limits = Arc::new(testing::ChangingLimits::new(1));
        let admission = Admission::new(&EngineSettings::default(), limits.clone());
        let (a, version) = (project("a"), version(10, None, 0));
        let gates = admission.gates(&a, &version);
        let _one = admission.call(&a, &gates, None).await.unwrap();
        assert!(admission.call(&a, &gates, None).await.is_err());
        limits.set(2);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while admission.call(&a, &gates, None).await.is_err() {
            assert!(std::time::Instant::now() < deadline, "the new limit is never looked at");
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_project_may_begin_so_many_calls_in_a_second_and_none_where_that_is_none() {
        let rate = |max| limited(move |resource| if resource == Resource::CallRate { max } else { None });
        let (a, version) = (project("a"), version(10, None, 0));
        let begin = |admission: &Admission, now| {
            let gates = admission.gates(&a, &version);
            admission.project(&a, &gates).begin_call(now)
        };
        let three = rate(Some(3));
        let passed = (0..10).filter(|_| begin(&three, 1).is_ok()).count();
        assert_eq!(passed, 6, "two seconds' worth at once");
        let (limit, wait) = begin(&three, 1).unwrap_err();
        assert_eq!((limit.calls, limit.seconds), (3, 1));
        assert!(begin(&three, 1 + u64::try_from(wait.as_nanos()).unwrap()).is_ok());
        assert!(begin(&rate(Some(0)), 1).is_err());
        let unlimited = rate(None);
        assert!((0..10_000).all(|_| begin(&unlimited, 1).is_ok()));
    }
}
