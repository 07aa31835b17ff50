//! Reading a queue: messages are claimed for a while, then deleted or given back. With a token of the
//! queue's project, whose roles Zaqar's own policy judges.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use url::Url;

use super::{MAX_ANSWER, Zaqar, queue_url};
use crate::client::{OutboundError, Response};
use crate::endpoint::EndpointUnknown;

/// Most bytes of claimed messages: twenty of Zaqar's largest (`max_messages_post_size`), and their frame.
const MAX_CLAIM: usize = 6 << 20;
/// Longest id that is taken from an answer, bytes.
const MAX_ID: usize = 128;

/// Messages that are hidden from others until the claim ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Its id.
    pub id: String,
    /// What was claimed, the oldest first.
    pub messages: Vec<Message>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// What was posted.
    pub body: Value,
    /// How long it lies in the queue, seconds.
    pub age: u64,
    /// How long it may, seconds.
    pub ttl: u64,
}

/// Why a queue cannot be read. The texts are for the owner of what reads it.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// The catalog has no such service.
    #[error("this cloud's catalog has no messaging service (Zaqar)")]
    NoService,
    /// Zaqar says no.
    #[error("Zaqar answered with status {status} when the queue was read; {hint}")]
    Refused {
        /// Its status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// The catalog cannot be read now.
    #[error(transparent)]
    Catalog(#[from] EndpointUnknown),
    /// Zaqar did not answer as it should; asking again may help.
    #[error("Zaqar {0}")]
    Unavailable(#[source] OutboundError),
    /// Zaqar's answer is of no use.
    #[error("Zaqar's answer is not understood: {0}")]
    NotUnderstood(&'static str),
}

impl ClaimError {
    /// Whether the token is not good (any more): another one may help.
    pub const fn is_of_token(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }

    /// Whether the token may be what is not good, although Zaqar says that it is at fault: of a token
    /// whose trustor lost the role or was disabled Keystone tells services 403, which keystonemiddleware
    /// makes a 503 of.
    pub const fn may_be_of_token(&self) -> bool {
        matches!(self, Self::Refused { status: 503, .. })
    }
}

/// How long a claim holds, and how long its messages live at least behind it.
#[derive(Debug, Clone, Copy)]
pub struct ClaimTimes {
    /// Seconds until others may claim the messages; Zaqar takes 60 to 43200.
    pub ttl_s: u32,
    /// Seconds that messages live on behind the claim; Zaqar takes 60 to 43200.
    pub grace_s: u32,
}

impl ClaimTimes {
    fn body(self) -> Bytes {
        Bytes::from(json!({"ttl": self.ttl_s, "grace": self.grace_s}).to_string())
    }
}

impl Zaqar {
    /// Claims up to `limit` messages (1 to 20); `None` when there are none.
    pub async fn claim(
        &self,
        token: &SecretString,
        queue: &str,
        limit: u32,
        times: ClaimTimes,
    ) -> Result<Option<Claim>, ClaimError> {
        let query = format!("limit={limit}");
        let answer = self.ask(Method::POST, token, queue, &["claims"], Some(&query), times.body()).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let answer = checked(answer).await?;
        let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let id = location.and_then(|location| location.rsplit('/').next()).map(str::to_owned);
        let id = id.filter(|id| is_id(id)).ok_or(ClaimError::NotUnderstood("a claim without a name"))?;
        let body = answer.whole(MAX_CLAIM).await.map_err(ClaimError::Unavailable)?;
        let body = body.ok_or(ClaimError::NotUnderstood("its messages are too large"))?;
        let claimed: Claimed =
            serde_json::from_slice(&body).map_err(|_| ClaimError::NotUnderstood("these are no messages"))?;
        if !claimed.messages.iter().all(|message| is_id(&message.id)) {
            return Err(ClaimError::NotUnderstood("a message without a name"));
        }
        let claim = Claim { id, messages: claimed.messages };
        Ok(Some(claim).filter(|claim| !claim.messages.is_empty()))
    }

    /// Holds a claim longer; `false` when it has ended.
    pub async fn renew_claim(
        &self,
        token: &SecretString,
        queue: &str,
        claim: &str,
        times: ClaimTimes,
    ) -> Result<bool, ClaimError> {
        let answer = self.ask(Method::PATCH, token, queue, &["claims", claim], None, times.body()).await?;
        there(answer).await
    }

    /// Gives back what is left of a claim; fine where it has ended.
    pub async fn release_claim(
        &self,
        token: &SecretString,
        queue: &str,
        claim: &str,
    ) -> Result<(), ClaimError> {
        let answer = self.ask(Method::DELETE, token, queue, &["claims", claim], None, Bytes::new()).await?;
        there(answer).await.map(drop)
    }

    /// Deletes a message that the claim holds. `false` where the claim has ended: others may have it.
    pub async fn delete_claimed(
        &self,
        token: &SecretString,
        queue: &str,
        message: &str,
        claim: &str,
    ) -> Result<bool, ClaimError> {
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("claim_id", claim).finish();
        let path = ["messages", message];
        let answer = self.ask(Method::DELETE, token, queue, &path, Some(&query), Bytes::new()).await?;
        match answer.status {
            // The claim it names is not the message's (any more).
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => {
                answer.discard(MAX_ANSWER).await;
                Ok(false)
            }
            _ => there(answer).await,
        }
    }

    /// How many messages nobody has claimed.
    pub async fn free_messages(&self, token: &SecretString, queue: &str) -> Result<u64, ClaimError> {
        let answer = self.ask(Method::GET, token, queue, &["stats"], None, Bytes::new()).await?;
        if answer.status == StatusCode::NOT_FOUND {
            answer.discard(MAX_ANSWER).await;
            return Ok(0);
        }
        let body = checked(answer).await?.whole(MAX_ANSWER).await.map_err(ClaimError::Unavailable)?;
        let stats: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        stats["messages"]["free"].as_u64().ok_or(ClaimError::NotUnderstood("it does not count messages"))
    }

    async fn ask(
        &self,
        method: Method,
        token: &SecretString,
        queue: &str,
        path: &[&str],
        query: Option<&str>,
        body: Bytes,
    ) -> Result<Response, ClaimError> {
        let endpoint = self.endpoint.endpoint().await?.ok_or(ClaimError::NoService)?;
        let url = below(&endpoint, queue, path, query).ok_or(ClaimError::NotUnderstood("its URL"))?;
        let mut headers: HeaderMap = self.headers();
        let mut value = HeaderValue::try_from(token.expose_secret())
            .map_err(|_| ClaimError::NotUnderstood("the token"))?;
        value.set_sensitive(true);
        headers.insert("x-auth-token", value);
        self.http.send(method, &url, headers, body).await.map_err(ClaimError::Unavailable)
    }
}

#[derive(Deserialize)]
struct Claimed {
    messages: Vec<Message>,
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

fn below(endpoint: &Url, queue: &str, path: &[&str], query: Option<&str>) -> Option<Url> {
    let (first, rest) = path.split_first()?;
    let mut url = queue_url(endpoint, queue, first)?;
    url.path_segments_mut().ok()?.extend(rest);
    url.set_query(query);
    Some(url)
}

/// Whether what the request was about is there.
async fn there(answer: Response) -> Result<bool, ClaimError> {
    if answer.status == StatusCode::NOT_FOUND {
        answer.discard(MAX_ANSWER).await;
        return Ok(false);
    }
    checked(answer).await?.discard(MAX_ANSWER).await;
    Ok(true)
}

async fn checked(answer: Response) -> Result<Response, ClaimError> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer);
    }
    answer.discard(MAX_ANSWER).await;
    let hint = match status {
        StatusCode::UNAUTHORIZED => "its token is not good",
        StatusCode::FORBIDDEN => "its policy does not let the trigger's roles claim messages",
        StatusCode::BAD_REQUEST => "it does not take this queue, or so many messages at one time",
        StatusCode::NOT_FOUND => "is the catalog's endpoint that of a Zaqar with API version 2?",
        status if status.is_client_error() => "ask the operator",
        _ => "it says that it is at fault",
    };
    Err(ClaimError::Refused { status: status.as_u16(), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_queues_and_claims_stay_one_segment_each() {
        let url = below(&Url::parse("http://z/").unwrap(), "q", &["claims", "../x?"], Some("limit=2"));
        assert_eq!(url.unwrap().as_str(), "http://z/v2/queues/q/claims/..%2Fx%3F?limit=2");
        for (text, good) in [("51db7067821e727dc24df754", true), ("", false), ("a/b", false), ("a b", false)]
        {
            assert_eq!(is_id(text), good, "{text}");
        }
    }
}
