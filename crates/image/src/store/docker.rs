//! Images for Docker: a tar that `docker load` takes (Docker image specification v1.2), made
//! while it is read. Layers go in uncompressed, because Docker 20.10 does not know zstd.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use picasso_types::Digest;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::ImageStore;
use super::disk::Disk;
use super::record::ImageRecord;
use crate::ImageError;
use crate::documents::{ImageConfig, RunConfig, SavedImage, parse, to_bytes};
use crate::unpack::inflate;

const CHUNK: usize = 64 * 1024;

impl ImageStore {
    /// A tar for `docker load`, made while it is read.
    ///
    /// It names no tag, which could displace one of the host's, and its configuration is cut down
    /// to what the files need: volumes, health checks or variables of the image have no effect on
    /// a sandbox. So Docker's id for it is not that of the original configuration.
    #[expect(clippy::unused_async, reason = "a store on another node would ask over the network")]
    pub async fn docker_archive(
        &self,
        digest: &Digest,
    ) -> Result<impl AsyncRead + Send + Unpin + use<>, ImageError> {
        let record = self
            .read_state()
            .records
            .get(digest)
            .cloned()
            .ok_or_else(|| ImageError::Invalid(format!("image {digest} is not in the store")))?;
        let pin = self.pin(record.blobs().map(|blob| blob.digest.clone()).collect());
        let disk = self.0.disk.clone();
        let (sender, receiver) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let mut output = ChannelWriter { sender, buffer: Vec::with_capacity(CHUNK) };
            if let Err(error) = write_archive(&disk, &record, &mut output).and_then(|()| output.flush()) {
                // The reader must not take a broken archive for a whole one.
                let _ = output.sender.blocking_send(Err(error));
            }
            drop(pin);
        });
        let chunks = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        Ok(StreamReader::new(Box::pin(chunks)))
    }
}

fn write_archive(disk: &Disk, record: &Arc<ImageRecord>, output: &mut ChannelWriter) -> io::Result<()> {
    let mut tar = tar::Builder::new(output);
    let config = std::fs::read(disk.blob(&record.config.digest))?;
    let config: ImageConfig = parse("configuration", &config).map_err(io::Error::other)?;
    let config = ImageConfig { config: RunConfig::default(), ..config };
    let config = to_bytes(&config).map_err(io::Error::other)?;
    let config_name = format!("{}.json", Digest::of(&config).hex());
    append(&mut tar, &config_name, config.len() as u64, config.as_slice())?;
    let layer_name = |diff_id: &Digest| format!("{}/layer.tar", diff_id.hex());
    let mut written = BTreeSet::new();
    for layer in &record.layers {
        if written.insert(&layer.diff_id) {
            let blob = BufReader::with_capacity(CHUNK, File::open(disk.blob(&layer.blob.digest))?);
            append(&mut tar, &layer_name(&layer.diff_id), layer.tar_bytes, inflate(blob)?)?;
        }
    }
    let list = [SavedImage {
        config: config_name,
        repo_tags: Vec::new(),
        layers: record.diff_ids().map(layer_name).collect(),
    }];
    let list = serde_json::to_vec(&list)?;
    append(&mut tar, "manifest.json", list.len() as u64, list.as_slice())?;
    tar.finish()
}

fn append(
    tar: &mut tar::Builder<&mut ChannelWriter>,
    name: &str,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    let mut exact = Exact { inner: content.take(size), left: size };
    tar.append_data(&mut header, name, &mut exact)?;
    if exact.left > 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} is shorter than recorded")));
    }
    Ok(())
}

struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left -= count as u64;
        Ok(count)
    }
}

struct ChannelWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for ChannelWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
