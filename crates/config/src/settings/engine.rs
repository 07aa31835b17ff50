//! Admission, sizes, and the queue of asynchronous calls.

use std::path::PathBuf;

use crate::settings::queue_url::QueueUrl;
use crate::tree::section;

section! {
    /// The engine.
    pub struct Engine {
        /// Memory that all sandboxes together may be promised, MiB. Default: the memory of the
        /// machine, or of the cgroup that the server is started in, less 512 MiB.
        pub memory_mb: Option<u64> = None,
        /// Promise that many times the memory there is: functions seldom use all of theirs.
        pub memory_overcommit: f64 = 1.0,
        /// Sandboxes with running calls at one time for each CPU; idle ones do not count.
        pub cpu_overcommit: f64 = 8.0,
        /// Most of the places of this node that one project may hold, percent.
        pub project_share_percent: u32 = 50,
        /// Calls that wait for the same place at one time; more are refused with 503.
        pub max_waiting_calls: u32 = 1000,
        /// Largest body of a wrapped run and of an asynchronous call, bytes; it is held in memory.
        pub max_buffered_body_bytes: u64 = 6 << 20,
        /// Largest body of a call through a function URL, bytes; it is streamed, so what bounds
        /// its cost is the route's `timeout`. Formats that hold a body in memory have bounds of
        /// their own below this.
        pub max_streamed_body_bytes: u64 = 4 << 30,
        /// Largest output of a wrapped run, bytes; it is held in memory.
        pub max_result_bytes: u64 = 6 << 20,
        /// Largest output of any call, bytes.
        pub max_output_bytes: u64 = 64 << 20,
        /// Most bytes of one call's stderr that reach the log.
        pub max_log_bytes: u64 = 1 << 20,
        /// How long a hot sandbox may take to become ready for its first call, seconds.
        pub start_timeout_s: u32 = 60,
        /// A hot sandbox without a call is frozen after this time, milliseconds: it uses no CPU
        /// then. 0: never. It is not done where continuing one takes longer than 0.2 ms.
        pub freeze_after_ms: u32 = 50,
        /// How long a sandbox of format `http-server` that was told to end (SIGTERM) may take,
        /// seconds; then it is killed.
        pub stop_grace_s: u32 = 10,
    }
}

section! {
    /// The queue.
    pub struct Queue {
        /// The broker that carries them: `amqp://user:password@host:5672` (RabbitMQ),
        /// `nats://user:password@host:4222` (NATS JetStream) or `redis://:password@host:6379`
        /// (Redis), with TLS `amqps:`, `tls:` or `rediss:`. Default: a SQLite file of
        /// this node's own, beside the database if that is one, else in `server.data_dir`.
        pub url: Option<QueueUrl> = None,
        /// File whose first line is that URL.
        pub url_file: Option<PathBuf> = None,
        /// Asynchronous calls that run at one time on this node, at most; `async_share_percent` may
        /// allow fewer. `engine.project_share_percent` says how many of them may be of one project.
        pub workers: u32 = 16,
        /// How much of this node asynchronous calls may use, percent: of the sandboxes that run at one
        /// time (`engine.cpu_overcommit`), and of the CPU time of the engine, which synchronous calls
        /// use first. 100: no bound.
        pub async_share_percent: u32 = 50,
        /// Most queued calls of all projects, those that are delayed included; more are refused with
        /// 503. Several nodes may together pass it by what they accept within a second. What one
        /// project may have is `quota.queued_calls`.
        pub max_calls: u64 = 1_000_000,
        /// How long a node that says nothing holds a call, seconds; then another may run it.
        pub lease_s: u32 = 30,
        /// How long a call that found no place waits before it is tried again, seconds.
        pub retry_delay_s: u32 = 1,
        /// How long a call is kept trying when the service itself is at fault, seconds.
        pub max_age_s: u32 = 86_400,
        /// How often the process that runs a call may end before the call does; then it is given up.
        pub max_lost_runs: u32 = 5,
    }
}
