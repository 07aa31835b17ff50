//! URLs that tenants may write down: what can be said of them before any name is resolved.

use std::net::SocketAddr;

use thiserror::Error;
use url::{Host, Url};

use crate::guard::{BlockedAddress, Guard};

/// Why a URL cannot be a target; each text completes "it …".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetFault {
    /// Not a URL at all.
    #[error("must be an absolute URL with a host")]
    NotAUrl,
    /// Neither `http` nor `https`.
    #[error("must begin with \"http://\" or \"https://\"")]
    Scheme,
    /// `user:password@`.
    #[error("must not hold a user name or password")]
    UserInfo,
    /// `#…`.
    #[error("must not have a fragment")]
    Fragment,
    /// The host is an address that may not be reached.
    #[error("must not point at an address that is private, reserved or this cloud's own")]
    Blocked(#[from] BlockedAddress),
}

/// Refuses a URL that is not `http` or `https`, that holds a user name, password or fragment, or
/// whose host is an address that may not be reached. URL parsing has made addresses of all their
/// spellings (decimal, octal, hexadecimal, short); names are judged when they are resolved.
pub fn check_target(guard: &Guard, url: &Url) -> Result<(), TargetFault> {
    check_form(url)?;
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => ip.into(),
        Some(Host::Ipv6(ip)) => ip.into(),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    let address = SocketAddr::new(ip, url.port_or_known_default().unwrap_or_default());
    if guard.permits(address) {
        return Ok(());
    }
    Err(BlockedAddress { host: url.host_str().unwrap_or_default().to_owned() }.into())
}

fn check_form(url: &Url) -> Result<(), TargetFault> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetFault::Scheme);
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(TargetFault::NotAUrl);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetFault::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(TargetFault::Fragment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), TargetFault> {
        check_target(&Guard::default(), &Url::parse(text).map_err(|_| TargetFault::NotAUrl)?)
    }

    #[test]
    fn odd_spellings_of_addresses_are_seen_through() {
        for text in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::ffff:7f00:1]/",
            "http://[::1]:8080/",
            "http://0/",
            "http://1.1.1.1:25/",
        ] {
            assert!(matches!(check(text), Err(TargetFault::Blocked(_))), "{text} was let through");
        }
    }

    #[test]
    fn urls_that_cannot_be_targets_are_refused() {
        for (text, fault) in [
            ("example.org/hook", TargetFault::NotAUrl),
            ("http://", TargetFault::NotAUrl),
            ("http://[fe80::1%25eth0]/", TargetFault::NotAUrl),
            ("http://[fe80::1%eth0]/", TargetFault::NotAUrl),
            ("file:///etc/passwd", TargetFault::Scheme),
            ("gopher://example.org/", TargetFault::Scheme),
            ("http://user@example.org/", TargetFault::UserInfo),
            ("https://:pw@example.org/", TargetFault::UserInfo),
            ("https://example.org/#top", TargetFault::Fragment),
        ] {
            assert_eq!(check(text), Err(fault), "{text:?}");
        }
        assert_eq!(check("https://example.org:8443/hook?key=1"), Ok(()));
    }
}
