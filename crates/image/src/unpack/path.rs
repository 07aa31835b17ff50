//! Paths inside a layer, taken apart and checked once.

use crate::UnpackError;

/// `PATH_MAX` of Linux less room for our own prefix.
const MAX_PATH: usize = 4000;
const MAX_COMPONENT: usize = 255;
/// Deeper trees than any image has; also bounds the recursion that removes them.
const MAX_DEPTH: usize = 128;

/// A path below a layer's root: no `..`, no empty or `.` component, no NUL; empty for the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct LayerPath {
    /// Joined by `/`; empty for the root.
    text: Vec<u8>,
}

impl LayerPath {
    /// Parses a tar entry's name. A leading slash is dropped, as every tar tool does.
    pub fn parse(raw: &[u8]) -> Result<Self, UnpackError> {
        let refused = |what: &str| Err(UnpackError::Refused(format!("\"{}\" {what}", shown(raw))));
        if raw.len() > MAX_PATH {
            return refused("is longer than 4000 bytes");
        }
        if raw.contains(&0) {
            return refused("has a NUL in its name");
        }
        let components: Vec<&[u8]> =
            raw.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        if components.contains(&&b".."[..]) {
            return refused("would be outside the layer's folder (\"..\")");
        }
        if components.iter().any(|part| part.len() > MAX_COMPONENT) {
            return refused("has a name longer than 255 bytes");
        }
        if components.len() > MAX_DEPTH {
            return refused("is more than 128 folders deep");
        }
        Ok(Self { text: components.join(&b'/') })
    }

    pub fn is_root(&self) -> bool {
        self.text.is_empty()
    }

    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// Parent and last component; `None` for the root.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.text.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => Some((Self { text: self.text[..slash].to_vec() }, &self.text[slash + 1..])),
            None => Some((Self::default(), &self.text)),
        }
    }

    pub fn join(&self, name: &[u8]) -> Self {
        if self.is_root() {
            return Self { text: name.to_vec() };
        }
        Self { text: [&self.text, name].join(&b'/') }
    }

    /// The path for a system call relative to the root; `.` for the root itself.
    pub fn as_bytes(&self) -> &[u8] {
        if self.is_root() { b"." } else { &self.text }
    }
}

/// Bounds the memory that a layer's names take, whatever their number and length.
#[derive(Debug, Default)]
pub(super) struct NameBudget {
    used: usize,
}

impl NameBudget {
    const MAX: usize = 64 * 1024 * 1024;

    pub fn take(&mut self, path: &LayerPath) -> Result<(), UnpackError> {
        self.used += path.text.len() + 64;
        if self.used > Self::MAX {
            return Err(UnpackError::Refused("a layer's names take more than 64 MiB".to_owned()));
        }
        Ok(())
    }
}

impl std::fmt::Display for LayerPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&shown(self.as_bytes()))
    }
}

/// A name as it may stand in a message: printable, at most 120 characters.
pub(super) fn shown(raw: &[u8]) -> String {
    let text = raw.escape_ascii().to_string();
    if text.len() <= 120 { text } else { format!("{}…", &text[..119]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_relative_and_cannot_climb() {
        let path = LayerPath::parse(b"/./usr//bin/x").unwrap();
        assert_eq!(path.as_bytes(), b"usr/bin/x");
        assert!(LayerPath::parse(b"./").unwrap().is_root());
        for bad in [&b"../x"[..], b"a/../../x", b"a/..", b"..", b"a\0b"] {
            assert!(LayerPath::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(LayerPath::parse(&[b'a'; 256]).is_err());
        assert!(LayerPath::parse(&b"d/".repeat(200)).is_err());
    }
}
