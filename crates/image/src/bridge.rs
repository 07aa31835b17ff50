//! From an asynchronous stream to a blocking reader: tar and decompressors want the latter.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use crate::{ImageError, UnpackError};

const CHUNK: usize = 64 * 1024;

enum Message {
    Data(Bytes),
    End,
}

/// The asynchronous end.
pub(crate) struct BridgeWriter(mpsc::Sender<Message>);

/// The blocking end. A writer that is dropped without [`BridgeWriter::end`] is an error here,
/// never a clean end.
pub(crate) struct BridgeReader {
    messages: mpsc::Receiver<Message>,
    current: Bytes,
    ended: bool,
}

pub(crate) fn bridge() -> (BridgeWriter, BridgeReader) {
    let (sender, messages) = mpsc::channel(8);
    (BridgeWriter(sender), BridgeReader { messages, current: Bytes::new(), ended: false })
}

impl BridgeWriter {
    /// False when the reader has gone.
    pub async fn send(&self, data: Bytes) -> bool {
        data.is_empty() || self.0.send(Message::Data(data)).await.is_ok()
    }

    pub async fn end(self) {
        let _ = self.0.send(Message::End).await;
    }

    /// Copies `reader` until its end, or until the other end has seen enough.
    pub async fn copy(
        self,
        mut reader: impl AsyncRead + Unpin,
        max_bytes: u64,
        idle: Duration,
    ) -> Result<(), ImageError> {
        let mut left = max_bytes;
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let count = tokio::time::timeout(idle, reader.read_buf(&mut chunk))
                .await
                .map_err(|_| ImageError::Invalid(format!("nothing was sent for {} seconds", idle.as_secs())))?
                .map_err(|error| ImageError::Invalid(format!("the sender broke off: {error}")))?;
            if count == 0 {
                self.end().await;
                return Ok(());
            }
            left = left.checked_sub(count as u64).ok_or_else(|| too_large(max_bytes))?;
            if !self.send(chunk.freeze()).await {
                return Ok(());
            }
        }
    }
}

pub(crate) fn too_large(max_bytes: u64) -> ImageError {
    ImageError::TooLarge(format!("the image is larger than {max_bytes} bytes, the most this cloud allows"))
}

impl Read for BridgeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.messages.blocking_recv() {
                Some(Message::Data(data)) => self.current = data,
                Some(Message::End) => self.ended = true,
                None => {
                    let error = UnpackError::Refused("the sender broke off".to_owned());
                    return Err(io::Error::other(error));
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
