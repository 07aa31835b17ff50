//! The settings themselves. The doc comments of the fields are the reference that people read.

mod calls;
mod engine;
mod events;
mod host;
mod identity;
mod images;
mod iron;
mod key_manager;
mod keystone;
mod limits;
mod listeners;
mod mariadb_url;
mod messaging;
mod notifications;
mod objects_url;
mod outbound;
mod policy;
mod queue_url;
mod quota;
mod sandbox;
mod transport_url;
mod triggers;

pub use calls::Calls;
pub use engine::{Engine, Queue};
pub use events::Events;
pub use host::{Database, DatabaseUrl, Encryption, Log, LogFormat, Server};
pub use identity::Identity;
pub use images::{Images, Registry, RegistryCredential};
pub use iron::Iron;
pub use key_manager::KeyManager;
pub use keystone::Keystone;
pub use limits::BoundsSettings;
pub use listeners::{Admin, Api, Functions, Healthcheck, Listeners, Tls, UnixSocket};
pub use messaging::Messaging;
pub use notifications::{NotificationDriver, Notifications};
pub use objects_url::{ObjectsUrl, S3Url, SwiftUrl};
pub use outbound::Outbound;
pub use policy::{Policy, RemoteContentType};
pub use queue_url::{Broker, QueueUrl};
pub use quota::Quota;
pub use sandbox::{Egress, OciBinary, Sandbox, SandboxRuntime};
pub use transport_url::TransportUrl;
pub use triggers::Triggers;

use std::path::PathBuf;

use crate::tree::section;

section! {
    /// The whole configuration of a server.
    pub struct Settings {
        /// The process: its user, its folder, its end.
        pub server: Server,
        /// Where the server listens, and the URLs under which people reach it.
        pub listeners: Listeners,
        /// Keystone, which says who is calling.
        pub keystone: Keystone,
        /// Who may do what: files with rules in the place of the defaults, and policy servers.
        pub policy: Policy,
        /// The IronFunctions face.
        pub iron: Iron,
        /// The database of apps, routes and calls.
        pub database: Database,
        /// Encryption of what is stored.
        pub encryption: Encryption,
        /// Asynchronous calls on their way to a place where they run.
        pub queue: Queue,
        /// Records of calls, their results and logs.
        pub calls: Calls,
        /// What makes functions run by itself.
        pub triggers: Triggers,
        /// Images of functions: bounds, registries, credentials.
        pub images: Images,
        /// Sandboxes, in which functions run.
        pub sandbox: Sandbox,
        /// What functions of routes with `network: "egress"` can reach. Private, loopback,
        /// link-local, multicast and metadata addresses, port 25 and all addresses of this host
        /// are refused unless `allow` lists them.
        pub egress: Egress,
        /// Requests that tenants can aim: destinations and callbacks of ended calls, and pulls from
        /// registries. Private, loopback, link-local, multicast and metadata addresses, port 25 and
        /// all addresses of this host are refused unless `allow` lists them.
        pub outbound: Outbound,
        /// Queues of Zaqar as destinations of ended calls.
        pub messaging: Messaging,
        /// What is told on OpenStack's message bus: changes, and audit events.
        pub notifications: Notifications,
        /// What is heard on OpenStack's message bus: notifications of services, which fire triggers.
        pub events: Events,
        /// Secrets of Barbican as secrets of apps and routes.
        pub key_manager: KeyManager,
        /// How functions act in OpenStack.
        pub identity: Identity,
        /// How much runs at one time, and how large its input and output may be.
        pub engine: Engine,
        /// Maxima and defaults of apps, routes and calls.
        pub bounds: BoundsSettings,
        /// How much of everything one project may have, and whether Keystone says so.
        pub quota: Quota,
        /// Logs, which go to standard error.
        pub log: Log,
    }
}

impl Settings {
    /// The database: what is set, or the default file.
    pub fn database_url(&self) -> DatabaseUrl {
        let default = || DatabaseUrl::Sqlite(self.server.data_dir.join("picasso.db"));
        self.database.url.clone().unwrap_or_else(default)
    }

    /// The broker that notifications of services come from; `None` where nothing is heard.
    pub fn events_url(&self) -> Option<&TransportUrl> {
        let url = self.events.transport_url.as_ref().or(self.notifications.transport_url.as_ref());
        url.filter(|_| self.events.enabled)
    }

    /// The policy file, and whether there must be one.
    pub fn policy_file(&self) -> (PathBuf, bool) {
        match &self.policy.file {
            Some(file) => (file.clone(), true),
            None => (PathBuf::from("/etc/picasso/policy.yaml"), false),
        }
    }

    /// Whether the IronFunctions face is served.
    pub fn serves_iron(&self) -> bool {
        self.listeners.iron.enabled.unwrap_or(self.server.standalone)
    }

    /// The key that what is stored is encrypted under.
    pub fn encryption_key_file(&self) -> PathBuf {
        self.encryption.key_file.clone().unwrap_or_else(|| self.server.data_dir.join("encryption.key"))
    }

    /// The socket the command line talks to.
    pub fn admin_socket(&self) -> PathBuf {
        self.listeners.admin.socket.clone().unwrap_or_else(|| self.server.data_dir.join("admin.sock"))
    }
}
