//! Message brokers: RabbitMQ, NATS and Redis, each with a port and a folder of its own.
//!
//! They come from Debian's packages, as operators have them. A test may kill one with SIGKILL and
//! start it again with the same data.

mod rabbitmq;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::evidence::note_secret;
use crate::process::{Process, ProcessError, TestDir, free_port};

/// How long a start may take; RabbitMQ needs ten seconds on an idle machine.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// The password of every broker of the tests.
const PASSWORD: &str = "broker-password-of-the-tests";

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RabbitMQ.
    RabbitMq,
    /// NATS with JetStream.
    Nats,
    /// Redis that syncs every write before it answers.
    Redis,
    /// Redis without persistence.
    ForgetfulRedis,
}

/// A running broker; killed when dropped.
#[derive(Debug)]
pub struct Broker {
    // Before the folder, so that it ends first.
    process: Process,
    /// RabbitMQ's map from names of nodes to ports; it outlives the node.
    _mapper: Option<Process>,
    dir: TestDir,
    kind: Kind,
    port: u16,
    /// Ports of helpers: RabbitMQ's distribution and port mapper.
    helpers: [u16; 2],
}

impl Broker {
    /// Why this broker cannot run here; `None` when it can. For [`crate::process::require`].
    pub fn missing(kind: Kind) -> Option<String> {
        let (program, package) = match kind {
            Kind::RabbitMq => (rabbitmq::SERVER, "rabbitmq-server"),
            Kind::Nats => (NATS, "nats-server"),
            Kind::Redis | Kind::ForgetfulRedis => (REDIS, "redis-server"),
        };
        (!Path::new(program).exists()).then(|| format!("no {program} (apt-get install {package})"))
    }

    /// Starts one and waits until it answers.
    pub async fn start(kind: Kind) -> Result<Self, ProcessError> {
        let io = |source| ProcessError::Start { program: format!("{kind:?}"), source };
        note_secret(PASSWORD);
        let dir = TestDir::new("broker").map_err(io)?;
        let port = free_port().map_err(io)?;
        let helpers = [free_port().map_err(io)?, free_port().map_err(io)?];
        let mapper = if kind == Kind::RabbitMq {
            let mut mapper = Process::spawn("epmd", dir.path(), rabbitmq::mapper(helpers))?;
            // A node that does not find it ends at once.
            let listens = || async { TcpStream::connect(("127.0.0.1", helpers[1])).await.is_ok() };
            mapper.ready(READY_WITHIN, "a listener", listens).await?;
            Some(mapper)
        } else {
            None
        };
        let process = spawn(kind, dir.path(), port, helpers)?;
        let mut broker = Self { process, _mapper: mapper, dir, kind, port, helpers };
        broker.ready().await?;
        Ok(broker)
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        let scheme = match self.kind {
            Kind::RabbitMq => "amqp",
            Kind::Nats => "nats",
            Kind::Redis | Kind::ForgetfulRedis => "redis",
        };
        let user = if scheme == "redis" { "" } else { "picasso" };
        format!("{scheme}://{user}:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// What only the URL may show.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it logged.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Kills it with SIGKILL and waits for its end.
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        self.process.signal(Signal::KILL);
        self.process.wait(Duration::from_secs(10)).await?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub async fn stop(&mut self) -> Result<(), ProcessError> {
        self.process.signal(Signal::TERM);
        self.process.wait(READY_WITHIN).await?;
        Ok(())
    }

    /// Starts it again with the same data, after [`Broker::stop`] or [`Broker::kill`].
    pub async fn start_again(&mut self) -> Result<(), ProcessError> {
        self.process = spawn(self.kind, self.dir.path(), self.port, self.helpers)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), ProcessError> {
        let (kind, port, root) = (self.kind, self.port, self.dir.path().to_owned());
        self.process
            .ready(READY_WITHIN, "an answer", || {
                let root = root.clone();
                async move { answers(kind, port, &root).await.unwrap_or(false) }
            })
            .await
    }
}

const NATS: &str = "/usr/sbin/nats-server";
const REDIS: &str = "/usr/bin/redis-server";

fn spawn(kind: Kind, root: &Path, port: u16, helpers: [u16; 2]) -> Result<Process, ProcessError> {
    let io = |source| ProcessError::Start { program: format!("{kind:?}"), source };
    let write = |name: &str, text: String| -> Result<PathBuf, ProcessError> {
        let path = root.join(name);
        std::fs::write(&path, text).map_err(io)?;
        Ok(path)
    };
    let folder = root.display();
    match kind {
        Kind::RabbitMq => {
            let command = rabbitmq::command(root, port, helpers, PASSWORD).map_err(io)?;
            Process::spawn("rabbitmq", root, command)
        }
        Kind::Nats => {
            let config = write(
                "nats.conf",
                format!(
                    "listen: \"127.0.0.1:{port}\"\n\
                     authorization {{ user: picasso, password: \"{PASSWORD}\" }}\n\
                     jetstream {{ store_dir: \"{folder}/data\" }}\n"
                ),
            )?;
            let mut command = Command::new(NATS);
            command.arg("-c").arg(config);
            Process::spawn("nats", root, command)
        }
        Kind::Redis | Kind::ForgetfulRedis => {
            let aof = if kind == Kind::Redis { "yes" } else { "no" };
            let config = write(
                "redis.conf",
                format!(
                    "bind 127.0.0.1\nport {port}\ndir {folder}\nrequirepass {PASSWORD}\n\
                     appendonly {aof}\nappendfsync always\nsave \"\"\n"
                ),
            )?;
            let mut command = Command::new(REDIS);
            command.arg(config);
            Process::spawn("redis", root, command)
        }
    }
}

/// Whether the broker takes clients.
async fn answers(kind: Kind, port: u16, root: &Path) -> std::io::Result<bool> {
    if kind == Kind::RabbitMq && !rabbitmq::is_up(root) {
        return Ok(false);
    }
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    let mut line = String::new();
    let expected = match kind {
        // What it says when the client speaks another protocol.
        Kind::RabbitMq => {
            stream.write_all(b"HELLO, AMQP?").await?;
            "AMQP"
        }
        Kind::Nats => "INFO",
        Kind::Redis | Kind::ForgetfulRedis => {
            stream.write_all(format!("AUTH {PASSWORD}\r\n").as_bytes()).await?;
            "+OK"
        }
    };
    let read = async {
        let bytes = stream.fill_buf().await?;
        line = String::from_utf8_lossy(bytes).into_owned();
        Ok::<_, std::io::Error>(())
    };
    tokio::time::timeout(Duration::from_secs(2), read).await??;
    Ok(line.starts_with(expected))
}
