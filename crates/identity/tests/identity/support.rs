//! What the tests of this crate share: a validator for a Keystone, a proxy that counts what goes
//! through it, and a server that answers as no Keystone should.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use picasso_identity::{
    AuthError, Caller, KeystoneSettings, KeystoneValidator, Presented, ServiceCredentials, TokenValidator,
};
use picasso_testkit::keystone::Keystone;
use picasso_testkit::process::require;
use picasso_types::{Clock, SystemClock, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const LIMIT: Duration = Duration::from_secs(30);

/// Whether Keystone can run here.
pub fn keystone_is_here() -> bool {
    require("Keystone", Keystone::missing().as_deref())
}

/// The settings of the seeded service user.
pub fn settings(keystone: &Keystone) -> KeystoneSettings {
    settings_at(&keystone.auth_url(), &keystone.password("picasso"))
}

/// The settings of the seeded service user at another address or with another password.
pub fn settings_at(auth_url: &str, password: &str) -> KeystoneSettings {
    let credentials = ServiceCredentials::Password {
        username: "picasso".to_owned(),
        user_domain: "Default".to_owned(),
        password: password.to_owned().into(),
        project: "service".to_owned(),
        project_domain: "Default".to_owned(),
    };
    // Tests that are not about time must not fail because the machine is busy.
    KeystoneSettings {
        connect_timeout: LIMIT,
        request_timeout: LIMIT,
        total_timeout: LIMIT * 2,
        ..KeystoneSettings::new(auth_url, credentials)
    }
}

/// `settings` without any cache.
pub fn uncached(settings: KeystoneSettings) -> KeystoneSettings {
    KeystoneSettings { cache_time: None, refused_cache_time: Duration::ZERO, ..settings }
}

pub fn validator(settings: KeystoneSettings) -> KeystoneValidator {
    validator_with_clock(settings, Arc::new(SystemClock))
}

pub fn validator_with_clock(settings: KeystoneSettings, clock: Arc<dyn Clock>) -> KeystoneValidator {
    picasso_testkit::keystone::install_tls_provider();
    // What the validator logs is shown where a test fails; an error means that one is set already.
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    KeystoneValidator::new(settings, clock).unwrap()
}

/// The machine's clock, moved ahead by so many seconds.
#[derive(Debug, Default)]
pub struct MovedClock(AtomicI64);

impl MovedClock {
    pub fn move_to(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_micros(self.0.load(Ordering::SeqCst) * 1_000_000)
    }
}

pub async fn check(validator: &KeystoneValidator, token: &str) -> Result<Arc<Caller>, AuthError> {
    shown(validator, &[("x-auth-token", token)], ("GET", "/v1")).await
}

/// The verdict on a request with these headers.
pub async fn shown(
    validator: &KeystoneValidator,
    headers: &[(&'static str, &str)],
    (method, path): (&str, &str),
) -> Result<Arc<Caller>, AuthError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes());
        let value = value.map_err(|_| AuthError::Unauthorized { reason: "no HTTP server lets it in" })?;
        map.append(*name, value);
    }
    validator.validate(&Presented::new(&map, &method.parse().unwrap(), path)?).await
}

/// The reason of a refusal.
pub fn refusal(answer: Result<Arc<Caller>, AuthError>) -> &'static str {
    match answer {
        Err(AuthError::Unauthorized { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

pub fn is_unavailable(answer: &Result<Arc<Caller>, AuthError>) -> bool {
    matches!(answer, Err(AuthError::Unavailable { retry_after }) if *retry_after > Duration::ZERO)
}

/// Everything that was logged, down to the libraries' trace messages.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// A subscriber that writes here.
    pub fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let log = self.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || log.clone())
            .finish()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A proxy before Keystone that counts the requests.
pub struct CountingProxy {
    pub auth_url: String,
    validations: Arc<AtomicUsize>,
    log_ins: Arc<AtomicUsize>,
    limits: Arc<AtomicUsize>,
    own_token: Arc<Mutex<String>>,
}

impl CountingProxy {
    /// Forwards to `keystone`, each request on a connection of its own.
    pub async fn before(keystone: &Keystone) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let auth_url = format!("http://{}/v3", listener.local_addr().unwrap());
        let target = keystone.url().trim_start_matches("http://").to_owned();
        let (validations, log_ins, limits) =
            <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let own_token = Arc::new(Mutex::new(String::new()));
        let seen =
            (Arc::clone(&validations), Arc::clone(&log_ins), Arc::clone(&limits), Arc::clone(&own_token));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target.clone(), seen.clone()));
            }
        });
        Self { auth_url, validations, log_ins, limits, own_token }
    }

    /// How many tokens of callers were looked up.
    pub fn validations(&self) -> usize {
        self.validations.load(Ordering::SeqCst)
    }

    /// The token of our own that the last look-up was made with.
    pub fn own_token(&self) -> String {
        self.own_token.lock().unwrap().clone()
    }

    /// How often limits of a project were asked for.
    pub fn limits(&self) -> usize {
        self.limits.load(Ordering::SeqCst)
    }

    /// How many tokens of our own were asked for.
    pub fn log_ins(&self) -> usize {
        self.log_ins.load(Ordering::SeqCst)
    }
}

type Seen = (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<Mutex<String>>);

async fn forward(mut client: TcpStream, target: String, seen: Seen) {
    let Some(mut request) = read_request(&mut client).await else { return };
    let (validations, log_ins, limits, own_token) = seen;
    if request.starts_with(b"GET /v3/auth/tokens") {
        validations.fetch_add(1, Ordering::SeqCst);
        let head = String::from_utf8_lossy(&request).into_owned();
        let token = head.lines().find_map(|line| line.strip_prefix("x-auth-token: ")).unwrap();
        token.clone_into(&mut own_token.lock().unwrap());
    } else if request.starts_with(b"POST /v3/auth/tokens") {
        log_ins.fetch_add(1, Ordering::SeqCst);
    } else if request.starts_with(b"GET /v3/limits?") {
        limits.fetch_add(1, Ordering::SeqCst);
    }
    // One request a connection keeps the counting simple.
    let line_end = request.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    request.splice(line_end..line_end, *b"Connection: close\r\n");
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    server.write_all(&request).await.unwrap();
    let _ = tokio::io::copy(&mut server, &mut client).await;
}

/// The bytes of one request, head and body.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        request.extend_from_slice(&buffer[..read]);
        if let Some(head) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if request.len() >= head + 4 + length {
                return Some(request);
            }
        }
    }
}

/// What a [`FaultServer`] does with a look-up of a token.
#[derive(Clone)]
pub enum Fault {
    /// Answers with this status line, extra header lines and body.
    Answer(&'static str, &'static str, Vec<u8>),
    /// Takes the request and never answers.
    Silence,
    /// Closes the connection without an answer.
    HangUp,
    /// Sends a body without end.
    Endless,
}

/// A server that logs the service in as Keystone does, and then is faulty.
pub struct FaultServer {
    pub auth_url: String,
    requests: Arc<AtomicUsize>,
}

impl FaultServer {
    pub async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let auth_url = format!("http://{}/v3", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(fail(client, fault.clone(), Arc::clone(&counter)));
            }
        });
        Self { auth_url, requests }
    }

    /// The same over TLS.
    pub async fn start_with_tls(fault: Fault, acceptor: tokio_rustls::TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let auth_url = format!("https://{}/v3", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client that does not trust us goes away here.
                if let Ok(client) = acceptor.accept(client).await {
                    tokio::spawn(fail(client, fault.clone(), Arc::clone(&counter)));
                }
            }
        });
        Self { auth_url, requests }
    }

    /// How many look-ups arrived.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A token document that ends in the year 2100.
pub fn token_document() -> serde_json::Value {
    serde_json::json!({"token": {
        "expires_at": "2100-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.000000Z",
        "methods": ["password"], "audit_ids": ["x"], "is_domain": false,
        "user": {"id": "u1", "name": "someone", "domain": {"id": "default", "name": "Default"}},
        "project": {"id": "968f523b6fec4a7694aaa27b300bb879", "name": "demo1", "domain": {"id": "default", "name": "Default"}},
        "roles": [{"id": "r1", "name": "reader"}],
    }})
}

async fn fail(mut client: impl AsyncRead + AsyncWrite + Unpin, fault: Fault, requests: Arc<AtomicUsize>) {
    while let Some(request) = read_request(&mut client).await {
        if request.starts_with(b"POST ") {
            let body = token_document().to_string();
            let answer = format!(
                "HTTP/1.1 201 CREATED\r\nX-Subject-Token: {}\r\nContent-Length: {}\r\n\r\n{body}",
                "o".repeat(64),
                body.len()
            );
            client.write_all(answer.as_bytes()).await.unwrap();
            continue;
        }
        requests.fetch_add(1, Ordering::SeqCst);
        match &fault {
            Fault::Answer(status, headers, body) => {
                let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
                let _ = client.write_all(head.as_bytes()).await;
                let _ = client.write_all(body).await;
            }
            Fault::Silence => std::future::pending::<()>().await,
            Fault::HangUp => return,
            Fault::Endless => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let _ = client.write_all(head.as_bytes()).await;
                let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
                while client.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
        }
    }
}
