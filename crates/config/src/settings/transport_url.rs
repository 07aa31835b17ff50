//! The URL of RabbitMQ as oslo.messaging writes it: several hosts, each with its own credentials.
//!
//! `rabbit://user:password@host:port,user:password@host:port/virtual-host`; `amqp:` means the same,
//! `amqps:` encrypts. Source of the form: oslo.messaging's `TransportURL.parse`.

use std::fmt;

use secrecy::SecretString;
use url::Url;

use crate::entry::Entry;
use crate::leaf::{Leaf, quoted, text};

/// The brokers of a transport URL; it holds passwords.
#[derive(Clone)]
pub struct TransportUrl {
    hosts: Vec<SecretString>,
    shown: String,
}

impl TransportUrl {
    /// A URL of AMQP for each host, with its password, in their order.
    pub fn hosts(&self) -> &[SecretString] {
        &self.hosts
    }
}

impl fmt::Display for TransportUrl {
    /// Scheme and hosts: what may be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for TransportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportUrl({self})")
    }
}

impl Leaf for TransportUrl {
    fn kind() -> String {
        "a transport URL of RabbitMQ".to_owned()
    }

    fn parse(entry: &Entry) -> Result<Self, String> {
        // No message quotes the URL: it holds passwords.
        let form = "rabbit://user:password@host:port[,user:password@host:port]/virtual-host";
        let wrong = || {
            format!(
                "must be {form}, or amqp: or amqps:; special characters of a password are written as %40 and the like"
            )
        };
        let given = text(entry).ok_or_else(wrong)?;
        let (scheme, rest) = given.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme {
            "rabbit" | "amqp" => "amqp",
            "amqps" => "amqps",
            _ => return Err(wrong()),
        };
        if rest.contains(['?', '#']) {
            return Err(format!("takes no options behind the virtual host: {form}"));
        }
        let (authorities, host_path) = rest.split_once('/').unwrap_or((rest, ""));
        // As oslo.messaging has it: no name is RabbitMQ's default host, `/`.
        let virtual_host =
            if host_path.is_empty() { "%2f".to_owned() } else { host_path.replace('/', "%2f") };
        let (mut hosts, mut shown) = (Vec::new(), Vec::new());
        for authority in authorities.split(',').filter(|authority| !authority.is_empty()) {
            let url = format!("{scheme}://{authority}/{virtual_host}");
            let parsed = Url::parse(&url).map_err(|_| wrong())?;
            let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
            let secret =
                if parsed.username().is_empty() && parsed.password().is_none() { "" } else { "***@" };
            let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
            shown.push(format!("{secret}{host}{port}"));
            hosts.push(SecretString::from(url));
        }
        if hosts.is_empty() {
            return Err(wrong());
        }
        Ok(Self { hosts, shown: format!("{scheme}://{}", shown.join(",")) })
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.shown))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::entry::{Item, Source};

    fn parse(url: &str) -> Result<TransportUrl, String> {
        TransportUrl::parse(&Entry { item: Item::Text(url.to_owned()), source: Source::Default })
    }

    fn hosts(url: &str) -> Vec<String> {
        parse(url).unwrap().hosts().iter().map(|host| host.expose_secret().to_owned()).collect()
    }

    #[test]
    fn each_host_becomes_a_url_of_its_own() {
        assert_eq!(hosts("rabbit://u:p@a:5672/"), ["amqp://u:p@a:5672/%2f"]);
        assert_eq!(hosts("amqp://a"), ["amqp://a/%2f"]);
        assert_eq!(
            hosts("amqps://u:p%40@a:5671,v:q@[::1]:5671/nova"),
            ["amqps://u:p%40@a:5671/nova", "amqps://v:q@[::1]:5671/nova"]
        );
        assert_eq!(hosts("rabbit://u:p@a//x"), ["amqp://u:p@a/%2fx"]);
    }

    #[test]
    fn no_password_is_in_any_text() {
        for url in [
            "rabbit://u:hunter22@a,v:hunter22@b:1/hunter22",
            "kafka://u:hunter22@a",
            "rabbit://u:hunter22@",
            "rabbit://u:hunter22@a/?ssl=hunter22",
            "rabbit://",
            "hunter22",
            "rabbit://u:hunter22@a:port/",
        ] {
            let told = match parse(url) {
                Ok(url) => format!("{url} {url:?} {:?}", url.show()),
                Err(message) => message,
            };
            assert!(!told.contains("hunter22"), "{told}");
        }
    }
}
