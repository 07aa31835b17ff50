//! A call's body on its way to a function: its length where it is known, its end noticed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::invocation::{Body, BodyError};

/// A declared length up to which the first piece is waited for, so that a small request leaves in
/// one write and wakes the function once.
const SMALL: u64 = 64 * 1024;

/// The body of one request to a function.
pub(in crate::formats) struct RequestBody {
    first: Option<Bytes>,
    rest: Option<Body>,
    left: Option<u64>,
    sent: Sent,
}

/// Whether a request has left completely: all of its body was taken by the connection.
#[derive(Debug, Clone)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// Whether nothing of the caller's body is missing.
    pub(super) fn completely(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl RequestBody {
    /// Takes the body of a call, and takes its framing out of `headers`: what is sent is framed
    /// anew. A body that is at hand is not streamed.
    pub(in crate::formats) async fn take(headers: &mut HeaderMap, mut body: Body) -> Result<Self, BodyError> {
        let declared = headers.remove(header::CONTENT_LENGTH).and_then(|value| length(&value));
        headers.remove(header::TRANSFER_ENCODING);
        let first = match declared {
            Some(1..=SMALL) => Some(body.next().await),
            _ => body.next().now_or_never(),
        };
        let Some(first) = first else { return Ok(Self::streaming(headers, None, body, declared)) };
        let Some(first) = first.transpose()? else { return Ok(Self::whole(Bytes::new())) };
        if declared == Some(first.len() as u64) {
            return Ok(Self::whole(first));
        }
        match body.next().now_or_never() {
            Some(None) => Ok(Self::whole(first)),
            Some(Some(Err(error))) => Err(error),
            Some(Some(Ok(second))) => {
                let body = Box::pin(futures_util::stream::once(async { Ok(second) }).chain(body));
                Ok(Self::streaming(headers, Some(first), body, declared))
            }
            None => Ok(Self::streaming(headers, Some(first), body, declared)),
        }
    }

    fn whole(bytes: Bytes) -> Self {
        let left = Some(bytes.len() as u64);
        let first = (!bytes.is_empty()).then_some(bytes);
        let sent = Sent(Arc::new(AtomicBool::new(first.is_none())));
        Self { first, rest: None, left, sent }
    }

    fn streaming(headers: &mut HeaderMap, first: Option<Bytes>, rest: Body, left: Option<u64>) -> Self {
        if left.is_none() {
            // Said, not left to the client: it takes a GET of unknown length for one without body.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Self { first, rest: Some(rest), left, sent: Sent(Arc::new(AtomicBool::new(false))) }
    }

    /// Tells later whether the body was sent.
    pub(super) fn sent(&self) -> Sent {
        self.sent.clone()
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        match &mut self.rest {
            Some(rest) => rest.as_mut().poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}

/// A length as HTTP writes it; several values or anything else is no length.
fn length(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let piece = std::task::ready!(this.poll_piece(cx));
        match &piece {
            Some(Ok(bytes)) => {
                this.left = this.left.map(|left| left.saturating_sub(bytes.len() as u64));
                // A body of known length is not asked for its end.
                if this.left == Some(0) {
                    this.sent.0.store(true, Ordering::Relaxed);
                }
            }
            Some(Err(_)) => {}
            None => this.sent.0.store(this.left.unwrap_or(0) == 0, Ordering::Relaxed),
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    fn declared(length: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, length.parse().unwrap())])
    }

    fn pieces(pieces: &'static [&'static str]) -> Body {
        Box::pin(stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())))))
    }

    #[tokio::test]
    async fn a_body_at_hand_is_sent_with_its_length() {
        for (text, length) in [(&[][..], 0), (&["hello"][..], 5)] {
            let mut headers = HeaderMap::new();
            let body = RequestBody::take(&mut headers, pieces(text)).await.unwrap();
            assert_eq!(body.size_hint().exact(), Some(length));
            assert!(headers.is_empty(), "{headers:?}");
        }
    }

    #[tokio::test]
    async fn a_long_body_streams_and_its_end_is_noticed() {
        let mut headers = HeaderMap::new();
        let body = RequestBody::take(&mut headers, pieces(&["a", "b", "c"])).await.unwrap();
        assert_eq!(headers[header::TRANSFER_ENCODING], "chunked");
        let sent = body.sent();
        assert!(!sent.completely());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        assert!(sent.completely());
    }

    #[tokio::test]
    async fn a_declared_length_is_kept_and_a_body_that_is_shorter_is_never_complete() {
        let mut headers = declared("3");
        let body = RequestBody::take(&mut headers, pieces(&["a", "b"])).await.unwrap();
        assert_eq!(body.size_hint().exact(), Some(3));
        let sent = body.sent();
        body.collect().await.unwrap();
        assert!(!sent.completely());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_at_once_is_told_at_once() {
        let broken: Body = Box::pin(stream::iter([Err(BodyError::Aborted)]));
        let outcome = RequestBody::take(&mut declared("3"), broken).await;
        assert_eq!(outcome.err(), Some(BodyError::Aborted));
    }
}
