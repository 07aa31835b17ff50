//! Callers of an asynchronous function, who ask again until a given number of calls is accepted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use picasso_testkit::process::wait_until;
use reqwest::StatusCode;
use tokio::task::JoinSet;

use crate::Trouble;
use crate::world::World;

/// Callers at one time.
const CALLERS: usize = 16;
/// How long a caller who was refused waits.
const PAUSE: Duration = Duration::from_millis(20);
/// How long one request may take; a server whose database is cut off answers within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long all calls together may take to be accepted.
const DEADLINE: Duration = Duration::from_mins(10);

/// How long a caller waits between two calls when enough are accepted and the fault still lasts.
const IDLE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Count {
    /// The fault is over.
    mended: bool,
    accepted: Vec<String>,
    refused: usize,
    /// Requests without an answer: whether they were accepted, nobody knows.
    unanswered: usize,
}

/// What callers were told.
#[derive(Debug)]
pub struct Accepted {
    /// Ids of accepted calls.
    pub ids: Vec<String>,
    /// Clear refusals.
    pub refused: usize,
    /// No answer at all.
    pub unanswered: usize,
}

/// Running callers.
#[derive(Debug)]
pub struct Load {
    count: Arc<Mutex<Count>>,
    callers: JoinSet<()>,
}

impl Load {
    /// Starts them; they end when `calls` calls were accepted and the fault is over.
    pub fn start(world: &World, calls: usize) -> Self {
        let count = Arc::new(Mutex::new(Count::default()));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(caller(world.cloud.http.clone(), world.url.clone(), count.clone(), calls));
        }
        Self { count, callers }
    }

    /// Waits until so many were accepted.
    pub async fn accepted(&self, calls: usize) -> Result<(), Trouble> {
        let enough = || async { lock(&self.count).accepted.len() >= calls };
        wait_until(DEADLINE, format!("{calls} accepted calls"), enough).await.map_err(Into::into)
    }

    /// Waits until one more request than now was not accepted.
    pub async fn hindered(&self) -> Result<(), Trouble> {
        let hindered = |count: &Count| count.refused + count.unanswered;
        let before = hindered(&lock(&self.count));
        let now = || async { hindered(&lock(&self.count)) > before };
        wait_until(DEADLINE, "a call that is not accepted", now).await.map_err(Into::into)
    }

    /// Waits for the end of all callers; the fault is over.
    pub async fn finish(mut self) -> Result<Accepted, Trouble> {
        lock(&self.count).mended = true;
        let all = async { while self.callers.join_next().await.is_some() {} };
        tokio::time::timeout(DEADLINE, all).await.map_err(|_| "the callers did not come to an end")?;
        let count = std::mem::take(&mut *lock(&self.count));
        Ok(Accepted { ids: count.accepted, refused: count.refused, unanswered: count.unanswered })
    }
}

async fn caller(http: reqwest::Client, url: String, count: Arc<Mutex<Count>>, calls: usize) {
    loop {
        let (enough, mended) = {
            let count = lock(&count);
            (count.accepted.len() >= calls, count.mended)
        };
        match (enough, mended) {
            (true, true) => return,
            (true, false) => tokio::time::sleep(IDLE).await,
            (false, _) => {}
        }
        let answer = http.post(&url).timeout(PATIENCE).send().await;
        let id = match answer {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                // The head says that it is accepted; without the body its id is not known.
                answer.json::<serde_json::Value>().await.map_err(drop)
            }
            Ok(_) => {
                lock(&count).refused += 1;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(_) => Err(()),
        };
        match id.ok().and_then(|answer| answer["call_id"].as_str().map(str::to_owned)) {
            Some(id) => lock(&count).accepted.push(id),
            None => {
                lock(&count).unanswered += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn lock(count: &Mutex<Count>) -> std::sync::MutexGuard<'_, Count> {
    count.lock().unwrap_or_else(PoisonError::into_inner)
}
