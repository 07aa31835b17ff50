//! JSON Web Tokens of a route's callers (RFC 7519), signed with a key that they share with the route
//! (RFC 7518, section 3.2).
//!
//! The key decides the algorithms, not the token: only HMAC with SHA-2, so that neither `none` nor a
//! public key passed off as a secret means anything here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use picasso_types::Timestamp;
use ring::hmac;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest token, bytes; as long as all headers of a request may be together.
const MAX_TOKEN: usize = 16 * 1024;
/// How far the clocks of two machines may be apart, seconds.
const LEEWAY_S: f64 = 60.0;

/// Checks the bearer token of a request; an error says what is wrong, in words for its caller.
pub(crate) fn check(headers: &HeaderMap, key: &[u8], now: Timestamp) -> Result<(), &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or("the request has no \"Authorization: Bearer\" token")?;
    if values.next().is_some() {
        return Err("the request has more than one Authorization");
    }
    let text = value.to_str().map_err(|_| "the token is malformed")?;
    let (scheme, token) = text.split_once(' ').ok_or("the Authorization is no Bearer token")?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("the Authorization is no Bearer token");
    }
    verify(token.trim_start_matches(' '), key, now)
}

/// Checks a token: its form, its signature, and only then what it says.
pub(crate) fn verify(token: &str, key: &[u8], now: Timestamp) -> Result<(), &'static str> {
    const MALFORMED: &str = "the token is malformed";
    if token.len() > MAX_TOKEN {
        return Err("the token is too long");
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
    let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
    let header: Header = part(header).ok_or(MALFORMED)?;
    let algorithm = match header.alg.as_str() {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => return Err("the token's algorithm is none of HS256, HS384 and HS512"),
    };
    // Extensions that must be understood, of which none is (RFC 7515, section 4.1.11).
    if header.crit.is_some() {
        return Err("the token demands an extension");
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?;
    let key = hmac::Key::new(algorithm, key);
    hmac::verify(&key, signed.as_bytes(), &signature).map_err(|_| "the token's signature is wrong")?;
    let claims: Map<String, Value> = part(claims).ok_or(MALFORMED)?;
    check_times(&claims, now)
}

fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), &'static str> {
    #[expect(clippy::cast_precision_loss, reason = "a float holds the microseconds of 285 years")]
    let now = now.0 as f64 / 1e6;
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        // A fraction is allowed (RFC 7519, section 2, "NumericDate").
        Some(value) => value.as_f64().map(Some).ok_or("a time in the token is no number"),
    };
    if time("exp")?.is_some_and(|end| now >= end + LEEWAY_S) {
        return Err("the token has expired");
    }
    if time("nbf")?.is_some_and(|begin| now < begin - LEEWAY_S) {
        return Err("the token is not good yet");
    }
    if time("iat")?.is_some_and(|made| now < made - LEEWAY_S) {
        return Err("the token was made in the future");
    }
    Ok(())
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<Value>,
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1.
    const RFC_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const RFC_KEY: &str =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn made(header: &str, claims: &str, algorithm: hmac::Algorithm, key: &[u8]) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let tag = hmac::sign(&hmac::Key::new(algorithm, key), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn hs256(claims: &str) -> String {
        made(r#"{"alg":"HS256"}"#, claims, hmac::HMAC_SHA256, b"key")
    }

    #[test]
    fn the_standards_own_token_is_good_until_it_expires() {
        let key = URL_SAFE_NO_PAD.decode(RFC_KEY).unwrap();
        assert_eq!(verify(RFC_TOKEN, &key, at(1_300_819_379)), Ok(()));
        assert_eq!(verify(RFC_TOKEN, &key, at(1_300_819_440)), Err("the token has expired"));
        assert_eq!(verify(RFC_TOKEN, b"another", at(0)), Err("the token's signature is wrong"));
    }

    #[test]
    fn the_three_algorithms_count_and_no_other_does() {
        for (name, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let token = made(&format!(r#"{{"alg":"{name}"}}"#), "{}", algorithm, b"key");
            assert_eq!(verify(&token, b"key", at(0)), Ok(()), "{name}");
        }
        for name in ["none", "None", "", "HS1", "hs256", "RS256", "ES256", "PS512", "EdDSA"] {
            let token = made(&format!(r#"{{"alg":"{name}"}}"#), "{}", hmac::HMAC_SHA256, b"key");
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            for token in [token, unsigned] {
                let refused = verify(&token, b"key", at(0)).unwrap_err();
                assert!(refused.starts_with("the token's algorithm"), "{name}: {refused}");
            }
        }
        // One algorithm's name over another's signature.
        let mixed = made(r#"{"alg":"HS256"}"#, "{}", hmac::HMAC_SHA512, b"key");
        assert_eq!(verify(&mixed, b"key", at(0)), Err("the token's signature is wrong"));
        let critical = made(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}", hmac::HMAC_SHA256, b"key");
        assert_eq!(verify(&critical, b"key", at(0)), Err("the token demands an extension"));
    }

    #[test]
    fn times_count_with_a_minutes_leeway() {
        let now = at(1_000_000);
        for good in [
            "{}",
            r#"{"exp":1000000}"#,
            r#"{"exp":999941}"#,
            r#"{"nbf":1000060,"iat":1000060.5e0}"#,
            r#"{"exp":1e9,"nbf":0,"iat":-5}"#,
        ] {
            let expected =
                if good.contains("1000060.5") { Err("the token was made in the future") } else { Ok(()) };
            assert_eq!(verify(&hs256(good), b"key", now), expected, "{good}");
        }
        for (bad, reason) in [
            (r#"{"exp":999940}"#, "the token has expired"),
            (r#"{"nbf":1000061}"#, "the token is not good yet"),
            (r#"{"iat":1000061}"#, "the token was made in the future"),
            (r#"{"exp":"2000000"}"#, "a time in the token is no number"),
            (r#"{"nbf":null}"#, "a time in the token is no number"),
            ("[]", "the token is malformed"),
            ("", "the token is malformed"),
        ] {
            assert_eq!(verify(&hs256(bad), b"key", now), Err(reason), "{bad}");
        }
    }

    #[test]
    fn a_changed_or_cut_token_is_refused() {
        let token = hs256(r#"{"sub":"x"}"#);
        for cut in 0..token.len() {
            assert!(verify(&token[..cut], b"key", at(0)).is_err(), "cut at {cut}");
        }
        for odd in ["", ".", "..", "...", "a.b", "a.b.c", "\u{e4}.\u{e4}.\u{e4}"] {
            assert!(verify(odd, b"key", at(0)).is_err(), "{odd}");
        }
        assert!(verify(&format!("{token}="), b"key", at(0)).is_err());
        assert!(verify(&format!("{token}.x"), b"key", at(0)).is_err());
        assert_eq!(verify(&"a".repeat(MAX_TOKEN + 1), b"key", at(0)), Err("the token is too long"));
    }

    #[test]
    fn a_request_shows_one_bearer_token() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            check(&headers, b"key", at(0))
        };
        let token = hs256("{}");
        assert_eq!(with(&[&format!("Bearer {token}")]), Ok(()));
        assert_eq!(with(&[&format!("bearer  {token}")]), Ok(()));
        for bad in [vec![], vec!["Bearer"], vec![&*token], vec!["Basic eDp5"]] {
            assert!(with(&bad).is_err(), "{bad:?}");
        }
        let good = format!("Bearer {token}");
        assert!(with(&[&good, &good]).is_err());
    }
}
