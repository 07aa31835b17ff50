//! What makes functions run by itself.

use crate::tree::section;

section! {
    /// Triggers: what makes functions run by itself.
    pub struct Triggers {
        /// The least time between two times of a schedule, seconds.
        pub schedule_least_interval_s: u32 = 1,
    }
}
