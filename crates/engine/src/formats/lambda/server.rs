//! The connections of one sandbox's runtime, bounded in number and memory.
//!
//! Whatever a function does here harms its own sandbox only: connections that it leaves open
//! without a request make room when others come, and a head or a chunk is held up to 128 KiB.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::api;
use super::session::Session;

/// Connections of one sandbox at one time; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 16;
/// Most bytes of a request's head, and of a chunk of its body.
const MAX_BUFFER: usize = 128 * 1024;
/// How long to wait when the system has no descriptor left for a connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Whether other connections wait for a place.
#[derive(Debug, Default)]
struct Crowd {
    crowded: AtomicBool,
    grown: Notify,
}

/// Serves a sandbox's Runtime API until its process ended; dropped, it drops its connections.
pub(super) async fn serve(listener: TcpListener, session: Arc<Session>, ended: CancellationToken) {
    let crowd = Arc::new(Crowd::default());
    let mut connections = JoinSet::new();
    loop {
        let crowded = connections.len() >= MAX_CONNECTIONS;
        crowd.crowded.store(crowded, Ordering::Relaxed);
        if crowded {
            crowd.grown.notify_waiters();
        }
        tokio::select! {
            accepted = listener.accept(), if !crowded => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, session.clone(), crowd.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to a sandbox's Runtime API was not accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = ended.cancelled() => break,
        }
    }
    // What it wrote before its end is still in its sockets, and counts.
    while connections.len() < MAX_CONNECTIONS
        && let Some(Ok((stream, _))) = listener.accept().now_or_never()
    {
        connections.spawn(connection(stream, session.clone(), crowd.clone()));
    }
    while connections.join_next().await.is_some() {}
    session.break_off();
}

async fn connection(stream: TcpStream, session: Arc<Session>, crowd: Arc<Crowd>) {
    // Small answers go out at once; without it they are only slower.
    let _ = stream.set_nodelay(true);
    let requests = AtomicUsize::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        requests.fetch_add(1, Ordering::Relaxed);
        let (session, crowd, requests) = (&session, &crowd, &requests);
        async move {
            let mut response = api::answer(session, request).await;
            requests.fetch_sub(1, Ordering::Relaxed);
            if crowd.crowded.load(Ordering::Relaxed) {
                response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    // No time limit for a head: hyper's counts the silence between two requests as well, which
    // lasts as long as a call does. `half_close` stays off, so that a lost `next` is noticed.
    let served = http1::Builder::new()
        .max_buf_size(MAX_BUFFER)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    loop {
        tokio::select! {
            // A runtime that breaks a connection notices it itself.
            _ = &mut served => return,
            () = crowd.grown.notified() => {
                if requests.load(Ordering::Relaxed) == 0 {
                    return;
                }
            }
        }
    }
}
