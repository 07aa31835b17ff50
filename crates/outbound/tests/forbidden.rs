//! The client against a trap: a listener on this host that counts who connects.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method};
use picasso_outbound::{ClientSettings, Guard, GuardedClient, OutboundError, Resolver};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

/// Counts connections; answers each with a redirect to itself.
async fn trap() -> (u16, Arc<AtomicUsize>) {
    trap_at("[::]:0").await
}

async fn trap_at(address: &str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = format!(
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n"
            );
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, count)
}

/// Gives an allowed address to whoever asks first, and a forbidden one after that.
#[derive(Debug, Default)]
struct Rebinding(AtomicUsize);

#[async_trait]
impl Resolver for Rebinding {
    async fn resolve(&self, _name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        let ip = if first { [127, 0, 0, 2] } else { [127, 0, 0, 1] };
        Ok(vec![SocketAddr::from((ip, port))])
    }
}

/// An allowed address beside a forbidden one.
#[derive(Debug)]
struct Mixed;

#[async_trait]
impl Resolver for Mixed {
    async fn resolve(&self, _name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([127, 0, 0, 2], port)), SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

async fn post(client: &GuardedClient, url: &str) -> Result<u16, OutboundError> {
    let url = Url::parse(url).unwrap();
    let answer = client.send(Method::POST, &url, HeaderMap::new(), Bytes::from_static(b"x")).await?;
    Ok(answer.status.as_u16())
}

#[tokio::test]
async fn no_spelling_of_this_host_is_connected_to() {
    let (port, count) = trap().await;
    let client = GuardedClient::new(&ClientSettings::default()).unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "user@127.0.0.1",
        "169.254.169.254",
        "[fe80::1]",
    ] {
        let refused = post(&client, &format!("http://{host}:{port}/")).await;
        assert!(matches!(refused, Err(OutboundError::Refused(_))), "{host}: {refused:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_address_or_mixes_them_is_refused() {
    let (port, count) = trap_at("127.0.0.1:0").await;
    let guard = Guard::new(vec!["127.0.0.2".parse().unwrap()], Vec::new());
    let settings = |resolver: Arc<dyn Resolver>| ClientSettings {
        guard: guard.clone(),
        resolver,
        ..ClientSettings::default()
    };
    let rebinding = GuardedClient::new(&settings(Arc::new(Rebinding::default()))).unwrap();
    let url = format!("http://rebinding.example:{port}/");
    // Nobody listens at the allowed address; the other one is never connected to.
    assert!(matches!(post(&rebinding, &url).await, Err(OutboundError::Unreachable(_))));
    for _ in 0..3 {
        let refused = post(&rebinding, &url).await;
        assert!(matches!(refused, Err(OutboundError::Refused(_))), "{refused:?}");
    }
    let mixed = GuardedClient::new(&settings(Arc::new(Mixed))).unwrap();
    let refused = post(&mixed, &url).await;
    assert!(matches!(refused, Err(OutboundError::Refused(_))), "{refused:?}");
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_exception_holds_for_its_port_and_a_redirect_is_not_followed() {
    let ((allowed, asked), (other, count)) = (trap().await, trap().await);
    let guard = Guard::new(vec![format!("127.0.0.1:{allowed}").parse().unwrap()], Vec::new());
    let client = GuardedClient::new(&ClientSettings { guard, ..ClientSettings::default() }).unwrap();
    assert_eq!(post(&client, &format!("http://127.0.0.1:{allowed}/")).await.unwrap(), 302);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the redirect was followed");
    let refused = post(&client, &format!("http://127.0.0.1:{other}/")).await;
    assert!(matches!(refused, Err(OutboundError::Refused(_))), "{refused:?}");
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let guard = Guard::new(vec![address.to_string().parse().unwrap()], Vec::new());
    let head_timeout = Duration::from_millis(100);
    let settings = ClientSettings { guard, head_timeout, ..ClientSettings::default() };
    let client = GuardedClient::new(&settings).unwrap();
    let silent = post(&client, &format!("http://{address}/")).await;
    assert!(matches!(silent, Err(OutboundError::TooSlow)), "{silent:?}");
}
