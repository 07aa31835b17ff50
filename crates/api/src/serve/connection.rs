//! One connection: HTTP/1.1 with its bounds, the check of each head, and its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::ServeLimits;
use super::framing::{Heads, Watched};
use crate::request::layer::AmbiguousHead;
use crate::request::origin::Peer;

/// A byte stream of a listener.
pub(crate) trait Link: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Link for T {}

/// Starts the connections of one listener.
pub(crate) struct Connections {
    router: Router,
    http: http1::Builder,
    name: &'static str,
    closing: CancellationToken,
}

impl Connections {
    pub(crate) fn new(router: Router, limits: &ServeLimits) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_headers(limits.max_headers)
            .max_header_size(limits.max_header_bytes)
            // hyper's smallest buffer is 8 KiB; the head has to fit into it.
            .max_buf_size(limits.max_header_bytes.max(8192))
            // A caller that closed its side has hung up: the call ends.
            .half_close(false);
        Self { router, http, name: limits.name, closing: CancellationToken::new() }
    }

    /// Runs a connection in a task of its own; `place` is free again when it ends.
    pub(crate) fn spawn<L: Link>(
        &self,
        link: L,
        peer: Option<IpAddr>,
        place: OwnedSemaphorePermit,
        graceful: &GracefulShutdown,
    ) {
        let heads = Heads::default();
        let service = Checked { router: self.router.clone(), heads: heads.clone(), peer: peer.map(Peer) };
        let connection = self.http.serve_connection(TokioIo::new(Watched::new(link, heads)), service);
        let connection = graceful.watch(connection);
        let (name, closing) = (self.name, self.closing.clone());
        tokio::spawn(async move {
            metrics::gauge!("picasso_http_connections", "face" => name).increment(1.0);
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    // Strangers cause most of these: broken requests, lost peers, aborted answers.
                    tracing::debug!(listener = name, error = &error as &dyn std::error::Error, "connection ended");
                },
                () = closing.cancelled() => {}
            }
            metrics::gauge!("picasso_http_connections", "face" => name).decrement(1.0);
            drop(place);
        });
    }

    /// Ends what is still open.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

/// The router behind the check of each head.
struct Checked {
    router: Router,
    heads: Heads,
    peer: Option<Peer>,
}

impl Service<Request<Incoming>> for Checked {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        if self.heads.next_is_ambiguous() {
            request.extensions_mut().insert(AmbiguousHead);
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        Box::pin(self.router.clone().oneshot(request))
    }
}
