//! The engine: turns an [`Invocation`] into a running sandbox and its answer.
//!
//! Every way in (v1 runs, function URLs, the queue) becomes one `Invocation`; admission, the
//! sandbox, deadlines and outcomes are the same for all of them. No HTTP status lives here: a
//! [`CallError`] says what happened, the edge says it in HTTP.

mod accept;
mod admission;
mod answer;
mod back_pressure;
mod bucket;
mod call_events;
mod call_metrics;
mod call_recorder;
mod carried;
pub mod catalog;
mod change_feed;
mod cpu_share;
mod deliverer;
pub mod depth;
mod dispatch;
mod engine;
mod environment;
mod external_tasks;
pub mod failpoints;
mod formats;
mod function_log;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
mod headed;
mod hot;
mod identities;
mod identity_folders;
pub mod invocation;
mod kept_output;
mod keyed;
mod lanes;
mod large_outputs;
mod parts;
mod place;
mod prepare;
mod preparing_here;
mod project_gates;
mod rates;
mod retention;
mod retry;
mod route_targets;
mod run_end;
mod running_calls;
mod secrets;
mod settings;
mod slot;
mod start;
mod target;
mod version_targets;
mod worker;

#[cfg(test)]
mod testing;

pub use accept::{AcceptError, AcceptOptions, AcceptedCall};
pub use admission::NodeUsage;
pub use back_pressure::QueueFull;
pub use call_metrics::IronFunctionsCalls;
pub use carried::FormatNotCarried;
pub use catalog::{Catalog, ChangesFollower, Lookup};
pub use deliverer::QueueError;
pub use engine::Engine;
pub use external_tasks::ExternalTask;
pub use identities::{FunctionIdentity, Identities, IdentityRefusal};
pub use invocation::{Answer, AnswerHead, Body, BodyError, CallError, Invocation, Output};
pub use kept_output::{KeptLog, KeptOutput, KeptResult, LogCut, LogLine, LogLines, NewLines};
pub use large_outputs::{ObjectRef, OutputObjects, OutputReadError, OutputStream, PART_BYTES};
pub use parts::EngineParts;
pub use rates::{RateLimited, RateOf};
pub use retry::RetryError;
pub use route_targets::{AliasTargets, Selected};
pub use settings::{CallKeeping, DeliverySettings, EngineSettings};
pub use target::Target;
