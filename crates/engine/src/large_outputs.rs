//! Results and logs that are too large for the database: sealed parts in an object store.
//!
//! An object's row is written before its first part, and goes after its last one was deleted
//! ([`picasso_types::kept_object`]). A store that is away costs a call a bounded time, and then a
//! while nothing: what it would have kept is cut, the call itself goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use metrics::counter;
use picasso_objects::{MAX_PART_BYTES, ObjectError, ObjectName, ObjectStore};
use picasso_store::{SecretKey, Store, StoreError};
use picasso_types::{CallId, InstanceId, NewObject, ObjectId, ProjectId, RemovableObject, Timestamp};
use serde::{Deserialize, Serialize};

/// What of an output one part holds, bytes. A multiple of three, so that parts in base64 can be put
/// together; sealed, it is smaller than the largest part.
pub const PART_BYTES: usize = 960 << 10;
const _: () = assert!(PART_BYTES + 64 <= MAX_PART_BYTES && PART_BYTES.is_multiple_of(3));

/// How long a call waits for one part to be stored.
const PUT_WAIT: Duration = Duration::from_secs(5);
/// How long one part is waited for by a reader, or by its deletion.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// How long a store that failed is left alone by calls.
const PAUSE: Duration = Duration::from_secs(5);

/// Where large outputs go, and the key that they are sealed with.
#[derive(Debug, Clone)]
pub struct OutputObjects {
    /// The store of the parts.
    pub objects: Arc<dyn ObjectStore>,
    /// Seals them.
    pub key: Arc<SecretKey>,
}

/// What the database keeps of an output that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its name.
    pub(crate) id: ObjectId,
    /// How many parts it has.
    pub(crate) parts: u32,
    /// What they hold, bytes.
    pub bytes: u64,
}

/// Why an output cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OutputReadError {
    /// It is not there (any more), or this server has no object store.
    #[error("what was kept of it is gone")]
    Gone,
    /// The object store does not answer.
    #[error("the object store does not answer")]
    Unavailable(#[source] ObjectError),
    /// It is not what was stored.
    #[error("what was kept of it is damaged: {0}")]
    Damaged(String),
}

/// An output, part by part.
pub type OutputStream = BoxStream<'static, Result<Vec<u8>, OutputReadError>>;

/// The outputs of a server's calls in its object store.
#[derive(Debug)]
pub(crate) struct LargeOutputs {
    outputs: OutputObjects,
    store: Arc<dyn Store>,
    /// Where only this server reaches the object store.
    node: Option<InstanceId>,
    away_until: Mutex<Option<Instant>>,
}

impl LargeOutputs {
    pub(crate) fn new(outputs: OutputObjects, store: Arc<dyn Store>, instance: &InstanceId) -> Self {
        let node = outputs.objects.is_local().then(|| instance.clone());
        Self { outputs, store, node, away_until: Mutex::default() }
    }

    /// Writes down an object that gets at most `max_bytes`; removed after `remove_after` unless a
    /// call has taken it by then.
    async fn begin(
        &self,
        project: &ProjectId,
        max_bytes: usize,
        remove_after: Timestamp,
    ) -> Result<ObjectId, StoreError> {
        let max_parts = u32::try_from(max_bytes.div_ceil(PART_BYTES)).unwrap_or(u32::MAX);
        let id = ObjectId::generate();
        let (project_id, node) = (project.clone(), self.node.clone());
        let new = NewObject { id: id.clone(), project_id, node, max_parts, remove_after };
        self.store.begin_object(&new).await?;
        Ok(id)
    }

    async fn put_part(&self, of: &OutputOf, object: &ObjectId, part: u32, body: &[u8]) -> Result<(), Cause> {
        let sealed = self.outputs.key.seal_part(&of.call, object, part, body)?;
        let name = ObjectName::new(&of.project, object, part);
        Ok(self.outputs.objects.put(&name, sealed.into()).await?)
    }

    /// Stores one part, beginning the object with the first. `false` where that failed: the store
    /// or the database is away, or took too long.
    async fn keep_part(
        &self,
        of: &OutputOf,
        object: &mut Option<ObjectId>,
        part: u32,
        max_bytes: usize,
        body: &[u8],
    ) -> bool {
        if self.is_away() {
            return false;
        }
        let kept = async {
            let id = match object {
                Some(id) => id,
                None => object.insert(self.begin(&of.project, max_bytes, of.remove_after).await?),
            };
            self.put_part(of, id, part, body).await
        };
        let error = match tokio::time::timeout(PUT_WAIT, kept).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error,
            Err(_) => "it took too long".into(),
        };
        let error = &*error as &dyn std::error::Error;
        tracing::warn!(call_id = %of.call, error, "a large output cannot be kept; it is cut");
        *self.away() = Some(Instant::now() + PAUSE);
        false
    }

    /// Counts an output that was to lie here and does not.
    fn lost() {
        counter!("picasso_large_outputs_lost_total").increment(1);
    }

    /// Lets objects be removed that no call will take. Where that fails they are later.
    async fn abandon(&self, ids: &[ObjectId]) {
        if let Err(error) = self.store.abandon_objects(ids).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an object is removed later");
        }
    }

    /// Reads an output. The first part is there when this returns.
    pub(crate) async fn read(
        self: &Arc<Self>,
        call: &CallId,
        project: &ProjectId,
        object: &ObjectRef,
    ) -> Result<OutputStream, OutputReadError> {
        let first = self.read_part(call, project, object, 0).await?;
        let (large, call, project, object) =
            (Arc::clone(self), call.clone(), project.clone(), object.clone());
        let rest = stream::unfold(1, move |part| {
            let (large, call, project, object) =
                (Arc::clone(&large), call.clone(), project.clone(), object.clone());
            async move {
                if part >= object.parts {
                    return None;
                }
                match large.read_part(&call, &project, &object, part).await {
                    Ok(body) => Some((Ok(body), part + 1)),
                    Err(error) => Some((Err(error), u32::MAX)),
                }
            }
        });
        Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
    }

    async fn read_part(
        &self,
        call: &CallId,
        project: &ProjectId,
        object: &ObjectRef,
        part: u32,
    ) -> Result<Vec<u8>, OutputReadError> {
        let name = ObjectName::new(project, &object.id, part);
        let got = tokio::time::timeout(ANSWER_WAIT, self.outputs.objects.get(&name)).await;
        let sealed = match got.unwrap_or_else(|_| Err(too_slow())) {
            Ok(sealed) => sealed,
            Err(ObjectError::Missing) => return Err(OutputReadError::Gone),
            Err(error @ ObjectError::TooLarge { .. }) => {
                return Err(OutputReadError::Damaged(error.to_string()));
            }
            Err(error) => return Err(OutputReadError::Unavailable(error)),
        };
        let body = self.outputs.key.open_part(call, &object.id, part, sealed.into());
        let body = body.map_err(|error| OutputReadError::Damaged(error.to_string()))?;
        // The parts are as many as the call's row says, and each but the last is full.
        let before = u64::from(part) * PART_BYTES as u64;
        if body.len() as u64 == object.bytes.saturating_sub(before).min(PART_BYTES as u64) {
            Ok(body)
        } else {
            Err(OutputReadError::Damaged("a part has another length than it was stored with".to_owned()))
        }
    }

    /// Deletes every part of an object, and then its row. Again after an error.
    pub(crate) async fn remove(&self, object: &RemovableObject) -> Result<(), Cause> {
        for part in 0..object.parts {
            let name = ObjectName::new(&object.project_id, &object.id, part);
            let deleted = tokio::time::timeout(ANSWER_WAIT, self.outputs.objects.delete(&name)).await;
            deleted.unwrap_or_else(|_| Err(too_slow()))?;
        }
        Ok(self.store.forget_objects(std::slice::from_ref(&object.id)).await?)
    }

    fn is_away(&self) -> bool {
        self.away().is_some_and(|until| Instant::now() < until)
    }

    fn away(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went wrong; for the log only.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

fn too_slow() -> ObjectError {
    ObjectError::Unavailable { context: "asking the object store", reason: "it took too long".to_owned() }
}

/// Whose output it is.
#[derive(Debug, Clone)]
pub(crate) struct OutputOf {
    pub(crate) call: CallId,
    pub(crate) project: ProjectId,
    /// When an object that the call never took is removed: the call has ended long before.
    pub(crate) remove_after: Timestamp,
}

/// One object that is being written: parts in their order.
#[derive(Debug)]
pub(crate) struct ObjectWriter {
    large: Option<Arc<LargeOutputs>>,
    of: OutputOf,
    max_bytes: usize,
    id: Option<ObjectId>,
    parts: u32,
    lost: bool,
}

impl ObjectWriter {
    pub(crate) fn new(large: Option<Arc<LargeOutputs>>, of: OutputOf, max_bytes: usize) -> Self {
        Self { large, of, max_bytes, id: None, parts: 0, lost: false }
    }

    /// Stores the next part; `false` where there is no store, or it failed now or before.
    pub(crate) async fn put(&mut self, body: &[u8]) -> bool {
        let Some(large) = self.large.clone().filter(|_| !self.lost) else { return false };
        // A call that is ended while this waits leaves a gap.
        self.lost = true;
        if large.keep_part(&self.of, &mut self.id, self.parts, self.max_bytes, body).await {
            self.parts += 1;
            self.lost = false;
        } else {
            LargeOutputs::lost();
        }
        !self.lost
    }

    /// Whether everything was stored that was to be.
    pub(crate) fn is_whole(&self) -> bool {
        !self.lost
    }

    /// The whole of it, which holds `bytes`; `None` where nothing was stored.
    pub(crate) fn take(&mut self, bytes: u64) -> Option<ObjectRef> {
        let parts = self.parts;
        self.id.take().map(|id| ObjectRef { id, parts, bytes })
    }

    /// No call will take it.
    pub(crate) async fn abandon(&mut self) {
        if let Some((id, large)) = self.id.take().zip(self.large.as_ref()) {
            large.abandon(&[id]).await;
        }
    }
}
