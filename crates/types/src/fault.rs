//! A refused input field: which one and why. The edge turns it into a 400.

use std::fmt;

/// One field of a request that was refused.
///
/// `message` is a whole sentence part that names the limit, for example
/// `must be 1 to 63 letters, digits, "-" or "_"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field as the client wrote it, dotted for nested ones (`route.memory`).
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl FieldFault {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for FieldFault {}
