//! Why a command was not done, told as people want it: what happened, to what, what to do.

use std::fmt;

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliFailure {
    message: String,
    hint: Option<String>,
}

impl CliFailure {
    /// What happened, and to what.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// What to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for CliFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CliFailure {}
