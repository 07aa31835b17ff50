//! The queue of a starting server: the broker, where one is configured, else a SQLite file of this
//! server's own, which `database` opens.

use std::sync::Arc;

use picasso_config::Settings;
use picasso_config::settings::Broker;
use picasso_queue::{NatsQueue, Queue, QueueError, RabbitMqQueue, RedisQueue};

use crate::database;
use crate::failure::ServerFailure;
use crate::queue_hold::visible_after;

/// The queue that the settings name.
pub(crate) async fn open(settings: &Settings) -> Result<Arc<dyn Queue>, ServerFailure> {
    let Some(url) = &settings.queue.url else {
        return Ok(Arc::new(database::open_queue(settings).await?));
    };
    let visible_after = visible_after(settings);
    let connected: Result<Arc<dyn Queue>, QueueError> = match url.broker {
        Broker::RabbitMq => {
            RabbitMqQueue::connect(url.expose(), visible_after).await.map(|q| Arc::new(q) as _)
        }
        Broker::Nats => NatsQueue::connect(url.expose(), visible_after).await.map(|q| Arc::new(q) as _),
        Broker::Redis => RedisQueue::connect(url.expose(), visible_after).await.map(|q| Arc::new(q) as _),
    };
    connected.map_err(|error| {
        ServerFailure::new(format!("cannot use the broker {url}"))
            .because(error)
            .hint("queue.url names it; it must be reachable, and the user of the URL allowed to use it")
    })
}
