//! What is kept of calls.

use crate::tree::section;

section! {
    /// Records of calls.
    pub struct Calls {
        /// How long the record of a call is kept after its end, days; with it go result, log, and
        /// what the caller of a call that did not succeed had sent.
        pub keep_days: u32 = 7,
        /// Most records of ended calls of one project; those that ended first go first.
        pub max_per_project: u32 = 100_000,
        /// Most of the answer of an asynchronous call that is kept, bytes.
        pub max_result_bytes: u32 = 1 << 20,
        /// Most of the log of an asynchronous call that is kept with it, bytes. The log of the
        /// server has more of it: `engine.max_log_bytes`.
        pub max_log_bytes: u32 = 64 << 10,
        /// Record synchronous calls too. At most 1024 each second are, written behind the calls;
        /// the metric `picasso_call_records_dropped_total` counts the others.
        pub record_sync: bool = true,
        /// How many of 100 synchronous calls are recorded.
        pub record_sync_percent: u32 = 100,
        /// How long an `Idempotency-Key` stands for its call, hours.
        pub idempotency_window_h: u32 = 24,
        /// How many calls may cause each other: a call whose function calls a function is at
        /// depth 0, the one that it makes at 1. Deeper ones are refused as a loop.
        pub max_depth: u32 = 16,
    }
}
