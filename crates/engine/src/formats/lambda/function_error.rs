//! Errors that a runtime reports: of one call (`/runtime/invocation/…/error`, trailers of a
//! streamed answer) and of its start (`/runtime/init/error`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use picasso_types::Failure;
use picasso_types::text::cut;
use serde::Deserialize;

/// The kind of an error, as the runtime sees it.
pub(super) const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
/// Trailer: the error's body, base64.
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Longest `errorType` that is kept, bytes.
const MAX_TYPE: usize = 256;
/// Longest `errorMessage` that is kept, bytes.
const MAX_MESSAGE: usize = 4096;

/// An error as a runtime reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FunctionError {
    /// `errorType` of the body, or the header's where the body has none.
    pub(super) error_type: String,
    /// `errorMessage`, or the body itself where it is not in the usual form.
    pub(super) message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ErrorBody {
    error_type: Option<String>,
    error_message: Option<String>,
}

impl FunctionError {
    /// Reads a reported error. Nothing a runtime writes here is refused: it has failed already.
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Self {
        let parsed: Option<ErrorBody> = serde_json::from_slice(body).ok();
        let (error_type, message) = match parsed {
            Some(ErrorBody { error_type, error_message }) => (error_type, error_message.unwrap_or_default()),
            None => (None, String::from_utf8_lossy(&body[..body.len().min(MAX_MESSAGE)]).into_owned()),
        };
        let error_type = error_type.filter(|text| !text.is_empty());
        let error_type = error_type.unwrap_or_else(|| {
            known_type(headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default())
        });
        Self {
            error_type: cut(&error_type, MAX_TYPE).to_owned(),
            message: cut(&message, MAX_MESSAGE).to_owned(),
        }
    }

    /// The error in the trailers of a streamed answer; `None` where they name none.
    pub(super) fn in_trailers(trailers: &HeaderMap) -> Option<Self> {
        trailers.get(ERROR_TYPE)?;
        let body = trailers.get(ERROR_BODY).and_then(|value| STANDARD.decode(value.as_bytes()).ok());
        Some(Self::parse(trailers, &body.unwrap_or_default()))
    }

    /// The call's failure.
    pub(super) fn into_failure(self) -> Failure {
        Failure::FunctionError { error_type: self.error_type, message: self.message }
    }

    /// One sentence for the owner of a function that cannot start.
    pub(super) fn sentence(&self) -> String {
        format!("{}: {}", self.error_type, self.message)
    }
}

/// Types that match `(Runtime|Function)\.[A-Z][a-zA-Z]+` pass, as in AWS's runtime interface
/// emulator; others become the unknown one of their family.
fn known_type(text: &str) -> String {
    let (family, name) = text.split_once('.').unwrap_or((text, ""));
    let well_formed = matches!(family, "Runtime" | "Function")
        && name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_alphabetic());
    match (well_formed, family) {
        (true, _) => text.to_owned(),
        (false, "Runtime") => "Runtime.Unknown".to_owned(),
        (false, _) => "Function.Unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(error_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ERROR_TYPE, error_type.parse().unwrap());
        headers
    }

    #[test]
    fn the_bodys_error_type_counts_before_the_headers() {
        let error = FunctionError::parse(
            &headers("Runtime.Oops"),
            br#"{"errorMessage":"division by zero","errorType":"ZeroDivisionError","stackTrace":["a"]}"#,
        );
        assert_eq!(error.error_type, "ZeroDivisionError");
        assert_eq!(error.message, "division by zero");
    }

    #[test]
    fn a_header_type_must_look_like_one_of_lambdas() {
        let of = |text: &str| FunctionError::parse(&headers(text), b"{}").error_type;
        assert_eq!(of("Function.CustomThing"), "Function.CustomThing");
        assert_eq!(of("Runtime.UserCodeSyntaxError"), "Runtime.UserCodeSyntaxError");
        assert_eq!(of("Runtime.lower"), "Runtime.Unknown");
        for other in ["unhandled", "Function.x", "Function.A", "Function.A1b", "Sandbox.Timeout", ""] {
            assert_eq!(of(other), "Function.Unknown", "{other}");
        }
    }

    #[test]
    fn any_body_is_an_error_and_a_long_one_is_cut_between_characters() {
        let error = FunctionError::parse(&HeaderMap::new(), b"not json \xff");
        assert_eq!(
            (error.error_type.as_str(), error.message.as_str()),
            ("Function.Unknown", "not json \u{fffd}")
        );
        let long = format!(r#"{{"errorType":"{}","errorMessage":"{}"}}"#, "t".repeat(999), "ü".repeat(9999));
        let error = FunctionError::parse(&HeaderMap::new(), long.as_bytes());
        assert_eq!((error.error_type.len(), error.message.len()), (MAX_TYPE, MAX_MESSAGE));
        assert!(error.message.chars().all(|c| c == 'ü'));
        assert!(FunctionError::parse(&HeaderMap::new(), &[0xe2; 10_000]).message.len() <= MAX_MESSAGE);
    }

    #[test]
    fn trailers_carry_an_error_only_with_its_type() {
        let mut trailers = HeaderMap::new();
        trailers.insert(ERROR_BODY, "e30=".parse().unwrap());
        assert_eq!(FunctionError::in_trailers(&trailers), None);
        let body = STANDARD.encode(r#"{"errorType":"Oops","errorMessage":"half way"}"#);
        trailers.insert(ERROR_BODY, body.parse().unwrap());
        trailers.insert(ERROR_TYPE, "Function.Oops".parse().unwrap());
        let error = FunctionError::in_trailers(&trailers).unwrap();
        assert_eq!(error.sentence(), "Oops: half way");
        trailers.insert(ERROR_BODY, "no base64!".parse().unwrap());
        assert_eq!(FunctionError::in_trailers(&trailers).unwrap().error_type, "Function.Oops");
    }
}
