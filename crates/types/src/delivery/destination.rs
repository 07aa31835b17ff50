//! Where results and reports go: another route of the project, an HTTP URL, a Zaqar queue.
//!
//! Written and stored as one text: `route:APP/PATH`, `https://…` or `http://…`, `zaqar:QUEUE`.
//! What a text names need not exist yet; that shows when something is sent there.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::fault::FieldFault;
use crate::name::FullName;

/// Longest URL, bytes.
const MAX_URL_BYTES: usize = 2048;
/// Longest path of a route, bytes: as long as a pattern may be.
const MAX_PATH_BYTES: usize = 512;
/// Longest name of a Zaqar queue, bytes (Zaqar's `max_queue_name_length`).
const MAX_QUEUE_BYTES: usize = 64;

/// Where something is sent when a call has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// A call of another route of the same project.
    Route {
        /// The app by its short or full name.
        app: FullName,
        /// The path that is called, with its leading slash; not a pattern.
        path: String,
    },
    /// A POST to this URL.
    Url(HttpUrl),
    /// A message in this queue of the project's Zaqar.
    ZaqarQueue(String),
}

impl Destination {
    /// Takes a destination as it is written; the fault names `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self, FieldFault> {
        let fault = |message: String| FieldFault::new(field, message);
        if let Some(named) = text.strip_prefix("route:") {
            let (app, path) = named.split_at(named.find('/').unwrap_or(named.len()));
            let app = FullName::parse(app).map_err(|_| {
                fault("must name an app of the project and a path of it: \"route:APP/PATH\"".to_owned())
            })?;
            let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\');
            if path.is_empty() || path.len() > MAX_PATH_BYTES || !path.bytes().all(is_plain) {
                return Err(fault(format!(
                    "must name a path of 1 to {MAX_PATH_BYTES} printable ASCII characters without \"?\" and \
                     \"#\" after the app: \"route:APP/PATH\""
                )));
            }
            return Ok(Self::Route { app, path: path.to_owned() });
        }
        if let Some(queue) = text.strip_prefix("zaqar:") {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            if !(1..=MAX_QUEUE_BYTES).contains(&queue.len()) || !queue.bytes().all(is_name) {
                return Err(fault(format!(
                    "must name a queue of 1 to {MAX_QUEUE_BYTES} letters, digits, \"-\" or \"_\": \
                     \"zaqar:QUEUE\""
                )));
            }
            return Ok(Self::ZaqarQueue(queue.to_owned()));
        }
        if text.starts_with("http:") || text.starts_with("https:") {
            return HttpUrl::parse(field, text).map(Self::Url);
        }
        Err(fault("must be \"route:APP/PATH\", an http or https URL, or \"zaqar:QUEUE\"".to_owned()))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { app, path } => write!(f, "route:{app}{path}"),
            Self::Url(url) => write!(f, "{url}"),
            Self::ZaqarQueue(queue) => write!(f, "zaqar:{queue}"),
        }
    }
}

impl TryFrom<String> for Destination {
    type Error = FieldFault;

    fn try_from(text: String) -> Result<Self, FieldFault> {
        Self::parse("destination", &text)
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

/// An http or https URL that may be posted to: with a host, without user, password and fragment.
/// Kept in the one form that URL parsers agree on, so that what was checked is what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpUrl(String);

impl HttpUrl {
    /// Takes a URL as it is written; the fault names `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self, FieldFault> {
        let fault = |message: String| FieldFault::new(field, message);
        if text.len() > MAX_URL_BYTES {
            return Err(fault(format!("must be at most {MAX_URL_BYTES} bytes")));
        }
        let url = Url::parse(text).map_err(|error| fault(format!("is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("must be an http or https URL".to_owned()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(fault("must name a host".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fault("must not hold a user or password".to_owned()));
        }
        if url.fragment().is_some() {
            return Err(fault("must not hold a fragment (\"#…\")".to_owned()));
        }
        let text = String::from(url);
        // Escaping may have made it longer.
        if text.len() > MAX_URL_BYTES {
            return Err(fault(format!("must be at most {MAX_URL_BYTES} bytes")));
        }
        Ok(Self(text))
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = FieldFault;

    fn try_from(text: String) -> Result<Self, FieldFault> {
        Self::parse("url", &text)
    }
}

impl From<HttpUrl> for String {
    fn from(url: HttpUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_by_its_text_and_written_the_same() {
        for (text, expected) in [
            (
                "route:app-1/users/7",
                Destination::Route { app: FullName::parse("app-1").unwrap(), path: "/users/7".to_owned() },
            ),
            ("zaqar:dead_letters-1", Destination::ZaqarQueue("dead_letters-1".to_owned())),
            (
                "https://example.org/hook?a=1",
                Destination::Url(HttpUrl("https://example.org/hook?a=1".to_owned())),
            ),
        ] {
            let destination = Destination::parse("on_success", text).unwrap();
            assert_eq!(destination, expected);
            assert_eq!(destination.to_string(), text);
        }
    }

    #[test]
    fn what_names_no_destination_is_refused_with_its_field() {
        let long = "x".repeat(3000);
        for bad in [
            "",
            "app/path",
            "route:",
            "route:app",
            "route:/path",
            "route:a b/path",
            "route:app/pa th",
            "route:app/path?x",
            "route:app/ä",
            "zaqar:",
            "zaqar:a/b",
            &format!("zaqar:{}", "x".repeat(65)),
            &format!("route:app/{long}"),
            &format!("https://example.org/{long}"),
            "https://",
            "https://user@example.org/",
            "https://:secret@example.org/",
            "https://example.org/#part",
            "ftp://example.org/",
            "file:///etc/passwd",
            "httpx://example.org",
        ] {
            assert_eq!(Destination::parse("on_failure", bad).unwrap_err().field, "on_failure", "{bad:.60}");
        }
    }

    #[test]
    fn a_url_is_kept_in_its_one_form() {
        for (text, kept) in [
            ("HTTP://EXAMPLE.org", "http://example.org/"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("https://example.org:443/a/../b", "https://example.org/b"),
        ] {
            assert_eq!(HttpUrl::parse("url", text).unwrap().as_str(), kept);
        }
    }
}
