//! The asynchronous calls that this process runs: their output as it grows, and the way to end
//! them at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use picasso_types::CallId;
use tokio_util::sync::CancellationToken;

use crate::kept_output::KeptOutput;

/// A table of running calls.
#[derive(Debug, Default)]
pub(crate) struct RunningCalls {
    calls: Mutex<HashMap<CallId, RunningCall>>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct RunningCall {
    pub(crate) output: Arc<KeptOutput>,
    pub(crate) cancel: CancellationToken,
}

/// Takes a call out of the table when it is dropped.
pub(crate) struct Entered<'a> {
    table: &'a RunningCalls,
    id: CallId,
}

impl RunningCalls {
    pub(crate) fn enter(&self, id: &CallId, call: RunningCall) -> Entered<'_> {
        self.calls().insert(id.clone(), call);
        Entered { table: self, id: id.clone() }
    }

    pub(crate) fn get(&self, id: &CallId) -> Option<RunningCall> {
        self.calls().get(id).cloned()
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, RunningCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.table.calls().remove(&self.id);
    }
}
