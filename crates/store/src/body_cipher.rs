//! Encryption of stored bodies: what a caller sent is unreadable in the database file.
//!
//! Every body has a key of its own, derived from the operator's key and the call's id
//! (HKDF-SHA256, RFC 5869), so that no number of calls brings random nonces near a repeat under
//! one key. The call's id and the body's part are authenticated with it: bodies cannot be
//! swapped between calls.

use picasso_types::{CallId, ObjectId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};

use crate::StoreError;

/// Length of a [`SecretKey`], bytes.
pub const SECRET_KEY_BYTES: usize = 32;

/// The operator's key for stored bodies: 32 random bytes from a file.
///
/// Holds only what encryption needs; neither `Debug` nor any method shows the key.
#[derive(Clone)]
pub struct SecretKey {
    root: hkdf::Prk,
    id: String,
}

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is exactly 32 bytes, not {found}: make one with `head -c 32 /dev/urandom`")]
pub struct SecretKeyError {
    /// How many bytes were given.
    pub found: usize,
}

impl SecretKey {
    /// Takes the content of a key file: exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretKeyError> {
        if bytes.len() != SECRET_KEY_BYTES {
            return Err(SecretKeyError { found: bytes.len() });
        }
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"picasso stored bodies v1").extract(bytes);
        let mut id = [0; 8];
        root.expand(&[b"key id"], Length(id.len()))
            .and_then(|okm| okm.fill(&mut id))
            .map_err(|_| SecretKeyError { found: bytes.len() })?;
        Ok(Self { root, id: hex::encode(id) })
    }

    /// Names the key without telling anything about it; kept beside each body, so that keys can
    /// be replaced.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `nonce ‖ ciphertext ‖ tag` of one part (`envelope`, `payload`) of a call's body.
    pub(crate) fn seal(&self, call_id: &str, part: &'static str, body: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.seal_under(&[part, call_id], call_id.as_bytes(), body)
    }

    /// The same of one part of an object. Every object has a key of its own; call and number are
    /// authenticated, so parts can be swapped neither within an object nor between calls. That parts
    /// are missing shows by their number, which is kept with the call.
    pub fn seal_part(
        &self,
        call: &CallId,
        object: &ObjectId,
        part: u32,
        body: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.seal_under(&["object", object.as_str()], part_of(call, part).as_bytes(), body)
    }

    /// The inverse of [`SecretKey::seal_part`].
    pub fn open_part(
        &self,
        call: &CallId,
        object: &ObjectId,
        part: u32,
        sealed: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        self.open_under(&["object", object.as_str()], part_of(call, part).as_bytes(), sealed)
    }

    fn seal_under(&self, name: &[&str; 2], with: &[u8], body: &[u8]) -> Result<Vec<u8>, StoreError> {
        let failed = |_| StoreError::Damaged { what: "call body", detail: "it cannot be encrypted".into() };
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + body.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(body);
        let tag = self
            .body_key(name)
            .and_then(|key| {
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.seal_in_place_separate_tag(nonce, Aad::from(with), &mut sealed[NONCE_LEN..])
            })
            .map_err(failed)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// The inverse of [`SecretKey::seal`]; `Damaged` for bytes that it did not make for this call
    /// and part under the key `key_id`.
    pub(crate) fn open(
        &self,
        key_id: &str,
        call_id: &str,
        part: &'static str,
        sealed: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let damaged = |detail: String| StoreError::Damaged { what: "call body", detail };
        if key_id != self.id {
            let ours = &self.id;
            return Err(damaged(format!("it is encrypted under the key {key_id}, this server has {ours}")));
        }
        self.open_under(&[part, call_id], call_id.as_bytes(), sealed)
    }

    fn open_under(&self, name: &[&str; 2], with: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let damaged = |detail: &str| StoreError::Damaged { what: "call body", detail: detail.to_owned() };
        let Some((nonce, _)) = sealed.split_first_chunk::<NONCE_LEN>() else {
            return Err(damaged("it is too short"));
        };
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .body_key(name)
            .and_then(|key| {
                key.open_within(nonce, Aad::from(with), &mut sealed, NONCE_LEN..).map(|body| body.len())
            })
            .map_err(|_| damaged("it fails authentication"))?;
        sealed.truncate(length);
        Ok(sealed)
    }

    /// The key of what has this name: what it is, then whose.
    fn body_key(&self, [what, whose]: &[&str; 2]) -> Result<LessSafeKey, ring::error::Unspecified> {
        let info = [b"body ", what.as_bytes(), b" ", whose.as_bytes()];
        Ok(LessSafeKey::new(UnboundKey::from(self.root.expand(&info, &AES_256_GCM)?)))
    }
}

fn part_of(call: &CallId, part: u32) -> String {
    format!("{call} {part}")
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").field("id", &self.id).finish_non_exhaustive()
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes(&[byte; SECRET_KEY_BYTES]).unwrap()
    }

    #[test]
    fn a_body_comes_back_only_for_its_own_call_part_and_key() {
        let key = key(7);
        let sealed = key.seal("call-1", "payload", b"secret text").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(key.open(key.id(), "call-1", "payload", sealed.clone()).unwrap(), b"secret text");

        assert!(key.open(key.id(), "call-2", "payload", sealed.clone()).is_err());
        assert!(key.open(key.id(), "call-1", "envelope", sealed.clone()).is_err());
        let other = self::key(8);
        assert!(other.open(key.id(), "call-1", "payload", sealed.clone()).is_err());
        assert!(other.open(other.id(), "call-1", "payload", sealed).is_err());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = key(7);
        let sealed = key.seal("call-1", "payload", b"x").unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(key.open(key.id(), "call-1", "payload", changed).is_err(), "byte {index}");
        }
        for length in 0..sealed.len() {
            assert!(key.open(key.id(), "call-1", "payload", sealed[..length].to_vec()).is_err());
        }
    }

    #[test]
    fn a_part_of_an_object_is_good_for_its_call_object_and_place_only() {
        let key = key(7);
        let (call, object) = (CallId::generate(), ObjectId::generate());
        let sealed = key.seal_part(&call, &object, 1, b"secret text").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(key.open_part(&call, &object, 1, sealed.clone()).unwrap(), b"secret text");
        assert!(key.open_part(&CallId::generate(), &object, 1, sealed.clone()).is_err());
        assert!(key.open_part(&call, &ObjectId::generate(), 1, sealed.clone()).is_err());
        assert!(key.open_part(&call, &object, 0, sealed.clone()).is_err());
        assert!(key.open_part(&call, &object, 1, sealed[..sealed.len() - 1].to_vec()).is_err());
        assert!(self::key(8).open_part(&call, &object, 1, sealed).is_err());
    }

    #[test]
    fn an_empty_body_is_a_body() {
        let key = key(7);
        let sealed = key.seal("call-1", "payload", b"").unwrap();
        assert_eq!(key.open(key.id(), "call-1", "payload", sealed).unwrap(), b"");
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        let shown = format!("{:?}", key(0x41));
        assert!(shown.contains(key(0x41).id()));
        assert!(!shown.contains("AAAA") && !shown.contains("4141") && !shown.contains("65, 65"));
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        assert_eq!(SecretKey::from_bytes(&[0; 31]).unwrap_err(), SecretKeyError { found: 31 });
        assert_eq!(SecretKey::from_bytes(&[0; 33]).unwrap_err(), SecretKeyError { found: 33 });
    }
}
