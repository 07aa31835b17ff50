//! Names become addresses, before anybody connects.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;

/// Who knows the addresses of names.
#[async_trait]
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// All addresses of a name, each with `port`.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.collect())
    }
}
