//! The brokers start, die and come back.

use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::process::require;

#[tokio::test]
async fn every_broker_starts_dies_and_comes_back() {
    for kind in [Kind::RabbitMq, Kind::Nats, Kind::Redis, Kind::ForgetfulRedis] {
        if require(&format!("{kind:?}"), Broker::missing(kind).as_deref()) {
            let mut broker = Broker::start(kind).await.unwrap();
            broker.kill().await.unwrap();
            broker.start_again().await.unwrap();
        }
    }
}
