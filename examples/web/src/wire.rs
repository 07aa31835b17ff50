//! As much of HTTP/1.1 as a server for one request a connection needs.

use std::io::{self, BufRead, Read, Write};

use crate::listen::Connection;

/// A request whose body is still to be read.
pub struct Request {
    pub method: String,
    pub target: String,
    /// `name: value`, names in lower case.
    pub headers: Vec<String>,
}

impl Request {
    /// Reads a request's head; `None` where the connection ends without one.
    pub fn head(connection: &mut Connection) -> io::Result<Option<Self>> {
        let first = line(connection)?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let mut request = Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new() };
        loop {
            let line = line(connection)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(Some(request)) };
            request.headers.push(format!("{}: {}", name.to_ascii_lowercase(), value.trim()));
        }
    }

    /// A header, also behind the prefix of format `http-stream`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.headers.iter().filter_map(|header| header.split_once(": "));
        pairs.find(|(n, _)| n.strip_prefix("fn-http-h-").unwrap_or(n) == name).map(|(_, value)| value)
    }

    fn plain(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| header.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Copies the body; how long it was.
    pub fn body(&self, connection: &mut Connection, to: &mut impl Write) -> io::Result<u64> {
        if self.plain("transfer-encoding") != Some("chunked") {
            let length = self.plain("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            return io::copy(&mut connection.take(length), to);
        }
        let mut total = 0;
        loop {
            let size = u64::from_str_radix(line(connection)?.trim(), 16).map_err(io::Error::other)?;
            total += io::copy(&mut connection.take(size), to)?;
            line(connection)?;
            if size == 0 {
                return Ok(total);
            }
        }
    }
}

/// An answer of either format: the status on the wire is 200 where `Fn-Http-Status` counts.
pub fn answer(status: u64, body: &[u8]) -> Vec<u8> {
    let wire = if std::env::var_os("FN_LISTENER").is_some() { 200 } else { status };
    let own = format!("Fn-Http-Status: {status}\r\nFn-Http-H-X-Answered: yes\r\nX-Answered: yes\r\n");
    [&head(wire, &own, body.len()), body].concat()
}

/// An answer with that status on the wire.
pub fn plain(status: u64, body: &[u8]) -> Vec<u8> {
    [&head(status, "", body.len()), body].concat()
}

fn head(status: u64, more: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\n\r\n").into_bytes()
}

fn line(connection: &mut Connection) -> io::Result<String> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    Ok(line)
}
