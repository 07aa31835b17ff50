//! The rules of single attributes (CloudEvents 1.0, "Context Attributes" and "Type System").

use super::EventFault;

/// The standard asks for at most 20 characters but does not demand it; more than this is no name.
const MAX_NAME: usize = 64;

/// The attributes every event has.
pub(super) const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// Whether `name` may be an attribute's.
pub(super) fn check_name(name: &str) -> Result<(), EventFault> {
    let fits = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if fits {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME).map(|c| if c.is_control() { '?' } else { c }).collect();
    Err(EventFault::new(
        format!("attribute \"{shown}\""),
        format!("is no attribute: names are 1 to {MAX_NAME} lower-case letters or digits"),
    ))
}

/// Whether `value` may be the value of attribute `name`.
pub(super) fn check_value(name: &str, value: &str) -> Result<(), EventFault> {
    let fault = |message: &str| Err(EventFault::new(name, message));
    if value.chars().any(is_forbidden) {
        return fault("has a character that attributes must not have");
    }
    let known =
        REQUIRED.contains(&name) || matches!(name, "datacontenttype" | "dataschema" | "subject" | "time");
    if known && value.is_empty() {
        return fault("must not be empty");
    }
    match name {
        "specversion" if value != "1.0" => fault("must be \"1.0\""),
        "source" | "dataschema" if !is_uri_reference(value) => fault("must be a URI"),
        "time" if !is_rfc3339(value) => fault("must be a time as in RFC 3339"),
        "datacontenttype" if !is_media_type(value) => fault("must be a media type"),
        _ => Ok(()),
    }
}

/// Control characters and noncharacters.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(u32::from(c), 0xFDD0..=0xFDEF) || u32::from(c) & 0xFFFE == 0xFFFE
}

/// The characters of RFC 3986 and whole percent triplets; the parts are the receiver's to judge.
fn is_uri_reference(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()];
                digits.iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            }
            // Senders write IRIs; their other characters are letters of other scripts.
            128.. => true,
            _ => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte),
        };
        if !good {
            return false;
        }
    }
    true
}

/// `2026-01-31T12:00:00.5Z` or with an offset: the form, and that each field is in its range.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |at: usize, digits: usize| {
        let part = bytes.get(at..at + digits)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0')))
    };
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let within = |at, digits, range: std::ops::RangeInclusive<u32>| {
        number(at, digits).is_some_and(|number| range.contains(&number))
    };
    let moment = within(0, 4, 0..=9999)
        && is(4, b"-")
        && within(5, 2, 1..=12)
        && is(7, b"-")
        && within(8, 2, 1..=31)
        && is(10, b"Tt ")
        && within(11, 2, 0..=23)
        && is(13, b":")
        && within(14, 2, 0..=59)
        && is(16, b":")
        && within(17, 2, 0..=60);
    if !moment {
        return false;
    }
    let mut at = 19;
    if is(at, b".") {
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        at += 1 + digits;
    }
    if is(at, b"Zz") {
        return bytes.len() == at + 1;
    }
    is(at, b"+-")
        && within(at + 1, 2, 0..=23)
        && is(at + 3, b":")
        && within(at + 4, 2, 0..=59)
        && bytes.len() == at + 6
}

/// `type/subtype`, perhaps with parameters; visible ASCII, so that it can be a header's value.
fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let kind = text.split(';').next().unwrap_or_default().trim();
    kind.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_in_rfc_3339() {
        for good in [
            "2026-01-31T12:00:00Z",
            "2026-01-31t12:00:60.123456789z",
            "2026-01-31 12:00:00+05:30",
            "2018-04-05T17:31:00-00:00",
        ] {
            assert!(is_rfc3339(good), "{good}");
        }
        for bad in [
            "2026-01-31",
            "2026-13-31T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00Zx",
            "2026-01-31T12:00:00+0530",
            "yesterday",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_is_lower_case_letters_and_digits() {
        for good in ["id", "traceparent", "a1", "averylongextensionnamebeyondtwenty"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        for bad in ["", "A", "a-b", "a_b", "é", "a\n", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_follow_the_rule_of_their_name() {
        let good = [
            ("specversion", "1.0"),
            ("source", "/a/b?c#d"),
            ("source", "urn:x:%41"),
            ("datacontenttype", "text/plain; charset=utf-8"),
            ("myextension", ""),
            ("subject", "grüß gott"),
        ];
        for (name, value) in good {
            assert_eq!(check_value(name, value), Ok(()), "{name}={value}");
        }
        let bad = [
            ("specversion", "0.3"),
            ("id", ""),
            ("source", "a b"),
            ("source", "%4"),
            ("dataschema", "<x>"),
            ("datacontenttype", "text"),
            ("datacontenttype", "text/plain\u{e9}"),
            ("time", "now"),
            ("subject", "a\nb"),
            ("other", "\u{85}"),
            ("other", "\u{fffe}"),
        ];
        for (name, value) in bad {
            assert_eq!(check_value(name, value).unwrap_err().attribute, name, "{name}={value}");
        }
    }
}
