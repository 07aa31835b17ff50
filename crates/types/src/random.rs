//! The one place randomness comes from, so that a reader finds every use of it.

use uuid::Uuid;

/// A random UUID (version 4) in its usual text form.
pub fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// A time-ordered UUID (version 7) in its usual text form; ordered within a process.
pub fn ordered_id() -> String {
    Uuid::now_v7().to_string()
}

/// Eight random hex digits, for names that have little room (interfaces, cgroups).
pub fn short_id() -> String {
    let mut text = Uuid::new_v4().simple().to_string();
    text.truncate(8);
    text
}
