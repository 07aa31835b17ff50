//! Message brokers: RabbitMQ, NATS and Redis, each with a port and a folder of its own.
//!
//! They come from Debian's packages, as operators have them. A test may kill one with SIGKILL and
//! start it again with the same data.

mod rabbitmq;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::evidence::note_secret;
use crate::place::Place;
use crate::process::{Process, ProcessError, TestDir, free_port};
use crate::tls::Certificates;

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

impl Kind {
    /// The port that its clients expect.
    fn usual_port(self) -> u16 {
        match self {
            Self::RabbitMq => 5672,
            Self::Nats => 4222,
            Self::Redis | Self::ForgetfulRedis => 6379,
        }
    }
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
    place: Place,
    port: u16,
    /// Ports of helpers: RabbitMQ's distribution and port mapper.
    helpers: [u16; 2],
    tls: Option<TlsFiles>,
}

/// Certificate and key of a broker that takes clients with TLS only.
#[derive(Debug)]
struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
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
        Self::start_as(kind, Place::default(), None).await
    }

    /// Starts one elsewhere than on loopback.
    pub async fn start_at(place: &Place, kind: Kind) -> Result<Self, ProcessError> {
        Self::start_as(kind, place.clone(), None).await
    }

    /// The same for clients with TLS only.
    pub async fn start_with_tls(kind: Kind, certificates: &Certificates) -> Result<Self, ProcessError> {
        let tls = TlsFiles { certificate: certificates.certificate(), key: certificates.key() };
        Self::start_as(kind, Place::default(), Some(tls)).await
    }

    async fn start_as(kind: Kind, place: Place, tls: Option<TlsFiles>) -> Result<Self, ProcessError> {
        let io = |source| ProcessError::Start { program: format!("{kind:?}"), source };
        note_secret(PASSWORD);
        let dir = TestDir::new("broker").map_err(io)?;
        let port = place.port(kind.usual_port()).map_err(io)?;
        let helpers = [free_port().map_err(io)?, free_port().map_err(io)?];
        let mapper = if kind == Kind::RabbitMq {
            let mut mapper = Process::spawn("epmd", dir.path(), rabbitmq::mapper(&place, helpers))?;
            // A node that does not find it ends at once.
            let at = (place.address(), helpers[1]);
            let listens = || async { TcpStream::connect(at).await.is_ok() };
            mapper.ready(READY_WITHIN, "a listener", listens).await?;
            Some(mapper)
        } else {
            None
        };
        let process = spawn(kind, dir.path(), &place, [port, helpers[0], helpers[1]], tls.as_ref())?;
        let mut broker = Self { process, _mapper: mapper, dir, kind, place, port, helpers, tls };
        broker.ready().await?;
        Ok(broker)
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        let (scheme, user) = match (self.kind, &self.tls) {
            (Kind::RabbitMq, None) => ("amqp", "picasso"),
            (Kind::RabbitMq, Some(_)) => ("amqps", "picasso"),
            (Kind::Nats, None) => ("nats", "picasso"),
            (Kind::Nats, Some(_)) => ("tls", "picasso"),
            (Kind::Redis | Kind::ForgetfulRedis, None) => ("redis", ""),
            (Kind::Redis | Kind::ForgetfulRedis, Some(_)) => ("rediss", ""),
        };
        format!("{scheme}://{user}:{PASSWORD}@{}:{}", self.place.address(), self.port)
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
        let ports = [self.port, self.helpers[0], self.helpers[1]];
        self.process = spawn(self.kind, self.dir.path(), &self.place, ports, self.tls.as_ref())?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), ProcessError> {
        let (kind, at, root) = (self.kind, (self.place.address(), self.port), self.dir.path().to_owned());
        let has_tls = self.tls.is_some();
        self.process
            .ready(READY_WITHIN, "an answer", || {
                let root = root.clone();
                async move { answers(kind, at, &root, has_tls).await.unwrap_or(false) }
            })
            .await
    }
}

const NATS: &str = "/usr/sbin/nats-server";
const REDIS: &str = "/usr/bin/redis-server";

fn spawn(
    kind: Kind,
    root: &Path,
    place: &Place,
    [port, distribution, mapper]: [u16; 3],
    tls: Option<&TlsFiles>,
) -> Result<Process, ProcessError> {
    let io = |source| ProcessError::Start { program: format!("{kind:?}"), source };
    let write = |name: &str, text: String| -> Result<PathBuf, ProcessError> {
        let path = root.join(name);
        std::fs::write(&path, text).map_err(io)?;
        Ok(path)
    };
    let folder = root.display();
    let address = place.address();
    match kind {
        Kind::RabbitMq => {
            let command =
                rabbitmq::command(root, place, [port, distribution, mapper], PASSWORD, tls).map_err(io)?;
            Process::spawn("rabbitmq", root, command)
        }
        Kind::Nats => {
            let tls = tls.map_or_else(String::new, |TlsFiles { certificate, key }| {
                let (certificate, key) = (certificate.display(), key.display());
                format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}\n")
            });
            let config = write(
                "nats.conf",
                format!(
                    "listen: \"{address}:{port}\"\n{tls}\
                     authorization {{ user: picasso, password: \"{PASSWORD}\" }}\n\
                     jetstream {{ store_dir: \"{folder}/data\" }}\n"
                ),
            )?;
            let mut command = place.command(NATS);
            command.arg("-c").arg(config);
            Process::spawn("nats", root, command)
        }
        Kind::Redis | Kind::ForgetfulRedis => {
            let listener = tls.map_or_else(
                || format!("port {port}\n"),
                |TlsFiles { certificate, key }| {
                    let (certificate, key) = (certificate.display(), key.display());
                    format!(
                        "port 0\ntls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\n\
                         tls-auth-clients no\n"
                    )
                },
            );
            let aof = if kind == Kind::Redis { "yes" } else { "no" };
            let config = write(
                "redis.conf",
                format!(
                    "bind {address}\n{listener}dir {folder}\nrequirepass {PASSWORD}\n\
                     appendonly {aof}\nappendfsync always\nsave \"\"\n"
                ),
            )?;
            let mut command = place.command(REDIS);
            command.arg(config);
            Process::spawn("redis", root, command)
        }
    }
}

/// Whether the broker takes clients.
async fn answers(kind: Kind, at: (Ipv4Addr, u16), root: &Path, has_tls: bool) -> std::io::Result<bool> {
    if kind == Kind::RabbitMq && !rabbitmq::is_up(root) {
        return Ok(false);
    }
    let mut stream = BufReader::new(TcpStream::connect(at).await?);
    // NATS greets before it begins with TLS; the others say nothing that is not encrypted.
    if has_tls && kind != Kind::Nats {
        return Ok(true);
    }
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
