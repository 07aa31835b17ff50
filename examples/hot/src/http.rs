//! The format `http`: HTTP/1.1 requests, each answered with a length.

use std::error::Error;
use std::io::{BufRead, Read};

use crate::{Call, Input};

pub fn read(input: &mut Input) -> Result<Option<Call>, Box<dyn Error>> {
    let (mut id, mut what, mut length, mut chunked) = (String::new(), String::new(), 0, false);
    if line(input)?.is_empty() {
        return Ok(None);
    }
    loop {
        let line = line(input)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("task-id", value) => value.clone_into(&mut id),
            ("x-do", value) => value.clone_into(&mut what),
            ("content-length", value) => length = value.parse()?,
            ("transfer-encoding", "chunked") => chunked = true,
            _ => {}
        }
    }
    let mut body = Body { kept: Vec::new(), seen: 0, keep: what != "count" };
    if chunked {
        loop {
            let size = u64::from_str_radix(line(input)?.trim(), 16)?;
            body.take(input, size)?;
            line(input)?;
            if size == 0 {
                break;
            }
        }
    } else {
        body.take(input, length)?;
    }
    let body = if body.keep { body.kept } else { body.seen.to_string().into_bytes() };
    Ok(Some(Call { id, what, body }))
}

pub fn answer(body: &[u8], id: Option<&str>) -> Vec<u8> {
    let id = id.map(|id| format!("Task-ID: {id}\r\n")).unwrap_or_default();
    let head = format!("HTTP/1.1 200 OK\r\n{id}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn line(input: &mut Input) -> std::io::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line)
}

/// A request's body, or only how long it was.
struct Body {
    kept: Vec<u8>,
    seen: u64,
    keep: bool,
}

impl Body {
    fn take(&mut self, input: &mut Input, length: u64) -> std::io::Result<()> {
        let mut part = input.take(length);
        self.seen += if self.keep {
            part.read_to_end(&mut self.kept)? as u64
        } else {
            std::io::copy(&mut part, &mut std::io::sink())?
        };
        Ok(())
    }
}
