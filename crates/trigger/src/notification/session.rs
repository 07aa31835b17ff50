//! One connection to RabbitMQ, with the queues as a pool of oslo.messaging has them.
//!
//! oslo.messaging's listeners with a pool (`AMQPDriverBase.listen_for_notifications`) bind one queue,
//! named as the pool, to each exchange with the routing keys `topic.priority`. So do we: nobody else
//! reads it, and every other listener gets its own copy of each notification. What exists already is
//! used as it is: another service, or the operator, may have made it.

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};

use super::NotificationSettings;

/// Deliveries of notifications that were set aside, in hand at a time.
const SET_ASIDE_PREFETCH: u16 = 64;

pub(super) struct Session {
    connection: Connection,
    /// Where notifications come, and those that were set aside.
    channels: [Channel; 2],
    /// Where notifications are set aside; the broker confirms each.
    pub(super) setting_aside: Channel,
}

/// Which of the two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// What services told.
    Told = 0,
    /// What was set aside.
    SetAside = 1,
}

impl Session {
    /// Connects, and makes what is missing.
    pub(super) async fn open(url: &str, settings: &NotificationSettings) -> Result<Self, lapin::Error> {
        let properties = ConnectionProperties::default().with_connection_name("picasso events".into());
        let connection = Connection::connect(url, properties).await?;
        for queue in [settings.queue.clone(), settings.set_aside_queue()] {
            declare_queue(&connection, &queue, settings.quorum).await?;
        }
        let told = connection.create_channel().await?;
        told.basic_qos(settings.prefetch, BasicQosOptions::default()).await?;
        let set_aside = connection.create_channel().await?;
        set_aside.basic_qos(SET_ASIDE_PREFETCH, BasicQosOptions::default()).await?;
        let setting_aside = connection.create_channel().await?;
        setting_aside.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channels: [told, set_aside], setting_aside })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected()
            && self.channels.iter().chain([&self.setting_aside]).all(|channel| channel.status().connected())
    }

    /// Has the broker deliver from one of the queues.
    pub(super) async fn consume(&self, lane: Lane, queue: &str) -> Result<Consumer, lapin::Error> {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        self.channels[lane as usize].basic_consume(queue.into(), "picasso".into(), options, arguments).await
    }

    /// Does not wait for the broker.
    pub(super) async fn ack(&self, lane: Lane, tag: u64) -> Result<(), lapin::Error> {
        self.channels[lane as usize].basic_ack(tag, BasicAckOptions::default()).await.map(drop)
    }

    /// Binds the queue to every exchange that is there or can be made; those that cannot are told, and
    /// hold up no other. How many are bound.
    pub(super) async fn bind(&self, settings: &NotificationSettings) -> Result<usize, lapin::Error> {
        let mut bound = 0;
        for listened in &settings.listen {
            let exchange = listened.exchange.as_str();
            let binding = async {
                declare_exchange(&self.connection, exchange, settings.durable).await?;
                let channel = self.connection.create_channel().await?;
                for priority in &settings.priorities {
                    let key = format!("{}.{priority}", listened.topic);
                    let (queue, options) = (settings.queue.as_str().into(), QueueBindOptions::default());
                    channel
                        .queue_bind(
                            queue,
                            exchange.into(),
                            key.as_str().into(),
                            options,
                            FieldTable::default(),
                        )
                        .await?;
                }
                Ok::<_, lapin::Error>(())
            };
            match binding.await {
                Ok(()) => bound += 1,
                Err(error) if !self.connection.status().connected() => return Err(error),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    exchange,
                    "an exchange cannot be listened to; trying again in a minute"
                ),
            }
        }
        Ok(bound)
    }

    /// Gives everything that is in hand back to the broker.
    pub(super) async fn close(self) {
        // Whether or not it hears of it: it notices the end of the connection.
        let _ = self.connection.close(200, "stopping".into()).await;
    }
}

/// The broker closes the channel of who asks for what is missing: each question has its own.
async fn declare_exchange(connection: &Connection, name: &str, durable: bool) -> Result<(), lapin::Error> {
    let exists = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let missing = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
    let asking = connection.create_channel().await?;
    let there = asking.exchange_declare(name.into(), ExchangeKind::Topic, exists, FieldTable::default());
    if there.await.is_err() {
        let making = connection.create_channel().await?;
        making.exchange_declare(name.into(), ExchangeKind::Topic, missing, FieldTable::default()).await?;
    }
    Ok(())
}

async fn declare_queue(connection: &Connection, name: &str, quorum: bool) -> Result<(), lapin::Error> {
    let exists = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asking = connection.create_channel().await?;
    if asking.queue_declare(name.into(), exists, FieldTable::default()).await.is_err() {
        let mut arguments = FieldTable::default();
        if quorum {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        }
        let making = connection.create_channel().await?;
        making.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
    }
    Ok(())
}
