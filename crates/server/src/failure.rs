//! Why the server did not start or went wrong, as people are told.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// What happened, to what, and what to do.
#[derive(Debug)]
pub struct ServerFailure {
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ServerFailure {
    /// What happened, and to what.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, source: None }
    }

    /// What to do.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Why.
    #[must_use]
    pub(crate) fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

impl fmt::Display for ServerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let mut cause: Option<&dyn Error> = self.source.as_ref().map(|source| source.as_ref() as &dyn Error);
        while let Some(error) = cause {
            write!(f, "\n  because: {error}")?;
            cause = error.source();
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl Error for ServerFailure {}

impl From<picasso_config::ConfigFaults> for ServerFailure {
    fn from(faults: picasso_config::ConfigFaults) -> Self {
        Self::new(faults.to_string())
    }
}

/// Tells a failure on standard error.
pub(crate) fn told(failure: &ServerFailure) -> ExitCode {
    say(failure);
    ExitCode::FAILURE
}

/// A line for people on standard error. There is nobody to tell when that fails.
pub(crate) fn say(message: &dyn fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{message}");
}
