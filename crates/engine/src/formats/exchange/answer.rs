//! The body of a function's answer, read as its caller takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use hyper::body::{Body as HttpBody, Incoming};
use picasso_types::Failure;

use super::io::Stream;
use super::{Wire, body_error};

/// The rest of an answer. Dropped before its end, it is read to its end by a task where the
/// sandbox is to outlive the caller; otherwise the connection closes and the sandbox with it.
pub(in crate::formats) struct AnswerBody<S: Stream> {
    course: Option<(Incoming, Wire<S>)>,
    status: StatusCode,
}

impl<S: Stream> AnswerBody<S> {
    pub(super) fn new(incoming: Incoming, wire: Wire<S>, status: StatusCode) -> Self {
        if incoming.is_end_stream() {
            wire.conclude(status);
            return Self { course: None, status };
        }
        Self { course: Some((incoming, wire)), status }
    }

    /// Reads the rest for nobody.
    pub(in crate::formats) async fn discard(mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            let Some((incoming, wire)) = &mut self.course else { return Poll::Ready(None) };
            let mut polled = Pin::new(&mut *incoming).poll_frame(cx);
            if polled.is_pending() {
                wire.poll(cx);
                polled = Pin::new(&mut *incoming).poll_frame(cx);
            }
            let ended = incoming.is_end_stream();
            match std::task::ready!(polled) {
                Some(Ok(frame)) => {
                    if ended {
                        self.conclude();
                    }
                    // Trailers have no way on to the caller.
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(_)) => {
                    let failure = cut_short(wire.fault.as_ref());
                    self.course = None;
                    return Poll::Ready(Some(Err(failure)));
                }
                None => {
                    self.conclude();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn conclude(&mut self) {
        if let Some((_, wire)) = self.course.take() {
            wire.conclude(self.status);
        }
    }
}

/// What an answer that ends before its end means.
fn cut_short(fault: Option<&hyper::Error>) -> Failure {
    match fault.and_then(body_error) {
        Some(_) => Failure::HungUp,
        None => Failure::BadAnswer { reason: "its answer was cut short".to_owned() },
    }
}

impl<S: Stream> futures_util::Stream for AnswerBody<S> {
    type Item = Result<Bytes, Failure>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_piece(cx)
    }
}

impl<S: Stream> Drop for AnswerBody<S> {
    fn drop(&mut self) {
        let Some((incoming, wire)) = self.course.take() else { return };
        if wire.outlives_its_caller()
            && let Some(until) = wire.aftermath.patience
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let rest = Self { course: Some((incoming, wire)), status: self.status };
            runtime.spawn(tokio::time::timeout_at(until, rest.discard()));
        }
    }
}
