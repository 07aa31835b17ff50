//! Whether callers wait: of a route, and of what a caller may ask of it.

use crate::text_enum::text_enum;

text_enum!(
    /// Whether callers wait for the answer.
    RouteType, "type" {
        /// The answer is the function's output.
        Sync = "sync",
        /// The answer is a call id; the call runs later and is not lost.
        Async = "async",
    }
);
