//! Notifications of a starting server: the drivers that the settings name.

use std::sync::Arc;

use picasso_api::{AnnounceSettings, Announcer, AuditSettings};
use picasso_config::Settings;
use picasso_config::settings::NotificationDriver;
use picasso_notify::{Envelope, FanOut, LogNotifier, Notifier, RabbitMqNotifier, RabbitMqSettings};

use crate::convert;

/// The drivers. Those of RabbitMQ connect in the background: a broker that is away is no reason not
/// to start. Must be called inside a Tokio runtime.
pub(crate) fn open(settings: &Settings) -> Arc<dyn Notifier> {
    let drivers = settings.notifications.drivers.iter().filter_map(|driver| match driver {
        NotificationDriver::Messaging => rabbitmq(settings, Envelope::V1),
        NotificationDriver::MessagingV2 => rabbitmq(settings, Envelope::V2),
        NotificationDriver::Log => {
            Some(Arc::new(LogNotifier::new(publisher_id(settings))) as Arc<dyn Notifier>)
        }
        NotificationDriver::Noop => None,
    });
    Arc::new(FanOut::new(drivers.collect()))
}

/// What the API tells them.
pub(crate) fn announcer(settings: &Settings, notifier: Arc<dyn Notifier>) -> Announcer {
    let told = &settings.notifications;
    if told.drivers.iter().all(|driver| *driver == NotificationDriver::Noop) {
        return Announcer::silent();
    }
    let audit = AuditSettings {
        ignore_methods: told.audit_ignore_methods.clone(),
        ignore_paths: told.audit_ignore_paths.clone(),
    };
    let announce = AnnounceSettings {
        lifecycle: told.lifecycle,
        audit: told.audit.then_some(audit),
        public_url: convert::api(settings).api_base,
    };
    Announcer::new(notifier, announce)
}

fn rabbitmq(settings: &Settings, envelope: Envelope) -> Option<Arc<dyn Notifier>> {
    let told = &settings.notifications;
    Some(Arc::new(RabbitMqNotifier::start(RabbitMqSettings {
        // The rules of the settings demand it with these drivers.
        urls: told.transport_url.as_ref()?.hosts().to_vec(),
        exchange: told.control_exchange.clone(),
        topics: told.topics.clone(),
        durable: told.durable_queues,
        envelope,
        publisher_id: publisher_id(settings),
        max_waiting: told.max_waiting as usize,
    })))
}

fn publisher_id(settings: &Settings) -> String {
    let of_machine = || format!("function.{}", rustix::system::uname().nodename().to_string_lossy());
    settings.notifications.publisher_id.clone().unwrap_or_else(of_machine)
}
