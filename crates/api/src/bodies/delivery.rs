//! A route's delivery options as clients write and see them; checked by `picasso_types::delivery`.

use picasso_types::{
    Backoff, Bounds, DeliveryOptions, Destination, FieldFault, HttpUrl, RetryOn, RetryPolicy, RouteType,
    Thousandths,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which failed runs of an asynchronous call are repeated.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryFields {
    /// Runs in all, the first one included.
    #[schema(minimum = 1, example = 5)]
    max_attempts: u32,
    /// How long apart they are.
    #[serde(default)]
    backoff: BackoffFields,
    /// What is repeated: `timeout`, `error`, `capacity`; absent: `timeout` and `error`.
    on: Option<Vec<String>>,
}

/// The wait after a failed run: `initial` seconds, times `factor` after each further one, at most
/// `max`.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackoffFields {
    /// Seconds; absent: 1.
    initial: Option<u32>,
    /// 1 to 10; absent: 2.
    #[schema(minimum = 1, maximum = 10)]
    factor: Option<f64>,
    /// Seconds; absent: 300, or `initial` where that is more.
    max: Option<u32>,
    /// The share of each wait that is left to chance, 0 to 1; absent: 0.2.
    #[schema(minimum = 0, maximum = 1)]
    jitter: Option<f64>,
}

impl RetryFields {
    fn policy(self) -> Result<RetryPolicy, FieldFault> {
        let default = RetryPolicy::new(self.max_attempts);
        let Backoff { initial_s, factor, max_s, jitter } = default.backoff;
        let (fields, number) = (self.backoff, Thousandths::parse);
        let initial_s = fields.initial.unwrap_or(initial_s);
        let parse_factor = |given| number("retry.backoff.factor", given, 1, Backoff::MAX_FACTOR);
        let parse_jitter = |given| number("retry.backoff.jitter", given, 0, 1);
        Ok(RetryPolicy {
            backoff: Backoff {
                initial_s,
                factor: fields.factor.map_or(Ok(factor), parse_factor)?,
                max_s: fields.max.unwrap_or(max_s.max(initial_s)),
                jitter: fields.jitter.map_or(Ok(jitter), parse_jitter)?,
            },
            on: match self.on {
                Some(kinds) => each_once(&kinds, RetryOn::parse)?,
                None => default.on,
            },
            max_attempts: default.max_attempts,
        })
    }
}

impl From<&RetryPolicy> for RetryFields {
    fn from(policy: &RetryPolicy) -> Self {
        let backoff = &policy.backoff;
        Self {
            max_attempts: policy.max_attempts,
            backoff: BackoffFields {
                initial: Some(backoff.initial_s),
                factor: Some(backoff.factor.get()),
                max: Some(backoff.max_s),
                jitter: Some(backoff.jitter.get()),
            },
            on: Some(policy.on.iter().map(ToString::to_string).collect()),
        }
    }
}

/// What a route's fields say of delivery: absent ones leave it as it was, `None` within sets back.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
#[derive(Debug)]
pub(super) struct DeliveryFields {
    pub(super) retry: Option<Option<RetryFields>>,
    pub(super) max_age: Option<Option<u32>>,
    pub(super) delay: Option<u32>,
    pub(super) priority: Option<u8>,
    pub(super) on_success: Option<Option<String>>,
    pub(super) on_failure: Option<Option<String>>,
    pub(super) callback_urls: Option<Vec<String>>,
    pub(super) invoke: Option<Vec<String>>,
}

impl DeliveryFields {
    /// The delivery options after these fields.
    pub(super) fn over(
        self,
        before: &DeliveryOptions,
        bounds: &Bounds,
    ) -> Result<DeliveryOptions, FieldFault> {
        let destination = |field: &str, given: Option<Option<String>>, before: &Option<Destination>| {
            let parse = |text: String| Destination::parse(field, &text);
            given.map_or_else(|| Ok(before.clone()), |given| given.map(parse).transpose())
        };
        // Who names a queue gives leave to post into it, again where there is one: so a grant is renewed.
        let named = [&self.on_success, &self.on_failure].map(Option::is_some);
        let mut options = DeliveryOptions {
            grants: before.grants.clone(),
            answer_headers: before.answer_headers.clone(),
            retry: match self.retry {
                Some(given) => given.map(RetryFields::policy).transpose()?,
                None => before.retry.clone(),
            },
            max_age_s: self.max_age.unwrap_or(before.max_age_s),
            delay_s: self.delay.unwrap_or(before.delay_s),
            priority: self.priority.unwrap_or(before.priority),
            on_success: destination("on_success", self.on_success, &before.on_success)?,
            on_failure: destination("on_failure", self.on_failure, &before.on_failure)?,
            callback_urls: match &self.callback_urls {
                Some(urls) => each_once(urls, |url| HttpUrl::parse("callback_urls", url))?,
                None => before.callback_urls.clone(),
            },
            invoke: match &self.invoke {
                Some(types) => each_once(types, |text| {
                    RouteType::parse(text)
                        .map_err(|fault| FieldFault::new("invoke", format!("each {}", fault.message)))
                })?,
                None => before.invoke.clone(),
            },
        };
        options.check(bounds)?;
        let mut grants = std::mem::take(&mut options.grants);
        grants.retain(|grant| {
            let mut fields = options.queues().filter(|(_, queue)| *queue == grant.queue).peekable();
            fields.peek().is_some() && fields.all(|(field, _)| !named[usize::from(field == "on_failure")])
        });
        options.grants = grants;
        Ok(options)
    }
}

/// Parses a list; what stands in it twice is taken once.
fn each_once<T: PartialEq>(
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, FieldFault>,
) -> Result<Vec<T>, FieldFault> {
    let mut values = Vec::new();
    for text in texts {
        let value = parse(text)?;
        if !values.contains(&value) {
            values.push(value);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use picasso_types::QueueGrant;

    use super::*;
    use crate::bodies::route::RouteFields;

    fn options(fields: &str, before: &DeliveryOptions) -> Result<DeliveryOptions, FieldFault> {
        let mut fields: RouteFields = serde_json::from_str(fields).unwrap();
        fields.take_delivery().over(before, &Bounds::default())
    }

    fn set(fields: &str) -> Result<DeliveryOptions, FieldFault> {
        options(fields, &DeliveryOptions::default())
    }

    #[test]
    fn a_policy_takes_defaults_for_what_it_does_not_say() {
        assert_eq!(set(r#"{"retry":{"max_attempts":3}}"#).unwrap().retry, Some(RetryPolicy::new(3)));
        let said = set(r#"{"retry":{"max_attempts":4,"backoff":{"initial":600,"factor":1.5,"jitter":0},
                "on":["capacity","error","error"]}}"#);
        let policy = said.unwrap().retry.unwrap();
        assert_eq!(policy.backoff.max_s, 600, "the longest wait is not less than the first");
        assert_eq!((policy.backoff.factor.get(), policy.backoff.jitter.get()), (1.5, 0.0));
        assert_eq!(policy.on, [RetryOn::Capacity, RetryOn::Error]);
    }

    #[test]
    fn what_is_shown_may_be_sent_again() {
        let policy = set(r#"{"retry":{"max_attempts":7,"backoff":{"factor":1.25},"on":["timeout"]}}"#)
            .unwrap()
            .retry
            .unwrap();
        let shown = serde_json::to_value(RetryFields::from(&policy)).unwrap();
        let sent = serde_json::json!({ "retry": shown }).to_string();
        assert_eq!(set(&sent).unwrap().retry, Some(policy));
    }

    #[test]
    fn an_absent_field_stays_and_null_sets_back() {
        let all = r#"{"retry":{"max_attempts":2},"max_age":60,"delay":5,"priority":2,
            "on_success":"route:app/done","on_failure":"zaqar:dead",
            "callback_urls":["https://example.org/a"],"invoke":["sync","async"]}"#;
        let before = set(all).unwrap();
        assert_eq!(options("{}", &before).unwrap(), before);
        let after = options(
            r#"{"retry":null,"max_age":null,"on_success":null,"on_failure":null,"delay":0,"priority":1,
                "callback_urls":[],"invoke":[]}"#,
            &before,
        );
        assert_eq!(after.unwrap(), DeliveryOptions::default());
    }

    #[test]
    fn a_grant_stays_until_its_queue_is_named_again_or_no_destination_any_more() {
        let grant = |queue: &str| QueueGrant {
            queue: queue.to_owned(),
            expires_at: picasso_types::Timestamp(7),
            granted_by: "user".to_owned(),
            key_id: "key".to_owned(),
            sealed: String::new(),
        };
        let before = DeliveryOptions {
            grants: vec![grant("good"), grant("bad")],
            ..set(r#"{"on_success":"zaqar:good","on_failure":"zaqar:bad"}"#).unwrap()
        };
        let kept = |fields: &str| {
            let grants = options(fields, &before).unwrap().grants;
            grants.into_iter().map(|grant| grant.queue).collect::<Vec<_>>()
        };
        assert_eq!(kept(r#"{"delay":5}"#), ["good", "bad"]);
        assert_eq!(kept(r#"{"on_success":"zaqar:good"}"#), ["bad"]);
        assert_eq!(kept(r#"{"on_success":"zaqar:bad"}"#), [""; 0]);
        assert_eq!(kept(r#"{"on_success":null}"#), ["bad"]);
        assert_eq!(kept(r#"{"on_failure":"route:app/bad"}"#), ["good"]);
    }

    #[test]
    fn each_refused_option_is_named() {
        for (fields, field) in [
            (r#"{"retry":{"max_attempts":0}}"#, "retry.max_attempts"),
            (r#"{"retry":{"max_attempts":101}}"#, "retry.max_attempts"),
            (r#"{"retry":{"max_attempts":2,"on":[]}}"#, "retry.on"),
            (r#"{"retry":{"max_attempts":2,"on":["always"]}}"#, "retry.on"),
            (r#"{"retry":{"max_attempts":2,"backoff":{"initial":86401}}}"#, "retry.backoff.initial"),
            (r#"{"retry":{"max_attempts":2,"backoff":{"max":86401}}}"#, "retry.backoff.max"),
            (r#"{"retry":{"max_attempts":2,"backoff":{"factor":0.5}}}"#, "retry.backoff.factor"),
            (r#"{"retry":{"max_attempts":2,"backoff":{"jitter":1.5}}}"#, "retry.backoff.jitter"),
            (r#"{"max_age":0}"#, "max_age"),
            (r#"{"delay":9999999}"#, "delay"),
            (r#"{"priority":3}"#, "priority"),
            (r#"{"on_success":"nowhere"}"#, "on_success"),
            (r#"{"on_failure":"https://user:pw@example.org"}"#, "on_failure"),
            (r#"{"callback_urls":["ftp://example.org"]}"#, "callback_urls"),
            (r#"{"invoke":["later"]}"#, "invoke"),
        ] {
            assert_eq!(set(fields).unwrap_err().field, field, "{fields}");
        }
    }
}
