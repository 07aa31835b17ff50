//! Connections to a port inside a sandbox.
//!
//! A TCP socket belongs to the network namespace it was made in, not to the process that uses it:
//! the driver makes sockets inside the sandbox's namespace and hands them over, the unprivileged
//! engine connects them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::net::{TcpSocket, TcpStream};

use crate::SandboxError;

/// Makes unconnected TCP sockets inside one sandbox's network namespace.
#[async_trait]
pub trait Dial: Send + Sync + std::fmt::Debug {
    /// A fresh, unconnected, non-blocking IPv4 TCP socket of the sandbox's namespace.
    async fn socket(&self) -> Result<TcpSocket, SandboxError>;
}

/// Opens connections to the port that the process of one sandbox listens on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    sockets: Arc<dyn Dial>,
    port: u16,
}

impl Dialer {
    /// A dialer to `port` of the sandbox's loopback.
    pub fn new(sockets: Arc<dyn Dial>, port: u16) -> Self {
        Self { sockets, port }
    }

    /// Connects once. `ConnectionRefused` means that nothing listens yet; an error of the driver
    /// is an `io::Error` of kind `Other` with the [`SandboxError`] inside.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let socket = self.sockets.socket().await.map_err(io::Error::other)?;
        let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
