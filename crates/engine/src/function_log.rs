//! A function's stderr: becomes log lines, and its end is kept for the caller of a failed call.

use std::collections::VecDeque;

use picasso_types::CallId;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::catalog::Target;

/// How much of the end is kept.
pub const TAIL_BYTES: usize = 4096;
/// A longer line is cut into pieces of this size.
const MAX_LINE: usize = 8192;

/// Reads `stderr` to its end, logs it line by line up to `max_bytes`, and returns its last 4 KiB.
///
/// Past `max_bytes` one line says that the log was cut; reading goes on so that the function
/// is not blocked by a full pipe.
pub async fn follow(
    mut stderr: impl AsyncRead + Unpin,
    call_id: &CallId,
    target: &Target,
    max_bytes: u64,
) -> Vec<u8> {
    let mut tail: VecDeque<u8> = VecDeque::with_capacity(TAIL_BYTES);
    let mut line = Vec::new();
    let mut logged: u64 = 0;
    let mut cut = false;
    let mut buffer = vec![0; 4096];
    let mut emit = |line: &[u8]| {
        if cut {
            return;
        }
        logged += line.len() as u64 + 1;
        if logged > max_bytes {
            cut = true;
            write(call_id, target, &format!("[log cut: more than {max_bytes} bytes]"));
        } else {
            write(call_id, target, &String::from_utf8_lossy(line));
        }
    };
    // A read error is the end as well: the pipe belongs to a process that is gone.
    while let Ok(read) = stderr.read(&mut buffer).await
        && read > 0
    {
        let chunk = &buffer[..read];
        let overflow = (tail.len() + chunk.len()).saturating_sub(TAIL_BYTES);
        tail.drain(..overflow.min(tail.len()));
        tail.extend(&chunk[chunk.len().saturating_sub(TAIL_BYTES)..]);
        for &byte in chunk {
            if byte == b'\n' || line.len() >= MAX_LINE {
                emit(&line);
                line.clear();
            }
            if byte != b'\n' {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        emit(&line);
    }
    tail.into()
}

fn write(call_id: &CallId, target: &Target, line: &str) {
    tracing::info!(
        target: "picasso::function",
        call_id = %call_id,
        project = %target.app.project_id,
        app = %target.app.full_name,
        route = %target.route.pattern,
        stream = "stderr",
        line
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn the_last_four_kibibytes_are_kept() {
        let mut text = vec![b'a'; 10_000];
        text.extend(b"the end\n");
        let target = testing::target("/a");
        let tail = follow(text.as_slice(), &CallId::generate(), &target, 1000).await;
        assert_eq!(tail.len(), TAIL_BYTES);
        assert!(tail.ends_with(b"the end\n"));
        let short = follow(b"oops".as_slice(), &CallId::generate(), &target, 1000).await;
        assert_eq!(short, b"oops");
    }
}
