//! One connection to RabbitMQ with its queues, each on channels of its own. As long as one of them
//! answers the connection is used; those that do not are tried again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::{Connection, ConnectionProperties};
use picasso_types::InstanceId;

use super::hands::{Hands, Tag};
use super::lane::{Context as _, Lane};
use crate::{Delivery, Dispatch, QueueError};

/// The queues, by priority.
const QUEUES: [&str; 3] = ["picasso.calls.0", "picasso.calls.1", "picasso.calls.2"];
/// How often overdue deliveries and a process at rest are looked for.
const UPKEEP: Duration = Duration::from_millis(250);

pub(super) struct Session {
    /// In the receipts of this connection.
    name: String,
    connection: Connection,
    /// By priority.
    lanes: Vec<Lane>,
    hands: Arc<Hands>,
}

impl Session {
    pub(super) async fn open(url: &str, visible_after: Duration) -> Result<Self, QueueError> {
        let properties = ConnectionProperties::default().with_connection_name("picasso".into());
        let connection = Connection::connect(url, properties).await.context("connecting to RabbitMQ")?;
        let mut lanes = Vec::with_capacity(QUEUES.len());
        for (priority, name) in QUEUES.into_iter().enumerate() {
            lanes.push(Lane::open(&connection, name, priority).await?);
        }
        let session = Self {
            name: InstanceId::generate().to_string(),
            connection,
            lanes,
            hands: Hands::new(visible_after),
        };
        most(join_all(session.lanes.iter().map(Lane::declare)).await)?;
        Ok(session)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.lanes.iter().all(Lane::is_alive)
    }

    /// Whether one of the queues did not answer lately.
    pub(super) fn is_ailing(&self) -> bool {
        self.lanes.iter().any(Lane::is_ailing)
    }

    pub(super) fn hands(&self) -> &Arc<Hands> {
        &self.hands
    }

    /// Returns when the broker has confirmed all of them, or those of the queues that answer and the
    /// others have had their time.
    pub(super) async fn publish(&self, dispatches: &[Dispatch]) -> Result<(), QueueError> {
        let priorities = 0..self.lanes.len();
        if dispatches.iter().any(|dispatch| !priorities.contains(&usize::from(dispatch.priority))) {
            return Err(QueueError::broker("publishing to RabbitMQ", "a priority is 0 to 2"));
        }
        let published = self.lanes.iter().enumerate().map(|(priority, lane)| async move {
            let of_lane: Vec<_> =
                dispatches.iter().filter(|dispatch| usize::from(dispatch.priority) == priority).collect();
            if of_lane.is_empty() { Ok(()) } else { lane.publish(&of_lane).await }
        });
        join_all(published).await.into_iter().collect()
    }

    /// Has the broker deliver, if it does not already.
    pub(super) async fn consume(&self) -> Result<(), QueueError> {
        most(join_all(self.lanes.iter().map(|lane| lane.consume(&self.hands))).await)
    }

    /// Has the broker deliver no more; what was fetched ahead goes back.
    async fn rest(&self) -> Result<(), QueueError> {
        let rested: Result<(), QueueError> =
            join_all(self.lanes.iter().map(Lane::rest)).await.into_iter().collect();
        self.give_back(self.hands.give_up_fetched()).await?;
        rested
    }

    async fn give_back(&self, tags: Vec<Tag>) -> Result<(), QueueError> {
        // The last first: each goes to the head of its queue, and so the order stays.
        for (priority, number) in tags.into_iter().rev() {
            if let Some(lane) = self.lanes.get(priority) {
                lane.give_back(number).await?;
            }
        }
        Ok(())
    }

    pub(super) fn take(&self, max: u32) -> Vec<Delivery> {
        let taken = self.hands.take(max).into_iter();
        taken
            .map(|((call_id, project_id), (priority, number))| Delivery {
                call_id,
                project_id,
                priority: u8::try_from(priority).unwrap_or_default(),
                receipt: format!("{}:{priority}:{number}", self.name),
            })
            .collect()
    }

    /// The delivery of a receipt, now in nobody's hand; `None` unless it was in ours. The broker
    /// would close the channel of who acknowledges anything else.
    pub(super) fn hold_no_longer(&self, receipt: &str) -> Option<Tag> {
        let mut parts = receipt.splitn(3, ':');
        let (name, priority, number) = (parts.next()?, parts.next()?, parts.next()?);
        let tag = (priority.parse().ok()?, number.parse().ok()?);
        (name == self.name && self.hands.release(tag)).then_some(tag)
    }

    pub(super) async fn ack(&self, tags: &[Tag]) -> Result<(), QueueError> {
        for (priority, number) in tags {
            if let Some(lane) = self.lanes.get(*priority) {
                lane.ack(*number).await?;
            }
        }
        Ok(())
    }

    /// What the broker has ready in the queues that answer, and what was fetched ahead here.
    pub(super) async fn depth(&self) -> Result<u64, QueueError> {
        let depths = join_all(self.lanes.iter().map(Lane::depth)).await;
        let ready: u64 = depths.iter().flatten().sum();
        most(depths.into_iter().map(|depth| depth.map(drop)).collect())?;
        Ok(ready + self.hands.fetched_count())
    }
}

/// Fails where none of the queues answered.
fn most(outcomes: Vec<Result<(), QueueError>>) -> Result<(), QueueError> {
    let any = outcomes.iter().any(Result::is_ok);
    match outcomes.into_iter().find_map(Result::err) {
        Some(error) if !any => Err(error),
        _ => Ok(()),
    }
}

/// Returns what is overdue, and everything that was fetched ahead once nobody asks for work, as
/// long as the session is there.
pub(super) async fn upkeep(session: Weak<Session>) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        let Some(session) = session.upgrade().filter(|session| session.is_alive()) else { return };
        let returned = session.give_back(session.hands.take_overdue()).await;
        let rested = if session.hands.at_rest() { session.rest().await } else { Ok(()) };
        for error in [returned, rested].into_iter().filter_map(Result::err) {
            tracing::warn!(error = &error as &dyn std::error::Error, "deliveries could not be returned");
        }
    }
}
