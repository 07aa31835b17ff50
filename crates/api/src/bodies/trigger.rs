//! Bodies that make, change and fire triggers.

use picasso_trigger::Event;
use picasso_types::trigger::{Filter, IdentityWish, InputTemplate, TriggerKind, TriggerName, TriggerType};
use picasso_types::{AliasName, FieldFault, Selector, random};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::flag::Flag;
use super::nullable::nullable;
use crate::error::ApiError;

/// `POST …/triggers`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTrigger {
    /// The trigger to make.
    trigger: NewTriggerFields,
}

/// The trigger to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTriggerFields {
    /// A lower-case letter, then lower-case letters, digits, `-` or `_`; 63 in all.
    #[schema(example = "nightly")]
    name: String,
    /// The short or full name of an app of the project.
    app: String,
    /// The path of one of its routes.
    #[schema(example = "/report")]
    route: String,
    /// The number of the version to run; absent: the one that calls run.
    version: Option<u32>,
    /// The alias to run.
    alias: Option<String>,
    /// `schedule`, `notification`, `webhook`, `object` or `queue`.
    kind: String,
    /// What the kind needs to know; see docs/triggers.md.
    #[schema(value_type = Object)]
    options: Option<Value>,
    /// Conditions that an event must meet, all of them; up to 16.
    #[schema(value_type = Option<Vec<Object>>)]
    filter: Option<Value>,
    /// `{"template": …}`: what the function gets instead of the event's data.
    #[schema(value_type = Option<Object>)]
    input: Option<Value>,
    /// `false`: it begins paused.
    #[schema(value_type = Option<bool>)]
    enabled: Option<Flag>,
    /// In whose name Picasso acts for the trigger.
    identity: Option<IdentityFields>,
}

/// In whose name Picasso acts for a trigger: `none`, or a `trust` with roles of whoever saves it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IdentityFields {
    /// `none` or `trust`.
    #[serde(rename = "type")]
    kind: String,
    /// The roles of the trust, 1 to 16.
    roles: Option<Vec<String>>,
}

/// `PUT …/triggers/{trigger}`: an absent field stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateTrigger {
    /// Its new name.
    name: Option<String>,
    /// The number of the version to run; null: the one that calls run.
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    version: Option<Option<u32>>,
    /// The alias to run; null: the version that calls run.
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    alias: Option<Option<String>>,
    /// Replaces what the kind needs to know.
    #[schema(value_type = Option<Object>)]
    options: Option<Value>,
    /// Replaces the conditions; null takes them away.
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<Object>>)]
    filter: Option<Option<Value>>,
    /// Replaces what the function gets; null: the event's data.
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Object>)]
    input: Option<Option<Value>>,
    /// `false` pauses it, `true` makes it act again.
    #[schema(value_type = Option<bool>)]
    enabled: Option<Flag>,
    /// In whose name Picasso acts for the trigger.
    identity: Option<IdentityFields>,
}

/// `POST …/triggers/{trigger}/fire`: an event to try the trigger with.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FireTrigger {
    /// The event; absent: one without data.
    event: Option<EventFields>,
}

/// An event to try a trigger with.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EventFields {
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "org.example.test")]
    kind: Option<String>,
    /// What it is about.
    subject: Option<String>,
    /// Its data, any JSON.
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
}

/// A trigger to be made, checked as far as it can be by itself.
pub(crate) struct WantedTrigger {
    pub(crate) name: TriggerName,
    pub(crate) app: String,
    pub(crate) route: String,
    pub(crate) selector: Option<Selector>,
    pub(crate) kind: TriggerKind,
    pub(crate) filter: Filter,
    pub(crate) input: Option<InputTemplate>,
    pub(crate) enabled: bool,
    pub(crate) identity: IdentityWish,
}

/// What of a trigger is to be different.
#[derive(Default)]
#[expect(clippy::option_option, reason = "absent, none and a value are three things")]
pub(crate) struct WantedChange {
    pub(crate) name: Option<TriggerName>,
    pub(crate) selector: Option<Option<Selector>>,
    pub(crate) kind: Option<TriggerKind>,
    pub(crate) filter: Option<Filter>,
    pub(crate) input: Option<Option<InputTemplate>>,
    pub(crate) enabled: Option<bool>,
    pub(crate) identity: Option<IdentityWish>,
}

impl CreateTrigger {
    /// The trigger that is wanted; faults name `trigger.…`.
    pub(crate) fn into_wanted(self) -> Result<WantedTrigger, ApiError> {
        let fields = self.trigger;
        let checked = || {
            let kind = TriggerType::parse(&fields.kind)?;
            let options = fields.options.unwrap_or_else(|| Value::Object(serde_json::Map::default()));
            Ok(WantedTrigger {
                name: TriggerName::parse(&fields.name)?,
                selector: selector(fields.version, fields.alias.as_deref())?,
                kind: TriggerKind::parse(kind, options)?,
                filter: fields.filter.map(Filter::parse).transpose()?.unwrap_or_default(),
                input: fields.input.map(InputTemplate::parse).transpose()?,
                enabled: fields.enabled.is_none_or(|flag| flag.0),
                identity: fields.identity.map(IdentityFields::into_wish).transpose()?.unwrap_or_default(),
                app: fields.app,
                route: fields.route,
            })
        };
        checked().map_err(|fault| ApiError::field_of("trigger", fault))
    }
}

impl UpdateTrigger {
    /// The change that is wanted of a trigger of this kind.
    pub(crate) fn into_wanted(self, kind: TriggerType) -> Result<WantedChange, FieldFault> {
        let selector = match (self.version, self.alias) {
            (None, None) => None,
            (version, alias) => Some(selector(version.flatten(), alias.flatten().as_deref())?),
        };
        let filter = self.filter.map(|filter| filter.map(Filter::parse).transpose()).transpose()?;
        Ok(WantedChange {
            name: self.name.as_deref().map(TriggerName::parse).transpose()?,
            selector,
            kind: self.options.map(|options| TriggerKind::parse(kind, options)).transpose()?,
            filter: filter.map(Option::unwrap_or_default),
            input: self.input.map(|input| input.map(InputTemplate::parse).transpose()).transpose()?,
            enabled: self.enabled.map(|flag| flag.0),
            identity: self.identity.map(IdentityFields::into_wish).transpose()?,
        })
    }
}

impl FireTrigger {
    /// The event to try a trigger with: a new one each time.
    pub(crate) fn into_event(self) -> Event {
        let fields = self.event.unwrap_or_default();
        let data = fields.data.unwrap_or_default();
        let kind = fields.kind.unwrap_or_else(|| "org.openstack.picasso.test".to_owned());
        let event = Event::of_json(random::uuid(), kind, "/picasso/test".to_owned(), &data);
        Event { subject: fields.subject, ..event }
    }
}

impl IdentityFields {
    fn into_wish(self) -> Result<IdentityWish, FieldFault> {
        match (self.kind.as_str(), self.roles) {
            ("none", None) => Ok(IdentityWish::None),
            ("trust", Some(roles)) => IdentityWish::trust(roles),
            ("trust", None) => Err(FieldFault::new("identity.roles", "must be given for a trust")),
            ("none", Some(_)) => Err(FieldFault::new("identity.roles", "must be absent without a trust")),
            _ => Err(FieldFault::new("identity.type", "must be one of: \"none\" \"trust\"")),
        }
    }
}

fn selector(version: Option<u32>, alias: Option<&str>) -> Result<Option<Selector>, FieldFault> {
    match (version, alias) {
        (None, None) => Ok(None),
        (Some(0), None) => {
            Err(FieldFault::new("version", "must be the number of a version, which begin with 1"))
        }
        (Some(number), None) => Ok(Some(Selector::Number(number))),
        (None, Some(name)) => {
            let name = AliasName::parse(name).map_err(|fault| FieldFault::new("alias", fault.message))?;
            Ok(Some(Selector::Alias(name)))
        }
        (Some(_), Some(_)) => Err(FieldFault::new("alias", "must be absent where a version is given")),
    }
}
