//! Secrets of apps and routes on their way in: checked, sealed, and never seen again.

use std::ops::RangeInclusive;

use picasso_types::secrets::check_secret_name;
use picasso_types::{FieldFault, RouteId, Sealed, SealedFor, Secret, SecretForm, SecretOwner, Secrets};

use crate::bodies::secrets::{SecretFields, SecretText};
use crate::error::ApiError;
use crate::state::ApiState;

/// Length of a key of tokens, bytes; a shorter one is no key for any of the algorithms (RFC 7518,
/// section 3.2).
const JWT_KEY_BYTES: RangeInclusive<usize> = 32..=1024;

/// What is known of the request that brings secrets.
pub(super) struct SecretChange<'a> {
    pub(super) state: &'a ApiState,
    /// Whose they become.
    pub(super) owner: SecretOwner,
    /// What faults put before the field: `route.`.
    pub(super) wrapper: &'a str,
}

impl SecretChange<'_> {
    /// `before` with the fields of a body merged in; faults name `secrets` or `secrets.NAME`.
    pub(super) async fn apply(
        &self,
        before: &Secrets,
        fields: Option<SecretFields>,
    ) -> Result<Secrets, ApiError> {
        let mut secrets = before.clone();
        for (name, field) in fields.unwrap_or_default() {
            check_secret_name(&name).map_err(|fault| self.wrapped(fault))?;
            match field.into_parts().filter(|(value, _)| !value.is_empty()) {
                Some(parts) => {
                    let secret = self.secret(before.get(&name), &name, parts)?;
                    secrets.set(name, secret);
                }
                None => secrets.delete(&name),
            }
        }
        secrets.check(&self.state.settings.bounds).map_err(|fault| self.wrapped(fault))?;
        Ok(secrets)
    }

    /// The key of a route's tokens after a change: absent stays, null or `""` is none.
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    pub(super) fn jwt_key(
        &self,
        route: &RouteId,
        before: Option<&Sealed>,
        key: Option<Option<SecretText>>,
    ) -> Result<Option<Sealed>, ApiError> {
        let Some(key) = key else { return Ok(before.cloned()) };
        let Some(SecretText(key)) = key.filter(|key| !key.0.is_empty()) else { return Ok(None) };
        if !JWT_KEY_BYTES.contains(&key.len()) {
            let (least, most) = (JWT_KEY_BYTES.start(), JWT_KEY_BYTES.end());
            let fault = FieldFault::new("jwt_key", format!("must be {least} to {most} bytes long"));
            return Err(self.wrapped(fault));
        }
        let sealed = self.state.store.seal(SealedFor::JwtKey(route), key.as_bytes());
        sealed.map(Some).map_err(|error| ApiError::store("sealing a key", error))
    }

    fn secret(
        &self,
        before: Option<&Secret>,
        name: &str,
        (value, form): (String, Option<String>),
    ) -> Result<Secret, ApiError> {
        let fault = |message: String| self.wrapped(FieldFault::new(format!("secrets.{name}"), message));
        let form = form.as_deref().map(SecretForm::parse).transpose();
        let form = form.map_err(|fault_of_as| fault(format!("\"as\" {}", fault_of_as.message)))?;
        let form = form.or(before.map(|before| before.form)).unwrap_or(SecretForm::Env);
        let value = value.into_bytes();
        match form {
            SecretForm::Env if value.contains(&0) => {
                return Err(fault("must not contain a NUL byte".to_owned()));
            }
            SecretForm::File => self.state.engine.carries_secret_files().map_err(fault)?,
            SecretForm::Env => {}
        }
        let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let sealed = self.state.store.seal(self.owner.sealed_for(name), &value);
        let value = sealed.map_err(|error| ApiError::store("sealing a secret", error))?;
        Ok(Secret { form, set_at: self.state.engine.now(), bytes, owner: self.owner.clone(), value })
    }

    fn wrapped(&self, fault: FieldFault) -> ApiError {
        ApiError::InvalidField(FieldFault { field: format!("{}{}", self.wrapper, fault.field), ..fault })
    }
}
