//! The body that grants an identity to a route.

use picasso_types::identity::parse_roles;
use picasso_types::{FieldFault, IdentityKind};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::secrets::SecretText;
use crate::error::ApiError;

/// Longest secret of an application credential, bytes; Keystone's own have 86.
const MAX_SECRET: usize = 512;

/// `PUT …/identity`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetIdentity {
    /// What is granted.
    identity: IdentityFields,
}

/// What is granted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IdentityFields {
    /// `trust` or `application_credential`.
    #[schema(example = "trust")]
    r#type: String,
    /// Of a trust: the names of roles that the token has, 1 to 32.
    #[schema(min_items = 1, max_items = 32, example = json!(["reader"]))]
    roles: Option<Vec<String>>,
    /// Of an application credential: its id.
    #[schema(max_length = 64)]
    id: Option<String>,
    /// Of an application credential: its secret, which is not shown again.
    #[schema(value_type = Option<String>)]
    secret: Option<SecretText>,
}

/// What a user wants to grant.
pub(crate) enum Wanted {
    /// A trust with these roles.
    Trust { roles: Vec<String> },
    /// This application credential.
    ApplicationCredential { id: String, secret: SecretString },
}

impl SetIdentity {
    /// What is wanted; faults name `identity.…`.
    pub(crate) fn into_wanted(self) -> Result<Wanted, ApiError> {
        self.identity.into_wanted().map_err(|fault| ApiError::field_of("identity", fault))
    }
}

impl IdentityFields {
    fn into_wanted(self) -> Result<Wanted, FieldFault> {
        let odd = |field: &str, kind: IdentityKind| {
            Err(FieldFault::new(field, format!("is not for an identity of type \"{kind}\"")))
        };
        let missing = |field: &str, what: &str| FieldFault::new(field, format!("must be {what}"));
        match IdentityKind::parse(&self.r#type)? {
            kind @ IdentityKind::Trust if self.id.is_some() => odd("id", kind),
            kind @ IdentityKind::Trust if self.secret.is_some() => odd("secret", kind),
            IdentityKind::Trust => {
                let roles =
                    self.roles.ok_or_else(|| missing("roles", "a list of roles that the token has"))?;
                Ok(Wanted::Trust { roles: parse_roles(roles)? })
            }
            kind @ IdentityKind::ApplicationCredential if self.roles.is_some() => odd("roles", kind),
            IdentityKind::ApplicationCredential => {
                let id = self.id.ok_or_else(|| missing("id", "the id of an application credential"))?;
                let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
                if !is_id {
                    return Err(missing("id", "1 to 64 letters or digits"));
                }
                let secret = self.secret.ok_or_else(|| missing("secret", "that credential's secret"))?.0;
                if !(1..=MAX_SECRET).contains(&secret.len()) || secret.chars().any(char::is_control) {
                    let what = format!("1 to {MAX_SECRET} bytes without control characters");
                    return Err(missing("secret", &what));
                }
                Ok(Wanted::ApplicationCredential { id, secret: secret.into() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fault(fields: &Value) -> String {
        let body: SetIdentity = serde_json::from_value(json!({ "identity": fields })).unwrap();
        match body.into_wanted() {
            Err(ApiError::InvalidField(fault)) => fault.field,
            Err(other) => panic!("{other:?}"),
            Ok(_) => "none".to_owned(),
        }
    }

    #[test]
    fn each_field_is_refused_by_its_name() {
        let long = "x".repeat(65);
        let cases = [
            (json!({"type": "trust", "roles": ["reader"]}), "none"),
            (json!({"type": "application_credential", "id": "9f0c", "secret": "s"}), "none"),
            (json!({"type": "none"}), "identity.type"),
            (json!({"type": "trust"}), "identity.roles"),
            (json!({"type": "trust", "roles": []}), "identity.roles"),
            (json!({"type": "trust", "roles": ["reader"], "secret": "s"}), "identity.secret"),
            (json!({"type": "trust", "roles": ["reader"], "id": "9f0c"}), "identity.id"),
            (json!({"type": "application_credential", "secret": "s"}), "identity.id"),
            (json!({"type": "application_credential", "id": long, "secret": "s"}), "identity.id"),
            (json!({"type": "application_credential", "id": "../x", "secret": "s"}), "identity.id"),
            (json!({"type": "application_credential", "id": "9f0c"}), "identity.secret"),
            (json!({"type": "application_credential", "id": "9f0c", "secret": "a\nb"}), "identity.secret"),
            (
                json!({"type": "application_credential", "id": "9f0c", "secret": "s", "roles": ["a"]}),
                "identity.roles",
            ),
        ];
        for (fields, field) in cases {
            assert_eq!(fault(&fields), field, "{fields}");
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let body = json!({"identity": {"type": "application_credential", "id": "9f", "secret": "hush"}});
        let body: SetIdentity = serde_json::from_value(body).unwrap();
        assert!(!format!("{body:?}").contains("hush"));
    }
}
