//! Several `picasso serve` on one database and one broker, each in a network namespace of its own,
//! on wires that a test can cut.
//!
//! Keystone, database and broker listen on this machine's loopback; nodes reach them at the bridge
//! their wires end at, where each has a forwarder.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what a test cannot set up fails the test, saying what it was"
)]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use picasso_testkit::picasso::Namespace;
use picasso_testkit::process::run;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A bridge with wires to namespaces; gone when dropped.
#[derive(Debug)]
pub struct Wires {
    bridge: String,
    subnet: [u8; 3],
    namespaces: Vec<String>,
    forwarders: Vec<JoinHandle<()>>,
}

fn ip(arguments: &str) {
    run("ip", arguments.split(' ')).expect("ip does it");
}

impl Wires {
    /// A bridge without wires.
    pub fn new() -> Self {
        static MADE: AtomicU8 = AtomicU8::new(0);
        let (pid, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let [.., high, low] = pid.to_be_bytes();
        // Of 198.18.0.0/15, which is for tests of network devices (RFC 2544).
        let subnet = [198, 19, (high ^ low).wrapping_add(number)];
        let bridge = format!("pcl{pid}x{number}");
        ip(&format!("link add name {bridge} type bridge"));
        let wires = Self { bridge, subnet, namespaces: Vec::new(), forwarders: Vec::new() };
        ip(&format!("address add {}/24 dev {}", wires.address(1), wires.bridge));
        ip(&format!("link set dev {} up", wires.bridge));
        wires
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, host)
    }

    /// What a URL of a service on this machine's loopback is for the nodes.
    pub async fn reach(&mut self, url: &str) -> String {
        let near = self.address(1);
        let (before, after) = url.split_once("127.0.0.1:").expect("a URL of a service here");
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let port: u16 = after[..digits].parse().expect("a port");
        // The same port of another address.
        if let Ok(listener) = TcpListener::bind((near, port)).await {
            self.forwarders.push(tokio::spawn(forward(listener, port)));
        }
        format!("{before}{near}:{after}")
    }

    /// A namespace with a wire; `auth_url` is Keystone's as [`Wires::reach`] made it.
    pub fn namespace(&mut self, auth_url: &str) -> Namespace {
        let number = u8::try_from(self.namespaces.len()).expect("few namespaces") + 2;
        let name = format!("{}n{number}", self.bridge);
        let (near, address) = (self.near_end(usize::from(number) - 2), self.address(number));
        ip(&format!("netns add {name}"));
        self.namespaces.push(name.clone());
        ip(&format!("link add {near} type veth peer name eth0 netns {name}"));
        ip(&format!("link set dev {near} master {}", self.bridge));
        ip(&format!("link set dev {near} up"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} address add {address}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        Namespace { name, address, auth_url: auth_url.to_owned() }
    }

    /// Cuts the wire of a node, the first being 0: what it sends is lost, and nobody is told.
    pub fn cut(&self, node: usize) {
        ip(&format!("link set dev {} nomaster", self.near_end(node)));
    }

    fn near_end(&self, node: usize) -> String {
        format!("{}w{}", self.bridge, node + 2)
    }
}

impl Default for Wires {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for forwarder in &self.forwarders {
            forwarder.abort();
        }
        // The wires go with their namespaces.
        for namespace in &self.namespaces {
            let _ = run("ip", ["netns", "delete", namespace]);
        }
        let _ = run("ip", ["link", "delete", "dev", &self.bridge]);
    }
}

async fn forward(listener: TcpListener, port: u16) {
    while let Ok((mut near, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}
