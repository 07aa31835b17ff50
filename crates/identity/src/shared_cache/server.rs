//! One memcached server: its connections, and what is done while it does not answer.

use std::io::{Error, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::connection::Connection;

/// memcached's port.
const PORT: u16 = 11211;
/// Questions to one server at one time; those on top go to Keystone.
const MAX_PARALLEL: usize = 32;

/// The server cannot be asked now.
#[derive(Debug)]
pub(super) struct Fault;

type Line = Connection<TcpStream>;

pub(super) struct Server {
    /// As the settings have it.
    pub(super) address: String,
    host: String,
    port: u16,
    timeout: Duration,
    pause: Duration,
    places: Semaphore,
    idle: Mutex<Vec<Line>>,
    /// Until when nobody asks it, as it failed.
    left_alone: Mutex<Option<Instant>>,
}

impl Server {
    /// `None` where that is no address.
    pub(super) fn new(address: &str, timeout: Duration, pause: Duration) -> Option<Self> {
        let (host, port) = parse(address)?;
        Some(Self {
            address: address.to_owned(),
            host,
            port,
            timeout,
            pause,
            places: Semaphore::new(MAX_PARALLEL),
            idle: Mutex::default(),
            left_alone: Mutex::default(),
        })
    }

    pub(super) async fn get(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        self.ask(Command::Get { name, limit }).await
    }

    pub(super) async fn set(&self, name: &str, value: &[u8], seconds: u64) -> Result<(), Fault> {
        self.ask(Command::Set { name, value, seconds }).await.map(drop)
    }

    async fn ask(&self, command: Command<'_>) -> Result<Option<Vec<u8>>, Fault> {
        let _place = self.places.try_acquire().map_err(|_| Fault)?;
        if !self.may_be_asked() {
            return Err(Fault);
        }
        let asked = tokio::time::timeout(self.timeout, self.exchange(command)).await;
        match asked.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
            Ok(answer) => {
                if lock(&self.left_alone).take().is_some() {
                    tracing::info!(server = self.address, "the shared token cache answers again");
                }
                Ok(answer)
            }
            Err(error) => {
                lock(&self.idle).clear();
                let until = Instant::now() + self.pause;
                if lock(&self.left_alone).replace(until).is_none() {
                    tracing::warn!(server = self.address, %error, "the shared token cache does not answer; Keystone is asked instead");
                }
                Err(Fault)
            }
        }
    }

    /// Whether to ask it. When its time alone is over one finds out whether it is back, while the
    /// others go on without it.
    fn may_be_asked(&self) -> bool {
        let mut left_alone = lock(&self.left_alone);
        match *left_alone {
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                *left_alone = Some(Instant::now() + self.pause);
                true
            }
            None => true,
        }
    }

    async fn exchange(&self, command: Command<'_>) -> Result<Option<Vec<u8>>, Error> {
        let idle = lock(&self.idle).pop();
        if let Some(mut line) = idle {
            if let Ok(answer) = command.run(&mut line).await {
                lock(&self.idle).push(line);
                return Ok(answer);
            }
            // The server may have ended it since; then it ended the others, too.
            lock(&self.idle).clear();
        }
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let mut line = Connection::new(stream);
        let answer = command.run(&mut line).await?;
        lock(&self.idle).push(line);
        Ok(answer)
    }
}

/// What a server is asked.
#[derive(Clone, Copy)]
enum Command<'a> {
    Get { name: &'a str, limit: usize },
    Set { name: &'a str, value: &'a [u8], seconds: u64 },
}

impl Command<'_> {
    /// The entry, where one was asked for and is there.
    async fn run(self, line: &mut Line) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Get { name, limit } => line.get(name, limit).await,
            Self::Set { name, value, seconds } => line.set(name, value, seconds).await.map(|()| None),
        }
    }
}

/// A panic of another holder leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parse(address: &str) -> Option<(String, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(is_name) {
        return None;
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => PORT,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_or_without_a_port() {
        for (address, host, port) in [
            ("cache", "cache", PORT),
            ("cache1.example.org:11212", "cache1.example.org", 11212),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[::1]", "::1", PORT),
            ("[2001:db8::1]:11212", "2001:db8::1", 11212),
        ] {
            assert_eq!(parse(address), Some((host.to_owned(), port)), "{address}");
        }
        for bad in ["", ":1", "a:", "a:0", "a:65536", "a:b", "::1", "[::1", "[a]:1", "[::1]1", "a b", "a/b"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
