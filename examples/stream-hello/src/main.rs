//! A function of format `http-stream` that greets, written without an FDK.
//!
//! What an FDK does, in one small file: make the socket that `FN_LISTENER` names so that it shows
//! up complete, serve `POST /call` on it, answer 200 with the function's own status in
//! `Fn-Http-Status`.

mod listener;

use std::convert::Infallible;
use std::io::Write;
use std::process::ExitCode;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// A longer name is refused.
const MAX_NAME: usize = 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve().await {
        Ok(never) => match never {},
        Err(error) => {
            let _ = writeln!(std::io::stderr().lock(), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> std::io::Result<Infallible> {
    let name = std::env::var("FN_LISTENER").map_err(std::io::Error::other)?;
    let listener = listener::bind(&name)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Each connection in its own task: the platform uses several in turns.
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(greet(request).await) });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn greet(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = match Limited::new(request.into_body(), MAX_NAME).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return answer("400", format!("cannot read the name: {error}\n")),
    };
    let name = String::from_utf8_lossy(&body);
    let name = if name.trim().is_empty() { "World" } else { name.trim() };
    answer("200", format!("Hello, {name}!\n"))
}

/// The function's own status travels in a header: 200 on the wire means that the function ran.
fn answer(status: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert("fn-http-status", HeaderValue::from_static(status));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
