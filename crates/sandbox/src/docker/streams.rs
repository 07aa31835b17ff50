//! The three standard streams of a container, each through a connection of its own.
//!
//! One connection could carry all, but then an unread stdout would hold stderr back, and stdin
//! could not be closed by dropping it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::query_parameters::{AttachContainerOptions, AttachContainerOptionsBuilder};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::StreamReader;

use super::api::Api;
use crate::{Endpoint, SandboxIo};

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// Attaches to a container that has not been started.
pub(super) async fn attach(api: &Api, container: &str) -> Result<SandboxIo, Error> {
    let options = || AttachContainerOptionsBuilder::new().stream(true);
    let stdin = connection(api, container, options().stdin(true).build()).await?;
    let stdout = connection(api, container, options().stdout(true).build()).await?;
    let stderr = connection(api, container, options().stderr(true).build()).await?;
    Ok(SandboxIo {
        stdin: Box::pin(Stdin { input: stdin.input, _output: stdin.output }),
        stdout: reader(stdout.output),
        stderr: reader(stderr.output),
        fence: None,
        endpoint: Endpoint::Streams,
        freezer: None,
    })
}

async fn connection(
    api: &Api,
    container: &str,
    options: AttachContainerOptions,
) -> Result<AttachContainerResults, Error> {
    api.call(|docker| async move { docker.attach_container(container, Some(options)).await }).await
}

fn reader(output: Output) -> Pin<Box<dyn AsyncRead + Send>> {
    let bytes = output.map(|part| part.map(LogOutput::into_bytes).map_err(io::Error::other));
    Box::pin(StreamReader::new(bytes))
}

/// Our end of stdin. The connection is closed, and with it the container's stdin, only when both
/// halves are dropped.
struct Stdin {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    _output: Output,
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.input.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_shutdown(cx)
    }
}
