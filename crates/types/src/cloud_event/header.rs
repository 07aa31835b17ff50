//! Attributes as HTTP headers (HTTP binding, 3.1.3): percent-encoded, `ce-` before the name.

use std::fmt::Write;

use super::attribute::{REQUIRED, check_name, check_value};
use super::{EventFault, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES};

/// What stands before an attribute's name in a header's.
const PREFIX: &str = "ce-";

/// An attribute's value as a header's: everything but visible ASCII, `"` and `%` percent-encoded.
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'"' && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A header's value as an attribute's: percent triplets of either case, a quoted string without its
/// quotes. `None` where that is not UTF-8, or where it holds bytes that no header should.
pub fn decode(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let mut decoded = Vec::with_capacity(value.len());
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let mut left = inner.unwrap_or(value);
    while let [byte, rest @ ..] = left {
        left = rest;
        decoded.push(match byte {
            b'\\' if inner.is_some() => {
                let (escaped, rest) = left.split_first()?;
                left = rest;
                *escaped
            }
            b'"' if inner.is_some() => return None,
            b'%' => match triplet(left) {
                Some(byte) => {
                    left = &left[2..];
                    byte
                }
                None => b'%',
            },
            _ => *byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// The byte of two hex digits; a `%` without them stands for itself.
fn triplet(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Checks the headers of a request that claims to carry an event in binary mode: one that has
/// `ce-specversion`. `headers` are all headers of the request, names in lower case.
pub fn check_binary<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<(), EventFault> {
    let attributes = headers.filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)));
    let (mut count, mut bytes) = (0, 0);
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in attributes {
        check_name(name)?;
        count += 1;
        bytes += PREFIX.len() + name.len() + value.len();
        check_size(count, bytes)?;
        if seen.contains(&name) {
            return Err(EventFault::new(name, "is there twice"));
        }
        seen.push(name);
        if name == "datacontenttype" {
            return Err(EventFault::new(name, "is the header Content-Type in the binary mode"));
        }
        let value = decode(value).ok_or_else(|| EventFault::new(name, "is not UTF-8 percent-encoded"))?;
        check_value(name, &value)?;
    }
    all_there(|name| seen.contains(&name))
}

/// Whether an event of `count` attributes of `bytes` in all is small enough.
pub(super) fn check_size(count: usize, bytes: usize) -> Result<(), EventFault> {
    if count > MAX_ATTRIBUTES {
        return Err(EventFault::new("", format!("has more than {MAX_ATTRIBUTES} attributes")));
    }
    if bytes > MAX_ATTRIBUTE_BYTES {
        let message = format!("has more than {MAX_ATTRIBUTE_BYTES} bytes of attributes");
        return Err(EventFault::new("", message));
    }
    Ok(())
}

/// Whether no required attribute is missing.
pub(super) fn all_there(has: impl Fn(&str) -> bool) -> Result<(), EventFault> {
    match REQUIRED.iter().find(|name| !has(name)) {
        Some(missing) => Err(EventFault::new(*missing, "is missing")),
        None => Ok(()),
    }
}

/// The header of attribute `name`.
pub(super) fn header(name: &str, value: &str) -> (String, String) {
    (format!("{PREFIX}{name}"), encode(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_the_binding_shows_it() {
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encode("a\"b%c~!"), "a%22b%25c~!");
    }

    #[test]
    fn decoding_takes_what_senders_write() {
        let decoded = |text: &str| decode(text.as_bytes());
        assert_eq!(decoded("Euro%20%E2%82%AC%20%F0%9F%98%80").as_deref(), Some("Euro € 😀"));
        assert_eq!(decoded("%e2%82%ac").as_deref(), Some("€"));
        assert_eq!(decoded("\"a \\\"b\\\" c\"").as_deref(), Some("a \"b\" c"));
        assert_eq!(decoded("100%").as_deref(), Some("100%"));
        assert_eq!(decoded("%zz%4").as_deref(), Some("%zz%4"));
        assert_eq!(decoded("\"").as_deref(), Some("\""));
    }

    #[test]
    fn overlong_and_broken_utf_8_is_refused() {
        for bad in ["%C0%A0", "%E2%82", "%FF", "%ED%A0%80"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode(b"\xff"), None);
    }

    #[test]
    fn whatever_is_encoded_is_decoded_to_itself() {
        for text in ["", " ", "%", "\"x\"", "a%20b", "ü\\ö", "日本"] {
            assert_eq!(decode(encode(text).as_bytes()).as_deref(), Some(text));
        }
    }

    fn check(headers: &[(&str, &str)]) -> Result<(), EventFault> {
        check_binary(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    const GOOD: [(&str, &str); 5] = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];

    #[test]
    fn an_event_in_headers_needs_its_four_attributes() {
        assert_eq!(check(&GOOD), Ok(()));
        for missing in 1..GOOD.len() {
            let mut headers = GOOD.to_vec();
            let (name, _) = headers.remove(missing);
            assert_eq!(check(&headers).unwrap_err().attribute, name.trim_start_matches("ce-"));
        }
    }

    #[test]
    fn a_broken_attribute_of_an_event_in_headers_is_named() {
        let cases = [
            (("ce-datacontenttype", "text/plain"), "datacontenttype"),
            (("ce-id", "2"), "id"),
            (("ce-time", "now"), "time"),
            (("ce-mine", "%C0%A0"), "mine"),
            (("ce-a-b", "1"), "attribute \"a-b\""),
        ];
        for (header, attribute) in cases {
            let mut headers = GOOD.to_vec();
            headers.push(header);
            assert_eq!(check(&headers).unwrap_err().attribute, attribute);
        }
        let many: Vec<String> = (0..MAX_ATTRIBUTES).map(|n| format!("ce-x{n}")).collect();
        let headers: Vec<_> = GOOD.into_iter().chain(many.iter().map(|name| (name.as_str(), "1"))).collect();
        assert_eq!(check(&headers).unwrap_err().attribute, "");
        let long = "x".repeat(MAX_ATTRIBUTE_BYTES);
        let headers: Vec<_> = GOOD.into_iter().chain([("ce-x", long.as_str())]).collect();
        assert_eq!(check(&headers).unwrap_err().attribute, "");
    }
}
