//! A runtime's answer to its call: read whole, or streamed on as it comes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use picasso_types::{Failure, Trigger};
use tokio::sync::mpsc;

use super::answer::{self, Head, Whole};
use super::fault::{self, Fault};
use super::function_error::FunctionError;
use super::prelude::Prelude;
use super::session::{AnswerKind, Answering, Session};
use crate::hot::link::{HotAnswer, LinkFault};
use crate::invocation::Output;

/// Chunks between function and caller; bounds memory, makes a slow caller slow the function.
const CHUNKS_IN_FLIGHT: usize = 4;

const RESPONSE_MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");
const HTTP_INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";

/// A body that was read whole.
pub(super) enum Read {
    /// All of it.
    Whole(Bytes),
    /// It is larger than the limit; the rest was read and thrown away, because a client that
    /// still writes does not read why it was refused.
    TooLarge,
    /// It broke off.
    Truncated,
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read_whole<B: Body<Data = Bytes> + Unpin>(mut body: B, limit: usize) -> Read {
    let mut whole = BytesMut::new();
    let mut too_large = false;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Read::Truncated };
        let Some(data) = frame.data_ref() else { continue };
        too_large |= whole.len() + data.len() > limit;
        if too_large {
            whole = BytesMut::new();
        } else {
            whole.extend_from_slice(data);
        }
    }
    if too_large { Read::TooLarge } else { Read::Whole(whole.freeze()) }
}

/// `POST /runtime/invocation/{id}/error`.
pub(super) async fn take_error<B: Body<Data = Bytes> + Unpin>(
    session: &Arc<Session>,
    id: &str,
    headers: &HeaderMap,
    body: B,
) -> Result<Response<Full<Bytes>>, Fault> {
    let mut answering = session.begin_answer(id, AnswerKind::Error)?;
    let limit = answering.limit();
    let (failure, response) = match read_whole(body, limit).await {
        Read::Whole(body) => (FunctionError::parse(headers, &body).into_failure(), Ok(fault::accepted())),
        Read::TooLarge => (too_large(limit), Err(Fault::RequestEntityTooLarge(limit))),
        Read::Truncated => return Err(Fault::TruncatedRequest),
    };
    answering.reply(Err(LinkFault::Failed(failure)));
    answering.finish();
    response
}

/// `POST /runtime/invocation/{id}/response`.
pub(super) async fn take_response<B: Body<Data = Bytes> + Unpin>(
    session: &Arc<Session>,
    id: &str,
    headers: &HeaderMap,
    body: B,
) -> Result<Response<Full<Bytes>>, Fault> {
    let mut answering = session.begin_answer(id, AnswerKind::Response)?;
    match headers.get(RESPONSE_MODE).map(HeaderValue::as_bytes) {
        None => take_whole(answering, body).await,
        Some(b"streaming") => take_stream(answering, headers, body).await,
        Some(_) => {
            let reason = format!("its {RESPONSE_MODE} is not \"streaming\"");
            answering.reply(Err(LinkFault::BrokenOff(reason)));
            Err(Fault::InvalidResponseMode)
        }
    }
}

async fn take_whole<B: Body<Data = Bytes> + Unpin>(
    mut answering: Answering,
    body: B,
) -> Result<Response<Full<Bytes>>, Fault> {
    let limit = answering.limit();
    let (reply, response) = match read_whole(body, limit).await {
        Read::Whole(result) => {
            let whole = match answering.trigger() {
                Trigger::Run => Ok(answer::of_run(result)),
                Trigger::FunctionUrl
                | Trigger::IronFunctions
                | Trigger::Destination
                | Trigger::Schedule
                | Trigger::Notification
                | Trigger::Webhook
                | Trigger::Object
                | Trigger::Queue => answer::of_function_url(result),
            };
            let bad_answer = |reason| LinkFault::Failed(Failure::BadAnswer { reason });
            (whole.map(hot_answer).map_err(bad_answer), Ok(fault::accepted()))
        }
        Read::TooLarge => {
            (Err(LinkFault::Failed(too_large(limit))), Err(Fault::RequestEntityTooLarge(limit)))
        }
        Read::Truncated => return Err(Fault::TruncatedRequest),
    };
    answering.reply(reply);
    answering.finish();
    response
}

fn too_large(limit: usize) -> Failure {
    Failure::OutputTooLarge { limit_bytes: limit as u64 }
}

fn hot_answer(whole: Whole) -> HotAnswer {
    let Whole { head: Head { status, mut headers }, body } = whole;
    if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    HotAnswer { status, headers, body: Box::pin(stream::iter((!body.is_empty()).then_some(Ok(body)))) }
}

/// A streamed answer: its head goes out as soon as it is known, then each chunk as it comes.
async fn take_stream<B: Body<Data = Bytes> + Unpin>(
    answering: Answering,
    headers: &HeaderMap,
    mut body: B,
) -> Result<Response<Full<Bytes>>, Fault> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let with_prelude =
        content_type.is_some_and(|value| value.as_bytes().starts_with(HTTP_INTEGRATION.as_bytes()));
    let mut streamed = Streamed { answering, pieces: None };
    let mut prelude = if with_prelude {
        Some(Prelude::default())
    } else {
        let octets = HeaderValue::from_static("application/octet-stream");
        let content_type = content_type.cloned().unwrap_or(octets);
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        streamed.begin(Head { status: StatusCode::OK, headers });
        None
    };
    let mut error = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            streamed.fail(Failure::BadAnswer { reason: "it broke off".to_owned() }).await;
            return Err(Fault::TruncatedRequest);
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => {
                error = error.or(other.trailers_ref().and_then(FunctionError::in_trailers));
                continue;
            }
        };
        let Some(open) = &mut prelude else {
            streamed.send(data).await;
            continue;
        };
        match open.push(&data) {
            Ok(None) => {}
            Ok(Some((head, first))) => {
                prelude = None;
                streamed.begin(head);
                streamed.send(first).await;
            }
            Err(reason) => {
                prelude = None;
                streamed.fail(Failure::BadAnswer { reason }).await;
            }
        }
    }
    match (error, prelude) {
        (Some(error), _) => streamed.fail(error.into_failure()).await,
        (None, Some(_)) => {
            let reason = "its answer ended within its prelude".to_owned();
            streamed.fail(Failure::BadAnswer { reason }).await;
        }
        (None, None) => streamed.end().await,
    }
    streamed.answering.finish();
    Ok(fault::accepted())
}

/// A part of a streamed body on its way to the caller.
enum Piece {
    Data(Bytes),
    Failed(Failure),
    /// Says that the body is whole: a channel that just closes is one whose connection broke.
    End,
}

/// The runtime's side of a streamed answer. A caller who is gone is not told, the runtime goes on.
struct Streamed {
    answering: Answering,
    pieces: Option<mpsc::Sender<Piece>>,
}

impl Streamed {
    fn begin(&mut self, head: Head) {
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let Head { status, headers } = head;
        self.answering.reply(Ok(HotAnswer { status, headers, body: output(receiver) }));
        self.pieces = Some(sender);
    }

    async fn send(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.pass(Piece::Data(data)).await;
        }
    }

    async fn end(&mut self) {
        self.pass(Piece::End).await;
    }

    /// Before the head this is the call's failure, after it the end of the body.
    async fn fail(&mut self, failure: Failure) {
        self.answering.reply(Err(LinkFault::Failed(failure.clone())));
        self.pass(Piece::Failed(failure)).await;
    }

    async fn pass(&mut self, piece: Piece) {
        if let Some(pieces) = &self.pieces
            && pieces.send(piece).await.is_err()
        {
            self.pieces = None;
        }
    }
}

fn output(pieces: mpsc::Receiver<Piece>) -> Output {
    Box::pin(stream::unfold(Some(pieces), async |pieces| {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Piece::Data(data)) => Some((Ok(data), Some(pieces))),
            Some(Piece::Failed(failure)) => Some((Err(failure), None)),
            Some(Piece::End) => None,
            None => Some((Err(Failure::BadAnswer { reason: "it broke off".to_owned() }), None)),
        }
    }))
}
