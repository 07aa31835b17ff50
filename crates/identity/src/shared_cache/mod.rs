//! What Keystone said of tokens, shared by several servers through memcached.
//!
//! It saves questions to Keystone and nothing else depends on it: whatever goes wrong with it is a
//! miss. Who reads or writes the memcached learns nothing of tokens and identities and cannot make
//! any ([`seal`]); an answer is believed no longer for having been there ([`Validated::is_fresh`]).

mod connection;
mod seal;
mod server;

use std::time::Duration;

use metrics::counter;
use picasso_types::FieldFault;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest, Sha256};

use self::seal::Keyring;
use self::server::{Fault, Server};
use crate::validated::{Question, Validated};

/// More servers are not taken.
const MAX_SERVERS: usize = 64;
/// The shortest key; shorter ones could be guessed.
const MIN_KEY: usize = 32;
/// A longer answer is not shared: one has a kilobyte, and many access rules some more.
const MAX_VALUE: usize = 128 * 1024;

/// Where the shared cache is and how it is sealed.
#[derive(Debug, Clone)]
pub struct SharedCacheSettings {
    /// The memcached servers, `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`; each entry lies on one of them.
    pub servers: Vec<String>,
    /// What entries are named and sealed with, at least 32 bytes; the same for all who share them.
    pub key: SecretString,
    /// How long one question to a server may take, with the connection it needs.
    pub timeout: Duration,
    /// How long a server that failed is left alone.
    pub pause: Duration,
}

impl SharedCacheSettings {
    /// The default settings for `servers` and `key`.
    pub fn new(servers: Vec<String>, key: SecretString) -> Self {
        Self { servers, key, timeout: Duration::from_millis(250), pause: Duration::from_secs(10) }
    }
}

/// The cache, as one server sees it.
pub(crate) struct SharedCache {
    keyring: Keyring,
    servers: Vec<Server>,
    /// How long an entry is kept, seconds.
    keep_s: u64,
}

impl SharedCache {
    /// The cache for answers of that Keystone that are believed for `time`. Entries made for another
    /// Keystone or `service_type` are never found.
    pub(crate) fn new(
        settings: &SharedCacheSettings,
        auth_url: &str,
        service_type: &str,
        time: Duration,
    ) -> Result<Self, FieldFault> {
        let wrong = |field: &str, message: String| FieldFault::new(field, message);
        let key = settings.key.expose_secret();
        if key.len() < MIN_KEY {
            return Err(wrong("memcached_key", format!("must have at least {MIN_KEY} bytes")));
        }
        if settings.servers.is_empty() || settings.servers.len() > MAX_SERVERS {
            return Err(wrong("memcached_servers", format!("must be 1 to {MAX_SERVERS} servers")));
        }
        let servers = settings.servers.iter().map(|address| {
            Server::new(address, settings.timeout, settings.pause).ok_or_else(|| {
                let message = format!("{address:?} is no address such as \"cache1.example.org:11211\"");
                wrong("memcached_servers", message)
            })
        });
        Ok(Self {
            keyring: Keyring::new(key, &[auth_url, service_type]),
            servers: servers.collect::<Result<_, _>>()?,
            keep_s: time.as_secs() + u64::from(time.subsec_nanos() > 0),
        })
    }

    /// What another server was told about `question`, at whatever time.
    pub(crate) async fn find(&self, question: &Question) -> Option<Validated> {
        let entry = self.keyring.entry(question);
        let found = match self.server(&entry.name).get(&entry.name, MAX_VALUE).await {
            Ok(found) => found,
            Err(Fault) => {
                count("unavailable");
                return None;
            }
        };
        // What does not open is not ours.
        let known = found.and_then(|sealed| serde_json::from_slice(&entry.open(sealed)?).ok());
        count(if known.is_some() { "hit" } else { "miss" });
        known
    }

    /// Keeps `validated` for the others.
    pub(crate) async fn keep(&self, question: &Question, validated: &Validated) {
        let entry = self.keyring.entry(question);
        let sealed = serde_json::to_vec(validated).ok().and_then(|plain| entry.seal(plain));
        let Some(sealed) = sealed.filter(|sealed| sealed.len() <= MAX_VALUE) else { return };
        // The others ask Keystone themselves where this fails.
        let _ = self.server(&entry.name).set(&entry.name, &sealed, self.keep_s).await;
    }

    /// The server for entries of that name. When one is added or taken away only its entries move.
    fn server(&self, name: &str) -> &Server {
        let weight =
            |server: &&Server| Sha256::new().chain_update(&server.address).chain_update(name).finalize();
        // There is at least one, by construction.
        self.servers.iter().max_by_key(weight).unwrap_or(&self.servers[0])
    }
}

fn count(outcome: &'static str) {
    counter!("picasso_shared_token_cache_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(servers: &[&str], key: &str) -> Result<SharedCache, FieldFault> {
        let servers = servers.iter().map(|&server| server.to_owned()).collect();
        let settings = SharedCacheSettings::new(servers, key.to_owned().into());
        SharedCache::new(&settings, "http://k/v3", "functions", Duration::from_mins(1))
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused_by_name() {
        let key = "k".repeat(32);
        assert!(cache(&["a:1", "[::1]:2", "c"], &key).is_ok());
        for (servers, key, field) in [
            (&["a"][..], "short", "memcached_key"),
            (&[], &key, "memcached_servers"),
            (&["a"; 65], &key, "memcached_servers"),
            (&["a:"], &key, "memcached_servers"),
        ] {
            let fault = cache(servers, key).err().unwrap();
            assert_eq!(fault.field, field);
            assert!(!fault.to_string().contains(key), "{fault}");
        }
    }

    #[test]
    fn without_one_of_the_servers_only_its_entries_move() {
        let key = "k".repeat(32);
        let three = cache(&["a", "b", "c"], &key).unwrap();
        let two = cache(&["a", "c"], &key).unwrap();
        let mut on_b = 0;
        for name in (0..300).map(|n| format!("name-{n}")) {
            let before = &three.server(&name).address;
            if before == "b" {
                on_b += 1;
            } else {
                assert_eq!(before, &two.server(&name).address);
            }
        }
        assert!((50..150).contains(&on_b), "{on_b} of 300 on one of three");
    }
}
