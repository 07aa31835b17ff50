//! The byte stream of a layer: inflated, counted, bounded and hashed while it is read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use flate2::bufread::MultiGzDecoder;
use picasso_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::UnpackError;
use crate::tarball::read_error;

const BUFFER: usize = 128 * 1024;
/// 128 MiB, the default bound of the `zstd` tool (`--long` goes beyond it).
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// Reads a plain, gzip or zstd stream (told by its first bytes) as plain bytes.
pub(crate) fn inflate<'a, R: BufRead + 'a>(mut input: R) -> io::Result<Box<dyn Read + 'a>> {
    let magic = input.fill_buf()?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(input)));
    }
    if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(input))
}

/// A layer's uncompressed stream.
pub(super) struct LayerStream {
    inner: Box<dyn Read>,
    hash: Sha256,
    read: u64,
    max_read: u64,
    deadline: Instant,
    timeout: Duration,
}

impl LayerStream {
    pub fn open(blob: File, max_read: u64, timeout: Duration) -> Result<Self, UnpackError> {
        let inner = inflate(BufReader::with_capacity(BUFFER, blob)).map_err(read_error)?;
        Ok(Self {
            inner,
            hash: Sha256::new(),
            read: 0,
            max_read,
            deadline: Instant::now() + timeout,
            timeout,
        })
    }

    /// The digest and length of all that was read.
    pub fn finish(self) -> (Digest, u64) {
        (Digest::from_hash(&self.hash.finalize()), self.read)
    }
}

impl Read for LayerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.deadline {
            let reason = format!("a layer takes longer than {} seconds to unpack", self.timeout.as_secs());
            return Err(io::Error::other(UnpackError::Refused(reason)));
        }
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.read += count as u64;
        if self.read > self.max_read {
            return Err(io::Error::other(UnpackError::Refused(
                "a layer is larger than this cloud allows once it is unpacked".to_owned(),
            )));
        }
        Ok(count)
    }
}
