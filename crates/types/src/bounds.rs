//! What the operator allows: maxima and defaults that input is checked against.

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// Operator maxima and defaults of routes and calls. The configuration fills it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Memory of a route that names none, MiB.
    pub default_memory_mb: u32,
    /// Largest memory of a route, MiB.
    pub max_memory_mb: u32,
    /// Smallest memory of a route, MiB.
    pub min_memory_mb: u32,
    /// Time limit of a call of a route that names none, seconds.
    pub default_timeout_s: u32,
    /// Largest time limit of a synchronous or asynchronous call, seconds.
    pub max_timeout_s: u32,
    /// Largest `max_concurrency` of a route (per node).
    pub max_concurrency: u32,
    /// Calls at one time in one sandbox of a concurrent format whose route names no `concurrency`.
    pub default_sandbox_concurrency: u32,
    /// Largest `concurrency` of a route (calls at one time in one sandbox).
    pub max_sandbox_concurrency: u32,
    /// How long an idle hot sandbox is kept when its route names no `idle_timeout`, seconds.
    pub default_idle_timeout_s: u32,
    /// Largest `idle_timeout`, seconds.
    pub max_idle_timeout_s: u32,
    /// Largest `min_instances` of a route (per node).
    pub max_min_instances: u32,
    /// How long a call waits for a place when its route names no `queue_timeout`, seconds.
    pub default_queue_timeout_s: u32,
    /// Largest `queue_timeout`, seconds.
    pub max_queue_timeout_s: u32,
    /// Largest `retry.max_attempts` of a route.
    pub max_retry_attempts: u32,
    /// Largest `retry.backoff.initial` and `retry.backoff.max`, seconds.
    pub max_retry_backoff_s: u32,
    /// Largest `max_age` of a route, seconds.
    pub max_call_age_s: u32,
    /// Largest `delay` of a route and largest delay that a caller may ask for, seconds.
    pub max_delay_s: u32,
    /// Largest number of entries in the `config` of an app or a route.
    pub max_config_entries: u32,
    /// Largest sum of keys and values of one `config`, bytes.
    pub max_config_bytes: u32,
    /// Largest number of aliases of one route.
    pub max_aliases_per_route: u32,
    /// Newest versions of a route that are kept, whatever becomes of them.
    pub max_kept_versions: u32,
    /// Largest description of an app, bytes.
    pub max_description_bytes: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            default_memory_mb: 128,
            max_memory_mb: 4096,
            min_memory_mb: 8,
            default_timeout_s: 30,
            max_timeout_s: 900,
            max_concurrency: 1000,
            default_sandbox_concurrency: 80,
            max_sandbox_concurrency: 1000,
            default_idle_timeout_s: 30,
            max_idle_timeout_s: 3600,
            max_min_instances: 10,
            default_queue_timeout_s: 10,
            max_queue_timeout_s: 300,
            max_retry_attempts: 100,
            max_retry_backoff_s: 24 * 3600,
            max_call_age_s: 14 * 24 * 3600,
            max_delay_s: 14 * 24 * 3600,
            max_config_entries: 128,
            max_config_bytes: 32 * 1024,
            max_aliases_per_route: 20,
            max_kept_versions: 10,
            max_description_bytes: 1024,
        }
    }
}

/// Whether a number lies within its bounds; the fault says which they are.
pub(crate) fn in_range(field: &str, value: u32, min: u32, max: u32, unit: &str) -> Result<(), FieldFault> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(FieldFault::new(field, format!("must be {min} to {max} {unit}, not {value}")))
    }
}
