//! [`Engine`]: the way in for every call, and the way out at shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use picasso_sandbox::Features;
use picasso_types::{CallId, Failure, ProjectId, RouteVersion, VersionState};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::{self, AcceptError};
use crate::admission::{Admission, NotAdmitted};
use crate::answer;
use crate::call_events::{self, End, Event};
use crate::catalog::Target;
use crate::formats;
use crate::invocation::{Answer, CallError, Invocation};
use crate::parts::EngineParts;
use crate::prepare;
use crate::{dispatch, worker};

/// How often a call that got no place is told to try again.
const CAPACITY_RETRY: Duration = Duration::from_secs(1);

/// Runs calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) parts: EngineParts,
    admission: Admission,
    /// Calls and preparations: shutdown waits for them.
    pub(crate) tasks: TaskTracker,
    /// Background loops end when this is cancelled.
    pub(crate) stopping: CancellationToken,
    /// Running calls are ended when this is cancelled.
    ending: CancellationToken,
    /// Wakes the dispatcher when a call was accepted.
    pub(crate) accepted: Notify,
}

impl Engine {
    /// An engine that accepts calls but runs no asynchronous ones until [`Engine::start`].
    pub fn new(parts: EngineParts) -> Self {
        let admission = Admission::new(&parts.settings);
        Self {
            shared: Arc::new(Shared {
                parts,
                admission,
                tasks: TaskTracker::new(),
                stopping: CancellationToken::new(),
                ending: CancellationToken::new(),
                accepted: Notify::new(),
            }),
        }
    }

    /// Takes up what an earlier process left (preparations, asynchronous calls) and starts the
    /// loops that dispatch and run asynchronous calls.
    pub async fn start(&self) -> Result<(), picasso_store::StoreError> {
        let parts = &self.shared.parts;
        let abandoned = parts.store.abandon_leases(&parts.instance).await?;
        if abandoned > 0 {
            tracing::info!(calls = abandoned, "calls of the earlier process will run again");
        }
        for preparing in parts.store.list_preparing_versions().await? {
            self.prepare(&preparing.project_id, &preparing.version);
        }
        self.shared.tasks.spawn(dispatch::run(self.clone()));
        self.shared.tasks.spawn(worker::run(self.clone()));
        Ok(())
    }

    /// What the sandbox driver can do on this machine.
    pub fn features(&self) -> Features {
        self.shared.parts.sandbox.features()
    }

    /// Runs a call for a caller who waits. Dropping the future or the answer ends the call.
    ///
    /// Returns when the first 64 KiB are there or the function has ended.
    pub async fn run(&self, invocation: Invocation) -> Result<Answer, CallError> {
        let target = invocation.target.clone();
        answer::begin(self.begin(invocation)).await.map_err(|error| error.with_retry_after(&target))
    }

    /// Accepts an asynchronous call; it is on disk when this returns.
    pub async fn accept(&self, invocation: Invocation) -> Result<CallId, AcceptError> {
        let parts = &self.shared.parts;
        let call =
            accept::new_call(invocation, parts.settings.max_async_body_bytes, parts.clock.now()).await?;
        parts.store.accept_call(&call).await?;
        counter!("picasso_calls_accepted_total").increment(1);
        self.shared.accepted.notify_one();
        Ok(call.id)
    }

    /// Makes a new version ready for its first call, in the background: pulls the image of a
    /// `preparing` one, and lets the sandbox driver take over that of a `ready` one.
    pub fn prepare(&self, project: &ProjectId, version: &RouteVersion) {
        let engine = self.clone();
        let (project, version) = (project.clone(), version.clone());
        self.shared.tasks.spawn(async move { prepare::run(&engine, &project, &version).await });
    }

    /// Stops taking asynchronous calls, lets running calls finish within `grace`, ends the others.
    pub async fn shut_down(&self, grace: Duration) {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(running = self.shared.tasks.len(), "calls did not finish in time and are ended");
            self.shared.ending.cancel();
            self.shared.tasks.wait().await;
        }
    }

    /// Starts a call's task and returns the caller's end of its events.
    pub(crate) fn begin(&self, invocation: Invocation) -> mpsc::Receiver<Event> {
        let (sender, receiver) = call_events::channel();
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            let end = engine.call(invocation, &sender).await;
            // The caller may have hung up; then nobody waits for the end.
            let _ = sender.send(Event::Ended(end)).await;
        });
        receiver
    }

    async fn call(&self, invocation: Invocation, events: &mpsc::Sender<Event>) -> End {
        let call_id = invocation.call_id.clone();
        let target = invocation.target.clone();
        let began = Instant::now();
        gauge!("picasso_calls_in_flight").increment(1.0);
        let end = self.admitted_call(invocation, events).await;
        gauge!("picasso_calls_in_flight").decrement(1.0);
        record(&call_id, &target, &end, began.elapsed());
        end
    }

    async fn admitted_call(&self, invocation: Invocation, events: &mpsc::Sender<Event>) -> End {
        let Shared { parts, admission, ending, .. } = &*self.shared;
        let target = invocation.target.clone();
        let Some(version) = &target.version else {
            return End { may_repeat: true, ..End::of(target.not_ready()) };
        };
        let Some(digest) = &version.digest else {
            return End::of(target.not_ready());
        };
        let project = &target.app.project_id;
        let admitted = tokio::select! {
            admitted = admission.admit(project, &target.route.id, &version.spec) => admitted,
            () = events.closed() => return End::of(Failure::HungUp),
            () = ending.cancelled() => return End { may_repeat: true, ..End::of(Failure::NoCapacity) },
        };
        let _admitted = match admitted {
            Ok(admitted) => admitted,
            Err(NotAdmitted::NeverFits) => {
                return End::of(Failure::CannotStart {
                    reason: format!(
                        "its memory of {} MiB is more than this node gives one project",
                        version.spec.memory_mb
                    ),
                });
            }
            Err(NotAdmitted::WaitedTooLong | NotAdmitted::LineFull) => {
                return End { may_repeat: true, ..End::of(Failure::NoCapacity) };
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "a gauge of MiB; exact up to 2^52")]
        gauge!("picasso_memory_promised_mb").set(admission.memory_in_use_mb() as f64);
        let rootfs = match parts.images.rootfs(project, digest).await {
            Ok(rootfs) => rootfs,
            Err(error) if error.is_user_fault() => {
                return End::of(Failure::CannotStart { reason: error.to_string() });
            }
            Err(error) => {
                tracing::error!(call_id = %invocation.call_id, error = &error as &dyn std::error::Error, "no root filesystem");
                return End { may_repeat: true, ..End::of(Failure::Internal) };
            }
        };
        // Done when the version was made, unless the driver has lost it since.
        if let Err(error) = parts.sandbox.prepare(&rootfs).await {
            return formats::default::end_of_driver_error(&error, &invocation.call_id, true);
        }
        formats::default::run(parts, ending, &rootfs, version, invocation, events).await
    }
}

/// Every call, however it ended, leaves one log line and its metrics.
fn record(call_id: &CallId, target: &Target, end: &End, took: Duration) {
    let outcome = match &end.failure {
        None => "succeeded",
        Some(Failure::Timeout { .. }) => "timed_out",
        Some(Failure::HungUp) => "cancelled",
        Some(Failure::NoCapacity | Failure::NotReady { .. }) => "refused",
        Some(_) => "failed",
    };
    counter!("picasso_calls_total", "outcome" => outcome).increment(1);
    histogram!("picasso_call_duration_seconds").record(took.as_secs_f64());
    tracing::info!(
        target: "picasso::call",
        call_id = %call_id,
        project = %target.app.project_id,
        app = %target.app.full_name,
        route = %target.route.pattern,
        version = target.version.as_ref().map(|v| v.number),
        outcome,
        failure = end.failure.as_ref().map(tracing::field::display),
        exit_code = end.exit_code,
        memory_peak_bytes = end.memory_peak_bytes,
        duration_ms = took.as_secs_f64() * 1000.0,
        "call ended"
    );
}

impl CallError {
    /// Adds when to try again to failures that pass by themselves.
    #[must_use]
    pub(crate) fn with_retry_after(mut self, target: &Target) -> Self {
        self.retry_after = match &self.failure {
            Failure::NoCapacity => Some(CAPACITY_RETRY),
            Failure::NotReady { .. } if target.route.latest.state == VersionState::Preparing => {
                Some(CAPACITY_RETRY)
            }
            _ => None,
        };
        self
    }
}
