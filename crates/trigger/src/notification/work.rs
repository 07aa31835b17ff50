//! What is done with a connection while it is there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::{Channel, Consumer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::NotificationSettings;
use super::intake::{Intake, Taken};
use super::message::Message;
use super::session::{Lane, Session};
use super::set_aside::{SetAsideError, Slip, set_aside};

/// How often exchanges are bound again: one that was missing may be there, or was made anew.
const BIND_INTERVAL: Duration = Duration::from_mins(1);
/// How long calls that are being accepted may take when the server stops.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Why the work ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was to stop.
    Stopped,
    /// The connection, or a part of it, is lost.
    Lost(String),
}

/// A delivery that is dealt with.
type Dealt = Result<(Lane, u64), SetAsideError>;

struct Worker<'a> {
    session: &'a Session,
    intake: &'a Intake,
    settings: &'a NotificationSettings,
    /// Of each lane its own: what is tried again and again must not hold up what is new.
    permits: [Arc<Semaphore>; 2],
    tasks: JoinSet<Dealt>,
}

/// Takes notifications until `stopping`, or the connection is lost. What was not acknowledged by then
/// the broker delivers again.
pub(super) async fn work(
    session: &Session,
    intake: &Intake,
    settings: &NotificationSettings,
    stopping: &CancellationToken,
) -> End {
    let permits =
        [settings.max_parallel, settings.max_parallel / 4].map(|of| Arc::new(Semaphore::new(of.max(1))));
    let mut worker = Worker { session, intake, settings, permits, tasks: JoinSet::new() };
    match worker.run(stopping).await {
        Ok(()) => End::Stopped,
        Err(error) => End::Lost(error),
    }
}

impl Worker<'_> {
    async fn run(&mut self, stopping: &CancellationToken) -> Result<(), String> {
        let (told, set_aside) = (&self.settings.queue, self.settings.set_aside_queue());
        let mut told = self.session.consume(Lane::Told, told).await.map_err(told_of)?;
        let mut set_aside = self.session.consume(Lane::SetAside, &set_aside).await.map_err(told_of)?;
        let mut fresh = self.intake.book.freshness();
        let mut bind = interval_at(Instant::now() + BIND_INTERVAL, BIND_INTERVAL);
        bind.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let room = self.permits[Lane::Told as usize].clone();
        loop {
            // While nobody knows who is subscribed, the broker keeps everything.
            let is_fresh = *fresh.borrow_and_update();
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(dealt) = self.tasks.join_next() => self.dealt(dealt.map_err(told_of)?).await?,
                _ = fresh.changed() => {}
                _ = bind.tick() => {
                    if !self.session.is_alive() {
                        return Err("it is closed".to_owned());
                    }
                    self.session.bind(self.settings).await.map_err(told_of)?;
                }
                delivery = set_aside.next(), if is_fresh => self.try_again(of_consumer(delivery)?),
                delivery = next_with_room(&mut told, &room), if is_fresh => {
                    self.take(of_consumer(delivery)?).await?;
                }
            }
        }
        // What is not finished then stays with the broker.
        let _ = timeout(LAST_CALLS, async {
            while let Some(Ok(dealt)) = self.tasks.join_next().await {
                self.dealt(dealt).await?;
            }
            Ok::<_, String>(())
        })
        .await;
        Ok(())
    }

    async fn dealt(&self, dealt: Dealt) -> Result<(), String> {
        let (lane, tag) = dealt.map_err(told_of)?;
        self.session.ack(lane, tag).await.map_err(told_of)
    }

    /// A notification that a service told.
    async fn take(&mut self, delivery: Delivery) -> Result<(), String> {
        let message = Message {
            exchange: delivery.exchange.as_str(),
            routing_key: delivery.routing_key.as_str(),
            body: &delivery.data,
        };
        match self.intake.look(message) {
            None => self.dealt(Ok((Lane::Told, delivery.delivery_tag))).await,
            Some(taken) => {
                self.tasks.spawn(self.dealing(Lane::Told, delivery.delivery_tag).told(delivery, taken));
                Ok(())
            }
        }
    }

    /// One that was set aside.
    fn try_again(&mut self, delivery: Delivery) {
        self.tasks.spawn(self.dealing(Lane::SetAside, delivery.delivery_tag).set_aside(delivery));
    }

    fn dealing(&self, lane: Lane, tag: u64) -> Dealing {
        Dealing {
            tag,
            intake: self.intake.clone(),
            permits: self.permits[lane as usize].clone(),
            channel: self.session.setting_aside.clone(),
            queue: self.settings.set_aside_queue(),
            retry_after: self.settings.retry_after,
            give_up_after: self.settings.give_up_after,
        }
    }
}

/// The next delivery, taken when there is room for it.
async fn next_with_room(
    consumer: &mut Consumer,
    permits: &Semaphore,
) -> Option<Result<Delivery, lapin::Error>> {
    // Given back at once: the delivery's task takes its own.
    let _ = permits.acquire().await;
    consumer.next().await
}

/// What a task needs to deal with a delivery.
struct Dealing {
    tag: u64,
    intake: Intake,
    permits: Arc<Semaphore>,
    channel: Channel,
    queue: String,
    retry_after: Duration,
    give_up_after: Duration,
}

impl Dealing {
    async fn told(self, delivery: Delivery, taken: Taken) -> Dealt {
        let left = self.fire(taken).await;
        if !left.subscriptions.is_empty() {
            let message = Message {
                exchange: delivery.exchange.as_str(),
                routing_key: delivery.routing_key.as_str(),
                body: &delivery.data,
            };
            let slip = Slip::new(message, None, &left.subscriptions, self.retry_after);
            set_aside(&self.channel, &self.queue, &slip, &delivery.data).await?;
        }
        Ok((Lane::Told, self.tag))
    }

    async fn set_aside(self, delivery: Delivery) -> Dealt {
        let slip = Slip::of(&delivery.properties);
        tokio::time::sleep(slip.wait(self.retry_after)).await;
        let message = slip.message(&delivery.data);
        // Who has meanwhile changed or deleted the subscription is not asked again.
        let Some(mut taken) = self.intake.look(message) else { return Ok((Lane::SetAside, self.tag)) };
        taken.subscriptions.retain(|of| slip.is_for(of));
        let left = self.fire(taken).await;
        if left.subscriptions.is_empty() {
            return Ok((Lane::SetAside, self.tag));
        }
        if slip.is_older_than(self.give_up_after) {
            metrics::counter!("picasso_notification_events_total", "outcome" => "given_up").increment(1);
            for of in &left.subscriptions {
                let reason = "no call could be made for longer than events.give_up_after_s";
                self.intake.sink.give_up(&of.trigger, &left.event, reason);
            }
        } else {
            let again = Slip::new(message, Some(&slip), &left.subscriptions, self.retry_after);
            set_aside(&self.channel, &self.queue, &again, &delivery.data).await?;
        }
        Ok((Lane::SetAside, self.tag))
    }

    async fn fire(&self, taken: Taken) -> Taken {
        // Nobody closes it; a task without a permit would do no harm either.
        let _permit = self.permits.acquire().await;
        self.intake.fire(taken).await
    }
}

fn told_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn of_consumer(delivery: Option<Result<Delivery, lapin::Error>>) -> Result<Delivery, String> {
    match delivery {
        Some(Ok(delivery)) => Ok(delivery),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the broker delivers no more; was the queue deleted?".to_owned()),
    }
}
