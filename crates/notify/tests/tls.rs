//! A broker over TLS: told where its certificate is of an authority of the system's, and of no other.
//!
//! The system's authorities are read from the file that `SSL_CERT_FILE` names, if it is set; so this test
//! runs itself again as a process of its own for each.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::process::Command;
use std::time::Duration;

use picasso_notify::{Envelope, Notification, Notifier as _, Priority, RabbitMqNotifier, RabbitMqSettings};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::keystone::install_tls_provider;
use picasso_testkit::oslo::OsloListener;
use picasso_testkit::process::{Process, TestDir, require, wait_until};
use picasso_testkit::tls::Certificates;
use serde_json::Map;

const WITHIN: Duration = Duration::from_mins(2);
const URL: &str = "BROKER_URL";
const EVENT: &str = "EVENT_TYPE";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other test, with an environment of its own"]
async fn the_broker_of_the_environment_is_told() {
    tracing_subscriber::fmt().init();
    install_tls_provider();
    let notifier = RabbitMqNotifier::start(RabbitMqSettings {
        urls: vec![std::env::var(URL).unwrap().into()],
        exchange: "picasso".to_owned(),
        topics: vec!["notifications".to_owned()],
        durable: false,
        envelope: Envelope::V2,
        publisher_id: "function.here".to_owned(),
        max_waiting: 10,
    });
    let event = std::env::var(EVENT).unwrap();
    notifier.notify(&Notification::new(event, Priority::Info, Map::new(), Map::new()));
    notifier.flush(WITHIN).await;
}

/// A process that believes this authority only and tells the broker of `event`.
fn teller(broker: &Broker, authority: &Certificates, event: &str, dir: &TestDir) -> Process {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--ignored", "--exact", "--nocapture", "the_broker_of_the_environment_is_told"]);
    again.env(URL, broker.url()).env(EVENT, event).env("SSL_CERT_FILE", authority.authority());
    Process::spawn(event, dir.path(), again).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_told_over_tls_where_its_authority_is_known() {
    if !require("RabbitMQ and oslo.messaging", OsloListener::missing().as_deref()) {
        return;
    }
    let (ours, other) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let broker = Broker::start_with_tls(Kind::RabbitMq, &ours).await.unwrap();
    let listener = OsloListener::start_with_tls(&broker, "picasso", &ours).await.unwrap();
    let dir = TestDir::new("notify-tls").unwrap();
    let refusing = teller(&broker, &other, "not.believed", &dir);
    let refused = || async { refusing.output().to_lowercase().contains("certificate") };
    wait_until(WITHIN, "the refusal of the certificate", refused).await.unwrap();
    assert!(!refusing.output().contains(broker.password()), "{}", refusing.output());
    let mut believing = teller(&broker, &ours, "believed", &dir);
    let heard = listener.heard_until("the event", |heard| heard["event_type"] == "believed").await;
    let heard = heard.unwrap();
    assert_eq!(heard.len(), 1, "the other authority's process has told nothing: {heard:?}");
    assert!(believing.wait(WITHIN).await.unwrap().success(), "{}", believing.output());
}
