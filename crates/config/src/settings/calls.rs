//! What is kept of calls.

use std::path::PathBuf;

use secrecy::SecretString;

use super::objects_url::ObjectsUrl;
use crate::tree::section;

section! {
    /// Records of calls.
    pub struct Calls {
        /// How long the record of a call is kept after its end, days; with it go result, log, and
        /// what the caller of a call that did not succeed had sent.
        pub keep_days: u32 = 7,
        /// Most records of ended calls of one project; those that ended first go first.
        pub max_per_project: u32 = 100_000,
        /// Most of the answer of an asynchronous call that is kept, bytes. Without `large_outputs`
        /// at most 960 KiB.
        pub max_result_bytes: u32 = 64 << 20,
        /// Most of the log of an asynchronous call that is kept with it, bytes. Without
        /// `large_outputs` at most 960 KiB. The log of the server has a bound of its own:
        /// `engine.max_log_bytes`.
        pub max_log_bytes: u32 = 4 << 20,
        /// A result or a log of more bytes does not lie in the database, but in `large_outputs`.
        pub max_inline_bytes: u32 = 64 << 10,
        /// Where large results and logs lie, encrypted like what is in the database: `file:` is the
        /// folder `outputs` in `server.data_dir`, `file:/path` another one;
        /// `s3://BUCKET/PREFIX?endpoint=URL&region=NAME` is a store with S3's interface;
        /// `swift://CONTAINER/PREFIX?region=NAME&interface=public` is Swift in the catalog, used by
        /// our service user (or the account at `storage_url=URL`); `off` keeps of each at most
        /// 960 KiB, in the database. docs/outputs.md says how to choose.
        pub large_outputs: ObjectsUrl = ObjectsUrl::default(),
        /// File with the certificate authorities (PEM) to trust for that store. Default: the system's.
        pub large_outputs_ca_file: Option<PathBuf> = None,
        /// The id of the key for `s3:`.
        pub s3_access_key: Option<String> = None,
        /// The key itself.
        pub s3_secret_key: Option<SecretString> = None,
        /// File whose first line is that key.
        pub s3_secret_key_file: Option<PathBuf> = None,
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
