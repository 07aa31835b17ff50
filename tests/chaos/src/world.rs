//! What stands and falls: a server with its database and its broker, each behind a cable.

use picasso_suites::cloud::Cloud;
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::database::{self, Database};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::require;
use reqwest::Url;
use serde_json::json;

use crate::Trouble;
use crate::cable::Cable;

/// Short times, so that what a dead server held is taken up soon.
const SETTINGS: &str = "[queue]\nlease_s = 5\n";
/// Room on the disk that a round fills, MiB: images and databases of a few rounds.
const DISK_MB: u32 = 512;

/// What carries the calls' ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// The default: SQLite for everything.
    Sqlite,
    /// RabbitMQ, with PostgreSQL.
    RabbitMq,
    /// NATS JetStream, with MariaDB.
    Nats,
    /// Redis, with PostgreSQL.
    Redis,
}

impl Queue {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Sqlite, Self::RabbitMq, Self::Nats, Self::Redis];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::RabbitMq => "rabbitmq",
            Self::Nats => "nats",
            Self::Redis => "redis",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }

    fn services(self) -> Option<(Kind, database::Kind)> {
        match self {
            Self::Sqlite => None,
            Self::RabbitMq => Some((Kind::RabbitMq, database::Kind::Postgres)),
            Self::Nats => Some((Kind::Nats, database::Kind::MariaDb)),
            Self::Redis => Some((Kind::Redis, database::Kind::Postgres)),
        }
    }
}

/// A service and the cable to it.
#[derive(Debug)]
pub struct Linked<S> {
    /// The service.
    pub service: S,
    /// The server's way to it.
    pub cable: Cable,
}

/// A cloud with a function that calls are accepted for.
#[derive(Debug)]
pub struct World {
    /// Keystone and the server.
    pub cloud: Cloud,
    /// The broker; `None` where the queue is a file.
    pub broker: Option<Linked<Broker>>,
    /// The database server; `None` where the database is a file.
    pub database: Option<Linked<Database>>,
    /// A member's token.
    pub token: String,
    /// The member's project.
    pub project: String,
    /// Where calls are accepted.
    pub url: String,
}

impl World {
    /// Starts all of it.
    pub async fn start(queue: Queue) -> Result<Self, Trouble> {
        let (mut queue_url, mut database_section) = (String::new(), String::new());
        let (mut broker, mut database) = (None, None);
        if let Some((kind, database_kind)) = queue.services() {
            if !require(queue.name(), Broker::missing(kind).as_deref())
                || !require(&format!("{database_kind:?}"), Database::missing(database_kind).as_deref())
            {
                return Err("a service is missing".into());
            }
            let mut service = Broker::start(kind).await?;
            if kind == Kind::RabbitMq {
                // A node that is killed before its first orderly stop may forget its new queues' leaders.
                service.stop().await?;
                service.start_again().await?;
            }
            let (url, cable) = behind_cable(&service.url()).await?;
            queue_url = format!("url = \"{url}\"\n");
            broker = Some(Linked { service, cable });
            let (service, url) = Database::start(database_kind).await?;
            let (url, cable) = behind_cable(&url).await?;
            database_section = format!("\n[database]\nurl = \"{url}\"\n");
            database = Some(Linked { service, cable });
        }
        let options = PicassoOptions {
            more_config: format!("{SETTINGS}{queue_url}{database_section}"),
            disk_mb: Some(DISK_MB),
            ..PicassoOptions::default()
        };
        let cloud = Cloud::start_with(options).await;
        let image = cloud.load_static("stream-hello").await;
        let token = cloud.token("demo1-member").await;
        let app = cloud.app(&token, "chaos").await;
        let fields = json!({"type": "async", "image": image, "format": "http-stream", "memory": 32});
        cloud.route(&token, &app, "/work", "", fields).await;
        let url = cloud.function_url(&app, "/work");
        let project = cloud.project("demo1").await;
        Ok(Self { cloud, broker, database, token, project, url })
    }

    /// The end of the server's log.
    pub fn last_words(&self) -> String {
        let log = self.cloud.picasso.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A cable to the service of a URL, and the URL of its near end.
async fn behind_cable(url: &str) -> Result<(String, Cable), Trouble> {
    let parsed = Url::parse(url)?;
    let port = parsed.port().ok_or("a URL without port")?;
    let cable = Cable::to(port).await?;
    Ok((url.replace(&format!(":{port}"), &format!(":{}", cable.port())), cable))
}
