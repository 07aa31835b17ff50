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

/// A fresh `traceparent` of W3C Trace Context: version 00, a new trace, not sampled.
pub fn traceparent() -> String {
    // An id of a version 4 UUID is random and never all zeros, which the format forbids.
    let (trace, parent) = (Uuid::new_v4(), Uuid::new_v4().as_u64_pair().0);
    format!("00-{}-{parent:016x}-00", trace.simple())
}

/// Any of the numbers there are, each as likely as the others.
pub fn point() -> u64 {
    // The version and variant bits of a UUID are fixed; they are not among those that are taken.
    let (high, low) = Uuid::new_v4().as_u64_pair();
    (high & 0xffff_ffff_0000_0000) | (low & 0xffff_ffff)
}

/// A number from 0 up to, but not, 1.
pub fn fraction() -> f64 {
    // The first 48 bits of a version 4 UUID are random, and a float holds them exactly.
    let bits = Uuid::new_v4().as_u64_pair().0 >> 16;
    #[expect(clippy::cast_precision_loss, reason = "48 bits")]
    let fraction = bits as f64 / (1_u64 << 48) as f64;
    fraction
}
