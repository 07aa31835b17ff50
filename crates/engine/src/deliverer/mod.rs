//! The deliverer: sends what ended calls have to send, at least once, until it is taken or given up.
//!
//! A delivery is a row that was made with the end of its call. Whoever takes it holds it under a
//! lease; a killed process's deliveries are taken again when that ends, or at its restart. Projects
//! share the places evenly, and no host gets more than its bound at one time.

mod callback;
mod keys;
mod parcel;
mod report;
mod send;
mod sent;
mod signature;
mod zaqar;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::counter;
use picasso_store::TakenDelivery;
use picasso_types::outgoing::{Delivery, DeliveryRoom, DeliveryState};
use picasso_types::{DeliveryId, ProjectId, random};
use url::Url;

use self::parcel::{Parcel, Receiver};
pub(crate) use self::report::Sender;
use self::sent::Sent;
pub use self::zaqar::QueueError;
use crate::engine::Engine;
use crate::failpoints;
use crate::settings::DeliverySettings;

/// Due deliveries are looked for this often, beside whenever a call ended here.
const POLL: Duration = Duration::from_millis(500);
/// How long a delivery waits whose host has its bound of them under way.
const HOST_PAUSE: Duration = Duration::from_secs(1);
/// A lease outlives its attempt by this.
const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// What is under way, by project and by host.
#[derive(Debug, Default)]
struct UnderWay {
    total: u32,
    projects: HashMap<ProjectId, u32>,
    hosts: HashMap<String, u32>,
}

/// Gives its place back when dropped.
struct Place {
    under_way: Arc<Mutex<UnderWay>>,
    project: ProjectId,
    host: String,
}

fn lock(under_way: &Mutex<UnderWay>) -> MutexGuard<'_, UnderWay> {
    // Every update leaves the counts whole.
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    fn take(
        under_way: &Arc<Mutex<UnderWay>>,
        project: &ProjectId,
        host: String,
        max_per_host: u32,
    ) -> Option<Self> {
        let mut counts = lock(under_way);
        let here = counts.hosts.entry(host.clone()).or_default();
        if *here >= max_per_host {
            return None;
        }
        *here += 1;
        counts.total += 1;
        *counts.projects.entry(project.clone()).or_default() += 1;
        Some(Self { under_way: under_way.clone(), project: project.clone(), host })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.under_way);
        counts.total -= 1;
        if let Some(count) = counts.projects.get_mut(&self.project) {
            *count -= 1;
        }
        if let Some(count) = counts.hosts.get_mut(&self.host) {
            *count -= 1;
        }
        counts.projects.retain(|_, count| *count > 0);
        counts.hosts.retain(|_, count| *count > 0);
    }
}

/// Runs until the engine stops; what was begun is the engine's to wait for.
pub(crate) async fn run(engine: Engine) {
    let shared = engine.shared.clone();
    let under_way = Arc::new(Mutex::new(UnderWay::default()));
    while !shared.stopping.is_cancelled() {
        if !take_and_send(&engine, &under_way).await {
            tokio::select! {
                () = shared.deliveries_due.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = shared.stopping.cancelled() => return,
            }
        }
    }
}

/// Takes what there is room for; whether to look again at once.
async fn take_and_send(engine: &Engine, under_way: &Arc<Mutex<UnderWay>>) -> bool {
    let parts = &engine.shared.parts;
    let settings = &parts.settings.deliveries;
    let room = {
        let counts = lock(under_way);
        DeliveryRoom {
            total: settings.max_parallel.saturating_sub(counts.total),
            per_project: settings.max_parallel_per_project,
            under_way: counts.projects.iter().map(|(id, count)| (id.clone(), *count)).collect(),
        }
    };
    if room.total == 0 {
        return false;
    }
    let lease_until = parts.clock.now().plus(settings.timeout + LEASE_MARGIN);
    let taken = match parts.store.take_deliveries(&parts.instance, lease_until, &room).await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "deliveries cannot be taken");
            return false;
        }
    };
    let (mut begun, mut postponed) = (false, Vec::new());
    for TakenDelivery { delivery, content } in taken {
        let parcel = content.as_deref().and_then(Parcel::decode);
        let host = parcel.as_ref().map(host_of).unwrap_or_default();
        match Place::take(under_way, &delivery.project_id, host, settings.max_parallel_per_host) {
            Some(place) => {
                begun = true;
                let engine = engine.clone();
                engine.shared.tasks.clone().spawn(async move {
                    deliver(&engine, &delivery, parcel).await;
                    drop(place);
                    engine.shared.deliveries_due.notify_one();
                });
            }
            None => postponed.push(delivery.id),
        }
    }
    postpone(engine, &postponed).await;
    // With all of a batch postponed, the next would be postponed, too.
    begun
}

async fn postpone(engine: &Engine, ids: &[DeliveryId]) {
    if ids.is_empty() {
        return;
    }
    let parts = &engine.shared.parts;
    let later = parts.clock.now().plus(HOST_PAUSE);
    if let Err(error) = parts.store.postpone_deliveries(ids, &parts.instance, later).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "deliveries wait for the end of their lease"
        );
    }
}

/// What the bound per host counts by.
fn host_of(parcel: &Parcel) -> String {
    match &parcel.head.to {
        Receiver::Url(url) => Url::parse(url)
            .ok()
            .map(|url| format!("{}:{:?}", url.host_str().unwrap_or_default(), url.port_or_known_default()))
            .unwrap_or_default(),
        Receiver::Route { app, .. } => format!("route:{app}"),
        Receiver::ZaqarQueue { .. } => "zaqar".to_owned(),
    }
}

async fn deliver(engine: &Engine, delivery: &Delivery, parcel: Option<Parcel>) {
    let parts = &engine.shared.parts;
    let sent = match parcel {
        None => Sent::Failed("what was to be sent cannot be read any more".to_owned()),
        Some(parcel) => {
            tokio::select! {
                sent = send::send(engine, delivery, parcel) => sent,
                // The next process sends it; the receiver may get it twice.
                () = engine.shared.ending.cancelled() => return postpone(engine, std::slice::from_ref(&delivery.id)).await,
            }
        }
    };
    failpoints::reached(failpoints::SENT);
    let now = parts.clock.now();
    let settings = &parts.settings.deliveries;
    let given_up =
        delivery.attempts >= settings.max_attempts || now >= delivery.created_at.plus(settings.max_age);
    let (outcome, reason) = match &sent {
        Sent::Delivered => ("delivered", None),
        Sent::Again(reason, _) if given_up => ("failed", Some(reason)),
        Sent::Again(reason, _) => ("again", Some(reason)),
        Sent::Failed(reason) => ("failed", Some(reason)),
    };
    counter!("picasso_deliveries_total", "kind" => delivery.kind.as_str(), "outcome" => outcome).increment(1);
    tracing::info!(
        target: "picasso::delivery",
        delivery = delivery.id.as_str(),
        call_id = delivery.call_id.as_str(),
        project = delivery.project_id.as_str(),
        kind = delivery.kind.as_str(),
        attempt = delivery.attempts,
        outcome,
        reason,
        "delivery attempted"
    );
    let kept = match sent {
        Sent::Delivered => {
            parts.store.end_delivery(&delivery.id, &parts.instance, DeliveryState::Delivered, None).await
        }
        Sent::Again(reason, after) if !given_up => {
            let pause = pause(settings, delivery.attempts, after, random::fraction());
            parts.store.put_back_delivery(&delivery.id, &parts.instance, now.plus(pause), &reason).await
        }
        Sent::Again(reason, _) | Sent::Failed(reason) => {
            parts
                .store
                .end_delivery(&delivery.id, &parts.instance, DeliveryState::Failed, Some(&reason))
                .await
        }
    };
    match kept {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!(delivery = %delivery.id, "the lease of a delivery was lost; it may come twice");
        }
        Err(error) => {
            tracing::error!(delivery = %delivery.id, error = &error as &dyn std::error::Error, "a delivery is tried again when its lease has ended");
        }
    }
}

/// How long until the next attempt: doubled with each, less up to a tenth so that many do not come
/// at one moment; at least what the receiver asked for. Never more than the longest pause.
fn pause(settings: &DeliverySettings, attempts: u32, asked: Option<Duration>, fraction: f64) -> Duration {
    let doubled = settings.retry_initial.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    let pause = doubled.min(settings.retry_max).mul_f64(1.0 - 0.1 * fraction.clamp(0.0, 1.0));
    pause.max(asked.unwrap_or_default()).min(settings.retry_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_heed_the_receiver() {
        let settings = DeliverySettings {
            retry_initial: Duration::from_secs(5),
            retry_max: Duration::from_mins(1),
            ..DeliverySettings::default()
        };
        let seconds = |attempts, asked: Option<u64>| {
            pause(&settings, attempts, asked.map(Duration::from_secs), 0.0).as_secs()
        };
        assert_eq!([seconds(1, None), seconds(2, None), seconds(3, None)], [5, 10, 20]);
        assert_eq!([seconds(5, None), seconds(1000, None)], [60, 60]);
        assert_eq!([seconds(1, Some(30)), seconds(3, Some(1)), seconds(1, Some(9999))], [30, 20, 60]);
        assert_eq!(pause(&settings, 1, None, 1.0), Duration::from_millis(4500));
    }

    #[test]
    fn a_host_gets_no_more_than_its_bound_and_a_place_comes_back() {
        let under_way = Arc::new(Mutex::new(UnderWay::default()));
        let project = ProjectId::parse("p").unwrap();
        let take = || Place::take(&under_way, &project, "h:80".to_owned(), 2);
        let (one, two) = (take().unwrap(), take().unwrap());
        assert!(take().is_none());
        assert_eq!(lock(&under_way).projects[&project], 2);
        drop(one);
        assert!(take().is_some());
        drop(two);
        let counts = lock(&under_way);
        assert_eq!((counts.total, counts.projects.len(), counts.hosts.len()), (0, 0, 0));
    }
}
