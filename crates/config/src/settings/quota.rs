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
        /// Most triggers of a project (`functions_triggers`); `-1` is no limit.
        pub triggers: i64 = 500,
        /// Most queued calls of a project, those that are delayed included
        /// (`functions_queued_calls`); more are refused with 429. Several nodes may together pass it
        /// by what they accept within a second. `-1` is no limit.
        pub queued_calls: i64 = 100_000,
        /// Most calls of a project at one time on each node, those that wait for a place included
        /// (`functions_concurrent_calls`); more are refused with 429, and those from the queue wait.
        /// `-1` is no limit.
        pub concurrent_calls: i64 = -1,
        /// Most calls of a project that may begin in a second on each node, twice as many at once
        /// after a pause (`functions_calls_per_second`); more are refused with 429. Asynchronous
        /// calls count when they are accepted. `-1` is no limit.
        pub calls_per_second: i64 = -1,
        /// Most memory of a project's sandboxes on each node, MiB (`functions_memory_mb`);
        /// `engine.project_share_percent` is a bound beside it. `-1` is no limit.
        pub memory_mb: i64 = -1,
        /// Most of each node's disk for the images of a project, MiB (`functions_image_mb`). `-1` is
        /// no limit.
        pub image_mb: i64 = 20 << 10,
        /// Most results and logs of a project that are kept, MiB (`functions_output_mb`); those of the
        /// calls that ended first go first, the records of these calls stay. `-1` is no limit.
        pub output_mb: i64 = 1024,
    }
}
