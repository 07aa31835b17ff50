//! The format `http`: IronFunctions' hot functions, which read HTTP/1.1 requests from stdin and
//! write the answers to stdout, one at a time. The function's status and headers are used.
//!
//! `request` writes what IronFunctions' functions expect to read, `exchange` carries one call.

mod exchange;
mod request;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;
use http::Request;
use picasso_image::ImageProcess;
use picasso_sandbox::Channel;
use picasso_types::Failure;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use self::exchange::{Exchange, Part};
use self::request::RequestBody;
use super::context;
use super::pipes::{Hold, Pipes, Rest, Unstarted, timed_out};
use crate::environment;
use crate::hot::lease::Lease;
use crate::hot::link::{HotAnswer, HotCall, HotFormat, Link, LinkFault, Started};
use crate::invocation::Output;
use crate::secrets::OpenSecrets;
use crate::target::Target;

/// Parts of an answer that may wait for a slow caller.
const PARTS: usize = 2;

/// The format.
#[derive(Debug)]
pub(super) struct Http;

#[async_trait]
impl HotFormat for Http {
    fn channel(&self) -> Channel {
        Channel::Streams
    }

    fn environment(
        &self,
        image: &ImageProcess,
        target: &Target,
        secrets: &OpenSecrets,
    ) -> Vec<(String, String)> {
        let config = target.version.as_ref().map(|version| &version.merged_config);
        // By it IronFunctions' functions know that they are hot.
        environment::of_ironfunctions_process(image, config, secrets, [("FN_FORMAT", "http".to_owned())])
    }

    /// At once: a request waits in the pipe until the function reads it.
    async fn open(&self, started: Started) -> Result<Arc<dyn Link>, Failure> {
        Ok(Arc::new(HttpLink { rest: Arc::new(Rest::new(Pipes::new(started, false))) }))
    }
}

#[derive(Debug)]
struct HttpLink {
    rest: Arc<Rest>,
}

#[async_trait]
impl Link for HttpLink {
    async fn call(&self, mut call: HotCall, lease: Lease) -> Result<HotAnswer, LinkFault> {
        let unstarted = Unstarted::new(lease);
        let invocation = &mut call.invocation;
        let length =
            request::length(&invocation.headers, &mut invocation.body).await.map_err(LinkFault::Body)?;
        let lease = unstarted.start();
        let Some(mut pipes) = self.rest.take() else {
            return Err(LinkFault::Unsent(Box::new(call)));
        };
        if let Err(fault) = pipes.begin(Hold::HeadEnd).await {
            return Err(pipes.refuse(call, &fault));
        }
        let HotCall { invocation, deadline } = call;
        let (parts, ()) = request::head(&invocation, length).into_parts();
        let target = invocation.target;
        let method = parts.method.clone();
        let call_id = parts.headers[&context::CALL_ID].clone();
        let request = Request::from_parts(parts, RequestBody::new(invocation.body, length));
        let (head, answer) = oneshot::channel();
        let (body, parts) = mpsc::channel(PARTS);
        let exchange = Exchange { rest: self.rest.clone(), lease, method, call_id, head: Some(head), body };
        // A task of its own: a function whose caller hung up may finish and live on.
        tokio::spawn(timeout_at(deadline, exchange.run(pipes, request)));
        match answer.await {
            Ok(answer) => {
                let (head, ()) = answer?.into_parts();
                Ok(HotAnswer { status: head.status, headers: head.headers, body: output(parts, target) })
            }
            // Past the deadline, which the caller of this counts as well.
            Err(_) => Err(LinkFault::Failed(timed_out(&target))),
        }
    }

    fn close(&self) {
        self.rest.close();
    }
}

/// The body as it comes. One that ends without its end mark was cut off at the deadline.
fn output(parts: mpsc::Receiver<Part>, target: Arc<Target>) -> Output {
    Box::pin(stream::unfold(Some((parts, target)), |state| async {
        let (mut parts, target) = state?;
        match parts.recv().await {
            Some(Some(Ok(part))) => Some((Ok(part), Some((parts, target)))),
            Some(Some(Err(failure))) => Some((Err(failure), None)),
            Some(None) => None,
            None => Some((Err(timed_out(&target)), None)),
        }
    }))
}

#[cfg(test)]
mod tests;
