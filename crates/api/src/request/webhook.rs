//! What webhooks show instead of a token: a signature of their body, or a token in their URL.

use std::borrow::Cow;

use http::HeaderMap;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

/// The header of the body's signature, as GitHub and many others send it.
pub(crate) const SIGNATURE: &str = "x-hub-signature-256";
/// What a segment of a URL begins with that is a token and not part of the route's path.
const MARK: &str = "~whp_";

/// A fresh secret: 32 random bytes in hex; `None` when the system has no randomness to give.
pub(crate) fn new_secret() -> Option<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}

/// The segment of a URL that shows a token.
pub(crate) fn segment(token: &str) -> String {
    format!("{MARK}{token}")
}

/// What is kept of a token: SHA-256 in hex.
pub(crate) fn token_hash(token: &str) -> String {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    hex::encode(hash)
}

/// Whether a token is the one with this hash, in a time that does not tell how much of it is right.
pub(crate) fn is_token(token: &str, hash: &str) -> bool {
    let Some(hash) = from_hex(hash) else { return false };
    let own = digest::digest(&digest::SHA256, token.as_bytes());
    let differing = own.as_ref().iter().zip(&hash).fold(0, |bits, (a, b)| bits | (a ^ b));
    hash.len() == own.as_ref().len() && std::hint::black_box(differing) == 0
}

/// Whether the request's signature of `body` was made with this key.
pub(crate) fn is_signed(headers: &HeaderMap, key: &[u8], body: &[u8]) -> bool {
    let mut values = headers.get_all(SIGNATURE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let hex = value.to_str().ok().and_then(|text| text.strip_prefix("sha256="));
    let Some(signature) = hex.and_then(from_hex) else { return false };
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), body, &signature).is_ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// The token at the front of a route path, and the path behind it.
pub(crate) fn split_token(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix('/').and_then(|rest| rest.strip_prefix(MARK)) else {
        return (None, path);
    };
    match rest.find('/') {
        Some(at) => (Some(&rest[..at]), &rest[at..]),
        None => (Some(rest), "/"),
    }
}

/// A URL's path without tokens: what logs and functions may see.
pub(crate) fn without_token(path: &str) -> Cow<'_, str> {
    // A client may write the mark percent-encoded.
    if !path.split('/').any(is_marked) {
        return Cow::Borrowed(path);
    }
    let kept: Vec<&str> = path.split('/').filter(|segment| !is_marked(segment)).collect();
    Cow::Owned(if kept.len() < 2 { "/".to_owned() } else { kept.join("/") })
}

fn is_marked(segment: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(segment).take(MARK.len());
    decoded.eq(MARK.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed_with(value: &str, body: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, value.parse().unwrap());
        is_signed(&headers, b"It's a Secret to Everybody", body)
    }

    /// The example of GitHub's documentation ("Validating webhook deliveries").
    #[test]
    fn the_documented_signature_is_good_and_any_other_is_not() {
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(signed_with(good, b"Hello, World!"));
        assert!(signed_with(&good.to_uppercase().replace("SHA256", "sha256"), b"Hello, World!"));
        assert!(!signed_with(good, b"Hello, World?"));
        for bad in [
            "",
            "sha256=",
            "sha256=7",
            "sha256=zz",
            &good[..good.len() - 2],
            &good[7..],
            &good.replace("256", "1"),
        ] {
            assert!(!signed_with(bad, b"Hello, World!"), "{bad}");
        }
        let mut twice = HeaderMap::new();
        twice.append(SIGNATURE, good.parse().unwrap());
        twice.append(SIGNATURE, good.parse().unwrap());
        assert!(!is_signed(&twice, b"It's a Secret to Everybody", b"Hello, World!"));
        assert!(!is_signed(&HeaderMap::new(), b"", b""));
    }

    #[test]
    fn a_token_is_told_from_the_path_behind_it() {
        assert_eq!(split_token("/~whp_ab/hooks/x"), (Some("ab"), "/hooks/x"));
        assert_eq!(split_token("/~whp_ab"), (Some("ab"), "/"));
        assert_eq!(split_token("/~whp_ab/"), (Some("ab"), "/"));
        for plain in ["/", "/hooks", "/~user/x", "/a/~whp_ab"] {
            assert_eq!(split_token(plain), (None, plain));
        }
    }

    #[test]
    fn no_token_is_left_in_a_path_for_others() {
        assert_eq!(without_token("/f/app/~whp_ab/x"), "/f/app/x");
        assert_eq!(without_token("/f/app/%7Ewhp_ab/x"), "/f/app/x");
        assert_eq!(without_token("/f/app/%7e%77hp_ab"), "/f/app");
        assert_eq!(without_token("/~whp_ab"), "/");
        assert_eq!(without_token("/f/app/~user"), "/f/app/~user");
    }

    #[test]
    fn a_token_is_known_by_its_hash() {
        let token = new_secret().unwrap();
        assert_eq!((token.len(), token_hash(&token).len()), (64, 64));
        assert_ne!(token, new_secret().unwrap());
        assert!(is_token(&token, &token_hash(&token)) && !is_token("x", &token_hash(&token)));
    }
}
