//! `ETag`, `If-Match` and `If-None-Match`: no update is lost, and nothing is sent twice.
//!
//! Contract: RFC 9110, 8.8.3 and 13. A tag is of all that an answer shows of a resource, so it
//! changes whenever the answer does. What `If-Match` names is checked again in the transaction of
//! the update, where nobody else can change the resource.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use picasso_types::{Digest, FieldFault};
use serde::Serialize;

use crate::error::ApiError;

/// Most tags of one header.
const MAX_TAGS: usize = 32;
/// Hexadecimal digits of a tag: 128 bits.
const TAG_DIGITS: usize = 32;

/// What a request says about the state of the resource it is for.
#[derive(Debug, Default)]
pub(crate) struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

#[derive(Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever is there.
    Any,
    /// Tags with their quotes; weak ones with their `W/`.
    These(Vec<String>),
}

/// The tag of what a client is shown: quoted, strong.
pub(crate) fn tag_of(shown: &impl Serialize) -> Result<String, ApiError> {
    let text = serde_json::to_vec(shown).map_err(|error| ApiError::internal("writing an answer", error))?;
    let digest = Digest::of(&text);
    Ok(format!("\"{}\"", digest.hex().get(..TAG_DIGITS).unwrap_or_default()))
}

/// Adds the tag to an answer.
pub(crate) fn tagged(tag: &str, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

impl Preconditions {
    /// Refuses a change of a resource whose tag is `tag`, unless the request is for that state.
    /// Says whether it is for this state alone: then the store has to look again.
    pub(crate) fn allow_change(&self, tag: &str) -> Result<bool, ApiError> {
        if self.if_none_match.as_ref().is_some_and(|tags| tags.have(tag)) {
            return Err(ApiError::PreconditionFailed);
        }
        match &self.if_match {
            None | Some(Tags::Any) => Ok(false),
            // A weak tag never matches here: two states may share it.
            Some(Tags::These(tags)) if tags.iter().any(|given| given == tag) => Ok(true),
            Some(Tags::These(_)) => Err(ApiError::PreconditionFailed),
        }
    }

    /// The answer of a read: 304 where the client has it already.
    pub(crate) fn show(&self, tag: &str, answer: impl Serialize) -> Result<Response, ApiError> {
        if let Some(Tags::These(tags)) = &self.if_match
            && !tags.iter().any(|given| given == tag)
        {
            return Err(ApiError::PreconditionFailed);
        }
        let known = self.if_none_match.as_ref().is_some_and(|tags| tags.have(tag));
        let response =
            if known { StatusCode::NOT_MODIFIED.into_response() } else { Json(answer).into_response() };
        Ok(tagged(tag, response))
    }

    pub(super) fn read(headers: &HeaderMap) -> Result<Self, FieldFault> {
        Ok(Self {
            if_match: tags(headers, &header::IF_MATCH, "If-Match")?,
            if_none_match: tags(headers, &header::IF_NONE_MATCH, "If-None-Match")?,
        })
    }
}

impl Tags {
    /// Whether one of them is `tag`, by the weak comparison.
    fn have(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|given| given.strip_prefix("W/").unwrap_or(given) == tag),
        }
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName, shown: &str) -> Result<Option<Tags>, FieldFault> {
    let fault = || FieldFault::new(shown, "must be \"*\" or tags in quotation marks, as ETag has them");
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| fault())?.trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        // Our own tags have no comma; another's that has one is none of ours and none is met.
        for tag in text.split(',').map(str::trim) {
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            let quoted = opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"');
            if !quoted || all.len() == MAX_TAGS {
                return Err(fault());
            }
            all.push(tag.to_owned());
        }
    }
    Ok((!all.is_empty()).then_some(Tags::These(all)))
}

impl<S: Sync> FromRequestParts<S> for Preconditions {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::read(&parts.headers)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"a1\"";

    fn given(name: &HeaderName, values: &[&str]) -> Result<Preconditions, FieldFault> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Preconditions::read(&headers)
    }

    #[test]
    fn a_change_is_for_the_state_that_it_names() {
        let allowed = |values: &[&str]| given(&header::IF_MATCH, values).unwrap().allow_change(TAG).ok();
        assert_eq!(allowed(&[]), Some(false));
        assert_eq!(allowed(&["*"]), Some(false));
        assert_eq!(allowed(&[TAG]), Some(true));
        assert_eq!(allowed(&["\"b\", \"a1\""]), Some(true));
        assert_eq!(allowed(&["\"b\"", TAG]), Some(true));
        assert_eq!(allowed(&["\"b\""]), None);
        assert_eq!(allowed(&["W/\"a1\""]), None, "weak");
        let unless = |values: &[&str]| given(&header::IF_NONE_MATCH, values).unwrap().allow_change(TAG).ok();
        assert_eq!((unless(&["*"]), unless(&[TAG]), unless(&["\"b\""])), (None, None, Some(false)));
    }

    #[test]
    fn a_read_answers_304_for_what_the_client_has() {
        let status = |name, value: &str| {
            given(&name, &[value]).unwrap().show(TAG, "x").map(|answer| answer.status().as_u16()).ok()
        };
        assert_eq!(status(header::IF_NONE_MATCH, TAG), Some(304));
        assert_eq!(status(header::IF_NONE_MATCH, "W/\"a1\""), Some(304));
        assert_eq!(status(header::IF_NONE_MATCH, "*"), Some(304));
        assert_eq!(status(header::IF_NONE_MATCH, "\"b\""), Some(200));
        assert_eq!(status(header::IF_MATCH, TAG), Some(200));
        assert_eq!(status(header::IF_MATCH, "\"b\""), None);
    }

    #[test]
    fn what_is_no_tag_is_refused_by_its_header() {
        for bad in ["a1", "\"a1", "\"", "", "W/a1", "\"a\",", "\"a\", b"] {
            assert_eq!(given(&header::IF_MATCH, &[bad]).unwrap_err().field, "If-Match", "{bad:?}");
        }
        let many = vec![TAG; MAX_TAGS + 1].join(",");
        assert_eq!(given(&header::IF_NONE_MATCH, &[&many]).unwrap_err().field, "If-None-Match");
    }

    #[test]
    fn a_tag_is_of_all_that_is_shown() {
        assert_eq!(tag_of(&"a").unwrap(), tag_of(&"a").unwrap());
        assert_ne!(tag_of(&"a").unwrap(), tag_of(&"b").unwrap());
        assert_eq!(tag_of(&"a").unwrap().len(), TAG_DIGITS + 2);
    }
}
