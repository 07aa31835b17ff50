//! JSON Web Tokens of public callers. Only one that was signed with the key is good, whatever algorithm
//! it names; a signed one is good or not by what it says, and never when any of it was changed.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use picasso_api::fuzzing::is_good_token;
use ring::hmac;

const KEY: &[u8] = b"a key that the fuzzer does not get";

fn signed(header: &[u8], claims: &[u8]) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(!is_good_token(text, KEY), "a token that nobody signed: {text}");
    }
    // Header and claims of the fuzzer's, in a token without a signature of ours.
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (header, claims) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let token = signed(header, claims);
    let unsigned = token.rsplit_once('.').map_or("", |(text, _)| text);
    assert!(!is_good_token(&format!("{unsigned}."), KEY), "a token without a signature");
    let _ = is_good_token(&token, KEY);

    let good = signed(br#"{"alg":"HS256"}"#, claims);
    if is_good_token(&good, KEY) {
        let at = bytes.len() % good.len();
        let mut changed = good.into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(!is_good_token(&changed, KEY), "changed at {at}: {changed}");
    }
});
