//! [`Engine`]: the way in for every call, and the way out at shutdown.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use metrics::counter;
use picasso_outbound::TargetFault;
use picasso_sandbox::Features;
use picasso_store::StoreError;
use picasso_types::{
    Accepted, CallId, Cancelled, Failure, Format, HttpUrl, ProjectId, RouteId, RouteVersion, Timestamp,
    VersionState, WebhookChange,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::accept::{self, AcceptError, AcceptOptions, AcceptedCall};
use crate::admission::{Admission, NodeUsage};
use crate::answer;
use crate::back_pressure::BackPressure;
use crate::call_events::{self, End, Event};
use crate::call_metrics::{CallMetrics, IronFunctionsCalls};
use crate::call_recorder::{CallRecorder, EndedCall};
use crate::carried::{self, FormatNotCarried};
use crate::depth;
use crate::failpoints;
use crate::formats;
use crate::hot::pools::Hot;
use crate::hot::{self, janitor::Janitor};
use crate::identity_folders::IdentityFolders;
use crate::invocation::{Answer, CallError, Invocation};
use crate::kept_output::KeptOutput;
use crate::lanes::Lanes;
use crate::large_outputs::{LargeOutputs, ObjectRef, OutputReadError, OutputStream};
use crate::parts::EngineParts;
use crate::preparing_here::PreparingHere;
use crate::running_calls::RunningCalls;
use crate::slot;
use crate::target::Target;

/// How often a call that got no place is told to try again.
const CAPACITY_RETRY: Duration = Duration::from_secs(1);
/// When a call without its identity is told to try again: sooner it would get what Keystone said before.
const IDENTITY_RETRY: Duration = Duration::from_secs(5);

/// Runs calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) parts: EngineParts,
    pub(crate) admission: Arc<Admission>,
    /// Hot sandboxes.
    pub(crate) hot: Arc<Hot>,
    /// Whom sandboxes are in OpenStack.
    pub(crate) identities: Arc<IdentityFolders>,
    /// Until [`Engine::start`].
    pub(crate) janitor: Mutex<Option<Janitor>>,
    pub(crate) metrics: CallMetrics,
    /// Takes the records of synchronous calls.
    pub(crate) recorder: CallRecorder,
    /// Where large results and logs lie.
    pub(crate) large: Option<Arc<LargeOutputs>>,
    /// Asynchronous calls that run here.
    pub(crate) running: RunningCalls,
    /// Calls and preparations: shutdown waits for them.
    pub(crate) tasks: TaskTracker,
    /// Background loops end when this is cancelled.
    pub(crate) stopping: CancellationToken,
    /// Running calls are ended when this is cancelled.
    pub(crate) ending: CancellationToken,
    /// The ids that are to run here next.
    pub(crate) lanes: Arc<Lanes>,
    /// How many calls are queued, and may be.
    pub(crate) back_pressure: BackPressure,
    /// Wakes the dispatcher when a call was accepted.
    pub(crate) accepted: Notify,
    /// Wakes the deliverer when a call ended that has something to send, or a place became free.
    pub(crate) deliveries_due: Notify,
    /// The versions that this process prepares.
    pub(crate) preparing: PreparingHere,
}

impl Engine {
    /// An engine that accepts calls but runs no asynchronous ones until [`Engine::start`].
    pub fn new(parts: EngineParts) -> Self {
        let admission = Arc::new(Admission::new(&parts.settings, parts.limits.clone()));
        let large = parts.outputs.clone();
        let large = large.map(|outputs| LargeOutputs::new(outputs, parts.store.clone(), &parts.instance));
        let large = large.map(Arc::new);
        let (asked, sandbox) = (parts.identities.clone(), parts.sandbox.clone());
        let identities = IdentityFolders::new(asked, sandbox, parts.clock.clone());
        let (hot, janitor) = Hot::new(parts.clone(), admission.clone(), identities.clone(), formats::hot);
        let settings = &parts.settings;
        let lanes = Lanes::new(settings.async_places, settings.async_project_places);
        let back_pressure = BackPressure::new(parts.limits.clone(), settings.max_queued);
        Self {
            shared: Arc::new(Shared {
                recorder: CallRecorder::new(&parts),
                large,
                running: RunningCalls::default(),
                parts,
                admission,
                hot,
                identities,
                janitor: Mutex::new(Some(janitor)),
                metrics: CallMetrics::default(),
                tasks: TaskTracker::new(),
                stopping: CancellationToken::new(),
                ending: CancellationToken::new(),
                accepted: Notify::new(),
                deliveries_due: Notify::new(),
                preparing: PreparingHere::default(),
                lanes,
                back_pressure,
            }),
        }
    }

    /// Now, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.parts.clock.now()
    }

    /// How many calls of the IronFunctions face run in this process, and ended in it.
    pub fn ironfunctions_calls(&self) -> IronFunctionsCalls {
        self.shared.metrics.ironfunctions()
    }

    /// How much a project uses of this node.
    pub fn node_usage(&self, project: &ProjectId) -> NodeUsage {
        self.shared.admission.usage(project)
    }

    /// What the sandbox driver can do on this machine.
    pub fn features(&self) -> Features {
        self.shared.parts.sandbox.features()
    }

    /// Refuses a format that the sandbox driver of this machine has no way into the sandbox for.
    pub fn carries(&self, format: Format) -> Result<(), FormatNotCarried> {
        let sandbox = &self.shared.parts.sandbox;
        carried::check(sandbox.name(), sandbox.features(), format)
    }

    /// Runs a call for a caller who waits. Dropping the future or the answer ends the call.
    ///
    /// Returns when a hot function's status is there, or when the first 64 KiB of a `default`
    /// one's output are or it has ended.
    pub async fn run(&self, mut invocation: Invocation) -> Result<Answer, CallError> {
        let target = invocation.target.clone();
        self.guard_depth(&mut invocation).map_err(|failure| CallError::from(End::of(failure)))?;
        let outcome = if is_hot(&target) {
            hot::call::run(&self.shared, invocation).await.map_err(CallError::from)
        } else {
            answer::begin(self.begin(invocation)).await
        };
        outcome.map_err(|error| error.with_retry_after(&target))
    }

    /// Runs a call that nobody waits for to its end; its output goes where the call keeps it.
    pub(crate) async fn run_to_end(&self, invocation: Invocation) -> End {
        if is_hot(&invocation.target) {
            return hot::call::run_to_end(&self.shared, invocation).await;
        }
        let kept = invocation.kept.clone();
        let mut events = self.begin(invocation);
        loop {
            match events.recv().await {
                Some(Event::Output(chunk)) => {
                    if let Some(kept) = &kept {
                        kept.keep_result(&chunk).await;
                    }
                }
                Some(Event::Ended(end)) => return end,
                None => return End { may_repeat: true, ..End::of(Failure::Internal) },
            }
        }
    }

    /// Accepts an asynchronous call; it is on disk when this returns.
    pub async fn accept(
        &self,
        mut invocation: Invocation,
        options: AcceptOptions,
    ) -> Result<AcceptedCall, AcceptError> {
        let parts = &self.shared.parts;
        self.guard_depth(&mut invocation).map_err(AcceptError::Refused)?;
        let reserved = self.shared.back_pressure.reserve(&invocation.target.app.project_id)?;
        let call = accept::new_call(invocation, options, &parts.settings, parts.clock.now()).await?;
        match parts.store.accept_call(&call).await? {
            Accepted::New => reserved.keep(),
            Accepted::Before(id) => return Ok(AcceptedCall { id, is_new: false }),
            Accepted::KeyOfOther => return Err(AcceptError::KeyOfOther),
        }
        failpoints::reached(failpoints::COMMITTED);
        counter!("picasso_calls_accepted_total").increment(1);
        self.shared.accepted.notify_one();
        Ok(AcceptedCall { id: call.id, is_new: true })
    }

    /// Refuses a call that comes at the end of too many that caused each other; tells the function
    /// of any other how deep it is.
    fn guard_depth(&self, invocation: &mut Invocation) -> Result<(), Failure> {
        let max_depth = self.shared.parts.settings.max_call_depth;
        if invocation.depth > max_depth {
            return Err(Failure::TooDeep { max_depth });
        }
        depth::tell(&mut invocation.headers, invocation.depth);
        Ok(())
    }

    /// Cancels an asynchronous call of the project: a waiting one in the store, one that runs here
    /// at once, one that runs elsewhere as soon as that process hears of it.
    pub async fn cancel_call(&self, project: &ProjectId, id: &CallId) -> Result<Cancelled, StoreError> {
        let cancelled = self.shared.parts.store.cancel_call(project, id).await?;
        if cancelled == Cancelled::Running
            && let Some(call) = self.shared.running.get(id)
        {
            call.cancel.cancel();
        }
        Ok(cancelled)
    }

    /// Changes a route's webhook secrets; the one before stays good as long as a signing key does.
    pub async fn change_webhook(&self, route: &RouteId, change: &WebhookChange) -> Result<(), StoreError> {
        let parts = &self.shared.parts;
        let until = parts.clock.now().plus(parts.settings.deliveries.signing_key_overlap);
        parts.store.change_webhook(route, change, until).await.map(|_| ())
    }

    /// Refuses a URL that nothing may be sent to, as far as that shows before its name is resolved.
    pub fn check_target(&self, url: &HttpUrl) -> Result<(), TargetFault> {
        let url = Url::parse(url.as_str()).map_err(|_| TargetFault::NotAUrl)?;
        picasso_outbound::check_target(self.shared.parts.outbound.guard(), &url)
    }

    /// The output so far of an asynchronous call that runs in this process. Whoever asks has
    /// checked that the call is theirs.
    pub fn running_output(&self, id: &CallId) -> Option<Arc<KeptOutput>> {
        self.shared.running.get(id).map(|call| call.output)
    }

    /// Reads a large output of a call. Whoever asks has checked that the call is theirs.
    pub async fn read_output(
        &self,
        call: &CallId,
        project: &ProjectId,
        object: &ObjectRef,
    ) -> Result<OutputStream, OutputReadError> {
        match &self.shared.large {
            Some(large) => large.read(call, project, object).await,
            None => Err(OutputReadError::Gone),
        }
    }

    /// Resolves when the engine stops: streams that would not end by themselves end then.
    pub async fn stopping(&self) {
        self.shared.stopping.cancelled().await;
    }

    /// Makes sure that a version, which is ready, can run on this node: its image is here, or its
    /// registry has it still under its digest. Else a sentence for the owner of the route.
    pub async fn fetch(&self, project: &ProjectId, version: &RouteVersion) -> Result<(), String> {
        let parts = &self.shared.parts;
        slot::rootfs(parts, project, version).await.map(drop).map_err(|end| {
            let failure = end.failure.unwrap_or(Failure::Internal);
            failure.to_string()
        })
    }

    /// Stops taking asynchronous calls, lets running calls finish within `grace`, ends the others,
    /// and all hot sandboxes.
    pub async fn shut_down(&self, grace: Duration) {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(running = self.shared.tasks.len(), "calls did not finish in time and are ended");
            self.shared.ending.cancel();
            self.shared.hot.shut_down().await;
            self.shared.tasks.wait().await;
        }
        self.shared.hot.shut_down().await;
        self.shared.recorder.flush().await;
    }

    /// Starts a call's task and returns the caller's end of its events.
    fn begin(&self, invocation: Invocation) -> mpsc::Receiver<Event> {
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
        let (call_id, request_id) = (invocation.call_id.clone(), invocation.request_id.clone());
        let (target, trigger) = (invocation.target.clone(), invocation.trigger);
        let is_sync = invocation.kept.is_none();
        let (began, mut started) = (Instant::now(), None);
        let Shared { metrics, recorder, .. } = &*self.shared;
        metrics.began(&target);
        let end = self.admitted_call(invocation, events, &mut started).await;
        metrics.record(&call_id, &request_id, &target, &end, began.elapsed());
        if is_sync {
            recorder.offer(&EndedCall {
                id: &call_id,
                request_id: &request_id,
                trigger,
                target: &target,
                end: &end,
                began,
                started,
            });
        }
        end
    }

    /// Sets `started` once the call has its place.
    async fn admitted_call(
        &self,
        invocation: Invocation,
        events: &mpsc::Sender<Event>,
        started: &mut Option<Instant>,
    ) -> End {
        let Shared { parts, admission, hot, identities, ending, metrics, .. } = &*self.shared;
        let target = invocation.target.clone();
        let Some(version) = target.version.as_ref().filter(|version| version.digest.is_some()) else {
            return End { may_repeat: true, ..End::of(target.not_ready()) };
        };
        if target.is_suspended() {
            return End::of(Failure::IdentitySuspended);
        }
        let project = &target.app.project_id;
        let gates = target.place.gates(admission, &target.app.project_id, version);
        // Only who waits for the answer is told at once.
        let queue_timeout = Duration::from_secs(version.spec.queue_timeout_s.into());
        let until = invocation.kept.is_some().then(|| tokio::time::Instant::now() + queue_timeout);
        let admitted = async {
            let call = admission.call(project, gates, until).await?;
            Ok((call, admission.admit(project, gates, &version.spec, &**hot).await?))
        };
        let admitted = tokio::select! {
            admitted = admitted => admitted,
            () = events.closed() => return End::of(Failure::HungUp),
            () = ending.cancelled() => return End { may_repeat: true, ..End::of(Failure::NoCapacity) },
        };
        let _admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return slot::end_of_refused(refused, &version.spec),
        };
        *started = Some(Instant::now());
        #[expect(clippy::cast_precision_loss, reason = "a gauge of MiB; exact up to 2^52")]
        metrics.memory_promised.set(admission.memory_in_use_mb() as f64);
        match slot::rootfs(parts, project, version).await {
            Ok(rootfs) => {
                let place = formats::default::Place { parts, identities, ending };
                formats::default::run(place, &rootfs, version, invocation, events).await
            }
            Err(end) => end,
        }
    }
}

fn is_hot(target: &Target) -> bool {
    target.version.as_ref().is_some_and(|version| version.spec.format.is_hot())
}

impl CallError {
    /// Adds when to try again to failures that pass by themselves.
    #[must_use]
    pub(crate) fn with_retry_after(mut self, target: &Target) -> Self {
        self.retry_after = match &self.failure {
            Failure::NoCapacity | Failure::OverLimit { .. } => Some(CAPACITY_RETRY),
            Failure::NotReady { .. } if target.route.latest.state == VersionState::Preparing => {
                Some(CAPACITY_RETRY)
            }
            Failure::IdentityUnavailable { .. } => Some(IDENTITY_RETRY),
            _ => None,
        };
        self
    }
}
