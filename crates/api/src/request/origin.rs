//! Where a request comes from and which URL its client used, also behind proxies.
//!
//! `Forwarded` (RFC 7239) and `X-Forwarded-*` are what anybody can write. They are read only where
//! the peer of the connection is a proxy that the operator trusts, and within them from the right:
//! the rightmost address that is no trusted proxy is the client, whatever stands left of it. What
//! logs, rates and source ranges call the client's address is [`Origin::client_address`] alone.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use ipnet::IpNet;
use url::Url;

use crate::settings::ApiSettings;

/// Longer chains of proxies are cut on their left.
const MAX_HOPS: usize = 16;
/// Longest `X-Forwarded-Prefix`.
const MAX_PREFIX: usize = 128;

/// Marks a request that came over TLS to this server itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encrypted;

/// The address at the other end of a request's connection; a Unix socket has none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// A request's client, and the start of the URL it used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    client: Option<IpAddr>,
    /// `https://functions.example.org/faas`; `None` where the request names no host.
    base: Option<String>,
}

impl Origin {
    /// Reads it from a request. Peers on a Unix socket are trusted: the socket's permissions let
    /// them in.
    pub(crate) fn of(
        peer: Option<IpAddr>,
        encrypted: bool,
        uri: &Uri,
        headers: &HeaderMap,
        trusted: &[IpNet],
    ) -> Self {
        let own_scheme = if encrypted { "https" } else { "http" };
        let own_host = || {
            let named = uri.authority().map(Authority::as_str);
            host(named.or_else(|| headers.get(header::HOST)?.to_str().ok())?)
        };
        let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        if !peer.is_none_or(is_trusted) {
            return Self { client: peer, base: own_host().map(|host| format!("{own_scheme}://{host}")) };
        }
        let told = Told::of(headers);
        let (client, hops) = rightmost(&told.clients, peer, is_trusted);
        let scheme = at_hop(&told.schemes, hops).and_then(scheme).unwrap_or(own_scheme);
        let port = at_hop(&told.ports, hops).and_then(|text| text.parse::<u16>().ok());
        let host = at_hop(&told.hosts, hops).and_then(host).or_else(own_host);
        let prefix = at_hop(&told.prefixes, hops).and_then(|text| prefix(text)).unwrap_or_default();
        let base = host.map(|host| format!("{scheme}://{}{prefix}", host.with_port(scheme, port)));
        Self { client, base }
    }

    /// The client's address: the one for logs, rates and source ranges. `None` on a Unix socket
    /// whose peer does not say.
    pub(crate) fn client_address(&self) -> Option<IpAddr> {
        self.client
    }

    /// The start of links: the configured URL, else the one that the client used.
    pub(crate) fn base<'a>(&'a self, configured: Option<&'a str>) -> &'a str {
        let base = configured.or(self.base.as_deref()).unwrap_or_default();
        base.trim_end_matches('/')
    }

    /// The start of the URLs of the functions face: the configured one, else the host that the client
    /// used with that face's port.
    pub(crate) fn functions_base(&self, settings: &ApiSettings) -> String {
        if let Some(base) = &settings.functions_base {
            return base.trim_end_matches('/').to_owned();
        }
        let own = self.base.as_deref().unwrap_or("http://localhost");
        let Ok(mut url) = Url::parse(own) else { return own.to_owned() };
        // A URL of the web always takes a port.
        let _ = url.set_port(Some(settings.functions_port));
        url.origin().ascii_serialization()
    }
}

/// What headers say, leftmost (nearest to the client) first.
#[derive(Default)]
struct Told<'a> {
    clients: Vec<&'a str>,
    schemes: Vec<&'a str>,
    hosts: Vec<&'a str>,
    ports: Vec<&'a str>,
    prefixes: Vec<&'a str>,
}

impl<'a> Told<'a> {
    /// `Forwarded` where it is there, else `X-Forwarded-*`; never both, which may contradict.
    fn of(headers: &'a HeaderMap) -> Self {
        let prefixes = list(headers, "x-forwarded-prefix");
        let elements = list(headers, "forwarded");
        if elements.is_empty() {
            return Self {
                clients: list(headers, "x-forwarded-for"),
                schemes: list(headers, "x-forwarded-proto"),
                hosts: list(headers, "x-forwarded-host"),
                ports: list(headers, "x-forwarded-port"),
                prefixes,
            };
        }
        let mut told = Self { prefixes, ..Self::default() };
        for element in elements {
            let (mut client, mut scheme, mut host) = ("", "", "");
            for pair in element.split(';') {
                let Some((name, value)) = pair.split_once('=') else { continue };
                let slot = match name.trim().to_ascii_lowercase().as_str() {
                    "for" => &mut client,
                    "proto" => &mut scheme,
                    "host" => &mut host,
                    _ => continue,
                };
                *slot = value.trim().trim_matches('"');
            }
            // One entry for each element, so that a hop's values stand at one place.
            told.clients.push(client);
            told.schemes.push(scheme);
            told.hosts.push(host);
        }
        told
    }
}

/// The entries of a header's values, the last [`MAX_HOPS`] of them.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut all: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    all.drain(..all.len().saturating_sub(MAX_HOPS));
    all
}

/// The rightmost address that is not trusted, and how many entries from the right it stands; the
/// last trusted one where nobody else is named.
fn rightmost(
    clients: &[&str],
    peer: Option<IpAddr>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> (Option<IpAddr>, usize) {
    let (mut client, mut hops) = (peer, 1);
    for (at, text) in clients.iter().rev().enumerate() {
        // What is no address ("unknown", "_hidden") ends the chain: nothing left of it is vouched for.
        let Some(address) = address(text) else { break };
        (client, hops) = (Some(address), at + 1);
        if !is_trusted(address) {
            break;
        }
    }
    (client, hops)
}

/// The entry that the hop wrote: as far from the right as the client stands in its list. A proxy
/// that replaces instead of appending leaves one entry for all.
fn at_hop<'a>(entries: &[&'a str], hops: usize) -> Option<&'a str> {
    let at = entries.len().saturating_sub(hops);
    entries.get(at).copied().filter(|entry| !entry.is_empty())
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip()));
    parsed.map(|address: IpAddr| address.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

/// What stands in a link for the server: a name or an address (IPv6 in brackets), and a port where one is
/// written.
#[derive(Clone, Copy)]
struct Host<'a> {
    name: &'a str,
    port: Option<u16>,
}

impl Host<'_> {
    /// The same with this port where it has none and the scheme does not mean it anyway.
    fn with_port(self, scheme: &str, port: Option<u16>) -> Self {
        let told = port.filter(|port| !matches!((scheme, port), (_, 0) | ("http", 80) | ("https", 443)));
        Self { port: self.port.or(told), ..self }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// A name or an address with or without a port; no user, no path. An empty port (RFC 3986 allows `host:`)
/// is none. Narrower than what URLs allow as a host: it goes into links.
fn host(text: &str) -> Option<Host<'_>> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, _) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            text.split_at(address.len() + 2)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if name.is_empty() || !(name.starts_with('[') || name.bytes().all(plain)) {
        return None;
    }
    let port = match port.strip_prefix(':') {
        // Something else behind an address in brackets.
        None if !port.is_empty() => return None,
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    Some(Host { name, port })
}

/// A path of plain segments, without its trailing slash.
fn prefix(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let text = text.trim_end_matches('/');
    let fits = text.len() <= MAX_PREFIX
        && text.starts_with('/')
        && !text.contains("//")
        && !text.split('/').any(|segment| segment == "..")
        && text.bytes().all(plain);
    fits.then_some(text)
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // The layer has put it there; without the layer nothing is known.
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn origin(peer: &str, encrypted: bool, pairs: &[(&str, &str)]) -> (String, String) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("own:10001"));
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["10.0.0.0/24".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let uri = Uri::from_static("/v1/");
        let origin = Origin::of(Some(peer.parse().unwrap()), encrypted, &uri, &headers, &trusted);
        let client = origin.client_address().map(|address| address.to_string());
        (client.unwrap_or_default(), origin.base(None).to_owned())
    }

    fn client(pairs: &[(&str, &str)]) -> String {
        origin(PROXY, false, pairs).0
    }

    fn base(pairs: &[(&str, &str)]) -> String {
        origin(PROXY, false, pairs).1
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        for pair in [
            ("X-Forwarded-For", "192.0.2.9"),
            ("Forwarded", "for=192.0.2.9;proto=https;host=evil.example"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Prefix", "/evil"),
        ] {
            let seen = origin("198.51.100.7", false, &[pair]);
            assert_eq!(seen, ("198.51.100.7".to_owned(), "http://own:10001".to_owned()), "{pair:?}");
        }
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        assert_eq!(client(&[]), PROXY);
        assert_eq!(client(&[("X-Forwarded-For", "192.0.2.1")]), "192.0.2.1");
        assert_eq!(
            client(&[("X-Forwarded-For", "8.8.8.8, 192.0.2.1")]),
            "192.0.2.1",
            "the left one is made up"
        );
        assert_eq!(client(&[("X-Forwarded-For", "8.8.8.8, 192.0.2.1, 10.0.0.2")]), "192.0.2.1");
        assert_eq!(client(&[("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "10.0.0.2")]), "192.0.2.1");
        assert_eq!(
            client(&[("X-Forwarded-For", "10.0.0.3, 10.0.0.2")]),
            "10.0.0.3",
            "only proxies: the farthest"
        );
        assert_eq!(client(&[("X-Forwarded-For", "192.0.2.1, unknown, 10.0.0.2")]), "10.0.0.2");
        assert_eq!(client(&[("X-Forwarded-For", "")]), PROXY);
        let long = vec!["10.0.0.2"; 100].join(",");
        assert_eq!(
            client(&[("X-Forwarded-For", &format!("192.0.2.1,{long}"))]),
            "10.0.0.2",
            "the chain is bounded"
        );
    }

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (text, address) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client(&[("X-Forwarded-For", text)]), address);
            assert_eq!(client(&[("Forwarded", &format!("for=\"{text}\""))]), address);
        }
        assert_eq!(client(&[("Forwarded", "For=192.0.2.1;proto=http, for=\"[fd00::5]\"")]), "192.0.2.1");
        assert_eq!(client(&[("Forwarded", "for=_hidden"), ("X-Forwarded-For", "192.0.2.1")]), PROXY);
    }

    #[test]
    fn links_begin_as_the_client_wrote_them() {
        assert_eq!(base(&[]), "http://own:10001");
        assert_eq!(origin("198.51.100.7", true, &[]).1, "https://own:10001");
        assert_eq!(base(&[("X-Forwarded-Proto", "HTTPS")]), "https://own:10001");
        assert_eq!(base(&[("X-Forwarded-Host", "f.example")]), "http://f.example");
        let all = [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "f.example"),
            ("X-Forwarded-Port", "8443"),
            ("X-Forwarded-Prefix", "/faas/"),
        ];
        assert_eq!(base(&all), "https://f.example:8443/faas");
        assert_eq!(base(&[("X-Forwarded-Host", "f.example:")]), "http://f.example");
        assert_eq!(base(&[("X-Forwarded-Host", "[fd00::5]:444")]), "http://[fd00::5]:444");
        assert_eq!(base(&[("X-Forwarded-Host", "[fd00::5]")]), "http://[fd00::5]");
        assert_eq!(
            base(&[("X-Forwarded-Host", "f.example:"), ("X-Forwarded-Port", "8443")]),
            "http://f.example:8443"
        );
        assert_eq!(
            base(&[("X-Forwarded-Host", "f.example:444"), ("X-Forwarded-Port", "8443")]),
            "http://f.example:444",
            "the host's own port is the nearer word"
        );
        assert_eq!(
            base(&[("Forwarded", "for=192.0.2.1;proto=https;host=f.example:444")]),
            "https://f.example:444"
        );
        assert_eq!(
            base(&[
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Port", "443"),
                ("X-Forwarded-Host", "f.example")
            ]),
            "https://f.example"
        );
    }

    #[test]
    fn a_hop_is_believed_only_what_it_wrote_itself() {
        // The client put its own words in front; the proxy appended to them.
        let forged = [(
            "Forwarded",
            "for=8.8.8.8;host=evil.example;proto=http, for=192.0.2.1;host=f.example;proto=https",
        )];
        assert_eq!(origin(PROXY, false, &forged), ("192.0.2.1".to_owned(), "https://f.example".to_owned()));
        let forged =
            [("X-Forwarded-For", "8.8.8.8, 192.0.2.1"), ("X-Forwarded-Host", "evil.example, f.example")];
        assert_eq!(base(&forged), "http://f.example");
    }

    #[test]
    fn what_is_no_scheme_host_or_prefix_is_left_out() {
        for pair in [
            ("X-Forwarded-Proto", "javascript"),
            ("X-Forwarded-Host", "a b"),
            ("X-Forwarded-Host", "user@evil.example"),
            ("X-Forwarded-Host", "evil.example/path"),
            ("X-Forwarded-Host", "evil.example:port"),
            ("X-Forwarded-Host", "evil.example:99999"),
            ("X-Forwarded-Host", "evil.example&a=b:1"),
            ("X-Forwarded-Host", "[evil.example]"),
            ("X-Forwarded-Host", "[fd00::5]evil.example"),
            ("X-Forwarded-Host", ":80"),
            ("X-Forwarded-Port", "99999"),
            ("X-Forwarded-Prefix", "faas"),
            ("X-Forwarded-Prefix", "//evil.example"),
            ("X-Forwarded-Prefix", "/a/../b"),
            ("X-Forwarded-Prefix", "/a?b"),
        ] {
            assert_eq!(base(&[pair]), "http://own:10001", "{pair:?}");
        }
    }

    #[test]
    fn the_configured_url_wins() {
        let origin = Origin { client: None, base: Some("http://own".to_owned()) };
        assert_eq!(origin.base(Some("https://api.example/")), "https://api.example");
    }
}
