//! What makes functions run by itself.

use crate::tree::section;

section! {
    /// Triggers: what makes functions run by itself.
    pub struct Triggers {
        /// The least time between two times of a schedule, seconds. It is looked at when a schedule is
        /// saved; those that are there go on.
        pub schedule_least_interval_s: u32 = 1,
        /// How late a time of a schedule may fire, seconds. After that it was missed, and the schedule's
        /// `missed` says what becomes of it.
        pub schedule_missed_after_s: u32 = 60,
    }
}
