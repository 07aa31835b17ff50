//! Limits as a real Keystone has them, registered by the commands that `docs/quotas.md` shows.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{CountingProxy, LIMIT, Log, keystone_is_here, settings, settings_at, validator};
use picasso_identity::{KeystoneLimits, KeystoneSettings, LimitsSettings};
use picasso_testkit::keystone::Keystone;
use picasso_testkit::process::wait_until;
use picasso_types::{Limit, LimitSource, Limits, ProjectId, ProjectLimits, Resource};
use tracing::instrument::WithSubscriber;

/// Limits through a validator; each resource's default is 7.
fn limits(keystone: KeystoneSettings, change: impl FnOnce(&mut LimitsSettings)) -> KeystoneLimits {
    let defaults = ProjectLimits::new(|_| Limit { max: Some(7), source: LimitSource::Default });
    let mut settings = LimitsSettings {
        endpoint_id: None,
        region: None,
        cache_time: Duration::ZERO,
        keep_time: Duration::from_hours(1),
        capacity: 100,
        defaults: Arc::new(defaults),
    };
    change(&mut settings);
    KeystoneLimits::new(Arc::new(validator(keystone)), settings)
}

/// Runs `openstack` as the administrator.
async fn openstack(keystone: &Keystone, command: &str) {
    let arguments: Vec<&str> = command.split_whitespace().collect();
    let output = keystone.openstack("admin", "admin", &arguments).await.unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn project(keystone: &Keystone, name: &str) -> ProjectId {
    ProjectId::parse(&keystone.project_id(name).await.unwrap()).unwrap()
}

fn from_keystone(max: Option<u64>) -> Limit {
    Limit { max, source: LimitSource::Keystone }
}

const DEFAULT: Limit = Limit { max: Some(7), source: LimitSource::Default };

#[tokio::test]
async fn a_limit_is_the_projects_own_then_the_registered_one_then_the_settings() {
    if !keystone_is_here() {
        return;
    }
    // Registered limits are Keystone's, for all that use it: one of our own.
    let keystone = Keystone::start().await.unwrap();
    let limits = limits(settings(&keystone), |_| ());
    let (demo1, demo2) = (project(&keystone, "demo1").await, project(&keystone, "demo2").await);
    assert_eq!(limits.of(&demo1).await.of(Resource::Apps), DEFAULT, "nothing is registered");

    for command in [
        "registered limit create --service picasso --region RegionOne --default-limit 20 functions_apps",
        "limit create --service picasso --region RegionOne --project demo1 --resource-limit 100 functions_apps",
        "registered limit create --service picasso --default-limit -1 functions_routes",
    ] {
        openstack(&keystone, command).await;
    }
    assert_eq!(limits.of(&demo1).await.of(Resource::Apps), from_keystone(Some(100)));
    assert_eq!(limits.of(&demo2).await.of(Resource::Apps), from_keystone(Some(20)));
    assert_eq!(limits.of(&demo2).await.of(Resource::Routes), from_keystone(None));

    let elsewhere = self::limits(settings(&keystone), |settings| settings.region = Some("RegionTwo".into()));
    let of_demo1 = elsewhere.of(&demo1).await;
    assert_eq!((of_demo1.of(Resource::Apps), of_demo1.of(Resource::Routes)), (DEFAULT, from_keystone(None)));
}

#[tokio::test]
async fn while_keystone_is_away_its_last_word_counts_and_this_is_logged_once() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    openstack(&keystone, "registered limit create --service picasso --default-limit 3 functions_apps").await;
    let (demo1, demo2) = (project(&keystone, "demo1").await, project(&keystone, "demo2").await);
    let settings = KeystoneSettings { retries: 0, ..settings(&keystone) };
    let limits = limits(settings, |_| ());
    let log = Log::default();
    async {
        assert_eq!(limits.of(&demo1).await.of(Resource::Apps), from_keystone(Some(3)));
        keystone.stop();
        for _ in 0..3 {
            assert_eq!(limits.of(&demo1).await.of(Resource::Apps), from_keystone(Some(3)));
            assert_eq!(limits.of(&demo2).await.of(Resource::Apps), DEFAULT, "never asked for");
        }
        keystone.restart().await.unwrap();
        assert_eq!(limits.of(&demo2).await.of(Resource::Apps), from_keystone(Some(3)));
    }
    .with_subscriber(log.subscriber())
    .await;
    let text = log.text();
    assert_eq!(text.matches("does not tell the limits").count(), 1, "{text}");
    assert_eq!(text.matches("tells the limits of projects again").count(), 1, "{text}");
}

#[tokio::test]
async fn a_hundred_requests_of_one_project_ask_keystone_once() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let limits = limits(settings_at(&proxy.auth_url, &keystone.password("picasso")), |settings| {
        settings.cache_time = LIMIT;
    });
    let limits = Arc::new(limits);
    let demo1 = project(&keystone, "demo1").await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (limits, demo1) = (Arc::clone(&limits), demo1.clone());
            tokio::spawn(async move { limits.of(&demo1).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    limits.of(&demo1).await;
    assert_eq!(proxy.limits(), 1);
}

#[tokio::test]
async fn a_call_waits_for_no_answer_of_keystone() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    openstack(
        &keystone,
        "registered limit create --service picasso --default-limit 3 functions_queued_calls",
    )
    .await;
    let demo1 = project(&keystone, "demo1").await;
    let limits = limits(settings(&keystone), |settings| settings.cache_time = LIMIT);
    keystone.pause();
    assert_eq!(limits.known(&demo1).of(Resource::QueuedCalls), DEFAULT, "nobody answers");
    keystone.resume();
    let heard = || async { limits.known(&demo1).of(Resource::QueuedCalls) == from_keystone(Some(3)) };
    wait_until(LIMIT, "the limit to arrive", heard).await.unwrap();
}
