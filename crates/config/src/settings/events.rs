//! What is heard on OpenStack's message bus.

use super::transport_url::TransportUrl;
use crate::tree::section;

/// What is listened to where nothing else is set: `control_exchange` of the services as they come, with
/// the topics that they use.
const LISTEN: [&str; 14] = [
    "openstack/notifications",
    "nova/notifications",
    "nova/versioned_notifications",
    "neutron/notifications",
    "cinder/notifications",
    "glance/notifications",
    "keystone/notifications",
    "heat/notifications",
    "swift/notifications",
    "manila/notifications",
    "octavia/notifications",
    "magnum/notifications",
    "trove/notifications",
    "picasso/notifications",
];

/// All of oslo.messaging's but `debug`.
const PRIORITIES: [&str; 6] = ["audit", "info", "warn", "error", "critical", "sample"];

section! {
    /// Notifications of OpenStack services as events; `docs/event-notifications.md` tells more.
    pub struct Events {
        /// Whether triggers of the kind `notification` hear anything.
        pub enabled: bool = false,
        /// RabbitMQ, where the services send their notifications:
        /// `rabbit://user:password@host:5672,user:password@host:5672/virtual-host`; `amqps:` encrypts
        /// and believes the system's authorities. Default: `notifications.transport_url`.
        pub transport_url: Option<TransportUrl> = None,
        /// What is listened to: `EXCHANGE/TOPIC`. An exchange that is missing is made, as a listener of
        /// oslo.messaging does.
        pub listen: Vec<String> = LISTEN.map(str::to_owned).to_vec(),
        /// The priorities that are listened to; the queue is bound with `TOPIC.PRIORITY`.
        pub priorities: Vec<String> = PRIORITIES.map(str::to_owned).to_vec(),
        /// The name of the queue that notifications are collected in: the pool of oslo.messaging. All
        /// servers of one installation have the same, two installations at one broker different ones.
        /// `POOL.later` is the queue of those that are tried again.
        pub pool: String = "picasso".to_owned(),
        /// Whether exchanges that are missing are made durable: `amqp_durable_queues` of other services.
        /// What exists is used as it is. The queues of the pool are durable in any case.
        pub durable_exchanges: bool = false,
        /// Whether the queues of the pool are made as quorum queues: `rabbit_quorum_queue` of other
        /// services. Queues that exist are used as they are.
        pub quorum_queues: bool = false,
        /// How many notifications the broker hands over before some are acknowledged.
        pub prefetch: u16 = 200,
        /// How many notifications make calls at the same time.
        pub max_parallel: u32 = 32,
        /// Larger notifications are left out, bytes.
        pub max_message_bytes: u32 = 1 << 20,
        /// How long until a notification whose call could not be accepted - the project's queue is full -
        /// is tried again, seconds.
        pub retry_after_s: u32 = 15,
        /// How long it is tried, seconds.
        pub give_up_after_s: u32 = 86_400,
    }
}

impl Events {
    /// The exchanges and topics that are listened to.
    pub fn listened(&self) -> impl Iterator<Item = (&str, &str)> {
        self.listen.iter().filter_map(|listened| listened.split_once('/'))
    }
}
