//! What an ended call sends: the answer itself to its callback URL, a report to its destination.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use picasso_store::ClaimedCall;
use picasso_types::outgoing::{DeliveryKind, NewDelivery};
use picasso_types::{Call, CallId, CallOutcome, CallState, DeliveryId, Destination, HttpUrl, Timestamp};
use serde_json::{Map, Value, json};

use super::callback;
use super::parcel::{Head, Parcel, Receiver};
use crate::accept;
use crate::kept_output::{KeptOutput, KeptResult};
use crate::settings::DeliverySettings;

/// What is remembered of a call that runs, for what its end sends; `None` of most calls.
#[derive(Debug)]
pub(crate) struct Sender {
    call: Call,
    content_type: Option<String>,
    payload: Vec<u8>,
    payload_bytes: usize,
    max_payload_bytes: usize,
    max_message_bytes: usize,
}

impl Sender {
    /// Keeps what a report needs of a call that is about to run.
    pub(crate) fn of(claimed: &ClaimedCall, settings: &DeliverySettings) -> Option<Self> {
        let max_payload_bytes = settings.max_payload_bytes;
        let delivery = &claimed.call.delivery;
        let reports = delivery.on_success.is_some() || delivery.on_failure.is_some();
        if !reports && delivery.callback_url.is_none() {
            return None;
        }
        let content_type = accept::stored_request(&claimed.envelope).and_then(|request| {
            Some(request.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?.to_owned())
        });
        let kept = if reports { claimed.payload.len().min(max_payload_bytes) } else { 0 };
        Some(Self {
            call: claimed.call.clone(),
            content_type,
            payload: claimed.payload[..kept].to_vec(),
            payload_bytes: claimed.payload.len(),
            max_payload_bytes,
            max_message_bytes: settings.max_message_bytes,
        })
    }

    /// Whether the answer itself is sent somewhere.
    pub(crate) fn has_callback(&self) -> bool {
        self.call.delivery.callback_url.is_some()
    }

    /// The deliveries of the call's end. A cancelled call sends nothing.
    pub(crate) fn deliveries(
        &self,
        outcome: &CallOutcome,
        output: &KeptOutput,
        now: Timestamp,
    ) -> Vec<NewDelivery> {
        let result = &output.result();
        let delivery = &self.call.delivery;
        let destination = match outcome.state {
            CallState::Succeeded => delivery.on_success.as_ref(),
            CallState::Failed | CallState::TimedOut | CallState::Dead => delivery.on_failure.as_ref(),
            CallState::Cancelled | CallState::Queued | CallState::Running => return Vec::new(),
        };
        let report = destination.map(|to| self.report(to, outcome, result, now));
        let answer = delivery
            .callback_url
            .as_ref()
            .map(|url| self.answer(url, outcome, (result, &output.headers()), now));
        report.into_iter().chain(answer).collect()
    }

    /// The function's answer with OpenFaaS's headers.
    fn answer(
        &self,
        url: &HttpUrl,
        outcome: &CallOutcome,
        (result, own): (&KeptResult, &HeaderMap),
        now: Timestamp,
    ) -> NewDelivery {
        let call = &self.call;
        let status =
            outcome.http_status.unwrap_or(if outcome.state == CallState::Succeeded { 200 } else { 503 });
        let started = call.started_at.unwrap_or(now);
        let seconds = jiff::SignedDuration::from_micros(now.since(started)).as_secs_f64();
        // Those that come later win.
        let mut headers = callback::of_function(own);
        headers.extend([
            ("x-call-id".to_owned(), call.id.to_string()),
            ("x-function-name".to_owned(), call.app_name.clone()),
            ("x-function-status".to_owned(), status.to_string()),
            ("x-duration-seconds".to_owned(), format!("{seconds:.6}")),
            ("x-start-time".to_owned(), started.0.saturating_mul(1000).to_string()),
        ]);
        if let Some(content_type) = &result.content_type {
            headers.push(("content-type".to_owned(), content_type.clone()));
        }
        if result.total_bytes > result.body.len() as u64 {
            headers.push(("picasso-result-truncated".to_owned(), "true".to_owned()));
        }
        let to = Receiver::Url(url.as_str().to_owned());
        let parcel = Parcel { head: Head { to, headers }, body: result.body.clone() };
        new_delivery(DeliveryKind::Callback, without_query(url.as_str()), &parcel, DeliveryId::generate())
    }

    fn report(
        &self,
        to: &Destination,
        outcome: &CallOutcome,
        result: &KeptResult,
        now: Timestamp,
    ) -> NewDelivery {
        let (id, call) = (DeliveryId::generate(), &self.call);
        let (kind, target, to) = match to {
            Destination::Url(url) => {
                (DeliveryKind::Http, without_query(url.as_str()), Receiver::Url(url.as_str().to_owned()))
            }
            Destination::Route { app, path } => (
                DeliveryKind::Route,
                to.to_string(),
                Receiver::Route {
                    app: app.as_str().to_owned(),
                    path: path.clone(),
                    call: CallId::generate(),
                    depth: call.depth + 1,
                },
            ),
            Destination::ZaqarQueue(queue) => {
                let grant = call.delivery.grants.iter().find(|grant| grant.queue == *queue).cloned();
                let to = Receiver::ZaqarQueue { queue: queue.clone(), route: call.route_id.clone(), grant };
                let body = self.fitting(outcome, result, now);
                let parcel = Parcel { head: Head { to, headers: Vec::new() }, body };
                return new_delivery(DeliveryKind::Zaqar, format!("zaqar:{queue}"), &parcel, id);
            }
        };
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", id.to_string()),
            ("ce-type", format!("org.openstack.picasso.call.{}", outcome.state)),
            ("ce-source", format!("/v1/{}/apps/{}", call.project_id, call.app_name)),
            ("ce-subject", call.id.to_string()),
            ("ce-time", timestamp(now)),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let body = self.document(outcome, result, now, self.max_payload_bytes).to_string().into_bytes();
        new_delivery(kind, target, &Parcel { head: Head { to, headers }, body }, id)
    }

    /// The document with its payloads cut so that the whole fits into a message of Zaqar's.
    fn fitting(&self, outcome: &CallOutcome, result: &KeptResult, now: Timestamp) -> Vec<u8> {
        let mut max_payload = self.max_payload_bytes;
        loop {
            let body = self.document(outcome, result, now, max_payload).to_string().into_bytes();
            if body.len() <= self.max_message_bytes || max_payload == 0 {
                return body;
            }
            max_payload /= 2;
        }
    }

    /// See docs/destinations.md.
    fn document(
        &self,
        outcome: &CallOutcome,
        result: &KeptResult,
        now: Timestamp,
        max_payload: usize,
    ) -> Value {
        let call = &self.call;
        let mut request =
            part(self.content_type.as_deref(), &self.payload, self.payload_bytes as u64, max_payload);
        request.insert("request_id".to_owned(), json!(call.request_id));
        let mut response =
            part(result.content_type.as_deref(), &result.body, result.total_bytes, max_payload);
        response.insert("status".to_owned(), json!(outcome.http_status));
        json!({
            "version": "1.0",
            "timestamp": timestamp(now),
            "call": {
                "id": call.id,
                "project_id": call.project_id,
                "app": call.app_name,
                "route": call.route_path,
                "version": call.version_number,
                "attempt": call.attempt,
                "status": outcome.state,
                "error": outcome.failure.as_ref().map(ToString::to_string),
            },
            "request": request,
            "response": response,
        })
    }
}

/// A body as text, or base64 where it is none; cut at the bound.
fn part(content_type: Option<&str>, body: &[u8], total: u64, max_bytes: usize) -> Map<String, Value> {
    let kept = &body[..body.len().min(max_bytes)];
    let truncated = (kept.len() as u64) < total;
    let mut part = Map::new();
    part.insert("content_type".to_owned(), json!(content_type));
    // A cut may have gone through a character.
    let text = std::str::from_utf8(kept).or_else(|error| match error.error_len() {
        None if truncated => std::str::from_utf8(&kept[..error.valid_up_to()]),
        _ => Err(error),
    });
    match text {
        Ok(text) => part.insert("payload".to_owned(), json!(text)),
        Err(_) => {
            part.insert("encoding".to_owned(), json!("base64"));
            part.insert("payload".to_owned(), json!(STANDARD.encode(kept)))
        }
    };
    part.insert("truncated".to_owned(), json!(truncated));
    part.insert("total_bytes".to_owned(), json!(total));
    part
}

fn new_delivery(kind: DeliveryKind, target: String, parcel: &Parcel, id: DeliveryId) -> NewDelivery {
    NewDelivery { id, kind, target, content: parcel.encode() }
}

/// Queries hold secrets.
fn without_query(url: &str) -> String {
    url.split_once('?').map_or(url, |(url, _)| url).to_owned()
}

fn timestamp(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| String::new(), |time| time.to_string())
}
