//! Options of webhooks.

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// Most origins of a `CloudEvents` sender's handshake.
const MAX_ORIGINS: usize = 16;

/// Who posts to a webhook's URL, and what they must show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawWebhook", into = "RawWebhook")]
pub struct WebhookOptions {
    /// Whose requests it takes.
    pub sender: Sender,
    /// Whether senders sign what they post.
    pub signature: Signature,
    /// Whether senders also need a token of the trigger's project (Aodh's `trust+http`).
    pub require_token: bool,
    /// Whether senders wait for the function's answer.
    pub wait: bool,
    /// Origins whose `CloudEvents` handshake is granted; none: any.
    pub allowed_origins: Vec<String>,
}

/// Who posts to a webhook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// Anyone; what they post is the event's data, `CloudEvents` are taken as they are.
    #[default]
    Any,
    /// Alarms of Telemetry.
    Aodh,
    /// A subscription of a Zaqar queue.
    Zaqar,
    /// `CloudEvents` alone, after the handshake.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// GitHub and those who sign as it does.
    Github,
}

/// How senders sign what they post.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// Not at all: the URL is the secret.
    #[default]
    None,
    /// HMAC-SHA256 of the body in `X-Hub-Signature-256`.
    Github,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWebhook {
    sender: Sender,
    signature: Option<Signature>,
    require_token: bool,
    wait: bool,
    allowed_origins: Vec<String>,
}

impl TryFrom<RawWebhook> for WebhookOptions {
    type Error = FieldFault;

    fn try_from(raw: RawWebhook) -> Result<Self, FieldFault> {
        let RawWebhook { sender, signature, require_token, wait, allowed_origins } = raw;
        let fits =
            |text: &String| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if allowed_origins.len() > MAX_ORIGINS || !allowed_origins.iter().all(fits) {
            let limit =
                format!("must be up to {MAX_ORIGINS} host names of up to 255 visible ASCII characters");
            return Err(FieldFault::new("allowed_origins", limit));
        }
        if wait && sender == Sender::Zaqar {
            return Err(FieldFault::new("wait", "must be false: Zaqar does not read answers"));
        }
        let by_sender = if sender == Sender::Github { Signature::Github } else { Signature::None };
        let signature = signature.unwrap_or(by_sender);
        Ok(Self { sender, signature, require_token, wait, allowed_origins })
    }
}

impl From<WebhookOptions> for RawWebhook {
    fn from(options: WebhookOptions) -> Self {
        let WebhookOptions { sender, signature, require_token, wait, allowed_origins } = options;
        Self { sender, signature: Some(signature), require_token, wait, allowed_origins }
    }
}
