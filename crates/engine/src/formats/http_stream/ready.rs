//! Waiting for the socket that a starting function makes.

use std::io::{self, ErrorKind};
use std::time::Duration;

use picasso_sandbox::{FolderSocket, SocketFolder};
use picasso_types::Failure;
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

/// Shortest and longest pause before a socket that nothing listens on is tried again: no event
/// tells of the moment at which its owner begins to listen.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// What was last found in the folder.
enum Found {
    /// No such name, or a link to one.
    Nothing,
    /// A socket that takes no connections yet.
    NotListening,
    /// A socket that we may not connect to.
    NotPermitted,
}

/// Waits until the socket `name` of `folder` takes connections; the socket and the first of them.
pub(super) async fn socket(
    folder: &SocketFolder,
    name: &str,
    within: Duration,
) -> Result<(FolderSocket, UnixStream), Failure> {
    let deadline = Instant::now() + within;
    // Watched before it is looked at, so that nothing happens unseen in between.
    let watch = folder.watch().map_err(|error| ours("watching a socket folder", &error))?;
    let mut pause = PAUSES.0;
    loop {
        let found = match folder.open(name) {
            Ok(socket) => match socket.connect().await {
                Ok(stream) => return Ok((socket, stream)),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Found::NotListening,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Found::NotPermitted,
                Err(error) => return Err(ours("connecting to a function's socket", &error)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
            Err(error) => return Err(no_socket(name, &error)),
        };
        let news = match found {
            Found::NotListening => {
                let until = deadline.min(Instant::now() + pause);
                pause = (pause * 2).min(PAUSES.1);
                // Woken by a change or by the pause, whichever is first.
                let changed = timeout_at(until, watch.changed()).await;
                changed.map_or_else(|_| Ok(Instant::now() < deadline), |outcome| outcome.map(|()| true))
            }
            Found::Nothing | Found::NotPermitted => match timeout_at(deadline, watch.changed()).await {
                Ok(outcome) => outcome.map(|()| true),
                Err(_) => Ok(false),
            },
        };
        if !news.map_err(|error| ours("watching a socket folder", &error))? {
            return Err(too_late(name, &found, within));
        }
    }
}

fn too_late(name: &str, found: &Found, within: Duration) -> Failure {
    let seconds = within.as_secs_f32();
    let reason = match found {
        Found::Nothing => format!("it made no socket {name} within {seconds} s"),
        Found::NotListening => format!("it did not listen on its socket {name} within {seconds} s"),
        Found::NotPermitted => {
            format!("its socket {name} may not be connected to: it needs mode 0666 (after {seconds} s)")
        }
    };
    Failure::InitFailed { reason }
}

fn no_socket(name: &str, error: &io::Error) -> Failure {
    let reason = match Errno::from_io_error(error) {
        Some(Errno::XDEV) => format!("{name} leads out of its folder; a link may only name a sibling"),
        Some(Errno::LOOP) => format!("{name} is a link of a kind that is not followed, or leads in circles"),
        None => error.to_string(),
        Some(_) => format!("{name} cannot be opened as a socket: {error}"),
    };
    Failure::InitFailed { reason }
}

fn ours(what: &str, error: &io::Error) -> Failure {
    tracing::error!(%error, "{what} failed");
    Failure::Internal
}
