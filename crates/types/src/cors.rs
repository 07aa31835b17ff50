//! Cross-origin resource sharing of an app's public functions (Fetch standard, section 3.2): which
//! pages of other origins may call them from a browser.

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// Most entries of one list.
const MAX_ENTRIES: usize = 64;
/// Longest entry, bytes.
const MAX_ENTRY: usize = 256;
/// Longest time that browsers may remember an answer to a preflight, seconds.
const MAX_AGE_S: u32 = 86_400;

/// What an app allows; checked by [`CorsRules::check`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CorsRules {
    /// `*`, or origins as browsers send them: `https://app.example.org`.
    pub allow_origins: Vec<String>,
    /// `*`, or methods; empty: those that need no leave.
    pub allow_methods: Vec<String>,
    /// `*`, or names of headers that pages may send.
    pub allow_headers: Vec<String>,
    /// `*`, or names of headers that pages may read.
    pub expose_headers: Vec<String>,
    /// How long browsers may remember the answer to a preflight, seconds; `None`: as they like.
    pub max_age_s: Option<u32>,
    /// Whether pages may send cookies and `Authorization` of the browser's own.
    pub allow_credentials: bool,
}

impl CorsRules {
    /// Checks everything; a fault names `cors.…`.
    pub fn check(&self) -> Result<(), FieldFault> {
        type Form = (fn(&str) -> bool, &'static str);
        const ORIGIN: Form = (is_origin, "an origin like \"https://app.example.org\"");
        const METHOD: Form = (is_method, "a method in upper case");
        const HEADER: Form = (is_token, "the name of a header");
        let fault = |field: &str, message: String| FieldFault::new(format!("cors.{field}"), message);
        if self.allow_origins.is_empty() {
            return Err(fault("allow_origins", "names no origin; null takes all rules away".to_owned()));
        }
        for (field, list, (is_good, what)) in [
            ("allow_origins", &self.allow_origins, ORIGIN),
            ("allow_methods", &self.allow_methods, METHOD),
            ("allow_headers", &self.allow_headers, HEADER),
            ("expose_headers", &self.expose_headers, HEADER),
        ] {
            if list.len() > MAX_ENTRIES {
                return Err(fault(field, format!("has more than {MAX_ENTRIES} entries")));
            }
            if let Some(bad) =
                list.iter().find(|each| *each != "*" && (each.len() > MAX_ENTRY || !is_good(each)))
            {
                let shown: String = bad.chars().take(60).collect();
                return Err(fault(field, format!("has {shown:?}, which is neither \"*\" nor {what}")));
            }
            if self.allow_credentials && list.iter().any(|each| each == "*") {
                let message = "must not be \"*\" with allow_credentials: browsers refuse that";
                return Err(fault(field, message.to_owned()));
            }
        }
        if self.max_age_s.is_some_and(|age| age > MAX_AGE_S) {
            return Err(fault("max_age", format!("must be 0 to {MAX_AGE_S} seconds")));
        }
        Ok(())
    }

    /// What an answer to a page of `origin` says in `Access-Control-Allow-Origin`; `None` where its
    /// origin is not allowed.
    pub fn origin_for<'a>(&self, origin: &'a str) -> Option<&'a str> {
        if self.any_origin() {
            return Some("*");
        }
        self.allow_origins.iter().any(|each| each == origin).then_some(origin)
    }

    /// Whether pages of every origin may call; answers then do not depend on the origin.
    pub fn any_origin(&self) -> bool {
        self.allow_origins.iter().any(|each| each == "*")
    }
}

/// A scheme, a host and maybe a port, in the one form that browsers write (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}

fn is_method(text: &str) -> bool {
    is_token(text) && !text.bytes().any(|b| b.is_ascii_lowercase())
}

/// A token of HTTP (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(origins: &[&str]) -> CorsRules {
        let allow_origins = origins.iter().map(|text| (*text).to_owned()).collect();
        CorsRules { allow_origins, ..CorsRules::default() }
    }

    #[test]
    fn an_origin_is_allowed_when_it_is_listed_exactly() {
        let some = rules(&["https://app.example.org", "http://localhost:3000"]);
        assert!(some.check().is_ok());
        assert_eq!(some.origin_for("https://app.example.org"), Some("https://app.example.org"));
        for other in ["https://app.example.org.evil.example", "http://app.example.org", "null", ""] {
            assert_eq!(some.origin_for(other), None, "{other}");
        }
        assert_eq!(rules(&["*"]).origin_for("null"), Some("*"));
    }

    #[test]
    fn what_no_browser_would_send_or_take_is_refused_by_name() {
        for bad in [
            "https://a.example/",
            "a.example",
            "https://A.example",
            "ftp://a.example",
            "null",
            "https://a.example:443",
        ] {
            assert_eq!(rules(&[bad]).check().unwrap_err().field, "cors.allow_origins", "{bad}");
        }
        assert_eq!(rules(&[]).check().unwrap_err().field, "cors.allow_origins");
        let with = |change: fn(&mut CorsRules)| {
            let mut rules = rules(&["https://a.example"]);
            change(&mut rules);
            rules.check().unwrap_err().field
        };
        assert_eq!(with(|r| r.allow_methods = vec!["get".into()]), "cors.allow_methods");
        assert_eq!(with(|r| r.allow_headers = vec!["a b".into()]), "cors.allow_headers");
        assert_eq!(with(|r| r.expose_headers = vec!["a\r\nb".into()]), "cors.expose_headers");
        assert_eq!(with(|r| r.max_age_s = Some(86_401)), "cors.max_age");
        assert_eq!(with(|r| r.allow_headers = vec!["X".into(); 65]), "cors.allow_headers");
        let open = CorsRules { allow_credentials: true, ..rules(&["*"]) };
        assert_eq!(open.check().unwrap_err().field, "cors.allow_origins");
    }
}
