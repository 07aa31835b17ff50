//! Bodies that make and change routes.

use std::collections::BTreeMap;

use picasso_types::access::parse_sources;
use picasso_types::{
    Bounds, Config, DeliveryOptions, FieldFault, Format, ImageRef, Methods, NetworkMode, NewRoute, RateLimit,
    Route, RouteAccess, RouteChange, RouteId, RoutePattern, RouteType, Secrets, VersionSpec,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::delivery::{DeliveryFields, RetryFields};
use super::flag::Flag;
use super::nullable::nullable;
use super::rate_limit::RateLimitFields;
use super::secrets::{SecretField, SecretFields, SecretText};
use crate::error::ApiError;

/// `POST …/apps/{app}/routes`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRoute {
    /// The route to make; `path` and `image` are required.
    route: RouteFields,
}

/// `PUT …/apps/{app}/routes/{route}`, not wrapped: an absent field stays as it is.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct UpdateRoute {
    fields: RouteFields,
}

/// The fields of a route that clients may send.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteFields {
    /// `/hello`, `/users/:id`, `/files/*rest`; fixed once the route is made.
    #[schema(example = "/hello")]
    path: Option<String>,
    /// `sync` (default) or `async`.
    #[schema(example = "sync")]
    r#type: Option<String>,
    /// An image of the project or shared by the operator, or one of an allowed registry.
    #[schema(example = "hello:1")]
    image: Option<String>,
    /// Memory limit, MiB.
    #[schema(example = 128)]
    memory: Option<u32>,
    /// Time limit of one call, seconds.
    #[schema(example = 30)]
    timeout: Option<u32>,
    /// Calls at one time on one node; absent: as many as the node runs.
    max_concurrency: Option<u32>,
    /// Calls at one time in one sandbox; more than 1 only with format `http-server`.
    concurrency: Option<u32>,
    /// How long a hot sandbox without calls is kept, seconds.
    idle_timeout: Option<u32>,
    /// Hot sandboxes kept on each node even without calls.
    min_instances: Option<u32>,
    /// How long a call may wait for a place, seconds.
    queue_timeout: Option<u32>,
    /// Whether callers need no token: a boolean, or the string `true` or `false`.
    #[schema(value_type = Option<bool>)]
    is_public: Option<Flag>,
    /// How often callers without a token may call it, on each node; null: no limit.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<RateLimitFields>)]
    rate_limit: Option<Option<RateLimitFields>>,
    /// The route's own configuration, over the app's. On a change it is merged and the value
    /// `""` deletes a key.
    config: Option<BTreeMap<String, String>>,
    /// Values that the function gets and nobody is shown again, by name; over the app's. On a change
    /// they are merged, and null or the value `""` deletes one.
    #[schema(value_type = Option<BTreeMap<String, SecretField>>)]
    secrets: Option<SecretFields>,
    /// Networks and addresses that public calls may come from; absent or empty: anywhere.
    #[schema(example = json!(["198.51.100.0/24"]))]
    allowed_sources: Option<Vec<String>>,
    /// The key that public callers sign JSON Web Tokens with (HS256, HS384, HS512); it is never shown
    /// again. Null or `""`: none.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    jwt_key: Option<Option<SecretText>>,
    /// The HTTP methods function URLs take; absent or empty: any.
    methods: Option<Vec<String>>,
    /// How request and answer reach the function: `default`, or a hot format: `http`, `json`,
    /// `http-stream`, `lambda`, `http-server`.
    #[schema(example = "json")]
    format: Option<String>,
    /// What the function can reach: `none` (default) or `egress`.
    network: Option<String>,
    /// Which failed runs of an asynchronous call are repeated; null: none is.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<RetryFields>)]
    retry: Option<Option<RetryFields>>,
    /// How long after it became due an asynchronous call may still begin, seconds; null: no bound.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    max_age: Option<Option<u32>>,
    /// How long an asynchronous call waits before it becomes due, seconds.
    delay: Option<u32>,
    /// 0 to 2 (default 1); asynchronous calls of a higher one run first.
    priority: Option<u8>,
    /// Where the result of an asynchronous call that succeeded goes: `route:APP/PATH`, an http or
    /// https URL, `zaqar:QUEUE`; null: nowhere.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, example = "route:hello/done")]
    on_success: Option<Option<String>>,
    /// Where the report on an asynchronous call that did not succeed goes; as `on_success`.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, example = "zaqar:failed-calls")]
    on_failure: Option<Option<String>>,
    /// The URLs that callers without a token may name as `X-Callback-Url`.
    callback_urls: Option<Vec<String>>,
    /// The types that callers may choose with `X-Picasso-Invoke` beside the route's own: `sync`,
    /// `async`.
    invoke: Option<Vec<String>>,
}

#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
impl CreateRoute {
    /// Takes the key of tokens, which only a store can seal.
    pub(crate) fn take_jwt_key(&mut self) -> Option<Option<SecretText>> {
        self.route.jwt_key.take()
    }

    /// Takes the secrets, which only a store can seal.
    pub(crate) fn take_secrets(&mut self) -> Option<SecretFields> {
        self.route.secrets.take()
    }

    /// The route to be stored; faults name `route.…`.
    pub(crate) fn into_new(self, created_by: &str, bounds: &Bounds) -> Result<NewRoute, ApiError> {
        self.route.into_new(created_by, bounds).map_err(|fault| ApiError::field_of("route", fault))
    }
}

#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
impl UpdateRoute {
    /// Takes the key of tokens, which only a store can seal.
    pub(crate) fn take_jwt_key(&mut self) -> Option<Option<SecretText>> {
        self.fields.jwt_key.take()
    }

    /// Takes the secrets, which only a store can seal.
    pub(crate) fn take_secrets(&mut self) -> Option<SecretFields> {
        self.fields.secrets.take()
    }

    /// The route after the change.
    pub(crate) fn into_change(
        self,
        route: &Route,
        changed_by: &str,
        bounds: &Bounds,
    ) -> Result<RouteChange, ApiError> {
        Ok(self.fields.into_change(route, changed_by, bounds)?)
    }
}

impl RouteFields {
    /// Those that are about delivery; they are absent afterwards.
    pub(super) fn take_delivery(&mut self) -> DeliveryFields {
        DeliveryFields {
            retry: self.retry.take(),
            max_age: self.max_age.take(),
            delay: self.delay.take(),
            priority: self.priority.take(),
            on_success: self.on_success.take(),
            on_failure: self.on_failure.take(),
            callback_urls: self.callback_urls.take(),
            invoke: self.invoke.take(),
        }
    }

    fn into_new(mut self, created_by: &str, bounds: &Bounds) -> Result<NewRoute, FieldFault> {
        let delivery = self.take_delivery().over(&DeliveryOptions::default(), bounds)?;
        let required = |field: &str| FieldFault::new(field, "is required");
        let pattern = RoutePattern::parse(self.path.as_deref().ok_or_else(|| required("path"))?)?;
        let format = parsed(self.format.as_deref(), Format::parse)?.unwrap_or(Format::Default);
        let spec = VersionSpec {
            image: ImageRef::parse(self.image.as_deref().ok_or_else(|| required("image"))?)?,
            format,
            config: Config::parse(self.config.unwrap_or_default(), bounds)?,
            secrets: Secrets::default(),
            memory_mb: self.memory.unwrap_or(bounds.default_memory_mb),
            timeout_s: self.timeout.unwrap_or(bounds.default_timeout_s),
            max_concurrency: self.max_concurrency,
            concurrency: self.concurrency.unwrap_or_else(|| default_concurrency(format, bounds)),
            idle_timeout_s: self.idle_timeout.unwrap_or(bounds.default_idle_timeout_s),
            min_instances: self.min_instances.unwrap_or(0),
            queue_timeout_s: self.queue_timeout.unwrap_or(bounds.default_queue_timeout_s),
            network: parsed(self.network.as_deref(), NetworkMode::parse)?.unwrap_or(NetworkMode::None),
        };
        spec.check(bounds)?;
        Ok(NewRoute {
            id: RouteId::generate(),
            pattern,
            methods: self.methods.as_deref().map_or(Ok(Methods::any()), Methods::parse)?,
            route_type: parsed(self.r#type.as_deref(), RouteType::parse)?.unwrap_or(RouteType::Sync),
            is_public: self.is_public.is_some_and(|flag| flag.0),
            rate_limit: rate_limit(self.rate_limit.flatten().as_ref())?,
            delivery,
            access: RouteAccess {
                allowed_sources: parse_sources(&self.allowed_sources.unwrap_or_default())?,
                ..RouteAccess::default()
            },
            spec,
            created_by: created_by.to_owned(),
        })
    }

    fn into_change(
        mut self,
        route: &Route,
        changed_by: &str,
        bounds: &Bounds,
    ) -> Result<RouteChange, FieldFault> {
        let delivery = self.take_delivery().over(&route.delivery, bounds)?;
        if let Some(path) = &self.path
            && RoutePattern::parse(path)? != route.pattern
        {
            return Err(FieldFault::new(
                "path",
                "is fixed; make a route with the new path and delete this one",
            ));
        }
        let before = &route.latest.spec;
        let format = parsed(self.format.as_deref(), Format::parse)?.unwrap_or(before.format);
        let concurrency =
            if format == before.format { before.concurrency } else { default_concurrency(format, bounds) };
        let spec = VersionSpec {
            image: parsed(self.image.as_deref(), ImageRef::parse)?.unwrap_or_else(|| before.image.clone()),
            format,
            config: match &self.config {
                Some(change) => before.config.merged(change, bounds)?,
                None => before.config.clone(),
            },
            secrets: before.secrets.clone(),
            memory_mb: self.memory.unwrap_or(before.memory_mb),
            timeout_s: self.timeout.unwrap_or(before.timeout_s),
            max_concurrency: self.max_concurrency.or(before.max_concurrency),
            concurrency: self.concurrency.unwrap_or(concurrency),
            idle_timeout_s: self.idle_timeout.unwrap_or(before.idle_timeout_s),
            min_instances: self.min_instances.unwrap_or(before.min_instances),
            queue_timeout_s: self.queue_timeout.unwrap_or(before.queue_timeout_s),
            network: parsed(self.network.as_deref(), NetworkMode::parse)?.unwrap_or(before.network),
        };
        spec.check(bounds)?;
        let mut access = route.access.clone();
        if let Some(sources) = &self.allowed_sources {
            access.allowed_sources = parse_sources(sources)?;
        }
        Ok(RouteChange {
            methods: self.methods.as_deref().map_or_else(|| Ok(route.methods.clone()), Methods::parse)?,
            route_type: parsed(self.r#type.as_deref(), RouteType::parse)?.unwrap_or(route.route_type),
            is_public: self.is_public.map_or(route.is_public, |flag| flag.0),
            rate_limit: match &self.rate_limit {
                Some(asked) => rate_limit(asked.as_ref())?,
                None => route.rate_limit,
            },
            delivery,
            access,
            spec,
            created_by: changed_by.to_owned(),
            expected: None,
        })
    }
}

fn rate_limit(fields: Option<&RateLimitFields>) -> Result<Option<RateLimit>, FieldFault> {
    fields.map(RateLimitFields::parse).transpose()
}

/// The `concurrency` of a route that names none.
pub(crate) fn default_concurrency(format: Format, bounds: &Bounds) -> u32 {
    if format.is_concurrent() { bounds.default_sandbox_concurrency } else { 1 }
}

fn parsed<T>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, FieldFault>,
) -> Result<Option<T>, FieldFault> {
    text.map(parse).transpose()
}

#[cfg(test)]
pub(crate) mod tests {
    use picasso_types::{AppId, RouteVersion, Timestamp, VersionId, VersionState};

    use super::*;

    fn create(fields: &str) -> Result<NewRoute, FieldFault> {
        let body: CreateRoute = serde_json::from_str(&format!(r#"{{"route":{fields}}}"#)).unwrap();
        match body.into_new("user", &Bounds::default()) {
            Ok(new) => Ok(new),
            Err(ApiError::InvalidField(fault)) => Err(fault),
            Err(other) => panic!("{other:?}"),
        }
    }

    pub(crate) fn stored(fields: &str) -> Route {
        let new = create(fields).unwrap();
        let id = new.id;
        Route {
            id: id.clone(),
            app_id: AppId::generate(),
            pattern: new.pattern,
            methods: new.methods,
            route_type: new.route_type,
            is_public: new.is_public,
            rate_limit: new.rate_limit,
            delivery: new.delivery,
            access: new.access,
            identity: None,
            latest: RouteVersion {
                id: VersionId::generate(),
                route_id: id,
                number: 1,
                merged_config: new.spec.config.clone(),
                merged_secrets: new.spec.secrets.clone(),
                spec: new.spec,
                digest: None,
                state: VersionState::Preparing,
                error: None,
                rolled_back_to: None,
                created_by: new.created_by,
                created_at: Timestamp(0),
            },
            active: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn change(route: &Route, fields: &str) -> Result<RouteChange, FieldFault> {
        let body: UpdateRoute = serde_json::from_str(fields).unwrap();
        match body.into_change(route, "other", &Bounds::default()) {
            Ok(change) => Ok(change),
            Err(ApiError::InvalidField(fault)) => Err(fault),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_body_of_the_old_client_makes_the_route_it_means() {
        let new = create(
            r#"{"type":"async","path":"/hello","image":"iron/hello","memory":128,"timeout":30,
                "max_concurrency":1,"is_public":"true","config":{}}"#,
        )
        .unwrap();
        assert_eq!(new.route_type, RouteType::Async);
        assert!(new.is_public);
        assert_eq!(new.spec.max_concurrency, Some(1));
        assert_eq!(new.created_by, "user");
    }

    #[test]
    fn absent_fields_take_the_operators_defaults() {
        let new = create(r#"{"path":"a/b","image":"x"}"#).unwrap();
        let bounds = Bounds::default();
        assert_eq!(new.pattern.as_str(), "/a/b");
        assert_eq!(new.spec.memory_mb, bounds.default_memory_mb);
        assert_eq!(new.spec.timeout_s, bounds.default_timeout_s);
        assert_eq!(new.spec.queue_timeout_s, bounds.default_queue_timeout_s);
        assert_eq!((new.spec.max_concurrency, new.is_public), (None, false));
        assert_eq!((new.route_type, new.spec.network), (RouteType::Sync, NetworkMode::None));
        assert_eq!(new.methods, Methods::any());
    }

    #[test]
    fn what_a_hot_route_does_not_say_follows_from_its_format() {
        let bounds = Bounds::default();
        for (format, concurrency) in [
            ("default", 1),
            ("http", 1),
            ("json", 1),
            ("http-stream", 1),
            ("lambda", 1),
            ("http-server", bounds.default_sandbox_concurrency),
        ] {
            let spec = create(&format!(r#"{{"path":"/a","image":"x","format":"{format}"}}"#)).unwrap().spec;
            assert_eq!(spec.format.as_str(), format);
            assert_eq!(spec.concurrency, concurrency, "{format}");
            assert_eq!((spec.idle_timeout_s, spec.min_instances), (bounds.default_idle_timeout_s, 0));
        }
        let hot = r#"{"path":"/a","image":"x","format":"http-server","concurrency":3,"idle_timeout":0,
                      "min_instances":2}"#;
        let spec = create(hot).unwrap().spec;
        assert_eq!((spec.concurrency, spec.idle_timeout_s, spec.min_instances), (3, 0, 2));
    }

    #[test]
    fn a_changed_format_takes_its_own_concurrency_unless_one_is_named() {
        let route = stored(r#"{"path":"/a","image":"x","format":"http-server","concurrency":3}"#);
        assert_eq!(change(&route, r#"{"memory":64}"#).unwrap().spec.concurrency, 3);
        assert_eq!(change(&route, r#"{"format":"json"}"#).unwrap().spec.concurrency, 1);
        let fault = change(&route, r#"{"format":"json","concurrency":3}"#).unwrap_err();
        assert_eq!(fault.field, "concurrency");
        let idle = change(&route, r#"{"idle_timeout":5,"min_instances":1}"#).unwrap().spec;
        assert_eq!((idle.idle_timeout_s, idle.min_instances, idle.concurrency), (5, 1, 3));
    }

    #[test]
    fn each_refused_field_is_named_in_its_wrapper() {
        let cases = [
            (r#"{"image":"x"}"#, "route.path"),
            (r#"{"path":"/a//b","image":"x"}"#, "route.path"),
            (r#"{"path":"/a"}"#, "route.image"),
            (r#"{"path":"/a","image":"X"}"#, "route.image"),
            (r#"{"path":"/a","image":"x","type":"later"}"#, "route.type"),
            (r#"{"path":"/a","image":"x","memory":0}"#, "route.memory"),
            (r#"{"path":"/a","image":"x","timeout":0}"#, "route.timeout"),
            (r#"{"path":"/a","image":"x","max_concurrency":0}"#, "route.max_concurrency"),
            (r#"{"path":"/a","image":"x","queue_timeout":99999}"#, "route.queue_timeout"),
            (r#"{"path":"/a","image":"x","config":{"":"x"}}"#, "route.config"),
            (r#"{"path":"/a","image":"x","methods":["PURGE"]}"#, "route.methods"),
            (r#"{"path":"/a","image":"x","format":"odd"}"#, "route.format"),
            (r#"{"path":"/a","image":"x","network":"all"}"#, "route.network"),
            (r#"{"path":"/a","image":"x","concurrency":2}"#, "route.concurrency"),
            (r#"{"path":"/a","image":"x","format":"http-server","concurrency":0}"#, "route.concurrency"),
            (r#"{"path":"/a","image":"x","idle_timeout":99999}"#, "route.idle_timeout"),
            (r#"{"path":"/a","image":"x","min_instances":1}"#, "route.min_instances"),
            (r#"{"path":"/a","image":"x","format":"json","min_instances":99999}"#, "route.min_instances"),
        ];
        for (fields, field) in cases {
            assert_eq!(create(fields).unwrap_err().field, field, "{fields}");
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let route = stored(
            r#"{"path":"/a","image":"x:1","memory":64,"config":{"A":"1","B":"2"},"methods":["GET"],
                "is_public":true,"max_concurrency":3,"network":"egress","type":"async"}"#,
        );
        let after = change(&route, r#"{"image":"x:2","config":{"A":"","C":"3"}}"#).unwrap();
        assert_eq!(after.spec.image.to_string(), "x:2");
        assert_eq!(after.spec.config.entries().collect::<Vec<_>>(), [("B", "2"), ("C", "3")]);
        assert_eq!((after.spec.memory_mb, after.spec.max_concurrency), (64, Some(3)));
        assert_eq!((after.is_public, after.route_type), (true, RouteType::Async));
        assert_eq!((after.methods.clone(), after.spec.network), (route.methods.clone(), NetworkMode::Egress));
        assert_eq!(after.created_by, "other");
    }

    #[test]
    fn a_rate_limit_stays_until_it_is_named_again_or_taken_away() {
        assert_eq!(create(r#"{"path":"/a","image":"x"}"#).unwrap().rate_limit, None);
        let route = stored(r#"{"path":"/a","image":"x","rate_limit":{"calls":5}}"#);
        assert_eq!(route.rate_limit, Some(RateLimit { calls: 5, seconds: 1, burst: 5 }));
        assert_eq!(change(&route, r#"{"memory":64}"#).unwrap().rate_limit, route.rate_limit);
        let other = change(&route, r#"{"rate_limit":{"calls":5,"seconds":60,"burst":1}}"#).unwrap();
        assert_eq!(other.rate_limit, Some(RateLimit { calls: 5, seconds: 60, burst: 1 }));
        assert_eq!(change(&route, r#"{"rate_limit":null}"#).unwrap().rate_limit, None);
        let fault = change(&route, r#"{"rate_limit":{"calls":0}}"#).unwrap_err();
        assert_eq!(fault.field, "rate_limit.calls");
    }

    #[test]
    fn a_change_may_repeat_the_path_but_not_change_it() {
        let route = stored(r#"{"path":"/a","image":"x"}"#);
        assert!(change(&route, r#"{"path":"/a","is_public":"true"}"#).unwrap().is_public);
        assert_eq!(change(&route, r#"{"path":"/b"}"#).unwrap_err().field, "path");
    }

    #[test]
    fn a_change_is_checked_against_the_bounds_too() {
        let route = stored(r#"{"path":"/a","image":"x"}"#);
        assert_eq!(change(&route, r#"{"memory":1000000}"#).unwrap_err().field, "memory");
    }
}
