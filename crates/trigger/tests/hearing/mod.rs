//! A RabbitMQ, a database with subscriptions, and what hears notifications; events are written down.

mod sink;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use picasso_engine::Catalog;
use picasso_store::{
    AppStore as _, RouteStore as _, SecretKey, SqliteSettings, SqliteStore, TriggerStore as _,
};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::oslo::OsloListener;
use picasso_testkit::process::{require, wait_until};
use picasso_trigger::Event;
use picasso_trigger::notification::{Listened, NotificationSettings, Notifications};
use picasso_types::trigger::{
    Filter, NewTrigger, Trigger, TriggerChange, TriggerKind, TriggerName, TriggerSpec, TriggerType,
};
use picasso_types::{
    App, AppName, Bounds, Config, DeliveryOptions, Digest, Format, ImageRef, Methods, NetworkMode, NewApp,
    NewRoute, ProjectId, Route, RouteAccess, RouteId, RoutePattern, RouteType, Secrets, SystemClock,
    TriggerId, VersionSpec,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use sink::Written;

/// Longest that anything may take.
const WITHIN: Duration = Duration::from_mins(2);
const MANY: u32 = 10_000;

/// Whether this machine has what is needed.
pub fn possible() -> bool {
    require("RabbitMQ and oslo.messaging", OsloListener::missing().as_deref())
}

/// A notification as `messaging` sends it.
pub fn message(event_type: &str, project: &str) -> Vec<u8> {
    let message = json!({
        "message_id": format!("id-of-{event_type}"), "publisher_id": "compute.host1", "event_type": event_type,
        "priority": "INFO", "payload": {}, "timestamp": "2026-11-22 15:19:19.219177",
        "_context_project_id": project,
    });
    message.to_string().into_bytes()
}

/// What hears, and all that it needs.
pub struct Hearing {
    pub broker: Broker,
    pub settings: NotificationSettings,
    pub sink: Arc<Written>,
    store: Arc<SqliteStore>,
    catalog: Arc<Catalog>,
    running: Option<(JoinHandle<()>, CancellationToken)>,
    changes: watch::Receiver<u64>,
    _folder: tempfile::TempDir,
}

impl Hearing {
    /// Starts all of it; returns when notifications are heard.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut NotificationSettings)) -> Self {
        let broker = Broker::start(Kind::RabbitMq).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        let settings = SqliteSettings::at(folder.path().join("store"));
        let store = SqliteStore::connect(&settings, key, Arc::new(SystemClock)).await.unwrap();
        store.upgrade().await.unwrap();
        let store = Arc::new(store);
        let catalog = Arc::new(Catalog::new(store.clone(), Duration::from_mins(1)));
        let listened =
            |exchange: &str, topic: &str| Listened { exchange: exchange.to_owned(), topic: topic.to_owned() };
        let mut settings = NotificationSettings {
            // The first broker is not there.
            urls: vec!["amqp://nobody:x@127.0.0.1:1/%2f".into(), broker.url().into()],
            listen: vec![
                listened("nova", "notifications"),
                listened("nova", "versioned_notifications"),
                // A name that nobody may declare holds up no other.
                listened("amq.nothing", "notifications"),
            ],
            priorities: ["info", "error"].map(str::to_owned).to_vec(),
            queue: "picasso".to_owned(),
            durable: false,
            quorum: false,
            prefetch: 100,
            max_parallel: 8,
            max_message_bytes: 1 << 20,
            retry_after: Duration::from_secs(2),
            give_up_after: Duration::from_hours(1),
        };
        change(&mut settings);
        let (sink, running) = Default::default();
        let (_, changes) = watch::channel(0);
        let mut hearing = Self { broker, settings, sink, store, catalog, running, changes, _folder: folder };
        hearing.listen().await;
        hearing
    }

    /// Begins to hear; returns when the queue is there and bound.
    pub async fn listen(&mut self) {
        let stopping = CancellationToken::new();
        let hearing = Notifications::new(
            self.sink.clone(),
            self.store.clone(),
            self.catalog.clone(),
            self.settings.clone(),
        );
        self.changes = hearing.changes();
        let task = tokio::spawn(hearing.run(stopping.clone()));
        self.running = Some((task, stopping));
        self.changes.wait_for(|changes| *changes > 0).await.unwrap();
        let consumed = || async {
            let queue = self.queue(&self.settings.queue).await;
            queue.is_some_and(|queue| queue.consumer_count() > 0)
        };
        wait_until(WITHIN, "a consumer of the queue", consumed).await.unwrap();
    }

    /// Asks it to stop, and waits for that.
    pub async fn stop(&mut self) {
        let (task, stopping) = self.running.take().unwrap();
        stopping.cancel();
        task.await.unwrap();
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        let (task, _) = self.running.take().unwrap();
        task.abort();
    }

    /// Makes a trigger of a project in an app of its own.
    pub async fn subscribe(&self, name: &str, project: &str, options: Value, filter: Value) -> Trigger {
        let project = ProjectId::parse(project).unwrap();
        let app = self.app(&project, name).await;
        let route = self.store.create_route(&app.id, &new_route(), Some(&Digest::of(b"one")), MANY).await;
        let new = NewTrigger {
            id: TriggerId::generate(),
            project_id: project,
            spec: spec(&app, &route.unwrap(), name, options, filter),
            enabled: true,
            next_at: None,
            hook_hash: None,
            hook_key: None,
            identity: None,
            created_by: "u".to_owned(),
        };
        let made = self.store.create_trigger(&new, MANY).await.unwrap();
        self.told_of(&made).await;
        made
    }

    /// Gives a trigger other options.
    pub async fn change(&self, trigger: &Trigger, options: Value) {
        let mut spec = trigger.spec.clone();
        spec.kind = TriggerKind::parse(TriggerType::Notification, options).unwrap();
        let change = TriggerChange {
            spec,
            state: trigger.state,
            next_at: None,
            progress: None,
            hook_key: None,
            identity: None,
            updated_by: "u".to_owned(),
        };
        self.store.update_trigger(&trigger.id, trigger.revision, &change).await.unwrap();
        self.told_of(trigger).await;
    }

    pub async fn delete(&self, trigger: &Trigger) {
        self.store.delete_trigger(&trigger.id).await.unwrap();
        self.told_of(trigger).await;
    }

    /// As the feed of changes tells it; what follows has read it when this returns.
    async fn told_of(&self, trigger: &Trigger) {
        let mut changes = self.changes.clone();
        changes.borrow_and_update();
        self.catalog.forget(&trigger.spec.app_id).await;
        changes.changed().await.unwrap();
    }

    async fn app(&self, project: &ProjectId, name: &str) -> App {
        let bounds = Bounds::default();
        let name = AppName::parse(name).unwrap();
        let new = NewApp::new(project.clone(), name, None, Config::default(), &bounds).unwrap();
        self.store.create_app(&new, MANY).await.unwrap()
    }

    /// The events of the trigger of this name so far.
    pub fn events(&self, name: &str) -> Vec<Event> {
        self.sink.events(name)
    }

    /// Their types.
    pub fn kinds(&self, name: &str) -> Vec<String> {
        self.events(name).into_iter().map(|event| event.kind).collect()
    }

    /// Waits for so many events of a trigger.
    pub async fn heard_events(&self, name: &str, many: usize) {
        let heard = || async { self.events(name).len() >= many };
        let waited = wait_until(WITHIN, format!("{many} events of {name}"), heard).await;
        assert!(waited.is_ok(), "{name} heard of {:?}: {waited:?}", self.kinds(name));
        assert_eq!(self.events(name).len(), many, "{:?}", self.kinds(name));
    }

    pub async fn channel(&self) -> Channel {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.broker.url(), properties).await.unwrap();
        connection.create_channel().await.unwrap()
    }

    async fn queue(&self, name: &str) -> Option<lapin::Queue> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await;
        channel.queue_declare(name.into(), passive, FieldTable::default()).await.ok()
    }

    /// Publishes as a service does; returns when the broker has it.
    pub async fn publish(&self, exchange: &str, routing_key: &str, body: &[u8]) {
        let channel = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent = channel.basic_publish(exchange.into(), routing_key.into(), options, body, properties);
        let confirmation = sent.await.unwrap().await.unwrap();
        assert!(matches!(confirmation, Confirmation::Ack(_)), "{confirmation:?}");
    }

    /// Waits until the broker keeps nothing for us, in hand or not.
    pub async fn is_drained(&mut self) {
        self.stop().await;
        for queue in [self.settings.queue.clone(), format!("{}.later", self.settings.queue)] {
            let kept = self.queue(&queue).await.unwrap().message_count();
            assert_eq!(kept, 0, "{queue}");
        }
    }
}

fn spec(app: &App, route: &Route, name: &str, options: Value, filter: Value) -> TriggerSpec {
    TriggerSpec {
        name: TriggerName::parse(name).unwrap(),
        app_id: app.id.clone(),
        route_id: route.id.clone(),
        selector: None,
        kind: TriggerKind::parse(TriggerType::Notification, options).unwrap(),
        filter: Filter::parse(filter).unwrap(),
        input: None,
    }
}

fn new_route() -> NewRoute {
    NewRoute {
        id: RouteId::generate(),
        pattern: RoutePattern::parse("/r").unwrap(),
        methods: Methods::any(),
        route_type: RouteType::Async,
        is_public: false,
        rate_limit: None,
        delivery: DeliveryOptions::default(),
        access: RouteAccess::default(),
        spec: VersionSpec {
            image: ImageRef::parse("hello:1").unwrap(),
            format: Format::Default,
            config: Config::parse(BTreeMap::new(), &Bounds::default()).unwrap(),
            secrets: Secrets::default(),
            memory_mb: 128,
            timeout_s: 30,
            max_concurrency: None,
            concurrency: 1,
            idle_timeout_s: 45,
            min_instances: 0,
            queue_timeout_s: 10,
            network: NetworkMode::None,
        },
        created_by: "u".to_owned(),
    }
}
