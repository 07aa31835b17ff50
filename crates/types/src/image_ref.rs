//! Image references: `[registry/]repository[:tag][@digest]`.
//!
//! Contract: the reference grammar of distribution/reference, narrowed to what a
//! function route needs. Unlike Docker, a name without a registry is *local* (the
//! project's images, then the operator's shared ones); no registry is assumed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fault::FieldFault;

const MAX_LEN: usize = 512;

/// A parsed image reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageRef {
    /// Parses a reference; the fault names the field `image`.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        let fault = |message: &str| Err(FieldFault::new("image", message));
        if text.is_empty() || text.len() > MAX_LEN {
            return fault(
                "must be 1 to 512 bytes, like \"hello:1\" or \"registry.example.org/team/hello:1\"",
            );
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = Digest::parse(digest).map_err(|f| FieldFault::new("image", f.message))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return fault("has a tag that is not 1 to 128 letters, digits, \"_\", \".\" or \"-\"");
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
            _ => (None, name),
        };
        if let Some(registry) = registry
            && !is_registry(registry)
        {
            return fault("has a registry that is not a host name with an optional port");
        }
        if repository.is_empty() || !repository.split('/').all(is_component) {
            return fault(
                "has a repository that is not lower-case letters and digits, joined by \".\", \"_\", \"-\" or \"/\"",
            );
        }
        Ok(Self {
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// `host` or `host:port`, or `None` for a name in the local image store.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The repository path without registry, tag and digest.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// The pinned digest, if the reference carries one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let host_ok = (1..=253).contains(&host.len())
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
    host_ok && port.is_none_or(|p| p.parse::<u16>().is_ok_and(|n| n > 0))
}

fn is_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    !part.contains("..")
        && bytes.first().is_some_and(|&b| alnum(b))
        && bytes.last().is_some_and(|&b| alnum(b))
        && bytes.iter().all(|&b| alnum(b) || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ImageRef {
    type Error = FieldFault;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_host_is_local() {
        let image = ImageRef::parse("iron/hello").unwrap();
        assert_eq!((image.registry(), image.repository(), image.tag()), (None, "iron/hello", Some("latest")));
        let image = ImageRef::parse("hello:1").unwrap();
        assert_eq!((image.registry(), image.repository(), image.tag()), (None, "hello", Some("1")));
    }

    #[test]
    fn a_first_part_with_a_dot_or_port_is_a_registry() {
        let image = ImageRef::parse("127.0.0.1:5000/a/b:v1").unwrap();
        assert_eq!(
            (image.registry(), image.repository(), image.tag()),
            (Some("127.0.0.1:5000"), "a/b", Some("v1"))
        );
        assert_eq!(image.to_string(), "127.0.0.1:5000/a/b:v1");
    }

    #[test]
    fn traversal_upper_case_and_odd_bytes_are_refused() {
        for bad in [
            "",
            "../etc",
            "a/../b",
            "Hello",
            "a b",
            "a:b c",
            "a@sha256:1",
            "http://x/y",
            "a//b",
            "-x/..",
            "a\0b",
        ] {
            assert!(ImageRef::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
