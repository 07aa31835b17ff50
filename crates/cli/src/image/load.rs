//! `picasso image load`: streams an archive to the running server.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Method;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::AsyncRead;

use super::path_of;
use crate::CliFailure;
use crate::admin::Admin;
use crate::args::LoadArgs;
use crate::output::{complain, size};
use crate::progress::Progress;

/// Bytes read at one time.
const CHUNK: usize = 256 * 1024;

pub(crate) async fn run(args: &LoadArgs) -> Result<(), CliFailure> {
    let path = path_of(&args.name)?;
    let socket = args.server.socket_path()?;
    let upload = open(&args.file).await?;
    let answer = Admin::at(socket).send(Method::PUT, &path, upload).await?;
    let image = &answer["image"];
    let digest = image["digest"].as_str().unwrap_or_default();
    let bytes = image["size_bytes"].as_u64().map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
    complain(&format!("Loaded {} ({digest}{bytes})", args.name));
    Ok(())
}

async fn open(file: &Path) -> Result<Upload, CliFailure> {
    let cannot = |error: io::Error| {
        CliFailure::new(format!("cannot read {}: {error}", file.display()))
            .hint("name a tar file: an OCI image layout, or what `docker save` wrote")
    };
    if file.as_os_str() == "-" {
        return Ok(Upload::new(Box::pin(tokio::io::stdin()), None, "Loading standard input"));
    }
    let opened = tokio::fs::File::open(file).await.map_err(cannot)?;
    let metadata = opened.metadata().await.map_err(cannot)?;
    if metadata.is_dir() {
        return Err(CliFailure::new(format!("{} is a folder", file.display()))
            .hint("pack it first: tar -C FOLDER -cf image.tar ."));
    }
    let total = metadata.is_file().then_some(metadata.len());
    Ok(Upload::new(Box::pin(opened), total, &format!("Loading {}", file.display())))
}

/// A request body that is read from a file and shows its progress.
struct Upload {
    from: Pin<Box<dyn AsyncRead + Send>>,
    left: Option<u64>,
    progress: Progress,
}

impl Upload {
    fn new(from: Pin<Box<dyn AsyncRead + Send>>, total: Option<u64>, what: &str) -> Self {
        Self { from, left: total, progress: Progress::new(what.to_owned(), total) }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let mut buffer = tokio::io::ReadBuf::new(&mut chunk);
        match self.from.as_mut().poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().len();
                if read == 0 {
                    return Poll::Ready(None);
                }
                self.progress.advance(read as u64);
                self.left = self.left.map(|left| left.saturating_sub(read as u64));
                chunk.truncate(read);
                Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
