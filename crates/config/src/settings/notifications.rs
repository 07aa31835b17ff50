//! What is told on OpenStack's message bus.

use super::transport_url::TransportUrl;
use crate::leaf::word_leaf;
use crate::tree::section;

word_leaf!(
    /// Where notifications go.
    NotificationDriver {
        /// RabbitMQ, the body as it is.
        Messaging = "messaging",
        /// RabbitMQ, the body in oslo.messaging's envelope 2.0.
        MessagingV2 = "messagingv2",
        /// The server's log.
        Log = "log",
        /// Nowhere.
        Noop = "noop",
    }
);

section! {
    /// Notifications; `docs/notifications.md` lists them.
    pub struct Notifications {
        /// Where they go: `messagingv2` (RabbitMQ, what most listeners expect), `messaging` (the
        /// older form), `log`, `noop`; several at once if wanted. Empty: nothing is sent.
        pub drivers: Vec<NotificationDriver> = Vec::new(),
        /// RabbitMQ, as other services of the cloud have it in their `transport_url`:
        /// `rabbit://user:password@host:5672,user:password@host:5672/virtual-host`; `amqps:` encrypts
        /// and believes the system's authorities.
        pub transport_url: Option<TransportUrl> = None,
        /// The topics; queues are named `topic.info` and `topic.error`.
        pub topics: Vec<String> = vec!["notifications".to_owned()],
        /// The exchange (`control_exchange` of other services). Listeners name it.
        pub control_exchange: String = "picasso".to_owned(),
        /// Whether an exchange and queues that are missing are made durable: `amqp_durable_queues` of
        /// other services. What exists is used as it is.
        pub durable_queues: bool = false,
        /// How this server names itself: `function.HOST`. Default: with the machine's name.
        pub publisher_id: Option<String> = None,
        /// How many notifications wait in memory while RabbitMQ does not answer; more are dropped.
        pub max_waiting: u32 = 5000,
        /// Whether changes are told: `function.app.create.start`, `.end`, `.error` and so on.
        pub lifecycle: bool = true,
        /// Whether requests are audited: `audit.http.request` and `audit.http.response` (CADF).
        pub audit: bool = true,
        /// Methods that are not audited: `GET`.
        pub audit_ignore_methods: Vec<String> = Vec::new(),
        /// URLs that are not audited, as the API's reference writes them:
        /// `/v1/{project_id}/calls/retry`. Calls of functions are only where they were refused: the
        /// others have records.
        pub audit_ignore_paths: Vec<String> = Vec::new(),
    }
}
