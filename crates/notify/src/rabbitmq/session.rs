//! One connection to RabbitMQ, with the exchange and the queues as oslo.messaging declares them.
//!
//! oslo.messaging's notifier (`_drivers/impl_rabbit.py`, `notify_send`) makes a topic exchange and,
//! for each routing key, a queue of that name bound to it, so that nothing is lost before the first
//! listener comes. What exists already is used as it is, durable, quorum or not: another service or
//! the listener may have made it, and declaring it otherwise would be refused.

use std::collections::HashSet;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use thiserror::Error;

use super::{Message, RabbitMqSettings};
use crate::Priority;

/// Why a session did not do what it was asked.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    /// The broker or the connection to it failed.
    #[error("RabbitMQ: {0}")]
    Broker(#[from] lapin::Error),
    /// The broker did not take a message.
    #[error("RabbitMQ did not take a message")]
    Refused,
}

pub(super) struct Session {
    connection: Connection,
    publishing: Channel,
    declared: HashSet<Priority>,
}

impl Session {
    pub(super) async fn open(url: &str, settings: &RabbitMqSettings) -> Result<Self, SessionError> {
        let properties = ConnectionProperties::default().with_connection_name("picasso notifications".into());
        let connection = Connection::connect(url, properties).await?;
        declare_exchange(&connection, settings).await?;
        let publishing = connection.create_channel().await?;
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut session = Self { connection, publishing, declared: HashSet::new() };
        session.declare_queues(settings, Priority::Info).await?;
        Ok(session)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.publishing.status().connected()
    }

    /// Publishes all; counts in `confirmed` those that the broker has taken for every topic.
    pub(super) async fn publish(
        &mut self,
        settings: &RabbitMqSettings,
        messages: &[Message],
        confirmed: &mut u64,
    ) -> Result<(), SessionError> {
        let mut confirms = Vec::with_capacity(messages.len());
        for message in messages {
            self.declare_queues(settings, message.priority).await?;
            for topic in &settings.topics {
                let properties = BasicProperties::default()
                    .with_content_type("application/json".into())
                    .with_content_encoding("utf-8".into())
                    .with_headers(FieldTable::default())
                    .with_delivery_mode(2)
                    .with_priority(0);
                let confirm = self
                    .publishing
                    .basic_publish(
                        settings.exchange.as_str().into(),
                        routing_key(topic, message.priority).as_str().into(),
                        BasicPublishOptions::default(),
                        &message.body,
                        properties,
                    )
                    .await?;
                confirms.push(confirm);
            }
        }
        let of_message = settings.topics.len().max(1);
        for (number, confirm) in confirms.into_iter().enumerate() {
            match confirm.await? {
                Confirmation::Ack(_) => {}
                Confirmation::Nack(_) | Confirmation::NotRequested => return Err(SessionError::Refused),
            }
            if (number + 1) % of_message == 0 {
                *confirmed += 1;
            }
        }
        Ok(())
    }

    /// Makes the queues of a priority where they are missing, once for each connection.
    async fn declare_queues(
        &mut self,
        settings: &RabbitMqSettings,
        priority: Priority,
    ) -> Result<(), SessionError> {
        if self.declared.contains(&priority) {
            return Ok(());
        }
        for topic in &settings.topics {
            declare_queue(&self.connection, settings, &routing_key(topic, priority)).await?;
        }
        self.declared.insert(priority);
        Ok(())
    }
}

fn routing_key(topic: &str, priority: Priority) -> String {
    format!("{topic}.{}", priority.in_key())
}

/// The broker closes the channel of who asks for what is missing: each question has its own.
async fn declare_exchange(connection: &Connection, settings: &RabbitMqSettings) -> Result<(), SessionError> {
    let name = settings.exchange.as_str();
    let exists = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let missing = ExchangeDeclareOptions { durable: settings.durable, ..ExchangeDeclareOptions::default() };
    let asking = connection.create_channel().await?;
    let there = asking.exchange_declare(name.into(), ExchangeKind::Topic, exists, FieldTable::default());
    if there.await.is_err() {
        let making = connection.create_channel().await?;
        making.exchange_declare(name.into(), ExchangeKind::Topic, missing, FieldTable::default()).await?;
    }
    Ok(())
}

async fn declare_queue(
    connection: &Connection,
    settings: &RabbitMqSettings,
    name: &str,
) -> Result<(), SessionError> {
    let exists = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let missing = QueueDeclareOptions { durable: settings.durable, ..QueueDeclareOptions::default() };
    let asking = connection.create_channel().await?;
    let there = asking.queue_declare(name.into(), exists, FieldTable::default()).await;
    let working = connection.create_channel().await?;
    if there.is_err() {
        working.queue_declare(name.into(), missing, FieldTable::default()).await?;
    }
    let (exchange, options) = (settings.exchange.as_str(), QueueBindOptions::default());
    Ok(working.queue_bind(name.into(), exchange.into(), name.into(), options, FieldTable::default()).await?)
}
