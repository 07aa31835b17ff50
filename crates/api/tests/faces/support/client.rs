//! A small HTTP client that shows everything of an answer.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

type Http = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;

#[derive(Debug, Clone)]
pub struct Client {
    http: Http,
    address: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The kind of an error, checked to be the same in header and body.
    pub fn kind(&self) -> String {
        let kind = self.json()["error"]["kind"].as_str().unwrap().to_owned();
        assert_eq!(self.header("picasso-error-kind"), kind);
        kind
    }

    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { http, address }
    }

    /// One request; `headers` are added as they are.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    /// One request that may end in a broken connection.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, String> {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.http.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.send("GET", path, &[("x-auth-token", token)], "").await
    }

    pub async fn delete(&self, path: &str, token: &str) -> Reply {
        self.send("DELETE", path, &[("x-auth-token", token)], "").await
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.json("POST", path, token, body).await
    }

    pub async fn put(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.json("PUT", path, token, body).await
    }

    pub async fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> Reply {
        let headers = [("x-auth-token", token), ("content-type", "application/json")];
        self.send(method, path, &headers, body.to_string()).await
    }
}
