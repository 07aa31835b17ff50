//! One request and its answer, over the pipes of a function of format `http`.
//!
//! hyper speaks HTTP; each call is a connection of its own to it, over the same pipes. So nothing
//! of one call's parsing is there for the next, and what hyper has read beyond the answer can be
//! looked at when the call is over. An idle sandbox holds no buffers.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use picasso_types::Failure;
use tokio::sync::{mpsc, oneshot};

use super::request::{RequestBody, TASK_ID};
use crate::formats::context;
use crate::formats::pipes::{Pipes, Rest};
use crate::hot::lease::Lease;
use crate::hot::link::LinkFault;
use crate::invocation::BodyError;

/// Longest head of an answer, and most of a body that is held while the caller is slow.
const BUFFER: usize = 64 * 1024;

/// What a function did that wrote on after its answer.
const MORE_THAN_ONE: &str = "it wrote more than one answer, or one longer than its Content-Length";

/// A part of an answer's body; `None` is its end.
pub(super) type Part = Option<Result<Bytes, Failure>>;

/// Takes an answer's head, or why there is none.
type HeadSender = oneshot::Sender<Result<Response<()>, LinkFault>>;

/// One exchange.
pub(super) struct Exchange {
    /// Where the pipes go afterwards.
    pub(super) rest: Arc<Rest>,
    pub(super) lease: Option<Lease>,
    /// The request's.
    pub(super) method: Method,
    /// The call's id.
    pub(super) call_id: HeaderValue,
    /// Whom the answer goes to: its head, once, and its body.
    pub(super) head: Option<HeadSender>,
    pub(super) body: mpsc::Sender<Part>,
}

/// Why an exchange failed.
enum Fault {
    /// The answer breaks its contract, in a sentence.
    Answer(String),
    /// As hyper says it.
    Http(hyper::Error),
    /// The request's body.
    Body(BodyError),
}

impl From<hyper::Error> for Fault {
    fn from(error: hyper::Error) -> Self {
        let source = std::error::Error::source(&error);
        match source.and_then(|source| source.downcast_ref::<BodyError>()) {
            Some(body) => Self::Body(*body),
            None => Self::Http(error),
        }
    }
}

impl Exchange {
    /// Runs it to its end. The caller may go meanwhile: the answer is then read for nobody.
    pub(super) async fn run(mut self, pipes: Pipes, request: Request<RequestBody>) {
        let (mut pipes, read_beyond, outcome) = match self.talk(pipes, request).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "no connection over the pipes of a sandbox");
                return;
            }
        };
        let outcome = match outcome {
            Ok(_) if read_beyond > 0 => Err(Fault::Answer(MORE_THAN_ONE.to_owned())),
            Ok(reusable) => match pipes.finish().await {
                Ok(()) => Ok(reusable),
                Err(fault) => Err(Fault::Answer(fault.to_string())),
            },
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(reusable) => {
                // The pipes first: with the lease the sandbox is free for the next call.
                if reusable && let Some(lease) = self.lease {
                    self.rest.give_back(pipes);
                    lease.keep();
                }
                let _ = self.body.send(None).await;
            }
            Err(fault) => {
                let fault = told(&pipes, fault);
                let _ = match self.head.take() {
                    Some(head) => head.send(Err(fault)).is_ok(),
                    None => self.body.send(Some(Err(cut_short(fault)))).await.is_ok(),
                };
            }
        }
    }

    /// The pipes, how many bytes were read beyond the answer, and whether the sandbox can go on.
    async fn talk(
        &mut self,
        pipes: Pipes,
        request: Request<RequestBody>,
    ) -> hyper::Result<(Pipes, usize, Result<bool, Fault>)> {
        let mut http = http1::Builder::new();
        let http = http.title_case_headers(true).max_header_size(BUFFER).max_buf_size(BUFFER);
        let (mut sender, mut connection) = http.handshake(TokioIo::new(pipes)).await?;
        let answer = sender.send_request(request);
        let outcome = {
            let forwarded = async {
                let answer = answer.await?;
                // There is no second request: the connection ends with this answer.
                drop(sender);
                self.forward(answer).await
            };
            tokio::pin!(forwarded);
            let mut driven = poll_fn(|cx| connection.poll_without_shutdown(cx));
            tokio::select! {
                biased;
                outcome = &mut forwarded => match outcome {
                    // The rest of the request's body may still be on its way.
                    Ok(reusable) => (&mut driven).await.map(|()| reusable).map_err(Fault::from),
                    Err(fault) => Err(fault),
                },
                ended = &mut driven => match (forwarded.await, ended) {
                    // The connection knows better than the answer why it broke off.
                    (_, Err(error)) => Err(Fault::from(error)),
                    (outcome, Ok(())) => outcome,
                },
            }
        };
        let parts = connection.into_parts();
        Ok((parts.io.into_inner(), parts.read_buf.len(), outcome))
    }

    /// Passes the answer on; whether the function takes another request after it.
    async fn forward(&mut self, answer: Response<Incoming>) -> Result<bool, Fault> {
        let (mut head, mut body) = answer.into_parts();
        if !(200..=599).contains(&head.status.as_u16()) {
            return Err(Fault::Answer("its status is not one from 200 to 599".to_owned()));
        }
        let no_body = self.method == Method::HEAD
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
        let lengths = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        if !no_body && !lengths.iter().any(|name| head.headers.contains_key(name)) {
            let sentence = "its answer has neither Content-Length nor Transfer-Encoding: chunked, so nothing says where it ends";
            return Err(Fault::Answer(sentence.to_owned()));
        }
        // An answer need not say whose it is; one that does is believed.
        for name in [context::CALL_ID, TASK_ID] {
            if head.headers.remove(name).is_some_and(|id| id != self.call_id) {
                return Err(Fault::Answer("its call id is not that of the request".to_owned()));
            }
        }
        let reusable = stays_open(&head);
        context::remove_hop_by_hop(&mut head.headers);
        if let Some(sender) = self.head.take() {
            // An error means that the caller hung up.
            let _ = sender.send(Ok(Response::from_parts(head, ())));
        }
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data()
                && !self.body.is_closed()
            {
                let _ = self.body.send(Some(Ok(data))).await;
            }
        }
        Ok(reusable)
    }
}

/// Whether the function goes on after this answer, as it says.
fn stays_open(head: &http::response::Parts) -> bool {
    let values = head.headers.get_all(header::CONNECTION).iter();
    let words: Vec<&str> =
        values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    let says = |word: &str| words.iter().any(|said| said.trim().eq_ignore_ascii_case(word));
    if head.version == Version::HTTP_10 { says("keep-alive") } else { !says("close") }
}

/// What the caller is told; the owner's log has the bytes as well.
fn told(pipes: &Pipes, fault: Fault) -> LinkFault {
    let sentence = match fault {
        Fault::Body(error) => return LinkFault::Body(error),
        Fault::Answer(sentence) => sentence,
        Fault::Http(error) if error.is_parse_too_large() => {
            format!("the head of its answer is longer than {BUFFER} bytes or has more than 100 headers")
        }
        Fault::Http(error) if error.is_parse() => {
            "its answer is not HTTP/1.1: a status line, headers, an empty line, the body".to_owned()
        }
        Fault::Http(error) if error.is_incomplete_message() || is_io(&error) => pipes.fault().to_string(),
        Fault::Http(_) => MORE_THAN_ONE.to_owned(),
    };
    pipes.note(&sentence);
    LinkFault::BrokenOff(sentence)
}

/// Whether reading or writing the pipes failed.
fn is_io(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// The failure of an answer whose head is with the caller already.
fn cut_short(fault: LinkFault) -> Failure {
    match fault {
        LinkFault::BrokenOff(reason) => Failure::BadAnswer { reason },
        LinkFault::Body(_) => Failure::HungUp,
        LinkFault::Failed(failure) => failure,
        LinkFault::Unsent(_) => Failure::Internal,
    }
}
