//! Delivery options: what a route promises its asynchronous calls, and what each call took over of
//! it when it was accepted.
//!
//! They belong to the route, not to its versions. A call keeps its own copy ([`CallDelivery`]), so a
//! later change of the route does not reach calls that were accepted before it.

mod destination;
mod grant;
mod retry;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use destination::{Destination, HttpUrl};
pub use grant::QueueGrant;
pub use retry::{Backoff, RetryOn, RetryPolicy, Thousandths};

use crate::bounds::{Bounds, in_range};
use crate::fault::FieldFault;
use crate::route_type::RouteType;

/// Most URLs that a route lists for its callers.
const MAX_CALLBACK_URLS: usize = 16;
/// The priority of calls whose route names none; 0 to 2, higher runs first.
pub const DEFAULT_PRIORITY: u8 = 1;
/// The highest priority.
pub const MAX_PRIORITY: u8 = 2;

/// The delivery options of a route, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeliveryOptions {
    /// Which failed runs are repeated, how often and when; `None`: none is.
    pub retry: Option<RetryPolicy>,
    /// How long after it became due a call may still begin, seconds; `None`: no bound.
    pub max_age_s: Option<u32>,
    /// How long a call waits before it becomes due, seconds, unless its caller says otherwise.
    pub delay_s: u32,
    /// 0 to 2; higher runs first.
    pub priority: u8,
    /// Where the result of a call that succeeded goes.
    pub on_success: Option<Destination>,
    /// Where the report on a call that did not succeed goes: `failed`, `timed_out` or `dead`.
    pub on_failure: Option<Destination>,
    /// The URLs that callers without a token may name as `X-Callback-Url`.
    pub callback_urls: Vec<HttpUrl>,
    /// The types that callers may choose with `X-Picasso-Invoke`, beside the route's own.
    pub invoke: Vec<RouteType>,
    /// Headers that answers to waiting callers carry, beside the function's own (IronFunctions'
    /// `headers`; of several values the first). Checked at the edge.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answer_headers: BTreeMap<String, Vec<String>>,
    /// Leave to post into the queues that are destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<QueueGrant>,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            retry: None,
            max_age_s: None,
            delay_s: 0,
            priority: DEFAULT_PRIORITY,
            on_success: None,
            on_failure: None,
            callback_urls: Vec::new(),
            invoke: Vec::new(),
            answer_headers: BTreeMap::new(),
            grants: Vec::new(),
        }
    }
}

impl DeliveryOptions {
    /// Checks the numbers against the operator's bounds; a fault names the route's field.
    pub fn check(&self, bounds: &Bounds) -> Result<(), FieldFault> {
        if let Some(retry) = &self.retry {
            retry.check(bounds)?;
        }
        if let Some(max_age) = self.max_age_s {
            in_range("max_age", max_age, 1, bounds.max_call_age_s, "seconds")?;
        }
        in_range("delay", self.delay_s, 0, bounds.max_delay_s, "seconds")?;
        check_priority("priority", self.priority)?;
        if self.callback_urls.len() > MAX_CALLBACK_URLS {
            return Err(FieldFault::new(
                "callback_urls",
                format!("must be at most {MAX_CALLBACK_URLS} URLs, not {}", self.callback_urls.len()),
            ));
        }
        Ok(())
    }

    /// Whether a caller may choose `wanted` on a route of type `own`.
    pub fn may_invoke(&self, own: RouteType, wanted: RouteType) -> bool {
        wanted == own || self.invoke.contains(&wanted)
    }

    /// The queues of Zaqar that are destinations, with the field that names them.
    pub fn queues(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("on_success", &self.on_success), ("on_failure", &self.on_failure)].into_iter().filter_map(
            |(field, destination)| match destination {
                Some(Destination::ZaqarQueue(queue)) => Some((field, queue.as_str())),
                _ => None,
            },
        )
    }

    /// The leave to post into this queue.
    pub fn grant(&self, queue: &str) -> Option<&QueueGrant> {
        self.grants.iter().find(|grant| grant.queue == queue)
    }

    /// What a call takes over when it is accepted.
    pub fn of_call(&self) -> CallDelivery {
        CallDelivery {
            retry: self.retry.clone(),
            max_age_s: self.max_age_s,
            on_success: self.on_success.clone(),
            on_failure: self.on_failure.clone(),
            callback_url: None,
            grants: self.grants.clone(),
        }
    }
}

/// Refuses a priority that there is not; the fault names `field`.
pub fn check_priority(field: &str, priority: u8) -> Result<(), FieldFault> {
    in_range(field, u32::from(priority), 0, u32::from(MAX_PRIORITY), "(higher runs first)")
}

/// The delivery options of one call, fixed when it was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallDelivery {
    /// Which failed runs are repeated, how often and when.
    pub retry: Option<RetryPolicy>,
    /// How long after it became due it may still begin, seconds.
    pub max_age_s: Option<u32>,
    /// Where its result goes when it succeeded.
    pub on_success: Option<Destination>,
    /// Where the report goes when it did not.
    pub on_failure: Option<Destination>,
    /// The URL that its caller named for the answer, allowed when it was accepted.
    pub callback_url: Option<HttpUrl>,
    /// Leave to post into the queues that are destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<QueueGrant>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry() -> RetryPolicy {
        RetryPolicy::new(3)
    }

    #[test]
    fn each_limit_is_refused_by_its_field_name() {
        let bounds = Bounds::default();
        let base = DeliveryOptions { retry: Some(retry()), ..DeliveryOptions::default() };
        assert!(base.check(&bounds).is_ok() && DeliveryOptions::default().check(&bounds).is_ok());
        let url = || HttpUrl::parse("callback_urls", "https://example.org/").unwrap();
        let cases = [
            (DeliveryOptions { max_age_s: Some(0), ..base.clone() }, "max_age"),
            (DeliveryOptions { max_age_s: Some(bounds.max_call_age_s + 1), ..base.clone() }, "max_age"),
            (DeliveryOptions { delay_s: bounds.max_delay_s + 1, ..base.clone() }, "delay"),
            (DeliveryOptions { priority: 3, ..base.clone() }, "priority"),
            (DeliveryOptions { retry: Some(RetryPolicy::new(0)), ..base.clone() }, "retry.max_attempts"),
            (
                DeliveryOptions {
                    callback_urls: (0..=MAX_CALLBACK_URLS).map(|_| url()).collect(),
                    ..base.clone()
                },
                "callback_urls",
            ),
        ];
        for (options, field) in cases {
            assert_eq!(options.check(&bounds).unwrap_err().field, field);
        }
    }

    #[test]
    fn options_come_back_from_their_stored_form() {
        let options = DeliveryOptions {
            retry: Some(retry()),
            max_age_s: Some(60),
            delay_s: 5,
            priority: 2,
            on_success: Some(Destination::parse("on_success", "route:app/done").unwrap()),
            on_failure: Some(Destination::parse("on_failure", "zaqar:dead").unwrap()),
            callback_urls: vec![HttpUrl::parse("callback_urls", "https://example.org/a").unwrap()],
            invoke: vec![RouteType::Sync],
            answer_headers: BTreeMap::from([("X-A".to_owned(), vec!["1".to_owned()])]),
            grants: vec![QueueGrant {
                queue: "dead".to_owned(),
                expires_at: crate::clock::Timestamp(7),
                granted_by: "user".to_owned(),
                key_id: "key".to_owned(),
                sealed: "AAAA".to_owned(),
            }],
        };
        let stored = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<DeliveryOptions>(&stored).unwrap(), options);
        assert_eq!(serde_json::from_str::<DeliveryOptions>("{}").unwrap(), DeliveryOptions::default());
        let call = options.of_call();
        let stored = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<CallDelivery>(&stored).unwrap(), call);
    }

    #[test]
    fn a_caller_may_choose_the_routes_own_type_and_those_it_lists() {
        let own = DeliveryOptions::default();
        assert!(own.may_invoke(RouteType::Sync, RouteType::Sync));
        assert!(!own.may_invoke(RouteType::Sync, RouteType::Async));
        let both = DeliveryOptions { invoke: vec![RouteType::Async], ..own };
        assert!(both.may_invoke(RouteType::Sync, RouteType::Async));
    }
}
