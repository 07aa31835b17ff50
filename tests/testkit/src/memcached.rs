//! A real memcached, of Debian's package.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::process::{Process, ProcessError, TestDir, free_port};

const PROGRAM: &str = "/usr/bin/memcached";
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running memcached; killed when dropped.
#[derive(Debug)]
pub struct Memcached {
    // Before the folder, so that it ends first.
    process: Process,
    dir: TestDir,
    port: u16,
}

impl Memcached {
    /// Why it cannot run here, if it cannot; for [`crate::process::require`].
    pub fn missing() -> Option<String> {
        (!Path::new(PROGRAM).exists()).then(|| format!("no {PROGRAM} (apt-get install memcached)"))
    }

    /// Starts an empty one.
    pub async fn start() -> Result<Self, ProcessError> {
        let io = |source| ProcessError::Start { program: PROGRAM.to_owned(), source };
        let (dir, port) = (TestDir::new("memcached").map_err(io)?, free_port().map_err(io)?);
        let process = spawn(dir.path(), port).await?;
        Ok(Self { process, dir, port })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it; connections are refused from then on.
    pub fn kill(&mut self) {
        self.process.stop();
    }

    /// Starts it again, empty, after [`Self::kill`].
    pub async fn start_again(&mut self) -> Result<(), ProcessError> {
        self.process = spawn(self.dir.path(), self.port).await?;
        Ok(())
    }

    /// Freezes it: connections are taken but nothing answers.
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Everything in it: names and values.
    pub async fn entries(&self) -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await?);
        stream.write_all(b"lru_crawler metadump all\r\n").await?;
        let mut names = Vec::new();
        loop {
            let line = line(&mut stream).await?;
            match line.strip_prefix("key=").and_then(|rest| rest.split(' ').next()) {
                Some(name) => names.push(name.to_owned()),
                None if line == "END" => break,
                None => return Err(std::io::Error::other(line)),
            }
        }
        let mut entries = Vec::new();
        for name in names {
            stream.write_all(format!("get {name}\r\n").as_bytes()).await?;
            let head = line(&mut stream).await?;
            // It may have ended since.
            let Some(length) = head.strip_prefix("VALUE ").and_then(|rest| rest.rsplit(' ').next()) else {
                continue;
            };
            let mut value = vec![0; length.parse::<usize>().map_err(std::io::Error::other)? + 2];
            stream.read_exact(&mut value).await?;
            value.truncate(value.len() - 2);
            line(&mut stream).await?;
            entries.push((name, value));
        }
        Ok(entries)
    }

    /// Puts `value` under a name, whatever was there.
    pub async fn put(&self, name: &str, value: &[u8]) -> std::io::Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await?);
        let head = format!("set {name} 0 3600 {}\r\n", value.len());
        stream.write_all(&[head.as_bytes(), value, b"\r\n"].concat()).await?;
        let answer = line(&mut stream).await?;
        if answer == "STORED" { Ok(()) } else { Err(std::io::Error::other(answer)) }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

async fn spawn(dir: &Path, port: u16) -> Result<Process, ProcessError> {
    let mut command = Command::new(PROGRAM);
    command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0", "-m", "16"]);
    if rustix::process::geteuid().is_root() {
        // It refuses to run as root.
        command.args(["-u", "nobody"]);
    }
    let mut process = Process::spawn("memcached", dir, command)?;
    let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    process.ready(READY_WITHIN, "a listener", listens).await?;
    Ok(process)
}
