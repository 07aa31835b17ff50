//! One connection to a memcached: the two commands of its text protocol that are used here.
//!
//! The crates for it make room for as many bytes as a server announces, or read on without a bound;
//! here a server is nobody to be trusted.

use std::io::{Error, ErrorKind};

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream,
};

/// The longest line of an answer.
const MAX_LINE: usize = 512;

/// A connection on which no answer is outstanding.
pub(super) struct Connection<S>(BufStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(BufStream::new(stream))
    }

    /// The entry of that name; an error where it has more than `limit` bytes.
    pub(super) async fn get(&mut self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        self.0.write_all(format!("get {name}\r\n").as_bytes()).await?;
        self.0.flush().await?;
        let line = self.line().await?;
        if line == "END" {
            return Ok(None);
        }
        let length = line
            .strip_prefix("VALUE ")
            .and_then(|rest| rest.strip_prefix(name))
            .and_then(|rest| rest.strip_prefix(" 0 "))
            .and_then(|length| length.parse::<usize>().ok())
            .filter(|length| *length <= limit)
            .ok_or_else(unexpected)?;
        let mut value = vec![0; length];
        self.0.read_exact(&mut value).await?;
        if !self.line().await?.is_empty() || self.line().await? != "END" {
            return Err(unexpected());
        }
        Ok(Some(value))
    }

    /// Keeps `value` under that name for so many seconds.
    pub(super) async fn set(&mut self, name: &str, value: &[u8], seconds: u64) -> Result<(), Error> {
        self.0.write_all(format!("set {name} 0 {seconds} {}\r\n", value.len()).as_bytes()).await?;
        self.0.write_all(value).await?;
        self.0.write_all(b"\r\n").await?;
        self.0.flush().await?;
        if self.line().await? == "STORED" { Ok(()) } else { Err(unexpected()) }
    }

    async fn line(&mut self) -> Result<String, Error> {
        read_line(&mut self.0).await
    }
}

async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<String, Error> {
    let mut line = Vec::new();
    from.take(MAX_LINE as u64).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(unexpected)?;
    String::from_utf8(line.to_vec()).map_err(|_| unexpected())
}

/// Without what was answered: it is not ours, and goes into the log.
fn unexpected() -> Error {
    Error::new(ErrorKind::InvalidData, "the answer is none that memcached gives")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of `get n` where the server answers so.
    async fn got(answer: &[u8]) -> Result<Option<Vec<u8>>, ErrorKind> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        let got = Connection::new(ours).get("n", 8).await;
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).await.unwrap();
        assert_eq!(asked, "get n\r\n");
        got.map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn answers_of_memcached_are_read_and_others_are_faults() {
        assert_eq!(got(b"END\r\n").await, Ok(None));
        assert_eq!(got(b"VALUE n 0 4\r\na\r\nb\r\nEND\r\n").await, Ok(Some(b"a\r\nb".to_vec())));
        assert_eq!(got(b"VALUE n 0 0\r\n\r\nEND\r\n").await, Ok(Some(Vec::new())));
        for bad in [
            &b"VALUE n 0 9\r\n123456789\r\nEND\r\n"[..],
            b"VALUE n 0 99999999999999999999\r\n",
            b"VALUE n 0 -1\r\n",
            b"VALUE n 1 1\r\n1\r\nEND\r\n",
            b"VALUE m 0 1\r\n1\r\nEND\r\n",
            b"VALUE n 0 1\r\n12\r\nEND\r\n",
            b"VALUE n 0 1\r\n1\r\nMORE\r\n",
            b"SERVER_ERROR out of memory\r\n",
            b"\xff\r\n",
            b"END\n",
            &[b'x'; MAX_LINE + 1],
        ] {
            assert_eq!(got(bad).await, Err(ErrorKind::InvalidData), "{bad:?}");
        }
        for short in [&b""[..], b"VALUE n 0 4\r\na"] {
            assert_eq!(got(short).await, Err(ErrorKind::UnexpectedEof), "{short:?}");
        }
    }
}
