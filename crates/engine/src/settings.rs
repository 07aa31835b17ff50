//! What the engine is given to work with. The server crate turns configuration into it.

use std::time::Duration;

/// Limits and sizes of one engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Memory for running functions on this machine, MiB.
    pub memory_mb: u64,
    /// Memory that the running functions of one project may use together, MiB.
    pub project_memory_mb: u64,
    /// CPU for running functions, thousandths of one CPU, overcommit included.
    pub cpu_millis: u64,
    /// CPU one call may use, thousandths of one CPU.
    pub call_cpu_millis: u32,
    /// Calls that may wait at one gate before others are refused.
    pub max_waiting_calls: usize,
    /// Processes and threads of one sandbox.
    pub pids: u32,
    /// Size of `/tmp`, MiB; at most the route's memory is used.
    pub tmp_mb: u64,
    /// Inodes of `/tmp`.
    pub tmp_inodes: u64,
    /// Open files of one process.
    pub nofile: u64,
    /// Most bytes a function may write to stdout.
    pub max_output_bytes: u64,
    /// Most bytes of an asynchronous call's body.
    pub max_async_body_bytes: u64,
    /// Most bytes of stderr kept as log lines per call.
    pub max_log_bytes: u64,
    /// How long a hot sandbox may take to become ready for its first call.
    pub start_timeout: Duration,
    /// A hot sandbox that has been idle for this time is frozen; zero: never.
    pub freeze_after: Duration,
    /// From SIGTERM to SIGKILL, for formats whose contract has SIGTERM.
    pub stop_grace: Duration,
    /// Asynchronous calls this process runs at one time.
    pub async_places: usize,
    /// The same of one project.
    pub async_project_places: usize,
    /// How much of the machine's CPU asynchronous calls may use, percent.
    pub async_cpu_percent: u32,
    /// Queued calls of all projects.
    pub max_queued: u64,
    /// How long a node holds an asynchronous call without saying that it still runs it.
    pub lease: Duration,
    /// How long an asynchronous call that found no place waits before it is tried again.
    pub async_retry_delay: Duration,
    /// How long an asynchronous call is kept trying when the service itself is at fault.
    pub async_max_age: Duration,
    /// How often the run of an asynchronous call may be lost before it is given up.
    pub async_max_lost_runs: u32,
    /// How many calls may cause each other.
    pub max_call_depth: u32,
    /// How often what is past its time or its bound is looked for.
    pub retention_interval: Duration,
    /// Newest versions of a route that are kept, whatever becomes of them.
    pub max_kept_versions: u32,
    /// What is kept of calls.
    pub calls: CallKeeping,
    /// How ended calls' deliveries are sent.
    pub deliveries: DeliverySettings,
}

/// How what ended calls send is sent.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// One attempt, from its connection to the end of the answer.
    pub timeout: Duration,
    /// Most bytes that are read of an answer.
    pub max_answer_bytes: usize,
    /// Most bytes of a request or result in a report.
    pub max_payload_bytes: usize,
    /// Most bytes of a report to a queue of Zaqar.
    pub max_message_bytes: usize,
    /// How long leave to post into a queue of Zaqar is asked for.
    pub grant_for: Duration,
    /// Under way at one time.
    pub max_parallel: u32,
    /// Of one project.
    pub max_parallel_per_project: u32,
    /// To one host and port.
    pub max_parallel_per_host: u32,
    /// Attempts of one delivery.
    pub max_attempts: u32,
    /// How long it is tried.
    pub max_age: Duration,
    /// The pause after the first attempt; it doubles with each.
    pub retry_initial: Duration,
    /// The longest pause.
    pub retry_max: Duration,
    /// How long an app's old signing key signs beside the new one.
    pub signing_key_overlap: Duration,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            max_answer_bytes: 64 << 10,
            max_payload_bytes: 256 << 10,
            max_message_bytes: 250_000,
            grant_for: Duration::from_hours(365 * 24),
            max_parallel: 64,
            max_parallel_per_project: 16,
            max_parallel_per_host: 8,
            max_attempts: 12,
            max_age: Duration::from_hours(24),
            retry_initial: Duration::from_secs(5),
            retry_max: Duration::from_hours(1),
            signing_key_overlap: Duration::from_hours(24),
        }
    }
}

/// What is kept of calls, and for how long.
#[derive(Debug, Clone)]
pub struct CallKeeping {
    /// How long after its end.
    pub keep: Duration,
    /// Ended calls of one project; those that ended first go first.
    pub max_per_project: u32,
    /// A result or a log of more bytes lies in the object store, where there is one.
    pub max_inline_bytes: usize,
    /// Most of an asynchronous call's answer, bytes; at most a part of an object without a store.
    pub max_result_bytes: usize,
    /// Most of an asynchronous call's log, bytes.
    pub max_log_bytes: usize,
    /// How many of 100 synchronous calls are recorded; 0: none.
    pub record_sync_percent: u32,
    /// How long an idempotency key stands for its call.
    pub idempotency_window: Duration,
}

impl Default for CallKeeping {
    fn default() -> Self {
        Self {
            keep: Duration::from_hours(7 * 24),
            max_per_project: 100_000,
            max_inline_bytes: 64 << 10,
            max_result_bytes: 64 << 20,
            max_log_bytes: 4 << 20,
            record_sync_percent: 100,
            idempotency_window: Duration::from_hours(24),
        }
    }
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            memory_mb: 1024,
            project_memory_mb: 512,
            cpu_millis: 4000,
            call_cpu_millis: 1000,
            max_waiting_calls: 1000,
            pids: 64,
            tmp_mb: 64,
            tmp_inodes: 8192,
            nofile: 1024,
            max_output_bytes: 64 * 1024 * 1024,
            max_async_body_bytes: 6 * 1024 * 1024,
            max_log_bytes: 1024 * 1024,
            start_timeout: Duration::from_mins(1),
            freeze_after: Duration::from_millis(50),
            stop_grace: Duration::from_secs(10),
            async_places: 16,
            async_project_places: 8,
            async_cpu_percent: 50,
            max_queued: 1_000_000,
            lease: Duration::from_secs(30),
            async_retry_delay: Duration::from_secs(1),
            async_max_age: Duration::from_hours(24),
            async_max_lost_runs: 5,
            max_call_depth: 16,
            retention_interval: Duration::from_mins(1),
            max_kept_versions: picasso_types::Bounds::default().max_kept_versions,
            calls: CallKeeping::default(),
            deliveries: DeliverySettings::default(),
        }
    }
}
