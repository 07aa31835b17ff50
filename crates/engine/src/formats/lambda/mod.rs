//! The format `lambda`: the AWS Lambda Runtime API, so that Lambda container images run unchanged.
//!
//! The function's process is a client: it asks for its next event, posts the answer, asks again
//! (Lambda developer guide, "Using the Lambda runtime API"). We serve that API to each sandbox on
//! a listener of its own, made inside its network namespace before it starts.
//!
//! `environment`, `names` and `event` say what a function is told; `answer`, `prelude` and
//! `function_error` read what it says. `session` is the state of one sandbox's runtime, without
//! HTTP; `api` and `response` are the routes on top of it, `fault` their refusals, `server` the
//! connections. `link` is what the pool sees.

mod answer;
mod api;
mod environment;
mod event;
mod fault;
mod function_error;
mod link;
mod names;
mod prelude;
mod response;
mod server;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use picasso_image::ImageProcess;
use picasso_sandbox::{Channel, Endpoint};
use picasso_types::Failure;

use crate::function_log::LogStream;
use crate::hot::link::{HotFormat, Link, Started};
use crate::secrets::OpenSecrets;
use crate::target::Target;
use link::LambdaLink;
use session::Session;

/// The port of the Runtime API inside each sandbox; Lambda's own.
const PORT: u16 = 9001;
/// What an answer that is not streamed may be larger than a request, bytes (as in Lambda).
const ANSWER_EXTRA: usize = 100;

/// The format.
#[derive(Debug)]
pub(super) struct Lambda;

#[async_trait]
impl HotFormat for Lambda {
    fn channel(&self) -> Channel {
        Channel::Listener { port: PORT }
    }

    fn environment(
        &self,
        image: &ImageProcess,
        target: &Target,
        secrets: &OpenSecrets,
    ) -> Vec<(String, String)> {
        environment::of_process(image, target, secrets)
    }

    async fn open(&self, started: Started) -> Result<Arc<dyn Link>, Failure> {
        let Started { stdin, stdout, endpoint, log, target, max_buffered_body_bytes, .. } = started;
        let Endpoint::Listener(listener) = endpoint else {
            tracing::error!(?endpoint, "a sandbox of format lambda was started without a listener");
            return Err(Failure::Internal);
        };
        // The contract has no stdin; a function that reads it sees its end.
        drop(stdin);
        // Ends with the process: all its descriptors are closed then.
        tokio::spawn(async move { log.follow(stdout, LogStream::Stdout).await });
        let max_body = usize::try_from(max_buffered_body_bytes).unwrap_or(usize::MAX);
        let (session, initialised) = Session::new(max_body.saturating_add(ANSWER_EXTRA));
        let link = LambdaLink::serve(listener, session, &target, max_body);
        match initialised.await {
            Ok(Ok(())) => Ok(Arc::new(link)),
            Ok(Err(reason)) => Err(Failure::InitFailed { reason }),
            Err(_) => Err(Failure::Internal),
        }
    }
}

/// What a function posted, read as each of the things it may be. For the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let body = bytes::Bytes::copy_from_slice(bytes);
    let _ = answer::of_function_url(body.clone());
    let _ = answer::of_run(body);
    let mut prelude = prelude::Prelude::default();
    for chunk in bytes.chunks(7) {
        if !matches!(prelude.push(chunk), Ok(None)) {
            break;
        }
    }
    let (first, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let mut headers = http::HeaderMap::new();
    if let Ok(value) = http::HeaderValue::from_bytes(first) {
        headers.insert(function_error::ERROR_TYPE, value.clone());
        headers.insert("traceparent", value);
    }
    let _ = function_error::FunctionError::parse(&headers, rest).into_failure();
    let _ = function_error::FunctionError::in_trailers(&headers);
    let _ = names::xray_trace(&headers);
}
