//! A call's body and output as they lie in every database: encrypted, with the name of their key.

use picasso_types::{CallId, CallOutput, KeptObject, NewCall};

use crate::rows::{Columns, column};
use crate::{SecretKey, StoreError};

/// A call's body as it lies in the database.
pub(crate) struct SealedBody {
    pub(crate) key_id: String,
    pub(crate) envelope: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl SealedBody {
    pub(crate) fn seal(key: &SecretKey, new: &NewCall) -> Result<Self, StoreError> {
        Ok(Self {
            key_id: key.id().to_owned(),
            envelope: key.seal(new.id.as_str(), "envelope", &new.envelope)?,
            payload: key.seal(new.id.as_str(), "payload", &new.payload)?,
        })
    }

    pub(crate) fn read(row: &impl Columns) -> Result<Self, StoreError> {
        Ok(Self {
            key_id: column(row, "key_id")?,
            envelope: column(row, "envelope")?,
            payload: column(row, "payload")?,
        })
    }

    /// Envelope and payload.
    pub(crate) fn open(self, key: &SecretKey, id: &CallId) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        Ok((
            key.open(&self.key_id, id.as_str(), "envelope", self.envelope)?,
            key.open(&self.key_id, id.as_str(), "payload", self.payload)?,
        ))
    }
}

/// An output as it lies in the database.
pub(crate) struct SealedOutput {
    pub(crate) key_id: String,
    pub(crate) result: Vec<u8>,
    pub(crate) log: Vec<u8>,
    pub(crate) objects: Vec<KeptObject>,
}

impl SealedOutput {
    /// `None` for an output that is empty: most of them are, and need no row.
    pub(crate) fn seal(
        key: &SecretKey,
        id: &CallId,
        output: &CallOutput,
    ) -> Result<Option<Self>, StoreError> {
        if output.result.is_empty() && output.log.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            key_id: key.id().to_owned(),
            result: key.seal(id.as_str(), "result", &output.result)?,
            log: key.seal(id.as_str(), "log", &output.log)?,
            objects: output.objects.clone(),
        }))
    }

    /// What it takes, wherever it lies.
    pub(crate) fn bytes(&self) -> i64 {
        let outside: u64 = self.objects.iter().map(|object| object.bytes).sum();
        i64::try_from((self.result.len() + self.log.len()) as u64 + outside).unwrap_or(i64::MAX)
    }

    pub(crate) fn read(row: &impl Columns) -> Result<Self, StoreError> {
        Ok(Self {
            key_id: column(row, "key_id")?,
            result: column(row, "result")?,
            log: column(row, "log")?,
            objects: Vec::new(),
        })
    }

    pub(crate) fn open(self, key: &SecretKey, id: &CallId) -> Result<CallOutput, StoreError> {
        Ok(CallOutput {
            result: key.open(&self.key_id, id.as_str(), "result", self.result)?,
            log: key.open(&self.key_id, id.as_str(), "log", self.log)?,
            objects: self.objects,
        })
    }
}
