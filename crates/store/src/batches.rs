//! Writes of many callers done together: whatever has gathered while the last batch was on its way is
//! one transaction, with statements over many rows. Nobody waits for others to come: a write that
//! comes alone goes at once.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;

use picasso_types::CallId;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::StoreError;

/// Writes that may wait to be gathered; more callers wait outside.
const QUEUED: usize = 1024;
/// Most writes of a batch, so that one fault or a slow write delays few others.
const MOST: usize = 128;
/// Most bytes of a batch of several: it is held in memory more than once on its way.
const MOST_BYTES: usize = 4 << 20;

/// What can be one of many in a batch.
pub(crate) trait Batched: Send + Sync + 'static {
    /// What the caller gets.
    type Answer: Send + 'static;
    /// What it writes to: no two writes to one call share a batch.
    fn call(&self) -> &CallId;
    /// About how much it holds.
    fn bytes(&self) -> usize;
}

/// One answer for each write, in their order; an error of the whole when nothing was written.
pub(crate) type Answers<O> = Result<Vec<Result<O, StoreError>>, StoreError>;

struct Job<I: Batched> {
    item: Arc<I>,
    reply: oneshot::Sender<Result<I::Answer, StoreError>>,
}

/// Hands writes of one kind to their batches.
pub(crate) struct Batches<I: Batched> {
    jobs: mpsc::Sender<Job<I>>,
}

impl<I: Batched> Batches<I> {
    /// Starts gathering; ends with this handle. At most `at_once` batches are written at one time.
    /// To be called inside a tokio runtime.
    pub(crate) fn start<W, F>(at_once: usize, write: W) -> Self
    where
        W: Fn(Vec<Arc<I>>) -> F + Send + Sync + 'static,
        F: Future<Output = Answers<I::Answer>> + Send + 'static,
    {
        let (jobs, queue) = mpsc::channel(QUEUED);
        tokio::spawn(gather(queue, at_once, Arc::new(write)));
        Self { jobs }
    }

    /// Writes it with whatever else is written then. A caller that goes away before its turn wrote
    /// nothing.
    pub(crate) async fn write(&self, item: I) -> Result<I::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { item: Arc::new(item), reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn gone() -> StoreError {
    StoreError::Database { context: "writing", source: "the writing task has ended".into() }
}

async fn gather<I, W, F>(mut queue: mpsc::Receiver<Job<I>>, at_once: usize, write: Arc<W>)
where
    I: Batched,
    W: Fn(Vec<Arc<I>>) -> F + Send + Sync + 'static,
    F: Future<Output = Answers<I::Answer>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(at_once));
    let mut waiting = VecDeque::with_capacity(MOST);
    let mut received = Vec::with_capacity(MOST);
    loop {
        // The place first: what comes while all are taken shares the next batch.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        if waiting.is_empty() && queue.recv_many(&mut received, MOST).await == 0 {
            return;
        }
        waiting.extend(received.drain(..));
        let batch = next_batch(&mut waiting);
        if batch.is_empty() {
            continue;
        }
        let write = Arc::clone(&write);
        tokio::spawn(async move {
            write_batch(&*write, batch).await;
            drop(place);
        });
    }
}

fn next_batch<I: Batched>(waiting: &mut VecDeque<Job<I>>) -> Vec<Job<I>> {
    let mut batch: Vec<Job<I>> = Vec::with_capacity(waiting.len());
    let (mut bytes, mut calls) = (0, HashSet::with_capacity(waiting.len()));
    while let Some(job) = waiting.pop_front() {
        if job.reply.is_closed() {
            continue;
        }
        bytes += job.item.bytes();
        let is_again = !calls.insert(job.item.call().clone());
        if is_again || (bytes > MOST_BYTES && !batch.is_empty()) {
            waiting.push_front(job);
            break;
        }
        batch.push(job);
    }
    batch
}

async fn write_batch<I, W, F>(write: &W, batch: Vec<Job<I>>)
where
    I: Batched,
    W: Fn(Vec<Arc<I>>) -> F,
    F: Future<Output = Answers<I::Answer>>,
{
    let answers = write(batch.iter().map(|job| Arc::clone(&job.item)).collect()).await;
    match answers {
        Ok(answers) => {
            for (job, answer) in batch.into_iter().zip(answers) {
                // The caller may have gone away; what it asked for is done all the same.
                drop(job.reply.send(answer));
            }
        }
        Err(StoreError::Unavailable { context, source }) => {
            let source = Shared(source.into());
            for job in batch {
                let source = Box::new(source.clone());
                drop(job.reply.send(Err(StoreError::Unavailable { context, source })));
            }
        }
        Err(error) => {
            let mut batch = batch.into_iter();
            if batch.len() == 1 {
                drop(batch.next().map(|job| job.reply.send(Err(error))));
            }
            // One of them may be at fault: each by itself, so that it alone fails.
            for job in batch {
                let answer = write(vec![Arc::clone(&job.item)]).await;
                let answer = answer.and_then(|mut answers| answers.pop().unwrap_or_else(|| Err(gone())));
                drop(job.reply.send(answer));
            }
        }
    }
}

/// Why the database did not answer, told to everyone in a batch.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
struct Shared(Arc<dyn std::error::Error + Send + Sync>);
