//! Queued calls in the hands of a runner that is not ours (IronFunctions' `/tasks`).
//!
//! Handing one out is a claim like a worker's, in the name of all such runners and for a bounded
//! time. Whoever says that it is theirs ends the call; one that nobody took in time is swept back
//! into the outbox and runs here.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use picasso_store::{ClaimedCall, StoreError};
use picasso_types::{
    Call, CallFilter, CallId, CallOutcome, CallOutput, CallState, InstanceId, ProjectId, RequestId,
    RouteVersion,
};

use crate::accept;
use crate::engine::Engine;
use crate::environment;
use crate::invocation::Invocation;
use crate::run_end;
use crate::secrets::OpenSecrets;
use crate::version_targets::VersionTargets;

/// How long a call is kept for the runner it was handed to.
const RESERVED_FOR: Duration = Duration::from_mins(1);
/// In whose name calls are handed out; no process has this id.
const OWNER: &str = "ironfunctions-tasks";
/// How many queued calls are looked at: others may claim them at the same moment.
const LOOKED_AT: u32 = 100;

/// A call that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalTask {
    /// The name that its app was given.
    pub app_name: String,
    /// The call, `running` from now on.
    pub call: Call,
    /// What it runs.
    pub version: RouteVersion,
    /// The environment of its function, without that of its image.
    pub env: BTreeMap<String, String>,
    /// What goes to its function's standard input.
    pub payload: Vec<u8>,
}

impl Engine {
    /// Hands out a queued call of the project that is due; `None` when there is none.
    pub async fn reserve_task(&self, project: &ProjectId) -> Result<Option<ExternalTask>, StoreError> {
        let parts = &self.shared.parts;
        let filter = CallFilter {
            project_id: project.clone(),
            app_name: None,
            route_path: None,
            state: Some(CallState::Queued),
            since: None,
            after: None,
            limit: LOOKED_AT,
        };
        let owner = owner()?;
        // They come newest first; who waits longest is next.
        for queued in parts.store.list_calls(&filter).await?.into_iter().rev() {
            let now = parts.clock.now();
            if queued.not_before > now {
                continue;
            }
            let claimed = match parts.store.claim_call(&queued.id, &owner, now.plus(RESERVED_FOR)).await {
                Ok(Some(claimed)) => claimed,
                Ok(None) | Err(StoreError::NotFound) => continue,
                Err(error) => return Err(error),
            };
            self.shared.back_pressure.claimed(project);
            if let Some(outcome) = run_end::before_run(&claimed.call, &parts.settings, now) {
                let none = CallOutput::default();
                parts.store.finish_call(&queued.id, &owner, &outcome, &none, &[]).await?;
                continue;
            }
            if let Some(task) = self.task_of(claimed).await? {
                return Ok(Some(task));
            }
        }
        Ok(None)
    }

    /// Ends a call of the project that was handed out: it is its runner's from now on. `false` when
    /// it is not handed out (any more).
    pub async fn complete_task(&self, project: &ProjectId, id: &CallId) -> Result<bool, StoreError> {
        let parts = &self.shared.parts;
        let call = match parts.store.get_call(id).await {
            Ok(call) => call,
            Err(StoreError::NotFound) => return Ok(false),
            Err(error) => return Err(error),
        };
        if call.project_id != *project {
            return Ok(false);
        }
        let outcome = CallOutcome {
            state: CallState::Succeeded,
            failure: None,
            exit_code: None,
            http_status: None,
            cold_start: None,
            memory_peak_bytes: None,
        };
        parts.store.finish_call(id, &owner()?, &outcome, &CallOutput::default(), &[]).await
    }

    /// `None` when its route is gone: deleting it has cancelled the call.
    async fn task_of(&self, claimed: ClaimedCall) -> Result<Option<ExternalTask>, StoreError> {
        let ClaimedCall { call, envelope, payload } = claimed;
        let targets = VersionTargets::default();
        let Some(target) = targets.find(self.shared.parts.store.as_ref(), &call).await? else {
            return Ok(None);
        };
        let Some(version) = target.version.as_deref().cloned() else { return Ok(None) };
        let app_name = target.app.short_name.to_string();
        let request = accept::stored_request(&envelope)
            .ok_or(StoreError::Damaged { what: "envelope", detail: format!("call {}", call.id) })?;
        let invocation = Invocation {
            call_id: call.id.clone(),
            request_id: RequestId::stored(&call.request_id),
            trigger: call.trigger,
            client: None,
            target,
            method: request.method,
            url: request.url,
            headers: request.headers,
            params: request.params,
            depth: call.depth,
            body: Box::pin(futures_util::stream::empty::<Result<Bytes, _>>()),
            kept: None,
        };
        // The namespace of external tasks has no secrets.
        let env = environment::of_task(&version.merged_config, &OpenSecrets::default(), &invocation);
        Ok(Some(ExternalTask { app_name, call, version, env, payload }))
    }
}

fn owner() -> Result<InstanceId, StoreError> {
    InstanceId::parse(OWNER)
        .map_err(|fault| StoreError::Damaged { what: "the runners' name", detail: fault.to_string() })
}
