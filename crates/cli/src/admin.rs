//! HTTP to a running server over its admin socket.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::CliFailure;

/// Largest answer that is read, bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A running server.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    socket: PathBuf,
}

impl Admin {
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Sends a request and returns the JSON of a 2xx answer.
    pub(crate) async fn send<B>(
        &self,
        method: Method,
        path: &str,
        body: B,
    ) -> Result<serde_json::Value, CliFailure>
    where
        B: hyper::body::Body<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| unreachable(&self.socket, &e))?;
        let broken = |error: hyper::Error| {
            CliFailure::new(format!("the server broke off: {error}"))
                .hint("its log, on the standard error of `picasso serve`, has the reason")
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "localhost")
            .body(body)
            .map_err(|error| CliFailure::new(format!("cannot ask the server for {path}: {error}")))?;
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let bytes = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| CliFailure::new(format!("the server's answer broke off: {error}")))?
            .to_bytes();
        connection.abort();
        if head.status.is_success() {
            serde_json::from_slice(&bytes)
                .map_err(|error| CliFailure::new(format!("the server's answer is not JSON: {error}")))
        } else {
            Err(refused(head.status, &bytes))
        }
    }
}

fn unreachable(socket: &Path, error: &io::Error) -> CliFailure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "root and the user the server runs as may use it: try sudo",
        _ => "is `picasso serve` running? name its configuration by --config, or its socket by --socket",
    };
    CliFailure::new(format!("cannot reach the server at {}: {error}", socket.display())).hint(hint)
}

/// The server's own words: `{"error":{"message":…}}`.
fn refused(status: StatusCode, body: &[u8]) -> CliFailure {
    let told = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|answer| answer["error"]["message"].as_str().map(str::to_owned));
    match told {
        Some(message) if status.is_client_error() => CliFailure::new(message),
        Some(message) => CliFailure::new(format!("{message} ({status})"))
            .hint("its log, on the standard error of `picasso serve`, has the reason"),
        None => CliFailure::new(format!("the server answered {status}")),
    }
}
