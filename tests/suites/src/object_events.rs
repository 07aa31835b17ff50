//! A receiver in the place of Picasso that takes object events, keeps them, and can be away: what a real
//! one cannot be asked to do at a wish.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A batch of events as it came.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The path it was sent to.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// What `events` held.
    pub events: Vec<Value>,
}

/// The receiver; it ends with the runtime of its test.
#[derive(Debug, Clone)]
pub struct Receiver {
    url: String,
    batches: Arc<Mutex<Vec<Batch>>>,
    status: Arc<AtomicU16>,
}

impl Receiver {
    /// Listens on a port of 127.0.0.1.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let this = Self { url, batches: Arc::default(), status: Arc::new(AtomicU16::new(202)) };
        let serving = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        Ok(this)
    }

    /// Its origin.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it answers from now on; only with 202 events are taken.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The batches that were taken.
    pub fn batches(&self) -> Vec<Batch> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Their events in the order of their coming.
    pub fn events(&self) -> Vec<Value> {
        self.batches().into_iter().flat_map(|batch| batch.events).collect()
    }

    /// The events of the object of that name.
    pub fn of(&self, object: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["object"] == object).collect()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        while let Some(batch) = read_one(&mut stream, &mut bytes).await {
            let status = self.status.load(Ordering::SeqCst);
            let body = json!({"accepted": batch.events.len()}).to_string();
            if status == 202 {
                self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
            }
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all((head + &body).as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn read_one(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Batch> {
    let mut chunk = vec![0; 16_384];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let (first, rest) = head.split_once("\r\n")?;
    let headers: HashMap<String, String> = rest
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    while bytes.len() < end + 4 + length {
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    }
    let body: Value = serde_json::from_slice(&bytes[end + 4..end + 4 + length]).ok()?;
    bytes.drain(..end + 4 + length);
    let events = body["events"].as_array()?.clone();
    Some(Batch { path: first.split(' ').nth(1)?.to_owned(), headers, events })
}
