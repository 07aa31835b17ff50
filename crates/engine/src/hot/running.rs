//! A call that has begun, as its record needs it.

use std::sync::Arc;

use picasso_types::{CallId, Failure, RequestId, Trigger};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::instance::Instance;
use crate::call_events::End;
use crate::call_recorder::EndedCall;
use crate::engine::Shared;
use crate::gate::Pass;
use crate::invocation::Invocation;
use crate::kept_output::KeptOutput;
use crate::target::Target;

/// A call in flight; leaves its record when it is over, at the latest when it is dropped.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) call_id: CallId,
    request_id: RequestId,
    trigger: Trigger,
    pub(super) target: Arc<Target>,
    /// Of an asynchronous call.
    pub(super) kept: Option<Arc<KeptOutput>>,
    began: Instant,
    /// When it got its sandbox.
    started: Option<Instant>,
    cold_start: Option<bool>,
    pub(super) status: Option<u16>,
    over: bool,
    _counted: TaskTrackerToken,
    /// Its place among its project's calls, and that of its route.
    pub(super) places: Option<(Pass, Pass)>,
}

impl Running {
    pub(super) fn new(shared: &Arc<Shared>, invocation: &Invocation) -> Self {
        shared.metrics.began(&invocation.target);
        Self {
            shared: shared.clone(),
            call_id: invocation.call_id.clone(),
            request_id: invocation.request_id.clone(),
            trigger: invocation.trigger,
            target: invocation.target.clone(),
            kept: invocation.kept.clone(),
            began: Instant::now(),
            started: None,
            cold_start: None,
            status: None,
            over: false,
            _counted: shared.tasks.token(),
            places: None,
        }
    }

    /// Records how it ended.
    pub(super) fn end(&mut self, end: &End) {
        if !std::mem::replace(&mut self.over, true) {
            let end = End { status: self.status, cold_start: self.cold_start, ..end.clone() };
            let took = self.began.elapsed();
            self.shared.metrics.record(&self.call_id, &self.request_id, &self.target, &end, took);
            if self.kept.is_none() {
                self.shared.recorder.offer(&EndedCall {
                    id: &self.call_id,
                    request_id: &self.request_id,
                    trigger: self.trigger,
                    target: &self.target,
                    end: &end,
                    began: self.began.into_std(),
                    started: self.started.map(Instant::into_std),
                });
            }
        }
    }

    /// Notes that it got a sandbox: a cold one is one that became ready only after the call came.
    pub(super) fn starts_in(&mut self, instance: &Instance) {
        let cold = instance.ready_at >= self.began;
        self.started = Some(Instant::now());
        self.cold_start = Some(cold);
        if let Some(kept) = &self.kept {
            kept.set_cold_start(cold);
        }
    }

    /// The failure of a call that passed its time limit.
    pub(super) fn timeout(&self) -> Failure {
        let limit_s = self.target.version.as_ref().map_or(0, |version| version.spec.timeout_s);
        Failure::Timeout { limit_s }
    }

    /// Records that it succeeded.
    pub(super) fn succeed(&mut self) {
        self.end(&End::success());
    }

    /// Records that it failed.
    pub(super) fn fail(mut self, end: End) -> End {
        self.end(&end);
        end
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(&End::of(Failure::HungUp));
    }
}
