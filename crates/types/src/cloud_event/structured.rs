//! The JSON event format (CloudEvents 1.0, "JSON Event Format").

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::attribute::{check_name, check_value};
use super::header::{all_there, check_size, header};
use super::{BinaryEvent, EventFault};

/// What data without a `datacontenttype` is.
const JSON: &str = "application/json";

pub(super) fn parse(json: &[u8]) -> Result<BinaryEvent, EventFault> {
    let members: Members<'_> = serde_json::from_slice(json)
        .map_err(|error| EventFault::new("", format!("is not a JSON object: {error}")))?;
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let (mut content_type, mut data, mut base64) = (None, None, None);
    let mut bytes = 0;
    for (name, raw) in members.0 {
        if seen.contains(&name) {
            return Err(EventFault::new(name, "is there twice"));
        }
        // In JSON null is the same as absence.
        if raw.get() == "null" && name != "data" {
            continue;
        }
        match name.as_str() {
            "data" => data = Some(raw),
            "data_base64" => base64 = Some(decoded(raw)?),
            _ => {
                check_name(&name)?;
                let value = attribute(&name, raw)?;
                check_value(&name, &value)?;
                let (header, encoded) = header(&name, &value);
                bytes += header.len() + encoded.len();
                if name == "datacontenttype" {
                    content_type = Some(value);
                } else {
                    headers.push((header, encoded));
                }
            }
        }
        seen.push(name);
        check_size(seen.len(), bytes)?;
    }
    all_there(|name| seen.iter().any(|seen| seen == name))?;
    if data.is_some_and(|data| data.get() != "null") && base64.is_some() {
        return Err(EventFault::new("data_base64", "must not stand beside data"));
    }
    let body = match (data, base64) {
        (_, Some(bytes)) => bytes,
        (Some(data), None) => {
            let body = as_body(data, content_type.as_deref().unwrap_or(JSON));
            content_type.get_or_insert_with(|| JSON.to_owned());
            body
        }
        (None, None) => Vec::new(),
    };
    Ok(BinaryEvent { headers, content_type, body })
}

/// JSON data stays the JSON text it is; a string of another type is that text itself.
fn as_body(data: &RawValue, content_type: &str) -> Vec<u8> {
    if !is_json(content_type)
        && let Ok(text) = serde_json::from_str::<String>(data.get())
    {
        return text.into_bytes();
    }
    data.get().as_bytes().to_vec()
}

/// `application/json`, `text/json`, `anything/anything+json`.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

fn decoded(raw: &RawValue) -> Result<Vec<u8>, EventFault> {
    let fault = || EventFault::new("data_base64", "must be a string of base64");
    let text: String = serde_json::from_str(raw.get()).map_err(|_| fault())?;
    STANDARD.decode(text).map_err(|_| fault())
}

/// The canonical text of an attribute: a string, a boolean, or an integer of 32 bits.
fn attribute(name: &str, raw: &RawValue) -> Result<String, EventFault> {
    let text = raw.get();
    let fits = match text.as_bytes().first() {
        Some(b'"') => {
            return serde_json::from_str(text)
                .map_err(|_| EventFault::new(name, "is not a string of Unicode characters"));
        }
        Some(b't' | b'f') => true,
        _ => text.parse::<i32>().is_ok(),
    };
    if fits {
        return Ok(text.to_owned());
    }
    Err(EventFault::new(name, "must be a string, a boolean, or an integer of 32 bits"))
}

/// The members of an object in their order, repeated ones too, values as they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    // The rest of a hostile object is read but not kept.
                    if members.len() > super::MAX_ATTRIBUTES + 2 {
                        map.next_value::<IgnoredAny>()?;
                        return Err(A::Error::custom("it has too many members"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ContentMode, MAX_ATTRIBUTES};
    use super::*;

    fn event(more: &str) -> Result<BinaryEvent, EventFault> {
        parse(format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{more}}}"#).as_bytes())
    }

    fn get<'a>(event: &'a BinaryEvent, name: &str) -> Option<&'a str> {
        event.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn attributes_become_headers_and_data_the_body() {
        let event = event(
            r#","time":"2018-04-05T17:31:00Z","subject":"Euro € 😀","count":42,"flag":true,"gone":null,
               "datacontenttype":"application/vnd.mine+json","data":{"a" : [1,  2]}"#,
        )
        .unwrap();
        assert_eq!(get(&event, "ce-specversion"), Some("1.0"));
        assert_eq!(get(&event, "ce-id"), Some("1"));
        assert_eq!(get(&event, "ce-subject"), Some("Euro%20%E2%82%AC%20%F0%9F%98%80"));
        assert_eq!((get(&event, "ce-count"), get(&event, "ce-flag")), (Some("42"), Some("true")));
        assert_eq!((get(&event, "ce-gone"), get(&event, "ce-datacontenttype")), (None, None));
        assert_eq!(event.content_type.as_deref(), Some("application/vnd.mine+json"));
        assert_eq!(event.body, br#"{"a" : [1,  2]}"#);
    }

    #[test]
    fn data_is_what_its_content_type_makes_it() {
        let body = |more: &str| {
            let event = event(more).unwrap();
            (event.content_type, String::from_utf8_lossy(&event.body).into_owned())
        };
        let json = || Some(JSON.to_owned());
        assert_eq!(body(r#","data":"x""#), (json(), "\"x\"".to_owned()));
        assert_eq!(body(r#","data":null"#), (json(), "null".to_owned()));
        assert_eq!(body(""), (None, String::new()));
        let xml = r#","datacontenttype":"application/xml","data":"<a b=\"c\"/>""#;
        assert_eq!(body(xml), (Some("application/xml".to_owned()), "<a b=\"c\"/>".to_owned()));
        let number = r#","datacontenttype":"text/plain","data":5"#;
        assert_eq!(body(number), (Some("text/plain".to_owned()), "5".to_owned()));
        let binary = event(r#","data_base64":"AP8=""#).unwrap();
        assert_eq!((binary.content_type, binary.body), (None, vec![0, 255]));
    }

    #[test]
    fn a_broken_event_names_what_is_broken() {
        let cases = [
            (r#","id":"2""#, "id"),
            (r#","time":"now""#, "time"),
            (r#","count":1.5"#, "count"),
            (r#","count":2147483648"#, "count"),
            (r#","mine":{}"#, "mine"),
            (r#","mine":[1]"#, "mine"),
            (r#","Mine":"x""#, "attribute \"Mine\""),
            (r#","subject":"\ud800""#, "subject"),
            (r#","data_base64":"*""#, "data_base64"),
            (r#","data_base64":5"#, "data_base64"),
            (r#","data":1,"data_base64":"AA==""#, "data_base64"),
            (r#","data":1,"data":2"#, "data"),
        ];
        for (more, attribute) in cases {
            assert_eq!(event(more).unwrap_err().attribute, attribute, "{more}");
        }
        for missing in ["specversion", "id", "source", "type"] {
            let all = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")];
            let some: Vec<_> = all.iter().filter(|(name, _)| *name != missing).collect();
            let members: Vec<_> =
                some.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
            let json = format!("{{{}}}", members.join(","));
            assert_eq!(parse(json.as_bytes()).unwrap_err().attribute, missing);
        }
        for whole in ["", "[]", "1", "{", "{}x", "{\"a\"}"] {
            let fault = parse(whole.as_bytes()).unwrap_err();
            assert!(
                fault.attribute.is_empty() && fault.to_string().starts_with("The event is not"),
                "{whole}"
            );
        }
    }

    #[test]
    fn a_huge_event_is_refused_and_deep_data_is_not_followed() {
        for count in [MAX_ATTRIBUTES, 10_000] {
            let members: Vec<_> = (0..count).map(|n| format!(",\"x{n}\":\"1\"")).collect();
            assert!(event(&members.concat()).is_err());
        }
        assert!(event(&format!(",\"x\":\"{}\"", "y".repeat(20_000))).is_err());
        let deep = format!(",\"data\":{}{}", "[".repeat(100_000), "]".repeat(100_000));
        // Whether it is taken is the library's choice; that it comes back is ours.
        let _ = event(&deep);
    }

    #[test]
    fn the_mode_follows_from_the_content_type() {
        let cases = [
            ("application/cloudevents+json; charset=utf-8", ContentMode::Structured),
            ("Application/CloudEvents+JSON", ContentMode::Structured),
            ("application/cloudevents-batch+json", ContentMode::Batch),
            ("application/cloudevents+avro", ContentMode::OtherFormat),
            ("application/cloudevents", ContentMode::OtherFormat),
            ("application/json", ContentMode::Binary),
            ("", ContentMode::Binary),
        ];
        for (content_type, mode) in cases {
            assert_eq!(ContentMode::of(content_type.as_bytes()), mode, "{content_type}");
        }
    }
}
