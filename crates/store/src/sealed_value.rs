//! Values of apps and routes that are kept encrypted (secrets, keys), as they lie in every database.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picasso_types::{Sealed, SealedFor};

use crate::{SecretKey, StoreError};

/// A value as it lies in the database.
pub(crate) fn seal(key: &SecretKey, what: SealedFor<'_>, value: &[u8]) -> Result<Sealed, StoreError> {
    let (part, whose) = what.name();
    let sealed = STANDARD.encode(key.seal(&whose, part, value)?);
    Ok(Sealed { key_id: key.id().to_owned(), sealed })
}

/// The inverse of [`seal`]; `Damaged` for what was sealed for something else.
pub(crate) fn open(key: &SecretKey, what: SealedFor<'_>, sealed: &Sealed) -> Result<Vec<u8>, StoreError> {
    let damaged = |_| StoreError::Damaged { what: "sealed value", detail: "it is no base64".into() };
    let (part, whose) = what.name();
    key.open(&sealed.key_id, &whose, part, STANDARD.decode(&sealed.sealed).map_err(damaged)?)
}
