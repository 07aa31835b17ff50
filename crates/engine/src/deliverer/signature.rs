//! Signatures of what is sent to URLs: Standard Webhooks 1.0 (standardwebhooks.com), scheme `v1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picasso_types::Timestamp;
use picasso_types::outgoing::SigningKeys;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Length of a key, bytes.
const KEY_BYTES: usize = 32;

/// A fresh key; `None` when the system has no randomness to give.
pub(super) fn new_key() -> Option<Vec<u8>> {
    let mut key = vec![0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).ok()?;
    Some(key)
}

/// A key as its owner gets it: the form that Standard Webhooks' libraries take.
pub(super) fn shown(key: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(key))
}

/// The headers of one attempt. While two keys are good, both sign.
pub(super) fn headers(
    id: &str,
    now: Timestamp,
    body: &[u8],
    keys: &SigningKeys,
) -> [(&'static str, String); 3] {
    let seconds = now.0.div_euclid(1_000_000);
    let signatures: Vec<_> = std::iter::once(&keys.current)
        .chain(&keys.previous)
        .map(|key| format!("v1,{}", STANDARD.encode(sign(key, id, seconds, body))))
        .collect();
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

fn sign(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(format!("{id}.{seconds}.").as_bytes());
    context.update(body);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_standard_webhooks_gives_as_its_example() {
        // From the specification's reference libraries.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let keys = SigningKeys { current: key, previous: None };
        let now = Timestamp(1_614_265_330 * 1_000_000);
        let headers = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", now, br#"{"test": 2432232314}"#, &keys);
        assert_eq!(headers[1], ("webhook-timestamp", "1614265330".to_owned()));
        assert_eq!(
            headers[2],
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned())
        );
    }

    #[test]
    fn both_keys_sign_while_both_are_good() {
        let keys = SigningKeys { current: b"new".to_vec(), previous: Some(b"old".to_vec()) };
        let both = headers("id", Timestamp(0), b"x", &keys);
        assert_eq!(both[2].1.split(' ').count(), 2);
    }
}
