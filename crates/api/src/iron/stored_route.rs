//! What a client's route becomes: a new one, or a change of one. Zero values count as not given, as Go's
//! do.

use picasso_types::{
    Bounds, Config, DeliveryOptions, Format, ImageRef, Methods, NetworkMode, NewRoute, Route, RouteAccess,
    RouteChange, RouteId, RoutePattern, RouteType, Secrets, VersionSpec,
};

use super::answer_headers::{self, AnswerHeaders};
use super::apps::MADE_BY;
use super::error::IronError;
use super::route_body::RouteBody;
use super::route_check;
use crate::bodies::route::default_concurrency;

/// The route to be stored. `network` is what its function can reach.
pub(super) fn new_route(
    body: &RouteBody,
    network: NetworkMode,
    bounds: &Bounds,
) -> Result<NewRoute, IronError> {
    let faults = route_check::of_new(body);
    if !faults.is_empty() {
        return Err(refused(&faults));
    }
    let made = || {
        let format = given(body.format.as_ref()).map_or(Ok(Format::Default), Format::parse)?;
        let spec = VersionSpec {
            image: ImageRef::parse(body.image.as_deref().unwrap_or_default())?,
            format,
            config: Config::parse(body.config.clone().unwrap_or_default(), bounds)?,
            secrets: Secrets::default(),
            memory_mb: body.memory().unwrap_or(bounds.default_memory_mb),
            timeout_s: number(body.timeout).unwrap_or(bounds.default_timeout_s),
            max_concurrency: Some(number(body.max_concurrency).unwrap_or(1)),
            concurrency: default_concurrency(format, bounds),
            idle_timeout_s: number(body.idle_timeout).unwrap_or(bounds.default_idle_timeout_s),
            min_instances: 0,
            queue_timeout_s: bounds.default_queue_timeout_s,
            network,
        };
        spec.check(bounds)?;
        Ok(NewRoute {
            id: RouteId::generate(),
            pattern: RoutePattern::parse(body.path.as_deref().unwrap_or_default())?,
            methods: Methods::any(),
            route_type: given(body.r#type.as_ref()).map_or(Ok(RouteType::Sync), RouteType::parse)?,
            is_public: true,
            rate_limit: None,
            access: RouteAccess::default(),
            delivery: DeliveryOptions {
                answer_headers: body.headers(&AnswerHeaders::new()),
                ..DeliveryOptions::default()
            },
            spec,
            created_by: MADE_BY.to_owned(),
        })
    };
    let new = made().map_err(|fault: picasso_types::FieldFault| refused(&[fault.to_string()]))?;
    check_headers(&new.delivery)?;
    Ok(new)
}

/// The route after the change, for the route as it is.
pub(super) fn change_of(body: &RouteBody, route: &Route, bounds: &Bounds) -> Result<RouteChange, IronError> {
    let faults = route_check::of_change(body);
    if !faults.is_empty() {
        return Err(refused(&faults));
    }
    let before = &route.latest.spec;
    let made = || {
        let format = given(body.format.as_ref()).map_or(Ok(before.format), Format::parse)?;
        let concurrency =
            if format == before.format { before.concurrency } else { default_concurrency(format, bounds) };
        let spec = VersionSpec {
            image: given(body.image.as_ref()).map_or_else(|| Ok(before.image.clone()), ImageRef::parse)?,
            format,
            config: match &body.config {
                Some(change) => before.config.merged(change, bounds)?,
                None => before.config.clone(),
            },
            secrets: before.secrets.clone(),
            memory_mb: body.memory().unwrap_or(before.memory_mb),
            timeout_s: number(body.timeout).unwrap_or(before.timeout_s),
            max_concurrency: number(body.max_concurrency).or(before.max_concurrency),
            concurrency,
            idle_timeout_s: number(body.idle_timeout).unwrap_or(before.idle_timeout_s),
            min_instances: before.min_instances,
            queue_timeout_s: before.queue_timeout_s,
            network: before.network,
        };
        spec.check(bounds)?;
        Ok(RouteChange {
            methods: route.methods.clone(),
            route_type: given(body.r#type.as_ref()).map_or(Ok(route.route_type), RouteType::parse)?,
            is_public: route.is_public,
            rate_limit: route.rate_limit,
            access: route.access.clone(),
            delivery: DeliveryOptions {
                answer_headers: body.headers(&route.delivery.answer_headers),
                ..route.delivery.clone()
            },
            spec,
            created_by: MADE_BY.to_owned(),
            expected: Some(Box::new(route.clone())),
        })
    };
    let change = made().map_err(|fault: picasso_types::FieldFault| refused(&[fault.to_string()]))?;
    check_headers(&change.delivery)?;
    Ok(change)
}

/// IronFunctions nests the list in one of its own.
pub(super) fn refused(faults: &[String]) -> IronError {
    let list = "validation failure list:\n";
    IronError::bad(format!("{list}{list}{}", faults.join("\n")))
}

fn check_headers(delivery: &DeliveryOptions) -> Result<(), IronError> {
    answer_headers::fault(&delivery.answer_headers).map_or(Ok(()), |fault| Err(refused(&[fault])))
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// A number that is not zero; negative ones were refused before.
fn number(value: Option<impl Into<i64>>) -> Option<u32> {
    value.map(Into::into).filter(|value| *value > 0).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> RouteBody {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn zero_and_null_take_the_defaults() {
        let zero = r#"{"path":"/a","image":"x","memory":0,"timeout":0,"idle_timeout":0,"type":"",
                       "format":"","max_concurrency":0,"headers":null,"config":null,"unknown":1}"#;
        let new = new_route(&body(zero), NetworkMode::None, &Bounds::default()).unwrap();
        let spec = &new.spec;
        assert_eq!((spec.memory_mb, spec.timeout_s, spec.idle_timeout_s), (128, 30, 30));
        assert_eq!((spec.max_concurrency, spec.format), (Some(1), Format::Default));
        assert_eq!(new.route_type, RouteType::Sync);
    }

    #[test]
    fn a_number_beyond_the_operators_bounds_is_refused_by_name() {
        for field in [r#""memory":18446744073709551615"#, r#""timeout":2147483647"#] {
            let text = format!(r#"{{"path":"/a","image":"x",{field}}}"#);
            let refused = new_route(&body(&text), NetworkMode::None, &Bounds::default()).unwrap_err();
            let name = field.split('"').nth(1).unwrap();
            assert!(format!("{refused:?}").contains(&format!("{name}: must be")), "{refused:?}");
        }
    }
}
