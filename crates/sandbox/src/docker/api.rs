//! Calls of the Docker Engine API: bounded in number and time, errors in our words.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::Semaphore;

use crate::SandboxError;

/// Calls under way at one time; the Engine works them off about as fast with more.
const PARALLEL: usize = 16;
/// How long a short call may take; a loaded Engine is slow, a hung one is not waited for.
const SHORT: Duration = Duration::from_mins(1);
/// How long the wait for a container's end or an image's load may take.
const LONG: Duration = Duration::from_hours(24);

/// The Engine's client.
#[derive(Debug, Clone)]
pub(super) struct Api {
    socket: PathBuf,
    short: Docker,
    long: Docker,
    places: Arc<Semaphore>,
}

impl Api {
    /// Connects and agrees on a version of the API.
    pub(super) async fn connect(socket: &Path) -> Result<Self, SandboxError> {
        let path = socket.to_string_lossy();
        let short = Docker::connect_with_unix(&path, SHORT.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| unreachable_engine(socket, &error))?;
        let short = tokio::time::timeout(Duration::from_secs(10), short.negotiate_version())
            .await
            .map_err(|_| unreachable_engine(socket, &Error::RequestTimeoutError))?
            .map_err(|error| unreachable_engine(socket, &error))?;
        let long = short.clone().with_timeout(LONG);
        Ok(Self { socket: socket.to_owned(), short, long, places: Arc::new(Semaphore::new(PARALLEL)) })
    }

    /// The client for calls that may take long by their nature; not counted.
    pub(super) fn long(&self) -> &Docker {
        &self.long
    }

    /// Makes a short call; the raw error is for callers that expect some.
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(Docker) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        // The semaphore is never closed.
        let _place = self.places.acquire().await.map_err(|_| Error::RequestTimeoutError)?;
        tokio::time::timeout(SHORT, call(self.short.clone())).await.unwrap_or(Err(Error::RequestTimeoutError))
    }

    /// Says an error in our words.
    pub(super) fn error(&self, context: &str, error: &Error) -> SandboxError {
        match error {
            Error::DockerResponseServerError { message, .. }
            | Error::DockerStreamError { error: message } => {
                SandboxError::Failed { context: context.to_owned(), reason: shortened(message) }
            }
            Error::RequestTimeoutError => SandboxError::Unavailable {
                driver: "docker",
                reason: format!("{context}: the Docker Engine took too long to answer"),
            },
            Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::SocketNotFoundError(_) => unreachable_engine(&self.socket, error),
            other => SandboxError::Failed { context: context.to_owned(), reason: shortened(&chain(other)) },
        }
    }
}

/// The status of an answer that says no.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The Engine's message, if it sent one.
pub(super) fn message(error: &Error) -> Option<&str> {
    match error {
        Error::DockerResponseServerError { message, .. } => Some(message),
        _ => None,
    }
}

/// A message of bounded length in one line.
pub(super) fn shortened(message: &str) -> String {
    message.trim().chars().take(500).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn unreachable_engine(socket: &Path, error: &Error) -> SandboxError {
    SandboxError::Unavailable {
        driver: "docker",
        reason: format!(
            "the Docker Engine does not answer on {} ({}) (hint: is it running, and may this user \
             use its socket?)",
            socket.display(),
            shortened(&chain(error)),
        ),
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
