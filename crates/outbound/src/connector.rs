//! Connections: resolve, judge every address, connect to one of those.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::guard::{BlockedAddress, Guard};
use crate::resolver::Resolver;

/// Addresses of one name that are tried.
const MAX_TRIED: usize = 4;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections that a [`Guard`] lets through. The connection is made to the addresses that
/// were judged, not to the name: resolving it again could give others.
#[derive(Debug, Clone)]
pub(crate) struct GuardedConnector {
    pub(crate) guard: Arc<Guard>,
    pub(crate) resolver: Arc<dyn Resolver>,
    /// For the resolution and for each connection.
    pub(crate) timeout: Duration,
}

impl GuardedConnector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, Fault> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = self.addresses(host, port).await?;
        // One private address among public ones is an attack or a mistake: refuse them all.
        if addresses.iter().any(|address| !self.guard.permits(*address)) {
            return Err(BlockedAddress { host: host.to_owned() }.into());
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses.into_iter().take(MAX_TRIED) {
            match tokio::time::timeout(self.timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last.into())
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let resolved = tokio::time::timeout(self.timeout, self.resolver.resolve(host, port)).await;
        Ok(resolved.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved"))??)
    }
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
