//! Deliveries, signing keys and grants as they lie in every database: encrypted, with the name of
//! their key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picasso_types::outgoing::{Delivery, DeliveryKind, DeliveryState, NewDelivery, SigningKeys};
use picasso_types::text::cut;
use picasso_types::{AppId, CallId, DeliveryId, ProjectId, QueueGrant, Timestamp};

use crate::rows::{Columns, column, number, parsed, time};
use crate::{SecretKey, StoreError, TakenDelivery};

/// Errors are kept up to this length, bytes.
const MAX_ERROR: usize = 500;
/// What the key of a grant is derived for.
const GRANT: &str = "queue grant";

/// A new delivery with its content encrypted.
#[derive(Debug, Clone)]
pub(crate) struct SealedDelivery {
    pub(crate) id: DeliveryId,
    pub(crate) kind: DeliveryKind,
    pub(crate) target: String,
    pub(crate) key_id: String,
    pub(crate) content: Vec<u8>,
}

impl SealedDelivery {
    pub(crate) fn seal_all(key: &SecretKey, new: &[NewDelivery]) -> Result<Vec<Self>, StoreError> {
        new.iter()
            .map(|new| {
                Ok(Self {
                    id: new.id.clone(),
                    kind: new.kind,
                    target: new.target.clone(),
                    key_id: key.id().to_owned(),
                    content: key.seal(new.id.as_str(), "delivery", &new.content)?,
                })
            })
            .collect()
    }
}

/// The columns of a delivery but its content.
pub(crate) fn delivery(row: &impl Columns) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: parsed(row, "id", DeliveryId::parse)?,
        call_id: parsed(row, "call_id", CallId::parse)?,
        project_id: parsed(row, "project_id", ProjectId::stored)?,
        app_id: parsed(row, "app_id", AppId::parse)?,
        kind: parsed(row, "kind", DeliveryKind::parse)?,
        target: column(row, "target")?,
        state: parsed(row, "state", DeliveryState::parse)?,
        attempts: number(row, "attempts")?,
        last_error: column::<Option<&str>>(row, "last_error")?.map(str::to_owned),
        created_at: time(row, "created_at")?,
        not_before: time(row, "not_before")?,
        finished_at: column::<Option<i64>>(row, "finished_at")?.map(Timestamp),
    })
}

/// A delivery with its content. One that cannot be read (the key was changed) comes without it:
/// it must not keep the others of its batch from being sent.
pub(crate) fn taken(row: &impl Columns, key: &SecretKey) -> Result<TakenDelivery, StoreError> {
    let delivery = delivery(row)?;
    let sealed = column(row, "content")?;
    let content = key.open(column(row, "key_id")?, delivery.id.as_str(), "delivery", sealed);
    let content = content
        .inspect_err(|error| {
            tracing::error!(delivery = %delivery.id, error = error as &dyn std::error::Error, "a delivery cannot be read");
        })
        .ok();
    Ok(TakenDelivery { delivery, content })
}

/// What is kept of an error.
pub(crate) fn short(error: &str) -> &str {
    cut(error, MAX_ERROR)
}

/// A signing key as it lies in the database.
pub(crate) fn seal_signing_key(key: &SecretKey, app: &AppId, new: &[u8]) -> Result<Vec<u8>, StoreError> {
    key.seal(app.as_str(), "signing key", new)
}

/// A grant as it lies in its route's options and in calls'.
pub(crate) fn seal_grant(
    key: &SecretKey,
    app: &AppId,
    shown: QueueGrant,
    grant: &[u8],
) -> Result<QueueGrant, StoreError> {
    let sealed = STANDARD.encode(key.seal(&granted_to(app, &shown.queue), GRANT, grant)?);
    Ok(QueueGrant { key_id: key.id().to_owned(), sealed, ..shown })
}

pub(crate) fn open_grant(key: &SecretKey, app: &AppId, grant: &QueueGrant) -> Result<Vec<u8>, StoreError> {
    let damaged = |_| StoreError::Damaged { what: "grant", detail: "it is no base64".into() };
    let sealed = STANDARD.decode(&grant.sealed).map_err(damaged)?;
    key.open(&grant.key_id, &granted_to(app, &grant.queue), GRANT, sealed)
}

/// A grant opens for no other app and no other queue.
fn granted_to(app: &AppId, queue: &str) -> String {
    format!("{app}/{queue}")
}

/// The keys that are good at `now`.
pub(crate) fn signing_keys(
    row: &impl Columns,
    key: &SecretKey,
    app: &AppId,
    now: Timestamp,
) -> Result<SigningKeys, StoreError> {
    let open = |key_id: &str, sealed| key.open(key_id, app.as_str(), "signing key", sealed);
    let until = column::<Option<i64>>(row, "previous_until")?;
    let previous = match (until, column::<Option<&str>>(row, "previous_key_id")?) {
        (Some(until), Some(key_id)) if now.0 < until => Some(open(key_id, column(row, "previous")?)?),
        _ => None,
    };
    Ok(SigningKeys { current: open(column(row, "newest_key_id")?, column(row, "newest")?)?, previous })
}
