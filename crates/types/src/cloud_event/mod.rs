//! CloudEvents 1.0 over HTTP: from the structured JSON form to the binary one, and what makes an
//! event valid.
//!
//! Contract: CloudEvents 1.0.2, its JSON event format and HTTP protocol binding
//! (<https://github.com/cloudevents/spec>). Pure: bytes in, attributes out. The official Rust SDK
//! calls its interfaces unstable and encodes no header values, which is most of what is needed
//! here.

mod attribute;
mod header;
mod structured;

use std::fmt;

pub use header::{check_binary, decode, encode};

/// Most attributes of one event, extensions included.
pub const MAX_ATTRIBUTES: usize = 64;
/// Most bytes of all attributes of one event, names included, as headers carry them.
pub const MAX_ATTRIBUTE_BYTES: usize = 16 * 1024;

/// Why something that claims to be an event is none: the attribute (or member) and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFault {
    /// The attribute; `data`, `data_base64`, or empty for the event as a whole.
    pub attribute: String,
    /// What is wrong, in the middle of a sentence.
    pub message: String,
}

impl EventFault {
    fn new(attribute: impl Into<String>, message: impl Into<String>) -> Self {
        Self { attribute: attribute.into(), message: message.into() }
    }
}

impl fmt::Display for EventFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attribute.is_empty() {
            write!(f, "The event {}", self.message)
        } else {
            write!(f, "The event's {} {}", self.attribute, self.message)
        }
    }
}

impl std::error::Error for EventFault {}

/// How a request carries an event, by its `Content-Type` (HTTP binding, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentMode {
    /// `application/cloudevents+json`: the whole event is the body.
    Structured,
    /// `application/cloudevents` in another format than JSON.
    OtherFormat,
    /// `application/cloudevents-batch…`: many events.
    Batch,
    /// Anything else: an event in headers, or no event.
    Binary,
}

impl ContentMode {
    /// The mode of a request with that `Content-Type`.
    pub fn of(content_type: &[u8]) -> Self {
        let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let begins =
            |prefix: &[u8]| kind.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        if begins(b"application/cloudevents-batch") {
            Self::Batch
        } else if kind.eq_ignore_ascii_case(b"application/cloudevents+json") {
            Self::Structured
        } else if begins(b"application/cloudevents") {
            Self::OtherFormat
        } else {
            Self::Binary
        }
    }
}

/// A valid event in the form of the binary HTTP binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryEvent {
    /// `ce-…` headers: names in lower case, values encoded.
    pub headers: Vec<(String, String)>,
    /// The value of `Content-Type`.
    pub content_type: Option<String>,
    /// The data.
    pub body: Vec<u8>,
}

/// Parses an event in the JSON format and gives its binary form. The caller bounds the size of
/// `json`; whatever is in it, this answers in time linear to it.
pub fn parse_structured(json: &[u8]) -> Result<BinaryEvent, EventFault> {
    structured::parse(json)
}
