//! Request bodies, bounded in bytes and in time, read whole or as a stream.

use std::time::Duration;

use axum::body::{Body as HttpBody, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use picasso_engine::{Body, BodyError};
use tokio::time::timeout;

use crate::error::ApiError;

/// The whole body: at most `limit` bytes, within `within`.
pub(crate) async fn read_all(body: HttpBody, limit: u64, within: Duration) -> Result<Bytes, ApiError> {
    let read = async {
        let mut stream = body.into_data_stream();
        let mut whole = BytesMut::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|_| ApiError::BodyAborted)?;
            if (whole.len() + piece.len()) as u64 > limit {
                return Err(ApiError::BodyTooLarge(limit));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    };
    timeout(within, read).await.unwrap_or(Err(ApiError::BodyTimeout))
}

/// The body as the engine takes it: an error after `limit` bytes, or when the next piece takes
/// longer than `idle`.
pub(crate) fn streamed(body: HttpBody, limit: u64, idle: Duration) -> Body {
    Box::pin(pieces(body.into_data_stream(), limit, idle))
}

/// A body that is in memory already.
pub(crate) fn ready(bytes: Bytes) -> Body {
    Box::pin(stream::iter((!bytes.is_empty()).then_some(Ok(bytes))))
}

fn pieces(
    source: BodyDataStream,
    limit: u64,
    idle: Duration,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    stream::unfold(Some((source, 0_u64)), move |state| async move {
        let (mut source, seen) = state?;
        match timeout(idle, source.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => {
                let seen = seen + piece.len() as u64;
                if seen > limit {
                    Some((Err(BodyError::TooLarge(limit)), None))
                } else {
                    Some((Ok(piece), Some((source, seen))))
                }
            }
            Ok(Some(Err(_))) | Err(_) => Some((Err(BodyError::Aborted), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_of_the_limit_passes_and_one_byte_more_is_refused() {
        let within = Duration::from_secs(5);
        assert_eq!(read_all(HttpBody::from("12345"), 5, within).await.unwrap(), "12345");
        assert!(matches!(
            read_all(HttpBody::from("123456"), 5, within).await,
            Err(ApiError::BodyTooLarge(5))
        ));
        let last = streamed(HttpBody::from("123456"), 5, within).next().await;
        assert_eq!(last, Some(Err(BodyError::TooLarge(5))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let silent = || HttpBody::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let within = Duration::from_secs(5);
        assert!(matches!(read_all(silent(), 5, within).await, Err(ApiError::BodyTimeout)));
        assert_eq!(streamed(silent(), 5, within).next().await, Some(Err(BodyError::Aborted)));
    }
}
