//! A streamed upload: bytes for a reader, bounded in size and silence, with its fault kept.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, Request};
use futures_util::StreamExt;
use picasso_engine::BodyError;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::body::streamed;
use crate::error::ApiError;
use crate::state::ApiState;

type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// The body of an upload. Whoever reads it sees an I/O error at a fault; [`Upload::fault`] then
/// says what it was.
pub(crate) struct Upload {
    reader: Reader,
    fault: Arc<Mutex<Option<BodyError>>>,
}

impl Upload {
    fn new(body: HttpBody, limit: u64, idle: Duration) -> Self {
        let fault = Arc::new(Mutex::new(None));
        let noted = fault.clone();
        let pieces = streamed(body, limit, idle).map(move |piece| {
            piece.map_err(|error| {
                if let Ok(mut slot) = noted.lock() {
                    *slot = Some(error);
                }
                io::Error::other(error)
            })
        });
        Self { reader: Box::pin(StreamReader::new(pieces)), fault }
    }

    /// The bytes.
    pub(crate) fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// What was wrong with the upload itself, if anything.
    pub(crate) fn fault(&self) -> Option<ApiError> {
        let fault = self.fault.lock().ok().and_then(|slot| *slot)?;
        Some(match fault {
            BodyError::TooLarge(limit) => ApiError::BodyTooLarge(limit),
            BodyError::Aborted => ApiError::BodyAborted,
        })
    }
}

impl FromRequest<ApiState> for Upload {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let settings = &state.settings;
        Ok(Self::new(request.into_body(), settings.max_image_bytes, settings.body_timeout))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn an_upload_over_the_limit_ends_in_an_error_and_says_why() {
        let mut upload = Upload::new(HttpBody::from("123456"), 5, Duration::from_secs(5));
        let mut read = Vec::new();
        assert!(upload.reader().read_to_end(&mut read).await.is_err());
        assert!(matches!(upload.fault(), Some(ApiError::BodyTooLarge(5))));
    }
}
