//! Bodies that make and change aliases, and the one that rolls a route back.

use picasso_types::{Alias, AliasName, AliasSpec, FieldFault, Share, Shares, Sticky};
use serde::Deserialize;
use utoipa::ToSchema;

use super::flag::Flag;
use super::nullable::nullable;
use crate::error::ApiError;

/// `POST …/aliases`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateAlias {
    /// The alias to make.
    alias: NewAliasFields,
}

/// The alias to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAliasFields {
    /// A lower-case letter, then lower-case letters, digits, `-` or `_`; 63 in all.
    #[schema(example = "live")]
    name: String,
    /// 1 to 5 versions with their weights.
    #[schema(min_items = 1, max_items = 5)]
    versions: Vec<ShareFields>,
    /// Whether callers need no token: a boolean, or the string `true` or `false`.
    #[schema(value_type = Option<bool>)]
    is_public: Option<Flag>,
    /// What tells clients apart, so that one client always gets one version.
    sticky: Option<StickyFields>,
}

/// `PUT …/aliases/{alias}`: an absent field stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateAlias {
    /// Replaces the versions: 1 to 5 with their weights.
    #[schema(min_items = 1, max_items = 5)]
    versions: Option<Vec<ShareFields>>,
    /// Whether callers need no token: a boolean, or the string `true` or `false`.
    #[schema(value_type = Option<bool>)]
    is_public: Option<Flag>,
    /// What tells clients apart; null: each call is drawn on its own.
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<StickyFields>)]
    sticky: Option<Option<StickyFields>>,
}

/// A version's part of an alias.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShareFields {
    /// The number of a ready version of the route.
    #[schema(minimum = 1, example = 3)]
    version: u32,
    /// Its part of the sum of all weights; absent: 1.
    #[serde(default = "one")]
    #[schema(minimum = 0, maximum = 1000, example = 100)]
    weight: u32,
}

fn one() -> u32 {
    1
}

/// What tells clients apart: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StickyFields {
    /// The value of this header.
    #[schema(example = "X-User")]
    header: Option<String>,
    /// The value of this cookie.
    cookie: Option<String>,
}

/// `POST …/rollback`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollBack {
    /// The number of the version to run again.
    #[schema(minimum = 1, example = 3)]
    pub(crate) version: u32,
}

impl CreateAlias {
    /// The alias to be stored; faults name `alias.…`.
    pub(crate) fn into_new(self) -> Result<(AliasName, AliasSpec), ApiError> {
        let NewAliasFields { name, versions, is_public, sticky } = self.alias;
        let checked = || {
            let spec = AliasSpec {
                shares: shares(&versions)?,
                is_public: is_public.is_some_and(|flag| flag.0),
                sticky: sticky.as_ref().map(StickyFields::parse).transpose()?,
            };
            Ok((AliasName::parse(&name)?, spec))
        };
        checked().map_err(|fault| ApiError::field_of("alias", fault))
    }
}

impl UpdateAlias {
    /// What the alias stands for after the change.
    pub(crate) fn into_spec(self, alias: &Alias) -> Result<AliasSpec, FieldFault> {
        let before = &alias.spec;
        Ok(AliasSpec {
            shares: self.versions.as_deref().map_or_else(|| Ok(before.shares.clone()), shares)?,
            is_public: self.is_public.map_or(before.is_public, |flag| flag.0),
            sticky: match self.sticky {
                None => before.sticky.clone(),
                Some(sticky) => sticky.as_ref().map(StickyFields::parse).transpose()?,
            },
        })
    }
}

impl StickyFields {
    fn parse(&self) -> Result<Sticky, FieldFault> {
        match (&self.header, &self.cookie) {
            (Some(name), None) => Sticky::header(name),
            (None, Some(name)) => Sticky::cookie(name),
            _ => Err(FieldFault::new("sticky", "must name either a \"header\" or a \"cookie\"")),
        }
    }
}

fn shares(fields: &[ShareFields]) -> Result<Shares, FieldFault> {
    Shares::parse(fields.iter().map(|share| Share { number: share.version, weight: share.weight }).collect())
}

#[cfg(test)]
mod tests {
    use picasso_types::{RouteId, Timestamp};

    use super::*;

    fn create(fields: &str) -> Result<(AliasName, AliasSpec), String> {
        let body: CreateAlias = serde_json::from_str(&format!(r#"{{"alias":{fields}}}"#)).unwrap();
        match body.into_new() {
            Ok(new) => Ok(new),
            Err(ApiError::InvalidField(fault)) => Err(fault.field),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn shared(all: &[(u32, u32)]) -> Shares {
        Shares::parse(all.iter().map(|&(number, weight)| Share { number, weight }).collect()).unwrap()
    }

    #[test]
    fn a_body_makes_the_alias_it_means() {
        let (name, spec) = create(r#"{"name":"live","versions":[{"version":3}]}"#).unwrap();
        assert_eq!(name.as_str(), "live");
        assert_eq!(spec, AliasSpec { shares: shared(&[(3, 1)]), is_public: false, sticky: None });
        let (_, spec) = create(
            r#"{"name":"a","versions":[{"version":3,"weight":0},{"version":2,"weight":1000}],
                "is_public":"true","sticky":{"cookie":"who"}}"#,
        )
        .unwrap();
        assert_eq!(spec.shares, shared(&[(2, 1000), (3, 0)]));
        assert_eq!((spec.is_public, spec.sticky), (true, Some(Sticky::Cookie("who".to_owned()))));
    }

    #[test]
    fn each_refused_field_is_named() {
        let versions = r#""versions":[{"version":1}]"#;
        for (fields, field) in [
            (format!(r#"{{"name":"3",{versions}}}"#), "alias.name"),
            (r#"{"name":"a","versions":[]}"#.to_owned(), "alias.versions"),
            (r#"{"name":"a","versions":[{"version":0}]}"#.to_owned(), "alias.versions"),
            (r#"{"name":"a","versions":[{"version":1,"weight":1001}]}"#.to_owned(), "alias.versions"),
            (r#"{"name":"a","versions":[{"version":1,"weight":0}]}"#.to_owned(), "alias.versions"),
            (r#"{"name":"a","versions":[{"version":1},{"version":1}]}"#.to_owned(), "alias.versions"),
            (format!(r#"{{"name":"a",{versions},"sticky":{{}}}}"#), "alias.sticky"),
            (format!(r#"{{"name":"a",{versions},"sticky":{{"header":"a","cookie":"b"}}}}"#), "alias.sticky"),
            (format!(r#"{{"name":"a",{versions},"sticky":{{"header":"a b"}}}}"#), "alias.sticky.header"),
            (format!(r#"{{"name":"a",{versions},"sticky":{{"cookie":"a;b"}}}}"#), "alias.sticky.cookie"),
        ] {
            assert_eq!(create(&fields).unwrap_err(), field, "{fields}");
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name_and_null_takes_sticky_away() {
        let alias = Alias {
            route_id: RouteId::generate(),
            name: AliasName::parse("live").unwrap(),
            spec: AliasSpec {
                shares: shared(&[(1, 1)]),
                is_public: true,
                sticky: Some(Sticky::Header("x-user".to_owned())),
            },
            created_by: String::new(),
            updated_by: String::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        let change =
            |fields: &str| serde_json::from_str::<UpdateAlias>(fields).unwrap().into_spec(&alias).unwrap();
        assert_eq!(change("{}"), alias.spec);
        assert_eq!(change(r#"{"sticky":null}"#), AliasSpec { sticky: None, ..alias.spec.clone() });
        let other = change(r#"{"versions":[{"version":2}],"is_public":false}"#);
        assert_eq!(other, AliasSpec { shares: shared(&[(2, 1)]), is_public: false, ..alias.spec.clone() });
    }
}
