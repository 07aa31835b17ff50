//! The operator's bounds: [`picasso_types::Bounds`] as a section.

use picasso_types::Bounds;

use crate::tree::section;

section! {
    /// Bounds.
    pub struct BoundsSettings {
        /// Memory of a route that names none, MiB.
        pub default_memory_mb: u32 = Bounds::default().default_memory_mb,
        /// Largest memory of a route, MiB.
        pub max_memory_mb: u32 = Bounds::default().max_memory_mb,
        /// Smallest memory of a route, MiB.
        pub min_memory_mb: u32 = Bounds::default().min_memory_mb,
        /// Time limit of a call of a route that names none, seconds.
        pub default_timeout_s: u32 = Bounds::default().default_timeout_s,
        /// Largest time limit of a call, seconds.
        pub max_timeout_s: u32 = Bounds::default().max_timeout_s,
        /// Largest `max_concurrency` of a route, on each node.
        pub max_concurrency: u32 = Bounds::default().max_concurrency,
        /// Calls at one time in one sandbox of a route of format `http-server` that names no
        /// `concurrency`.
        pub default_sandbox_concurrency: u32 = Bounds::default().default_sandbox_concurrency,
        /// Largest `concurrency` of a route: calls at one time in one sandbox.
        pub max_sandbox_concurrency: u32 = Bounds::default().max_sandbox_concurrency,
        /// How long an idle hot sandbox is kept when its route names no `idle_timeout`, seconds.
        pub default_idle_timeout_s: u32 = Bounds::default().default_idle_timeout_s,
        /// Largest `idle_timeout`, seconds.
        pub max_idle_timeout_s: u32 = Bounds::default().max_idle_timeout_s,
        /// Largest `min_instances` of a route, on each node.
        pub max_min_instances: u32 = Bounds::default().max_min_instances,
        /// How long a call waits for a place when its route names no `queue_timeout`, seconds.
        pub default_queue_timeout_s: u32 = Bounds::default().default_queue_timeout_s,
        /// Largest `queue_timeout`, seconds.
        pub max_queue_timeout_s: u32 = Bounds::default().max_queue_timeout_s,
        /// Largest `retry.max_attempts` of a route.
        pub max_retry_attempts: u32 = Bounds::default().max_retry_attempts,
        /// Largest `retry.backoff.initial` and `retry.backoff.max` of a route, seconds.
        pub max_retry_backoff_s: u32 = Bounds::default().max_retry_backoff_s,
        /// Largest `max_age` of a route, seconds.
        pub max_call_age_s: u32 = Bounds::default().max_call_age_s,
        /// Largest `delay` of a route, and largest delay that a caller may ask for, seconds.
        pub max_delay_s: u32 = Bounds::default().max_delay_s,
        /// Most entries in the `config` of an app or a route.
        pub max_config_entries: u32 = Bounds::default().max_config_entries,
        /// Largest sum of keys and values of one `config`, bytes.
        pub max_config_bytes: u32 = Bounds::default().max_config_bytes,
        /// Most aliases of one route.
        pub max_aliases_per_route: u32 = Bounds::default().max_aliases_per_route,
        /// Newest versions of a route that are kept, with their images, so that it can be rolled back
        /// to them; at least 1. Older ones go unless an alias or an unfinished call needs them.
        pub max_kept_versions: u32 = Bounds::default().max_kept_versions,
        /// Largest description of an app, bytes.
        pub max_description_bytes: u32 = Bounds::default().max_description_bytes,
    }
}

impl From<&BoundsSettings> for Bounds {
    /// Names every field, so that a new bound without a setting does not build.
    fn from(settings: &BoundsSettings) -> Self {
        Self {
            default_memory_mb: settings.default_memory_mb,
            max_memory_mb: settings.max_memory_mb,
            min_memory_mb: settings.min_memory_mb,
            default_timeout_s: settings.default_timeout_s,
            max_timeout_s: settings.max_timeout_s,
            max_concurrency: settings.max_concurrency,
            default_sandbox_concurrency: settings.default_sandbox_concurrency,
            max_sandbox_concurrency: settings.max_sandbox_concurrency,
            default_idle_timeout_s: settings.default_idle_timeout_s,
            max_idle_timeout_s: settings.max_idle_timeout_s,
            max_min_instances: settings.max_min_instances,
            default_queue_timeout_s: settings.default_queue_timeout_s,
            max_queue_timeout_s: settings.max_queue_timeout_s,
            max_retry_attempts: settings.max_retry_attempts,
            max_retry_backoff_s: settings.max_retry_backoff_s,
            max_call_age_s: settings.max_call_age_s,
            max_delay_s: settings.max_delay_s,
            max_config_entries: settings.max_config_entries,
            max_config_bytes: settings.max_config_bytes,
            max_aliases_per_route: settings.max_aliases_per_route,
            max_kept_versions: settings.max_kept_versions,
            max_description_bytes: settings.max_description_bytes,
        }
    }
}
