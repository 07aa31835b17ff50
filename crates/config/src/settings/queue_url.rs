//! The URL of a message broker: which one it names, and that its password is shown to nobody.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::entry::Entry;
use crate::leaf::{Leaf, quoted, text};

/// The brokers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// RabbitMQ: `amqp:` and `amqps:`.
    RabbitMq,
    /// NATS JetStream: `nats:` and `tls:`.
    Nats,
    /// Redis: `redis:` and `rediss:`.
    Redis,
}

/// The URL of a broker; it holds a password.
#[derive(Clone)]
pub struct QueueUrl {
    /// Which broker it names.
    pub broker: Broker,
    url: SecretString,
    shown: String,
}

impl QueueUrl {
    /// The whole URL, for whoever connects.
    pub fn expose(&self) -> &str {
        self.url.expose_secret()
    }
}

impl fmt::Display for QueueUrl {
    /// Scheme, host and port: what may be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueUrl({self})")
    }
}

impl Leaf for QueueUrl {
    fn kind() -> String {
        "a URL of a broker".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        // No message quotes the URL: it holds a password.
        let forms = "amqp://, amqps://, nats://, tls://, redis:// or rediss://";
        let Some(given) = text(entry) else {
            return Err(format!("must be the URL of a broker ({forms}), not {}", entry.item.kind()));
        };
        let url = Url::parse(given).map_err(|_| format!("must be the URL of a broker: {forms}"))?;
        let broker = match url.scheme() {
            "amqp" | "amqps" => Broker::RabbitMq,
            "nats" | "tls" => Broker::Nats,
            "redis" | "rediss" => Broker::Redis,
            other => {
                let scheme: String = other.chars().take(20).collect();
                return Err(format!("names no broker that picasso knows ({scheme:?}): use {forms}"));
            }
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(format!("names no host: write {}://user:password@host", url.scheme()));
        };
        let secret = if url.username().is_empty() && url.password().is_none() { "" } else { "***@" };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown = format!("{}://{secret}{host}{port}", url.scheme());
        Ok(Self { broker, shown, url: given.into() })
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Item, Source};

    fn parse(url: &str) -> Result<QueueUrl, String> {
        QueueUrl::parse(&Entry { item: Item::Text(url.to_owned()), source: Source::Default })
    }

    #[test]
    fn the_scheme_names_the_broker() {
        for (url, broker) in [
            ("amqp://a:b@rabbit", Broker::RabbitMq),
            ("amqps://rabbit:5671/vhost", Broker::RabbitMq),
            ("nats://token@nats:4222", Broker::Nats),
            ("tls://nats", Broker::Nats),
            ("redis://:b@127.0.0.1:6379/1", Broker::Redis),
            ("rediss://[::1]", Broker::Redis),
        ] {
            assert_eq!(parse(url).unwrap().broker, broker, "{url}");
        }
    }

    #[test]
    fn the_password_is_in_no_text() {
        for url in [
            "amqp://me:hunter22@rabbit:5672/vhost?hunter22",
            "nats://hunter22@nats",
            "redis://:hunter22@redis",
            "kafka://me:hunter22@kafka",
            "amqp://me:hunter22@",
            "me:hunter22@rabbit",
            "//me:hunter22@rabbit",
        ] {
            let told = match parse(url) {
                Ok(url) => format!("{url} {url:?} {:?}", url.show()),
                Err(message) => message,
            };
            assert!(!told.contains("hunter22"), "{told}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_named() {
        let told = parse("kafka://me:secret@kafka").unwrap_err();
        assert!(told.contains("\"kafka\"") && told.contains("amqp://"), "{told}");
    }
}
