//! The caller's side of a running call: waits for the head, then passes the rest on.

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use picasso_types::Failure;
use tokio::sync::mpsc;

use crate::call_events::{End, Event, HEAD_BYTES};
use crate::invocation::{Answer, CallError};

/// Waits for the first 64 KiB or the end of the function, whichever is first. A failure before
/// the head is a [`CallError`]; a later one is the error of [`Answer::rest`].
pub async fn begin(mut events: mpsc::Receiver<Event>) -> Result<Answer, CallError> {
    let mut head = BytesMut::new();
    loop {
        match events.recv().await {
            Some(Event::Output(chunk)) => head.extend_from_slice(&chunk),
            Some(Event::Ended(end)) => {
                return match end.failure {
                    None => Ok(Answer { head: None, first: head.freeze(), rest: None }),
                    Some(_) => Err(CallError::from(end)),
                };
            }
            None => return Err(CallError::from(End::of(Failure::Internal))),
        }
        if head.len() >= HEAD_BYTES {
            let rest = stream::unfold(Some(events), next);
            return Ok(Answer { head: None, first: head.freeze(), rest: Some(Box::pin(rest)) });
        }
    }
}

type Rest = Option<mpsc::Receiver<Event>>;

async fn next(state: Rest) -> Option<(Result<Bytes, Failure>, Rest)> {
    let mut events = state?;
    match events.recv().await {
        Some(Event::Output(chunk)) => Some((Ok(chunk), Some(events))),
        Some(Event::Ended(End { failure: None, .. })) => None,
        Some(Event::Ended(End { failure: Some(failure), .. })) => Some((Err(failure), None)),
        None => Some((Err(Failure::Internal), None)),
    }
}

impl From<End> for CallError {
    fn from(end: End) -> Self {
        Self {
            failure: end.failure.unwrap_or(Failure::Internal),
            stderr_tail: end.stderr_tail,
            retry_after: None,
            body_error: end.body_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_events::channel;
    use futures_util::StreamExt;

    fn success() -> End {
        End { failure: None, ..End::of(Failure::Internal) }
    }

    #[tokio::test]
    async fn a_small_answer_waits_for_the_end() {
        let (sender, receiver) = channel();
        sender.send(Event::Output(Bytes::from_static(b"hi"))).await.unwrap();
        sender.send(Event::Ended(success())).await.unwrap();
        let answer = begin(receiver).await.unwrap();
        assert_eq!(answer.first, "hi");
        assert!(answer.rest.is_none());
    }

    #[tokio::test]
    async fn a_failure_before_the_head_hides_the_output() {
        let (sender, receiver) = channel();
        sender.send(Event::Output(Bytes::from_static(b"half"))).await.unwrap();
        sender.send(Event::Ended(End::of(Failure::Exit { code: 3 }))).await.unwrap();
        assert_eq!(begin(receiver).await.err().unwrap().failure, Failure::Exit { code: 3 });
    }

    #[tokio::test]
    async fn a_failure_after_the_head_ends_the_stream_with_an_error() {
        let (sender, receiver) = channel();
        sender.send(Event::Output(Bytes::from(vec![0; HEAD_BYTES]))).await.unwrap();
        let answer = begin(receiver).await.unwrap();
        let mut rest = answer.rest.unwrap();
        sender.send(Event::Ended(End::of(Failure::Timeout { limit_s: 1 }))).await.unwrap();
        assert_eq!(rest.next().await.unwrap().unwrap_err(), Failure::Timeout { limit_s: 1 });
        assert!(rest.next().await.is_none());
    }

    #[tokio::test]
    async fn a_call_whose_task_vanished_is_not_taken_for_a_success() {
        let (sender, receiver) = channel();
        sender.send(Event::Output(Bytes::from(vec![0; HEAD_BYTES]))).await.unwrap();
        let mut rest = begin(receiver).await.unwrap().rest.unwrap();
        drop(sender);
        assert_eq!(rest.next().await.unwrap().unwrap_err(), Failure::Internal);
    }
}
