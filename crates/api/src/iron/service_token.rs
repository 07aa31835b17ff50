//! The service's token: a JWT (RFC 7519) signed with a shared key by HS256, HS384 or HS512, in
//! `Authorization: Bearer`. What it says beside its times does not matter.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use picasso_types::Timestamp;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// Longest token, bytes.
const MAX_BYTES: usize = 8 * 1024;

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that a reader must know (RFC 7515, 4.1.11); none is known here.
    crit: Option<serde_json::Value>,
}

/// Seconds since 1970; fractions are allowed.
#[derive(Deserialize)]
struct Times {
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// Whether the request has a token that was made with this key and is good now.
pub(super) fn is_good(headers: &HeaderMap, key: &SecretString, now: Timestamp) -> bool {
    token(headers).is_some_and(|token| is_signed(token, key, now).is_some())
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() || text.len() > MAX_BYTES {
        return None;
    }
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn is_signed(token: &str, key: &SecretString, now: Timestamp) -> Option<()> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Header = part(header)?;
    // The algorithm is one of those that need the key, whatever the token would like.
    let algorithm = match header.alg.as_str() {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => return None,
    };
    if header.crit.is_some() {
        return None;
    }
    let key = hmac::Key::new(algorithm, key.expose_secret().as_bytes());
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    // In constant time.
    hmac::verify(&key, signed.as_bytes(), &signature).ok()?;
    let times: Times = part(claims)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds to a microsecond are enough")]
    let now = now.0 as f64 / 1_000_000.0;
    let begun = |time: Option<f64>| time.is_none_or(|time| now >= time);
    let over = times.exp.is_some_and(|exp| now >= exp);
    (!over && begun(times.nbf) && begun(times.iat)).then_some(())
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: i64 = 1_769_860_800;
    const KEY: &str = "a key of the service";

    fn made(header: &str, claims: &str, algorithm: hmac::Algorithm, key: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let tag = hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn good(token: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        is_good(&headers, &SecretString::from(KEY), Timestamp(NOW * 1_000_000))
    }

    fn hs256(claims: &str) -> String {
        made(r#"{"alg":"HS256","typ":"JWT"}"#, claims, hmac::HMAC_SHA256, KEY)
    }

    #[test]
    fn each_hmac_is_taken_and_nothing_else() {
        for (name, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let header = format!(r#"{{"alg":"{name}"}}"#);
            assert!(good(&made(&header, "{}", algorithm, KEY)), "{name}");
            assert!(!good(&made(&header, "{}", algorithm, "another key")), "{name}");
            assert!(!good(&made(r#"{"alg":"none"}"#, "{}", algorithm, KEY)));
            assert!(!good(&made(r#"{"alg":"RS256"}"#, "{}", algorithm, KEY)));
        }
        let unsigned =
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("{}"));
        assert!(!good(&unsigned));
        assert!(!good(&made(r#"{"alg":"HS512"}"#, "{}", hmac::HMAC_SHA256, KEY)));
        assert!(!good(&made(r#"{"alg":"HS256","crit":["x"]}"#, "{}", hmac::HMAC_SHA256, KEY)));
    }

    #[test]
    fn a_token_is_good_between_its_times() {
        assert!(good(&hs256(&format!(r#"{{"exp":{},"nbf":{},"iat":{NOW}}}"#, NOW + 1, NOW - 60))));
        for claims in [
            format!(r#"{{"exp":{NOW}}}"#),
            format!(r#"{{"nbf":{}}}"#, NOW + 1),
            format!(r#"{{"iat":{}}}"#, NOW + 60),
        ] {
            assert!(!good(&hs256(&claims)), "{claims}");
        }
        assert!(!good(&hs256(r#"{"exp":"tomorrow"}"#)));
    }

    #[test]
    fn a_changed_or_broken_token_is_refused() {
        let token = hs256("{}");
        let other = token.replacen(&URL_SAFE_NO_PAD.encode("{}"), &URL_SAFE_NO_PAD.encode(r#"{"a":1}"#), 1);
        for bad in ["", ".", "..", "a.b.c", &other, &token[..token.len() - 4], &format!("{token}.{token}")] {
            assert!(!good(bad), "{bad}");
        }
    }
}
