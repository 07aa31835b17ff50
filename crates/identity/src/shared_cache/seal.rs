//! Names and seals of shared entries, in the way of keystonemiddleware's
//! `memcache_security_strategy = ENCRYPT`: an HMAC of the token gives each entry a name and a key of
//! its own. Sealed with AES-256-GCM instead of CBC and a second HMAC.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::validated::Question;

/// Changes with the meaning of entries: servers of different releases then share nothing.
const FORMAT: &str = "picasso token cache 1";
/// Bytes of the HMAC that become the name; the last 32 become the key.
const NAME: usize = 24;

/// The key that all who share entries have.
pub(super) struct Keyring(hmac::Key);

/// Where one entry is, and what it is sealed with.
pub(super) struct Entry {
    pub(super) name: String,
    key: LessSafeKey,
}

impl Keyring {
    /// The keyring of those who agree on `key` and on everything in `scope`.
    pub(super) fn new(key: &str, scope: &[&str]) -> Self {
        let shared = hmac::Key::new(hmac::HMAC_SHA512, key.as_bytes());
        let mut context = hmac::Context::with_key(&shared);
        for part in [FORMAT].iter().chain(scope) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Self(hmac::Key::new(hmac::HMAC_SHA512, context.sign().as_ref()))
    }

    #[expect(clippy::expect_used, reason = "the key has the length that the algorithm asks for")]
    pub(super) fn entry(&self, question: &Question) -> Entry {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[u8::from(question.allow_expired)]);
        context.update(question.token.as_bytes());
        let derived = context.sign();
        let (names, keys) = derived.as_ref().split_at(AES_256_GCM.key_len());
        let key = UnboundKey::new(&AES_256_GCM, keys).expect("32 bytes");
        Entry { name: hex::encode(&names[..NAME]), key: LessSafeKey::new(key) }
    }
}

impl Entry {
    /// Seals `plain`: a nonce, then the text with its tag. `None` where the system has no random bytes.
    pub(super) fn seal(&self, mut plain: Vec<u8>) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let aad = Aad::from(self.name.as_bytes());
        let tag = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut plain);
        let tag = tag.ok()?;
        Some([&nonce, plain.as_slice(), tag.as_ref()].concat())
    }

    /// What was sealed for this very entry; `None` for anything else.
    pub(super) fn open(&self, sealed: Vec<u8>) -> Option<Vec<u8>> {
        let mut sealed = sealed;
        if sealed.len() < NONCE_LEN + MAX_TAG_LEN {
            return None;
        }
        let mut text = sealed.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&sealed).ok()?;
        let length = self.key.open_in_place(nonce, Aad::from(self.name.as_bytes()), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenKey;

    fn entry(key: &str, scope: &str, token: &str, allow_expired: bool) -> Entry {
        let token = TokenKey::of(&token.repeat(40).into()).unwrap();
        Keyring::new(key, &[scope]).entry(&Question { token, allow_expired })
    }

    #[test]
    fn an_entry_opens_what_was_sealed_for_it_and_nothing_else() {
        let ours = entry("key", "scope", "a", false);
        let sealed = ours.seal(b"identity".to_vec()).unwrap();
        assert!(!sealed.windows(8).any(|part| part == b"identity"));
        assert_eq!(ours.open(sealed.clone()).unwrap(), b"identity");
        assert_ne!(sealed, ours.seal(b"identity".to_vec()).unwrap(), "the same nonce twice");
        for (key, scope, token, allow_expired) in [
            ("other", "scope", "a", false),
            ("key", "other", "a", false),
            ("key", "scope", "b", false),
            ("key", "scope", "a", true),
        ] {
            let other = entry(key, scope, token, allow_expired);
            assert_ne!(other.name, ours.name);
            assert_eq!(other.open(sealed.clone()), None);
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(ours.open(changed), None);
        }
        for length in 0..sealed.len() {
            assert_eq!(ours.open(sealed[..length].to_vec()), None);
        }
    }

    #[test]
    fn parts_of_the_scope_do_not_run_into_each_other() {
        let token = TokenKey::of(&"a".repeat(40).into()).unwrap();
        let question = Question { token, allow_expired: false };
        let name = |scope: &[&str]| Keyring::new("key", scope).entry(&question).name;
        assert_ne!(name(&["ab", "c"]), name(&["a", "bc"]));
        assert_eq!(name(&["ab", "c"]).len(), 2 * NAME);
    }
}
