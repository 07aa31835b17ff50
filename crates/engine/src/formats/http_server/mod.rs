//! The format `http-server`: the container listens on `$PORT`, as Cloud Run, Knative and
//! OpenFaaS' of-watchdog have it, and may serve several calls at a time.
//!
//! Contract: knative/specs runtime contract, Cloud Run's container contract. Every call has a
//! connection of its own.

mod ready;
mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use picasso_image::ImageProcess;
use picasso_sandbox::{Channel, Dialer, Endpoint};
use picasso_types::Failure;

use super::context;
use super::exchange::{Aftermath, RequestBody, exchange};
use crate::environment;
use crate::function_log::LogStream;
use crate::hot::lease::Lease;
use crate::hot::link::{HotAnswer, HotCall, HotFormat, Link, LinkFault, Started};
use crate::secrets::OpenSecrets;
use crate::target::Target;

/// The port that the process is told to listen on. Configuration cannot choose another: the
/// contract has one port, and the platform says which.
const PORT: u16 = 8080;

/// The format.
#[derive(Debug)]
pub(super) struct HttpServer;

#[async_trait]
impl HotFormat for HttpServer {
    fn channel(&self) -> Channel {
        Channel::Port { port: PORT }
    }

    fn environment(
        &self,
        image: &ImageProcess,
        target: &Target,
        secrets: &OpenSecrets,
    ) -> Vec<(String, String)> {
        let version = target.version.as_ref();
        let mut ours = vec![
            ("PORT", PORT.to_string()),
            ("K_SERVICE", target.app.full_name.to_string()),
            ("K_CONFIGURATION", target.route.id.to_string()),
        ];
        ours.extend(version.map(|version| ("K_REVISION", version.id.to_string())));
        environment::of_process(image, version.map(|version| &version.merged_config), secrets, ours)
    }

    async fn open(&self, started: Started) -> Result<Arc<dyn Link>, Failure> {
        let Started { stdin, stdout, endpoint, log, target, start_timeout, .. } = started;
        let Endpoint::Dialer(dialer) = endpoint else {
            tracing::error!(?endpoint, "a function of http-server was started without a port");
            return Err(Failure::Internal);
        };
        // The contract's stdin reads its end.
        drop(stdin);
        tokio::spawn(async move { log.follow(stdout, LogStream::Stdout).await });
        ready::wait(&dialer, PORT, start_timeout).await?;
        let concurrency = target.version.as_ref().map_or(1, |version| version.spec.concurrency);
        Ok(Arc::new(HttpServerLink { dialer, one_at_a_time: concurrency == 1 }))
    }
}

/// A server that takes connections.
#[derive(Debug)]
struct HttpServerLink {
    dialer: Dialer,
    one_at_a_time: bool,
}

#[async_trait]
impl Link for HttpServerLink {
    async fn call(&self, call: HotCall, lease: Lease) -> Result<HotAnswer, LinkFault> {
        let Ok(stream) = self.dialer.connect().await else {
            return Err(LinkFault::Unsent(Box::new(call)));
        };
        // Closed by a reset: a thousand calls a second would leave a thousand ports waiting for a
        // minute each. Whatever the function sent has been read by then, or is for nobody.
        if let Err(error) = stream.set_zero_linger() {
            tracing::debug!(%error, "a connection will close slowly");
        }
        let HotCall { mut invocation, deadline } = call;
        let body = std::mem::replace(&mut invocation.body, Box::pin(futures_util::stream::empty()));
        let body = match RequestBody::take(&mut invocation.headers, body).await {
            Ok(body) => body,
            Err(error) => {
                // The function has not seen this call.
                lease.keep();
                return Err(LinkFault::Body(error));
            }
        };
        let request = request::request(&invocation, body)?;
        let patience = self.one_at_a_time.then_some(deadline);
        let aftermath = Aftermath { lease, patience, fit: any_status, home: None };
        let (parts, body) = exchange(stream, request, aftermath).await?.into_parts();
        let mut headers = parts.headers;
        context::remove_hop_by_hop(&mut headers);
        Ok(HotAnswer { status: parts.status, headers, body: Box::pin(body) })
    }
}

/// A server's status is its answer to one caller and says nothing of the sandbox.
fn any_status(_: StatusCode) -> bool {
    true
}
