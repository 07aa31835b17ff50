//! The format `http-stream`: Fn's contract for its FDKs, HTTP over a Unix socket that the function
//! makes.
//!
//! Contract: fnproject/docs `fn/develop/fn-format.md` and fnserver 0.3.753. A
//! connection serves one call at a time and rests before it serves another (see [`connections`]).

mod answer;
mod connections;
mod ready;
mod request;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join;
use http::StatusCode;
use picasso_image::ImageProcess;
use picasso_sandbox::{Channel, Endpoint, SOCKET_FOLDER};
use picasso_types::Failure;
use tokio::io::AsyncWrite;

use self::connections::{Connections, NoConnection};
use super::exchange::{Aftermath, RequestBody, exchange};
use crate::environment;
use crate::function_log::LogStream;
use crate::hot::lease::Lease;
use crate::hot::link::{HotAnswer, HotCall, HotFormat, Link, LinkFault, Started};
use crate::secrets::OpenSecrets;
use crate::target::Target;

/// The socket's name in its folder (Fn's name for it).
const SOCKET: &str = "lsnr.sock";

/// The format.
#[derive(Debug)]
pub(super) struct HttpStream;

#[async_trait]
impl HotFormat for HttpStream {
    fn channel(&self) -> Channel {
        Channel::SocketFolder
    }

    fn environment(
        &self,
        image: &ImageProcess,
        target: &Target,
        secrets: &OpenSecrets,
    ) -> Vec<(String, String)> {
        let mut ours = vec![
            ("FN_LISTENER", format!("unix:{SOCKET_FOLDER}/{SOCKET}")),
            ("FN_FORMAT", "http-stream".to_owned()),
            ("FN_TYPE", "sync".to_owned()),
            ("FN_FN_ID", target.route.id.to_string()),
            ("FN_APP_ID", target.app.id.to_string()),
            ("FN_NAME", target.route.pattern.to_string()),
            ("FN_APP_NAME", target.app.full_name.to_string()),
        ];
        let version = target.version.as_ref();
        ours.extend(version.map(|version| ("FN_MEMORY", version.spec.memory_mb.to_string())));
        environment::of_process(image, version.map(|version| &version.merged_config), secrets, ours)
    }

    async fn open(&self, started: Started) -> Result<Arc<dyn Link>, Failure> {
        let Started { stdin, stdout, endpoint, log, start_timeout, conduct, .. } = started;
        let Endpoint::SocketFolder(folder) = endpoint else {
            tracing::error!(?endpoint, "a function of http-stream was started without a socket folder");
            return Err(Failure::Internal);
        };
        tokio::spawn(async move { log.follow(stdout, LogStream::Stdout).await });
        let (socket, first) = ready::socket(&folder, SOCKET, start_timeout).await?;
        Ok(Arc::new(HttpStreamLink {
            connections: Arc::new(Connections::new(socket, first, conduct)),
            _stdin: Mutex::new(stdin),
        }))
    }
}

/// A ready function.
struct HttpStreamLink {
    connections: Arc<Connections>,
    /// Sees no end while the sandbox lives. Never locked: a link is shared between tasks.
    _stdin: Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
}

impl std::fmt::Debug for HttpStreamLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpStreamLink")
    }
}

#[async_trait]
impl Link for HttpStreamLink {
    async fn call(&self, call: HotCall, lease: Lease) -> Result<HotAnswer, LinkFault> {
        let stream = match self.connections.take().await {
            Ok(stream) => stream,
            Err(NoConnection::Spoke) => return Err(LinkFault::Failed(spoke_unasked())),
            // Another sandbox takes this call, which is not to blame; this one ends.
            Err(NoConnection::SaidMore | NoConnection::Unreachable) => {
                return Err(LinkFault::Unsent(Box::new(call)));
            }
        };
        let HotCall { mut invocation, deadline } = call;
        let limit_s = invocation.target.version.as_ref().map_or(0, |version| version.spec.timeout_s);
        let body = std::mem::replace(&mut invocation.body, Box::pin(futures_util::stream::empty()));
        let body = match RequestBody::take(&mut invocation.headers, body).await {
            Ok(body) => body,
            Err(error) => {
                // The function has not seen this call.
                self.connections.put_back(stream);
                lease.keep();
                return Err(LinkFault::Body(error));
            }
        };
        let request = request::request(&invocation, body, deadline);
        let aftermath =
            Aftermath { lease, patience: Some(deadline), fit: is_fit, home: Some(self.connections.clone()) };
        let (answer, ()) = join(exchange(stream, request, aftermath), self.connections.open_next()).await;
        answer::of(answer?, limit_s).await
    }
}

/// Whether an FDK that answers so goes on serving: 200 is an answer, 502 a function that failed,
/// 504 one that took too long; anything else is a fault of the FDK.
fn is_fit(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
}

fn spoke_unasked() -> Failure {
    Failure::BadAnswer { reason: "it wrote to a connection before it was sent a request".to_owned() }
}

/// What a function wrote to a connection, read as the answer to a call. For the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    use futures_util::StreamExt;
    use tokio::io::AsyncWriteExt;

    #[derive(Debug)]
    struct Nobody;
    impl crate::hot::lease::Holder for Nobody {
        fn returned(&self, _kept: bool) {}
    }

    let talk = async {
        let (ours, mut function) = tokio::net::UnixStream::pair().ok()?;
        let body: crate::invocation::Body = Box::pin(futures_util::stream::empty());
        let body = RequestBody::take(&mut http::HeaderMap::new(), body).await.ok()?;
        let request = http::Request::post("/call").body(body).ok()?;
        // More than a socket's buffer takes would wait for a reader.
        function.write_all(&bytes[..bytes.len().min(64 * 1024)]).await.ok()?;
        // Half closed only: a request sent to nobody is a signal to a fuzz target.
        function.shutdown().await.ok()?;
        let lease = Lease::new(Arc::new(Nobody));
        let aftermath = Aftermath { lease, patience: None, fit: is_fit, home: None };
        let answer = exchange(ours, request, aftermath).await.ok()?;
        let mut body = answer::of(answer, 1).await.ok()?.body;
        while let Some(Ok(_)) = body.next().await {}
        drop(function);
        Some(())
    };
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        let _ = runtime.block_on(talk);
    }
}
