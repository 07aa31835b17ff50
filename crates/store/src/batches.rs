//! Writes of many callers done together: whatever has gathered while the last batch was on its way is
//! one transaction, with statements over many rows. A write that comes alone goes at once; among many
//! it waits a moment for the others.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::StoreError;

/// Writes that may wait to be gathered; more callers wait outside.
const QUEUED: usize = 1024;
/// Most writes of a batch, so that one fault or a slow write delays few others.
const MOST: usize = 128;
/// Most bytes of a batch of several: it is held in memory more than once on its way.
const MOST_BYTES: usize = 4 << 20;
/// Rows of one statement: so few different numbers of them that the prepared statements are kept.
const ROWS: [usize; 4] = [64, 16, 4, 1];

/// A batch after one of so many waits [`GATHERED_FOR`] for more: a batch costs the pages that it touches
/// and a sync, however many its writes.
const CROWD: usize = 8;
const GATHERED_FOR: Duration = Duration::from_millis(1);

/// What can be one of many in a batch.
pub(crate) trait Batched: Send + Sync + 'static {
    /// What the caller gets.
    type Answer: Send + 'static;
    /// What it writes to: no two writes to one of them share a batch.
    fn targets(&self) -> Vec<String>;
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

/// Items in portions of which each is one statement.
pub(crate) fn chunks<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let rows = ROWS.into_iter().find(|rows| *rows <= items.len())?;
        let (chunk, rest) = items.split_at(rows);
        items = rest;
        Some(chunk)
    })
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
    let mut before = 0;
    loop {
        // The place first: what comes while all are taken shares the next batch.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        if waiting.is_empty() && queue.recv_many(&mut received, MOST).await == 0 {
            return;
        }
        if before >= CROWD && received.len() < before {
            tokio::time::sleep(GATHERED_FOR).await;
            received.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(MOST));
        }
        waiting.extend(received.drain(..));
        let batch = next_batch(&mut waiting);
        before = batch.len();
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
    let (mut bytes, mut written) = (0, HashSet::with_capacity(waiting.len()));
    while let Some(job) = waiting.pop_front() {
        if job.reply.is_closed() {
            continue;
        }
        bytes += job.item.bytes();
        let targets = job.item.targets();
        let is_again = targets.iter().any(|target| written.contains(target));
        if is_again || (bytes > MOST_BYTES && !batch.is_empty()) {
            waiting.push_front(job);
            break;
        }
        written.extend(targets);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::join_all;
    use picasso_types::CallId;

    use super::*;

    struct Number {
        call: CallId,
        n: u32,
        bytes: usize,
    }

    impl Batched for Number {
        type Answer = u32;

        fn targets(&self) -> Vec<String> {
            vec![self.call.to_string()]
        }

        fn bytes(&self) -> usize {
            self.bytes
        }
    }

    fn number(n: u32) -> Number {
        Number { call: CallId::generate(), n, bytes: 1 }
    }

    /// The numbers of each batch, one after the other.
    type Seen = Arc<Mutex<Vec<Vec<u32>>>>;

    /// Doubles numbers; a batch with one that `fails` fails as a whole. What each batch held is told.
    fn doubling(
        fails: impl Fn(&Number) -> Option<StoreError> + Send + Sync + 'static,
    ) -> (Batches<Number>, Seen) {
        let seen = Seen::default();
        let told = Arc::clone(&seen);
        let batches = Batches::start(1, move |batch: Vec<Arc<Number>>| {
            told.lock().unwrap().push(batch.iter().map(|number| number.n).collect());
            let failure = batch.iter().find_map(|number| fails(number));
            let doubled = batch.iter().map(|number| Ok(number.n * 2)).collect();
            async move { failure.map_or(Ok(doubled), Err) }
        });
        (batches, seen)
    }

    fn fault() -> StoreError {
        StoreError::Database { context: "testing", source: "this one".into() }
    }

    fn away() -> StoreError {
        StoreError::Unavailable { context: "testing", source: "the server is away".into() }
    }

    #[tokio::test]
    async fn what_waits_is_written_together_and_each_gets_its_own_answer() {
        let (batches, seen) = doubling(|_| None);
        let answers = join_all((0..100).map(|n| batches.write(number(n)))).await;
        let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        assert!(seen.lock().unwrap().len() < 10, "{seen:?}");
    }

    #[tokio::test]
    async fn one_at_fault_fails_alone() {
        let (batches, _) = doubling(|number| (number.n == 7).then(fault));
        for (n, answer) in (0..20).zip(join_all((0..20).map(|n| batches.write(number(n)))).await) {
            assert_eq!(answer.ok(), (n != 7).then_some(n * 2));
        }
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_asked_once_and_everybody_is_told() {
        let (batches, seen) = doubling(|_| Some(away()));
        for answer in join_all((0..20).map(|n| batches.write(number(n)))).await {
            assert!(matches!(answer, Err(StoreError::Unavailable { context: "testing", .. })), "{answer:?}");
        }
        let all: Vec<u32> = seen.lock().unwrap().iter().flatten().copied().collect();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn large_writes_and_two_for_one_call_do_not_share_a_batch() {
        let (batches, seen) = doubling(|_| None);
        let large = |n| Number { bytes: MOST_BYTES / 2 + 1, ..number(n) };
        join_all((0..4).map(|n| batches.write(large(n)))).await;
        assert_eq!(seen.lock().unwrap().drain(..).collect::<Vec<_>>(), [[0], [1], [2], [3]]);
        let call = CallId::generate();
        join_all((0..3).map(|n| batches.write(Number { call: call.clone(), ..number(n) }))).await;
        assert_eq!(*seen.lock().unwrap(), [[0], [1], [2]]);
    }

    #[tokio::test]
    async fn a_caller_who_went_away_before_its_turn_wrote_nothing() {
        let (batches, seen) = doubling(|_| None);
        let mut left = Box::pin(batches.write(number(2)));
        assert!(futures_util::poll!(&mut left).is_pending());
        drop(left);
        batches.write(number(3)).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [[3]]);
    }
}
