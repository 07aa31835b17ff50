//! Who may call a public route without a token of Keystone: by address, by a JSON Web Token, by a
//! webhook's secret.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::fault::FieldFault;
use crate::sealed::Sealed;

/// Most networks that a route lists.
const MAX_SOURCES: usize = 64;

/// What a public route asks of callers without a token; nothing where all is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteAccess {
    /// Where calls may come from; anywhere when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_sources: Vec<IpNet>,
    /// The key that callers' JSON Web Tokens are signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_key: Option<Sealed>,
    /// The secrets that webhooks show.
    pub webhook: WebhookSecrets,
}

impl RouteAccess {
    /// Whether a caller at `address` may call; one whose address is not known may where everybody may.
    pub fn allows(&self, address: Option<IpAddr>) -> bool {
        if self.allowed_sources.is_empty() {
            return true;
        }
        let Some(address) = address.map(|address| address.to_canonical()) else { return false };
        self.allowed_sources.iter().any(|net| net.contains(&address))
    }
}

/// Parses the networks a route lists: `198.51.100.0/24`, `2001:db8::/32`, or an address alone. An
/// IPv4-mapped network of IPv6 is one of IPv4. A fault names `allowed_sources`.
pub fn parse_sources(texts: &[String]) -> Result<Vec<IpNet>, FieldFault> {
    const FIELD: &str = "allowed_sources";
    if texts.len() > MAX_SOURCES {
        return Err(FieldFault::new(FIELD, format!("has more than {MAX_SOURCES} entries")));
    }
    let parse = |text: &String| {
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(unmapped).map_err(|_| {
            let shown: String = text.chars().take(60).collect();
            let message = format!("has {shown:?}; write networks like \"198.51.100.0/24\" or addresses");
            FieldFault::new(FIELD, message)
        })
    };
    texts.iter().map(parse).collect()
}

fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net.trunc() };
    let v4 = v6.addr().to_ipv4_mapped().filter(|_| v6.prefix_len() >= 96);
    let v4 = v4.and_then(|v4| ipnet::Ipv4Net::new(v4, v6.prefix_len() - 96).ok());
    v4.map_or(IpNet::V6(v6), IpNet::V4).trunc()
}

/// The secrets that a route's webhooks show; each kind that is set lets a call in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookSecrets {
    /// The key that bodies are signed with (`X-Hub-Signature-256`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Rotated<Sealed>>,
    /// SHA-256, in hex, of the token that URLs carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Rotated<String>>,
}

impl WebhookSecrets {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.signature.is_none() && self.path.is_none()
    }

    /// The secrets after a change; what was there before stays good until `previous_until`.
    #[must_use]
    pub fn changed(self, change: &WebhookChange, previous_until: Timestamp) -> Self {
        match change {
            WebhookChange::SetSignature(new) => {
                Self { signature: Some(Rotated::after(self.signature, new.clone(), previous_until)), ..self }
            }
            WebhookChange::SetPath(new) => {
                Self { path: Some(Rotated::after(self.path, new.clone(), previous_until)), ..self }
            }
            WebhookChange::DeleteSignature => Self { signature: None, ..self },
            WebhookChange::DeletePath => Self { path: None, ..self },
        }
    }
}

/// A change of a route's webhook secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookChange {
    /// A new key to sign with.
    SetSignature(Sealed),
    /// A new token of URLs, by its hash.
    SetPath(String),
    /// No key any more, old ones included.
    DeleteSignature,
    /// No token any more, old ones included.
    DeletePath,
}

/// A secret that is replaced now and then, with the one before it for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated<T> {
    /// The newest.
    current: T,
    /// The one before, and until when it is good.
    previous: Option<(T, Timestamp)>,
}

impl<T> Rotated<T> {
    fn after(before: Option<Self>, new: T, until: Timestamp) -> Self {
        Self { current: new, previous: before.map(|before| (before.current, until)) }
    }

    /// Those that are good at `now`, the newest first.
    pub fn good_at(&self, now: Timestamp) -> impl Iterator<Item = &T> {
        let previous = self.previous.iter().filter(move |(_, until)| now < *until).map(|(old, _)| old);
        std::iter::once(&self.current).chain(previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(sources: &[&str]) -> Result<RouteAccess, FieldFault> {
        let sources: Vec<String> = sources.iter().map(|text| (*text).to_owned()).collect();
        Ok(RouteAccess { allowed_sources: parse_sources(&sources)?, ..RouteAccess::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_addresses_of_the_listed_networks_may_call_in_whichever_form_they_come() {
        let some = access(&["198.51.100.7/24", "::ffff:203.0.113.9", "2001:db8::/32"]).unwrap();
        for good in ["198.51.100.200", "::ffff:198.51.100.1", "203.0.113.9", "2001:db8:1::5"] {
            assert!(some.allows(Some(ip(good))), "{good}");
        }
        for bad in ["198.51.101.1", "203.0.113.8", "::ffff:203.0.113.8", "2001:db9::1", "::1"] {
            assert!(!some.allows(Some(ip(bad))), "{bad}");
        }
        assert!(!some.allows(None), "an address that is not known is not a listed one");
        let any = access(&[]).unwrap();
        assert!(any.allows(None) && any.allows(Some(ip("::1"))));
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for bad in ["", "x", "1.2.3.4/33", "1.2.3", "1.2.3.4:80", "fe80::1%eth0", "0x7f.0.0.1"] {
            assert_eq!(access(&[bad]).unwrap_err().field, "allowed_sources", "{bad}");
        }
        assert!(access(&vec!["1.2.3.4"; 65]).is_err());
    }

    #[test]
    fn a_replaced_secret_is_good_for_a_while_and_a_deleted_one_is_not() {
        let set = |text: &str| WebhookChange::SetPath(text.to_owned());
        let good = |secrets: &WebhookSecrets, now| -> Vec<String> {
            secrets.path.iter().flat_map(|path| path.good_at(Timestamp(now))).cloned().collect()
        };
        let secrets = WebhookSecrets::default().changed(&set("one"), Timestamp(10));
        assert_eq!(good(&secrets, 5), ["one"]);
        let secrets = secrets.changed(&set("two"), Timestamp(20));
        assert_eq!(
            (good(&secrets, 19), good(&secrets, 20)),
            (vec!["two".into(), "one".into()], vec!["two".into()])
        );
        let secrets = secrets.changed(&set("three"), Timestamp(30));
        assert_eq!(good(&secrets, 21), ["three", "two"], "only the one before stays");
        assert!(secrets.changed(&WebhookChange::DeletePath, Timestamp(40)).is_empty());
    }
}
