//! Limits of projects: where they come from, and what counts where Keystone has none.

use crate::tree::section;

section! {
    /// Limits of projects.
    pub struct Quota {
        /// Whether limits are read from Keystone (unified limits). Otherwise, and for every resource
        /// that nobody registered there, the defaults below count for all projects.
        pub keystone: bool = true,
        /// The id of our endpoint in Keystone's catalog, which tells the service and region whose
        /// limits count. Default: the service of type `functions` (the one named `picasso` where
        /// there are several).
        pub endpoint_id: Option<String> = None,
        /// The region whose limits count, where `endpoint_id` is not set. Default: the region of the
        /// service's endpoints, if all are in one; else only limits without a region count.
        pub region: Option<String> = None,
        /// How long a project's limits count before Keystone is asked again, seconds.
        pub cache_s: u32 = 60,
        /// How old they may get while Keystone does not answer, seconds; then the defaults count.
        pub keep_s: u32 = 86_400,
        /// Of how many projects limits are kept in memory.
        pub max_projects: u32 = 10_000,
        /// Most apps of a project (`functions_apps`); `-1` is no limit.
        pub apps: i64 = 500,
        /// Most routes of all apps of a project (`functions_routes`); `-1` is no limit.
        pub routes: i64 = 5000,
        /// Most queued calls of a project, those that are delayed included
        /// (`functions_queued_calls`); more are refused with 429. Several nodes may together pass it
        /// by what they accept within a second. `-1` is no limit.
        pub queued_calls: i64 = 100_000,
    }
}
