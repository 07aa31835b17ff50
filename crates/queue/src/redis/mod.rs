//! The Redis driver: a stream with a consumer group for each priority, and a map from calls to
//! their entries, so that a second publication of a call replaces the first.
//!
//! Every step is one atomic script; the visibility time is the idle time after which `XAUTOCLAIM`
//! takes an entry over. One consumer name serves all processes: each entry is still delivered to
//! one of them, and none leaves a name behind when it dies. The keys share a hash tag, so that they
//! lie on one node of a cluster.
//!
//! Redis keeps what its persistence settings make it keep. A server that would forget acknowledged
//! writes by design is refused when connecting; one that may lose the last second is warned about.

mod persistence;

use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, RedisError, RedisResult, Script, ScriptInvocation};
use async_trait::async_trait;
use picasso_types::{CallId, ProjectId};
use tokio::sync::Notify;

use crate::waiting::{self, Look};
use crate::{Delivery, Dispatch, Queue, QueueError};

/// The streams by priority, then the map.
const KEYS: [&str; 4] =
    ["{picasso}:calls:0", "{picasso}:calls:1", "{picasso}:calls:2", "{picasso}:calls:entries"];
const STREAMS: &[&str] = &[KEYS[0], KEYS[1], KEYS[2]];
const GROUP: &str = "picasso";
/// How long the server may take for one thing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a waiting receiver looks for what other processes published.
const POLL: Duration = Duration::from_millis(100);

/// [`Queue`] in Redis.
pub struct RedisQueue {
    connection: ConnectionManager,
    visible_after: Duration,
    published: Notify,
    publish: Script,
    receive: Script,
    ack: Script,
}

impl std::fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisQueue").finish_non_exhaustive()
    }
}

impl RedisQueue {
    /// Connects to `redis://user:password@host:port/database` (or `rediss:`), looks at the server's
    /// persistence and makes the streams where they are missing. Redis 6.2 or newer.
    pub async fn connect(url: &str, visible_after: Duration) -> Result<Self, QueueError> {
        let context = "connecting to Redis";
        let client = Client::open(url).map_err(broker(context))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(2)
            .set_max_delay(Duration::from_secs(1));
        let connection = client.get_connection_manager_with_config(config).await.map_err(broker(context))?;
        persistence::check(&mut connection.clone()).await?;
        let queue = Self {
            connection,
            visible_after,
            published: Notify::new(),
            publish: Script::new(include_str!("publish.lua")),
            receive: Script::new(include_str!("receive.lua")),
            ack: Script::new(include_str!("ack.lua")),
        };
        queue.make_groups().await.map_err(broker("making the streams in Redis"))?;
        Ok(queue)
    }

    async fn make_groups(&self) -> RedisResult<()> {
        for stream in STREAMS {
            let mut connection = self.connection.clone();
            let made: RedisResult<()> = ::redis::cmd("XGROUP")
                .arg("CREATE")
                .arg(stream)
                .arg(GROUP)
                .arg("0")
                .arg("MKSTREAM")
                .query_async(&mut connection)
                .await;
            match made {
                Err(error) if error.code() == Some("BUSYGROUP") => {}
                made => made?,
            }
        }
        Ok(())
    }

    async fn take(&self, max: u32) -> Result<Look, QueueError> {
        let context = "receiving from Redis";
        let mut call = self.receive.key(STREAMS);
        call.arg(max).arg(u64::try_from(self.visible_after.as_millis()).unwrap_or(u64::MAX));
        let taken: RedisResult<Vec<String>> = self.run(&call).await;
        let taken = match taken {
            // Somebody emptied the database; the store's sweep fills the streams again.
            Err(error) if error.to_string().contains("NOGROUP") => {
                self.make_groups().await.map_err(broker("making the streams in Redis"))?;
                self.run(&call).await
            }
            taken => taken,
        };
        let taken = taken.map_err(broker(context))?;
        let mut deliveries = Vec::with_capacity(taken.len() / 3);
        for [receipt, call, project] in taken.as_chunks().0 {
            let faulty = |fault| QueueError::broker(context, fault);
            let priority = receipt.bytes().next().unwrap_or(b'0').saturating_sub(b'0');
            deliveries.push(Delivery {
                call_id: CallId::parse(call).map_err(faulty)?,
                project_id: ProjectId::stored(project).map_err(faulty)?,
                priority,
                receipt: receipt.clone(),
            });
        }
        Ok(if deliveries.is_empty() { Look::Nothing(POLL) } else { Look::Some(deliveries) })
    }

    async fn run<T: ::redis::FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> RedisResult<T> {
        call.invoke_async(&mut self.connection.clone()).await
    }
}

#[async_trait]
impl Queue for RedisQueue {
    async fn publish(&self, dispatches: &[Dispatch]) -> Result<(), QueueError> {
        let context = "publishing to Redis";
        if dispatches.is_empty() {
            return Ok(());
        }
        let mut call = self.publish.key(&KEYS[..]);
        for Dispatch { call_id, project_id, priority } in dispatches {
            if *priority > 2 {
                return Err(QueueError::broker(context, "a priority is 0 to 2"));
            }
            call.arg(*priority).arg(call_id.as_str()).arg(project_id.as_str());
        }
        self.run::<()>(&call).await.map_err(broker(context))?;
        self.published.notify_waiters();
        Ok(())
    }

    async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        waiting::poll(wait, POLL, &self.published, || self.take(max)).await
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), QueueError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let mut call = self.ack.key(&KEYS[..]);
        for delivery in deliveries {
            call.arg(&delivery.receipt).arg(delivery.call_id.as_str());
        }
        self.run(&call).await.map_err(broker("acknowledging to Redis"))
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        let mut pipeline = ::redis::pipe();
        for stream in STREAMS {
            pipeline.cmd("XLEN").arg(stream);
            pipeline.cmd("XPENDING").arg(stream).arg(GROUP);
        }
        let (low, low_held, middle, middle_held, high, high_held) = pipeline
            .query_async::<(u64, Held, u64, Held, u64, Held)>(&mut self.connection.clone())
            .await
            .map_err(broker("asking Redis for its streams"))?;
        let all = low + middle + high;
        Ok(all.saturating_sub(low_held.0 + middle_held.0 + high_held.0))
    }
}

/// What `XPENDING` answers: how many are in somebody's hands, and more.
type Held = (u64, ::redis::Value, ::redis::Value, ::redis::Value);

fn broker(context: &'static str) -> impl Fn(RedisError) -> QueueError {
    move |source| QueueError::broker(context, source)
}
