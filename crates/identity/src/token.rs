//! The token as text: what may be one at all, and the key it is cached under.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Fernet tokens have 180 to 300 bytes, signed (JWS) ones up to some more; a header that is longer
/// than this never came from a Keystone.
const MAX_BYTES: usize = 4096;

/// Keystone's oldest format, the UUID, has 32 bytes; nothing was ever shorter.
const MIN_BYTES: usize = 32;

/// The SHA-256 of a token: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey([u8; 32]);

impl TokenKey {
    /// The key of `token`; an error where it cannot be a token, so that nobody is asked about it.
    pub(crate) fn of(token: &SecretString) -> Result<Self, &'static str> {
        let token = token.expose_secret();
        if token.is_empty() {
            return Err("The request has no token");
        }
        let is_shaped = (MIN_BYTES..=MAX_BYTES).contains(&token.len())
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'='));
        if !is_shaped {
            return Err("The token is not one that Keystone gives out");
        }
        Ok(Self(Sha256::digest(token.as_bytes()).into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_shaped_like_a_token_gets_a_key() {
        let fernet = "gAAAAABm".repeat(24) + "-_x";
        let jws = format!("{}.{}.{}", "a".repeat(60), "b".repeat(300), "c".repeat(86));
        for good in [fernet.as_str(), jws.as_str(), &"0f".repeat(16), &"a".repeat(MAX_BYTES)] {
            assert!(TokenKey::of(&good.to_owned().into()).is_ok(), "{good}");
        }
        let long = "a".repeat(MAX_BYTES + 1);
        let spaced = "a".repeat(40) + " ";
        let broken = "a".repeat(40) + "\r\nX-Auth-Token: b";
        let foreign = "é".repeat(40);
        let slashed = "a".repeat(40) + "/../../users";
        for bad in ["", "short", &long, &spaced, &broken, &foreign, &slashed] {
            assert!(TokenKey::of(&bad.to_owned().into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn different_tokens_have_different_keys_and_equal_ones_the_same() {
        let key = |text: &str| TokenKey::of(&text.to_owned().into()).unwrap();
        assert!(key(&"a".repeat(40)) == key(&"a".repeat(40)));
        assert!(key(&"a".repeat(40)) != key(&"b".repeat(40)));
    }
}
