//! Secrets of apps and routes on their way in: read where they are references, checked, sealed, and
//! never seen again.

use std::ops::RangeInclusive;

use picasso_outbound::SecretError;
use picasso_types::secrets::check_secret_name;
use picasso_types::{FieldFault, RouteId, Sealed, SealedFor, Secret, SecretForm, SecretOwner, Secrets};
use secrecy::ExposeSecret;

use crate::bodies::secrets::{SecretFields, SecretText};
use crate::error::ApiError;
use crate::request::auth::CallerToken;
use crate::state::ApiState;

/// Length of a key of tokens, bytes; a shorter one is no key for any of the algorithms (RFC 7518,
/// section 3.2).
const JWT_KEY_BYTES: RangeInclusive<usize> = 32..=1024;

/// What a value begins with that names a secret of Barbican.
const REFERENCE: &str = "barbican:";
/// Most references that one request brings; each is read with requests of its own.
const MAX_REFERENCES: usize = 16;

/// What is known of the request that brings secrets.
pub(super) struct SecretChange<'a> {
    pub(super) state: &'a ApiState,
    /// Whose they become.
    pub(super) owner: SecretOwner,
    /// Of whoever brings them; references are read with it.
    pub(super) token: &'a CallerToken,
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
        let mut references = 0;
        for (name, field) in fields.unwrap_or_default() {
            check_secret_name(&name).map_err(|fault| self.wrapped(fault))?;
            match field.into_parts().filter(|(value, _)| !value.is_empty()) {
                Some(parts) => {
                    references += usize::from(parts.0.starts_with(REFERENCE));
                    if references > MAX_REFERENCES {
                        let message = format!("has more than {MAX_REFERENCES} references to Barbican");
                        return Err(self.wrapped(FieldFault::new("secrets", message)));
                    }
                    let secret = self.secret(before.get(&name), &name, parts).await?;
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
        match sealed_jwt_key(self.state, route, &key) {
            Err(ApiError::InvalidField(fault)) => Err(self.wrapped(fault)),
            sealed => sealed.map(Some),
        }
    }

    async fn secret(
        &self,
        before: Option<&Secret>,
        name: &str,
        (value, form): (String, Option<String>),
    ) -> Result<Secret, ApiError> {
        let fault = |message: String| self.wrapped(FieldFault::new(format!("secrets.{name}"), message));
        let form = form.as_deref().map(SecretForm::parse).transpose();
        let form = form.map_err(|fault_of_as| fault(format!("\"as\" {}", fault_of_as.message)))?;
        let form = form.or(before.map(|before| before.form)).unwrap_or(SecretForm::Env);
        let (value, reference) = match value.strip_prefix(REFERENCE) {
            None => (value.into_bytes(), None),
            Some(id) if is_uuid(id) => (self.referenced(id, fault).await?, Some(id.to_owned())),
            Some(_) => return Err(fault(format!("is no reference to Barbican; write \"{REFERENCE}UUID\""))),
        };
        if form == SecretForm::Env && (value.contains(&0) || std::str::from_utf8(&value).is_err()) {
            return Err(fault("must not contain a NUL byte or other than UTF-8; a file may".to_owned()));
        }
        let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let sealed = self.state.store.seal(self.owner.sealed_for(name), &value);
        let value = sealed.map_err(|error| ApiError::store("sealing a secret", error))?;
        let (set_at, owner) = (self.state.engine.now(), self.owner.clone());
        Ok(Secret { form, set_at, bytes, owner, reference, value })
    }

    /// The value of a secret of Barbican, as far as the token may read it.
    async fn referenced(&self, id: &str, fault: impl Fn(String) -> ApiError) -> Result<Vec<u8>, ApiError> {
        let Some(barbican) = &self.state.key_manager else {
            return Err(fault("cannot be a reference: this service does not use a key manager".to_owned()));
        };
        let limit = self.state.settings.bounds.max_config_bytes as usize;
        match barbican.payload(&self.token.0, id, limit).await {
            Ok(value) => Ok(value.expose_secret().to_vec()),
            Err(
                error @ (SecretError::Catalog(_)
                | SecretError::Unavailable(_)
                | SecretError::NotUnderstood(_)),
            ) => Err(ApiError::key_manager(error)),
            Err(error) => Err(fault(format!("{REFERENCE}{id} {error}"))),
        }
    }

    fn wrapped(&self, fault: FieldFault) -> ApiError {
        ApiError::InvalidField(FieldFault { field: format!("{}{}", self.wrapper, fault.field), ..fault })
    }
}

/// What is kept of a key of a route's tokens; a fault names `jwt_key`.
pub(crate) fn sealed_jwt_key(state: &ApiState, route: &RouteId, key: &str) -> Result<Sealed, ApiError> {
    if !JWT_KEY_BYTES.contains(&key.len()) {
        let (least, most) = (JWT_KEY_BYTES.start(), JWT_KEY_BYTES.end());
        let message = format!("must be {least} to {most} bytes long");
        return Err(ApiError::InvalidField(FieldFault::new("jwt_key", message)));
    }
    let sealed = state.store.seal(SealedFor::JwtKey(route), key.as_bytes());
    sealed.map_err(|error| ApiError::store("sealing a key", error))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
