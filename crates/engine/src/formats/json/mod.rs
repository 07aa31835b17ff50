//! The format `json`: one JSON document per call on stdin, one on stdout, in any language.
//!
//! Specified in `docs/formats.md`. `request` writes what the function reads, `scanner` finds the
//! end of what it writes, `answer` reads that.

pub(crate) mod answer;
mod request;
mod scanner;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use picasso_image::ImageProcess;
use picasso_sandbox::Channel;
use picasso_types::Failure;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use self::answer::{AnswerFault, JsonAnswer};
use self::scanner::Scanner;
use super::pipes::{Hold, PipeFault, Pipes, Rest, Unstarted, timed_out};
use crate::environment;
use crate::hot::lease::Lease;
use crate::hot::link::{HotAnswer, HotCall, HotFormat, Link, LinkFault, Started};
use crate::invocation::{Body, BodyError};
use crate::secrets::OpenSecrets;
use crate::target::Target;

/// What an answer may have beside its body: headers, escapes, white space.
const AROUND_BODY: u64 = 256 * 1024;
/// How much is read at one time at most.
const READ: usize = 64 * 1024;

/// The format.
#[derive(Debug)]
pub(super) struct Json;

#[async_trait]
impl HotFormat for Json {
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
        environment::of_process(image, config, secrets, [("FN_FORMAT", "json".to_owned())])
    }

    /// At once: a request waits in the pipe until the function reads it.
    async fn open(&self, started: Started) -> Result<Arc<dyn Link>, Failure> {
        let max_body = started.max_buffered_body_bytes;
        Ok(Arc::new(JsonLink { rest: Arc::new(Rest::new(Pipes::new(started, true))), max_body }))
    }
}

#[derive(Debug)]
struct JsonLink {
    rest: Arc<Rest>,
    /// Most bytes of a body, either way.
    max_body: u64,
}

#[async_trait]
impl Link for JsonLink {
    async fn call(&self, mut call: HotCall, lease: Lease) -> Result<HotAnswer, LinkFault> {
        let unstarted = Unstarted::new(lease);
        let body = collect(&mut call.invocation.body, self.max_body).await.map_err(LinkFault::Body)?;
        let document = request::document(&call.invocation, &body, call.deadline).map_err(|error| {
            tracing::error!(call_id = %call.invocation.call_id, %error, "a request could not be written as JSON");
            LinkFault::Failed(Failure::Internal)
        })?;
        let lease = unstarted.start();
        call.invocation.body = Box::pin(stream::iter([Ok(body)]));
        let Some(mut pipes) = self.rest.take() else {
            return Err(LinkFault::Unsent(Box::new(call)));
        };
        if let Err(fault) = pipes.begin(Hold::After(document.len() - request::END.len())).await {
            return Err(pipes.refuse(call, &fault));
        }
        let call_id = call.invocation.call_id.clone();
        let (answered, answer) = oneshot::channel();
        let exchange = Exchange { rest: self.rest.clone(), lease, max_body: self.max_body };
        // A task of its own: a function whose caller hung up may finish and live on.
        tokio::spawn(timeout_at(call.deadline, async move {
            // Whoever waited for it may be gone.
            let _ = answered.send(exchange.run(pipes, &document, call_id.as_str()).await);
        }));
        match answer.await {
            Ok(answer) => answer.map(HotAnswer::from),
            // Past the deadline, which the caller of this counts as well.
            Err(_) => Err(LinkFault::Failed(timed_out(&call.invocation.target))),
        }
    }

    fn close(&self) {
        self.rest.close();
    }
}

impl From<JsonAnswer> for HotAnswer {
    fn from(answer: JsonAnswer) -> Self {
        let JsonAnswer { status, headers, body } = answer;
        Self { status, headers, body: Box::pin(stream::iter([Ok(body)])) }
    }
}

/// The whole body; nothing of it goes to the function before all of it is here.
async fn collect(body: &mut Body, max: u64) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if (first.len() + all.len() + chunk.len()) as u64 > max {
            return Err(BodyError::TooLarge(max));
        }
        if first.is_empty() && all.is_empty() {
            first = chunk;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&chunk);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// One request and its answer.
struct Exchange {
    rest: Arc<Rest>,
    lease: Option<Lease>,
    max_body: u64,
}

impl Exchange {
    async fn run(self, mut pipes: Pipes, document: &[u8], call_id: &str) -> Result<JsonAnswer, LinkFault> {
        match self.talk(&mut pipes, document, call_id).await {
            Ok(answer) => {
                // The pipes first: with the lease the sandbox is free for the next call.
                self.rest.give_back(pipes);
                if let Some(lease) = self.lease {
                    lease.keep();
                }
                Ok(answer)
            }
            Err(fault) => {
                let sentence = fault.to_string();
                pipes.note(&sentence);
                Err(match fault {
                    Fault::Pipe(_) => LinkFault::BrokenOff(sentence),
                    Fault::Answer(AnswerFault::TooLarge) => {
                        LinkFault::Failed(Failure::OutputTooLarge { limit_bytes: self.max_body })
                    }
                    Fault::Answer(AnswerFault::Invalid(reason)) => {
                        LinkFault::Failed(Failure::BadAnswer { reason })
                    }
                })
            }
        }
    }

    async fn talk(&self, pipes: &mut Pipes, document: &[u8], call_id: &str) -> Result<JsonAnswer, Fault> {
        if pipes.write_all(document).await.is_err() {
            return Err(pipes.fault().into());
        }
        let text = self.read(pipes).await?;
        let answer = answer::parse(&text, call_id, self.max_body)?;
        pipes.finish().await?;
        Ok(answer)
    }

    /// The answer's text; what comes after it must be nothing.
    async fn read(&self, pipes: &mut Pipes) -> Result<BytesMut, Fault> {
        // A body in base64 is longer by a third, one of quotes twice as long.
        let most = self.max_body.saturating_mul(2).saturating_add(AROUND_BODY);
        let mut scanner = Scanner::default();
        let mut text = BytesMut::with_capacity(1024);
        let mut seen = 0;
        loop {
            if text.capacity() == text.len() {
                text.reserve(text.len().clamp(1024, READ));
            }
            pipes.read_more(&mut text).await?;
            match scanner.feed(&text[seen..]) {
                Ok(Some(end)) => {
                    let rest = text.split_off(seen + end);
                    if !rest.iter().all(u8::is_ascii_whitespace) {
                        return Err(AnswerFault::Invalid(
                            "more than one JSON document came for one request".to_owned(),
                        )
                        .into());
                    }
                    return Ok(text);
                }
                Ok(None) => seen = text.len(),
                Err(malformed) => return Err(AnswerFault::Invalid(malformed.to_string()).into()),
            }
            if text.len() as u64 > most {
                return Err(AnswerFault::TooLarge.into());
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Pipe(#[from] PipeFault),
    #[error(transparent)]
    Answer(#[from] AnswerFault),
}

/// What a function wrote, read as the answer to the call `call`: the format's two parsers in the
/// order in which an exchange uses them. For the fuzz target.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(Some(end)) = Scanner::default().feed(bytes) {
        let _ = answer::parse(&bytes[..end], "call", 1 << 16);
    }
    let _ = answer::parse(bytes, "call", 1 << 16);
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
