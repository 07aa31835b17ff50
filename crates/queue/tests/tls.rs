//! Brokers over TLS: one whose certificate is of an authority of the system's is believed, another is
//! not.
//!
//! The system's authorities are read from the file that `SSL_CERT_FILE` names, if it is set; so this test
//! runs itself again as a process of its own for each.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]

use std::process::Command;
use std::time::Duration;

use picasso_queue::{NatsQueue, Queue, QueueError, RabbitMqQueue, RedisQueue};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::keystone::install_tls_provider;
use picasso_testkit::process::require;
use picasso_testkit::tls::Certificates;

const URL: &str = "BROKER_URL";
const VISIBLE: Duration = Duration::from_secs(30);

/// Ends well when the broker of the environment is believed.
async fn believe(url: &str) -> Result<(), QueueError> {
    let queue: Box<dyn Queue> = match url.split(':').next() {
        Some("amqps") => Box::new(RabbitMqQueue::connect(url, VISIBLE).await?),
        Some("tls") => Box::new(NatsQueue::connect(url, VISIBLE).await?),
        Some("rediss") => Box::new(RedisQueue::connect(url, VISIBLE).await?),
        _ => panic!("no URL with TLS"),
    };
    queue.depth().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other tests, with an environment of its own"]
async fn the_broker_of_the_environment_is_believed() {
    install_tls_provider();
    believe(&std::env::var(URL).unwrap()).await.unwrap();
}

/// What a process says that trusts this authority only; `Ok` when it believes the broker.
async fn told_by(broker: &Broker, authority: &Certificates) -> Result<(), String> {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--ignored", "--exact", "the_broker_of_the_environment_is_believed"]);
    again.env(URL, broker.url()).env("SSL_CERT_FILE", authority.authority());
    let output = tokio::task::spawn_blocking(move || again.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        assert!(said.contains("1 passed"), "{said}");
        return Ok(());
    }
    Err(said)
}

async fn only_a_known_authority_is_believed(kind: Kind) {
    if !require(&format!("{kind:?}"), Broker::missing(kind).as_deref()) {
        return;
    }
    let (ours, other) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let broker = Broker::start_with_tls(kind, &ours).await.unwrap();
    told_by(&broker, &ours).await.unwrap_or_else(|said| panic!("{said}"));
    let refused = told_by(&broker, &other).await.unwrap_err();
    assert!(refused.to_lowercase().contains("certificate"), "{refused}");
    assert!(!refused.contains(broker.password()), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_is_believed_by_a_known_authority_only() {
    only_a_known_authority_is_believed(Kind::RabbitMq).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_believed_by_a_known_authority_only() {
    only_a_known_authority_is_believed(Kind::Nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_believed_by_a_known_authority_only() {
    only_a_known_authority_is_believed(Kind::Redis).await;
}
