//! A caller of little weight: one connection kept open, blocking, so that what is measured is the
//! server and not a client library.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::samples::{Samples, Summary};

/// A connection of either kind.
trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// One caller with one request that it sends again and again.
pub struct Caller {
    stream: Box<dyn Stream>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Caller {
    /// Connects to the host of `url` (`http://host:port/path`); requests are POSTs with `headers`
    /// and `body`.
    pub fn connect(url: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Self> {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self::over(Box::new(stream), host, &format!("/{path}"), headers, body))
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(socket: &std::path::Path, path: &str, body: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self::over(Box::new(stream), "function", path, &[], body))
    }

    fn over(stream: Box<dyn Stream>, host: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        use std::fmt::Write as _;
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let request = format!("{head}\r\n{body}").into_bytes();
        Self { stream, request, buffer: Vec::with_capacity(4096) }
    }

    /// How long each of `calls` calls takes, one after the other.
    pub fn latency(&mut self, calls: u32) -> io::Result<Summary> {
        let mut samples = Samples::default();
        for _ in 0..calls {
            let began = Instant::now();
            self.call()?;
            samples.add(began.elapsed());
        }
        Ok(samples.summary())
    }

    /// One call, to the last byte of its answer; an error where the status is neither 200 nor 202.
    pub fn call(&mut self) -> io::Result<String> {
        self.stream.write_all(&self.request)?;
        self.buffer.clear();
        let head = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let lines = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
        let header = |name: &str| {
            lines.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let body = if let Some(length) = header("content-length") {
            let length: usize = length.parse().map_err(io::Error::other)?;
            while self.buffer.len() < head + length {
                self.more()?;
            }
            self.buffer[head..].to_vec()
        } else {
            while !self.buffer.ends_with(b"0\r\n\r\n") {
                self.more()?;
            }
            unchunk(&self.buffer[head..])?
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        if matches!(lines.split(' ').nth(1), Some("200" | "202")) {
            Ok(body)
        } else {
            Err(io::Error::other(format!("{}: {body}", lines.lines().next().unwrap_or_default())))
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.buffer.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The data of a whole chunked body (RFC 9112, 7.1).
fn unchunk(mut bytes: &[u8]) -> io::Result<Vec<u8>> {
    let broken = || io::Error::other("a broken chunked body");
    let mut data = Vec::new();
    loop {
        let line = find(bytes, b"\r\n").ok_or_else(broken)?;
        let size = String::from_utf8_lossy(&bytes[..line]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| broken())?;
        if size == 0 {
            return Ok(data);
        }
        let chunk = bytes.get(line + 2..line + 2 + size).ok_or_else(broken)?;
        data.extend_from_slice(chunk);
        bytes = bytes.get(line + 4 + size..).ok_or_else(broken)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together() {
        assert_eq!(unchunk(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap(), b"abcde");
        assert!(unchunk(b"3\r\nab").is_err());
    }
}
