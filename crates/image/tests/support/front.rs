//! A registry that does what a test wants: answers of its own, or a real registry's, changed.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a handler is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
}

/// What a handler answers: status, headers, body. `None` never answers.
pub type Answer = Option<(u16, Vec<(&'static str, String)>, Vec<u8>)>;

/// A server on 127.0.0.1; ends when dropped.
pub struct Front {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Front {
    pub async fn start(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (handler, log) = (Arc::new(handler), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                let service = service_fn(move |request: Request<Incoming>| {
                    let one = Asked {
                        path: request.uri().to_string(),
                        authorization: request
                            .headers()
                            .get("authorization")
                            .map(|value| value.to_str().unwrap().to_owned()),
                    };
                    log.lock().unwrap().push(one.clone());
                    let handler = Arc::clone(&handler);
                    async move {
                        let answer = tokio::task::spawn_blocking(move || handler(&one)).await.unwrap();
                        let Some((status, headers, body)) = answer else {
                            return std::future::pending().await;
                        };
                        let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
                        for (key, value) in headers {
                            response = response.header(key, value);
                        }
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { connection.await.ok() });
            }
        });
        Self { port, asked, task }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}
