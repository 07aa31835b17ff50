//! Rules over settings that are each readable: ranges, what is required, what excludes what.

use secrecy::ExposeSecret;

use crate::settings::{
    Calls, Database, Events, Keystone, Messaging, NotificationDriver, Notifications, ObjectsUrl, Outbound,
    Policy, Quota, Settings, Tls, Triggers, UnixSocket,
};

/// A broken rule: the setting, what is wrong with it, and a hint.
pub(crate) type BrokenRule = (String, String, Option<String>);

/// Every broken rule.
pub(crate) fn broken_rules(settings: &Settings) -> Vec<BrokenRule> {
    let mut rules = Rules::default();
    if settings.server.standalone {
        standalone(settings, &mut rules);
    } else {
        keystone(&settings.keystone, &mut rules);
    }
    iron(settings, &mut rules);
    listeners(settings, &mut rules);
    images(settings, &mut rules);
    sandbox(settings, &mut rules);
    engine(settings, &mut rules);
    database(&settings.database, &mut rules);
    calls(&settings.calls, &mut rules);
    triggers(&settings.triggers, &mut rules);
    outbound(&settings.outbound, &mut rules);
    messaging(&settings.messaging, &mut rules);
    notifications(&settings.notifications, &mut rules);
    events(settings, &mut rules);
    bounds(settings, &mut rules);
    quota(&settings.quota, &mut rules);
    rules.range("identity.max_tokens", settings.identity.max_tokens, 1, 10_000_000);
    policy(&settings.policy, &mut rules);
    rules.0
}

#[derive(Default)]
struct Rules(Vec<BrokenRule>);

impl Rules {
    fn broken(&mut self, setting: impl Into<String>, message: impl Into<String>) {
        self.0.push((setting.into(), message.into(), None));
    }

    fn hinted(&mut self, setting: &str, message: &str, hint: &str) {
        self.0.push((setting.to_owned(), message.to_owned(), Some(hint.to_owned())));
    }

    fn range<T: PartialOrd + Copy + std::fmt::Display>(&mut self, setting: &str, value: T, min: T, max: T) {
        if value < min || value > max {
            self.broken(setting, format!("must be {min} to {max}, not {value}"));
        }
    }
}

fn quota(quota: &Quota, rules: &mut Rules) {
    rules.range("quota.cache_s", quota.cache_s, 1, 3600);
    rules.range("quota.keep_s", quota.keep_s, quota.cache_s.max(1), 30 * 86_400);
    rules.range("quota.max_projects", quota.max_projects, 1, 10_000_000);
    for (name, value) in [
        ("apps", quota.apps),
        ("routes", quota.routes),
        ("triggers", quota.triggers),
        ("queued_calls", quota.queued_calls),
        ("concurrent_calls", quota.concurrent_calls),
        ("calls_per_second", quota.calls_per_second),
        ("memory_mb", quota.memory_mb),
        ("image_mb", quota.image_mb),
        ("output_mb", quota.output_mb),
    ] {
        rules.range(&format!("quota.{name}"), value, -1, i64::from(u32::MAX - 1));
    }
}

fn policy(policy: &Policy, rules: &mut Rules) {
    for path in policy.file.iter().chain(&policy.dirs) {
        if !path.is_absolute() {
            let setting = if policy.file.as_ref() == Some(path) { "policy.file" } else { "policy.dirs" };
            rules.broken(setting, format!("must begin with /, not {:?}", path.display().to_string()));
        }
    }
    if policy.dirs.len() > 10 {
        rules.broken("policy.dirs", format!("has at most 10 folders, not {}", policy.dirs.len()));
    }
    rules.range("policy.reload_s", policy.reload_s, 1, 3600);
    rules.range("policy.remote_timeout_s", policy.remote_timeout_s, 1, 60);
}

/// What does not go without Keystone.
fn standalone(settings: &Settings, rules: &mut Rules) {
    if !settings.serves_iron() {
        rules.broken(
            "listeners.iron.enabled",
            "must not be false with server.standalone: nothing would be served",
        );
    }
    if matches!(settings.calls.large_outputs, ObjectsUrl::Swift(_)) {
        rules.broken(
            "calls.large_outputs",
            "must not be in Swift with server.standalone, which has no Keystone",
        );
    }
}

fn iron(settings: &Settings, rules: &mut Rules) {
    let (listener, iron) = (&settings.listeners.iron, &settings.iron);
    let (key, in_file) = (&iron.jwt_auth_key, iron.jwt_auth_key_file.is_some());
    if key.is_some() && in_file {
        rules.broken("iron.jwt_auth_key_file", "excludes iron.jwt_auth_key");
    }
    if key.as_ref().is_some_and(|key| key.expose_secret().is_empty()) {
        rules.broken("iron.jwt_auth_key", "must not be empty");
    }
    if settings.serves_iron() && !listener.host.is_loopback() && key.is_none() && !in_file {
        rules.hinted(
            "listeners.iron.host",
            "must be a loopback address without iron.jwt_auth_key: whoever reaches the listener could run programs",
            "set a key (iron.jwt_auth_key_file, or the variable JWT_AUTH_KEY), or listen on 127.0.0.1",
        );
    }
    for (index, host) in listener.allowed_hosts.iter().enumerate() {
        let url = format!("http://{host}/").parse::<url::Url>();
        let is_host = url.is_ok_and(|url| {
            url.host_str().is_some()
                && url.path() == "/"
                && url.username().is_empty()
                && url.query().is_none()
        });
        if !is_host || host.contains(['/', '?', '#', '@']) {
            rules.broken(
                format!("listeners.iron.allowed_hosts[{index}]"),
                "must be a host, or a host and a port, like \"functions.example.org:8080\"",
            );
        }
    }
}

fn keystone(keystone: &Keystone, rules: &mut Rules) {
    match &keystone.auth_url {
        None => rules.hinted(
            "keystone.auth_url",
            "is required",
            "write the URL of your Keystone with its version, like \"https://keystone.example.org/v3\"",
        ),
        Some(url) if !url.path().trim_end_matches('/').ends_with("/v3") => rules.hinted(
            "keystone.auth_url",
            &format!("must end with /v3, not {:?}", url.path()),
            "Picasso speaks Keystone's API version 3",
        ),
        Some(_) => {}
    }
    let user = keystone.username.is_some();
    let credential = keystone.application_credential_id.is_some();
    match (user, credential) {
        (false, false) => rules.hinted(
            "keystone.username",
            "is required",
            "tokens are validated by a service user of our own: name it with password or password_file, or \
             set application_credential_id",
        ),
        (true, true) => rules.broken("keystone.application_credential_id", "excludes keystone.username"),
        _ => {}
    }
    let pairs = [
        (user, "username", "password", keystone.password.is_some(), keystone.password_file.is_some()),
        (
            credential,
            "application_credential_id",
            "application_credential_secret",
            keystone.application_credential_secret.is_some(),
            keystone.application_credential_secret_file.is_some(),
        ),
    ];
    for (named, name, secret, given, in_file) in pairs {
        match (named, given, in_file) {
            (true, false, false) => rules.broken(
                format!("keystone.{secret}"),
                format!("is required beside {name} (or {secret}_file)"),
            ),
            (_, true, true) => {
                rules.broken(format!("keystone.{secret}_file"), format!("excludes keystone.{secret}"));
            }
            (false, true, false) | (false, false, true) => {
                rules.broken(format!("keystone.{name}"), format!("is required beside {secret}"));
            }
            _ => {}
        }
    }
    if keystone.service_type.is_empty() {
        rules.broken("keystone.service_type", "must not be empty");
    }
    if keystone.cache_s < -1 || keystone.cache_s > 3600 {
        rules.broken("keystone.cache_s", format!("must be -1 to 3600, not {}", keystone.cache_s));
    }
    rules.range("keystone.max_cached_tokens", keystone.max_cached_tokens, 1, 10_000_000);
    rules.range("keystone.max_parallel_requests", keystone.max_parallel_requests, 1, 1024);
    rules.range("keystone.timeout_s", keystone.timeout_s, 1, 300);
    shared_cache(keystone, rules);
}

fn shared_cache(keystone: &Keystone, rules: &mut Rules) {
    let servers = keystone.memcached_servers.len();
    if servers > 64 {
        rules.broken("keystone.memcached_servers", format!("must be at most 64 servers, not {servers}"));
    }
    match (servers, &keystone.memcached_key, &keystone.memcached_key_file) {
        (_, Some(_), Some(_)) => {
            rules.broken("keystone.memcached_key_file", "excludes keystone.memcached_key");
        }
        (0, None, None) => {}
        (0, ..) => rules.broken("keystone.memcached_servers", "is required beside memcached_key"),
        (_, None, None) => rules.hinted(
            "keystone.memcached_key",
            "is required beside memcached_servers (or memcached_key_file)",
            "openssl rand -hex 32 makes one; all servers that share the cache have the same",
        ),
        (_, Some(key), None) if key.expose_secret().len() < 32 => {
            rules.broken("keystone.memcached_key", "must have at least 32 characters");
        }
        _ => {}
    }
    rules.range("keystone.memcached_timeout_ms", keystone.memcached_timeout_ms, 1, 10_000);
}

fn outbound(outbound: &Outbound, rules: &mut Rules) {
    rules.range("outbound.connect_timeout_s", outbound.connect_timeout_s, 1, 60);
    rules.range("outbound.timeout_s", outbound.timeout_s, 1, 300);
    rules.range("outbound.max_answer_bytes", outbound.max_answer_bytes, 0, 16 << 20);
    rules.range("outbound.max_payload_bytes", outbound.max_payload_bytes, 0, 6 << 20);
    rules.range("outbound.max_parallel", outbound.max_parallel, 1, 10_000);
    rules.range("outbound.max_parallel_per_project", outbound.max_parallel_per_project, 1, 10_000);
    rules.range("outbound.max_parallel_per_host", outbound.max_parallel_per_host, 1, 10_000);
    rules.range("outbound.max_attempts", outbound.max_attempts, 1, 1000);
    rules.range("outbound.max_age_s", outbound.max_age_s, 1, 30 * 86_400);
    rules.range("outbound.retry_initial_s", outbound.retry_initial_s, 1, 3600);
    rules.range("outbound.retry_max_s", outbound.retry_max_s, outbound.retry_initial_s, 86_400);
    rules.range("outbound.signing_key_overlap_s", outbound.signing_key_overlap_s, 0, 30 * 86_400);
}

fn messaging(messaging: &Messaging, rules: &mut Rules) {
    if !matches!(messaging.interface.as_str(), "public" | "internal") {
        rules.broken(
            "messaging.interface",
            format!("must be \"public\" or \"internal\", not {:?}", messaging.interface),
        );
    }
    rules.range("messaging.grant_s", messaging.grant_s, 1, 10 * 31_536_000);
    rules.range("messaging.max_message_bytes", messaging.max_message_bytes, 4 << 10, 16 << 20);
}

fn notifications(notifications: &Notifications, rules: &mut Rules) {
    let over_rabbitmq = |driver: &NotificationDriver| {
        matches!(driver, NotificationDriver::Messaging | NotificationDriver::MessagingV2)
    };
    if notifications.drivers.iter().any(over_rabbitmq) && notifications.transport_url.is_none() {
        rules.hinted(
            "notifications.transport_url",
            "is required by this driver",
            "write the transport_url that the other services of the cloud have: \
             \"rabbit://user:password@host:5672/\"",
        );
    }
    for (number, driver) in notifications.drivers.iter().enumerate() {
        if notifications.drivers[..number].contains(driver) {
            rules.broken("notifications.drivers", format!("names {:?} twice", driver.as_str()));
        }
    }
    // AMQP's short strings have 255 bytes; a priority is put behind a topic.
    let is_name = |name: &str| (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if notifications.topics.is_empty() || !notifications.topics.iter().all(|topic| is_name(topic)) {
        rules.broken("notifications.topics", "must be names of 1 to 200 visible ASCII characters");
    }
    if notifications.topics.len() > 16 {
        rules.broken("notifications.topics", "must be 16 at most");
    }
    if !is_name(&notifications.control_exchange) {
        rules.broken("notifications.control_exchange", "must be a name of 1 to 200 visible ASCII characters");
    }
    if notifications.publisher_id.as_deref().is_some_and(|id| !is_name(id)) {
        rules.broken("notifications.publisher_id", "must be 1 to 200 visible ASCII characters");
    }
    rules.range("notifications.max_waiting", notifications.max_waiting, 1, 100_000);
}

fn events(settings: &Settings, rules: &mut Rules) {
    let events: &Events = &settings.events;
    if events.enabled && settings.events_url().is_none() {
        rules.hinted(
            "events.transport_url",
            "is required, or notifications.transport_url",
            "write the transport_url that the other services of the cloud have: \
             \"rabbit://user:password@host:5672/\"",
        );
    }
    // AMQP's short strings have 255 bytes; something is put behind each of these.
    let is_name = |name: &str| (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    let is_listened = |listened: &String| {
        listened.split_once('/').is_some_and(|(exchange, topic)| is_name(exchange) && is_name(topic))
    };
    if !(1..=256).contains(&events.listen.len()) || !events.listen.iter().all(is_listened) {
        rules.broken("events.listen", "must be 1 to 256 of EXCHANGE/TOPIC in visible ASCII characters");
    }
    let is_priority =
        |name: &String| (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase());
    if !(1..=16).contains(&events.priorities.len()) || !events.priorities.iter().all(is_priority) {
        rules.broken("events.priorities", "must be 1 to 16 words like \"info\"");
    }
    if !is_name(&events.pool) {
        rules.broken("events.pool", "must be a name of 1 to 200 visible ASCII characters");
    }
    rules.range("events.prefetch", events.prefetch, 1, 10_000);
    rules.range("events.max_parallel", events.max_parallel, 1, 1000);
    rules.range("events.max_message_bytes", events.max_message_bytes, 4 << 10, 16 << 20);
    rules.range("events.retry_after_s", events.retry_after_s, 1, 3600);
    rules.range("events.give_up_after_s", events.give_up_after_s, events.retry_after_s, 30 * 86_400);
}

fn database(database: &Database, rules: &mut Rules) {
    rules.range("database.max_connections", database.max_connections, 2, 10_000);
    rules.range("database.serve_cached_s", database.serve_cached_s, 0, 86_400);
}

fn triggers(triggers: &Triggers, rules: &mut Rules) {
    rules.range("triggers.schedule_least_interval_s", triggers.schedule_least_interval_s, 1, 86_400);
    // Times that are late fire one by one, and a schedule of seconds has this many.
    rules.range("triggers.schedule_missed_after_s", triggers.schedule_missed_after_s, 1, 600);
}

fn calls(calls: &Calls, rules: &mut Rules) {
    rules.range("calls.keep_days", calls.keep_days, 1, 3650);
    rules.range("calls.max_per_project", calls.max_per_project, 1, 10_000_000);
    rules.range("calls.max_result_bytes", calls.max_result_bytes, 0, 1 << 30);
    rules.range("calls.max_log_bytes", calls.max_log_bytes, 0, 1 << 30);
    let (key, in_file) = (calls.s3_secret_key.is_some(), calls.s3_secret_key_file.is_some());
    if matches!(calls.large_outputs, ObjectsUrl::S3(_))
        && !(calls.s3_access_key.is_some() && (key || in_file))
    {
        rules
            .broken("calls.s3_access_key", "is required for s3:, beside s3_secret_key or s3_secret_key_file");
    }
    if key && in_file {
        rules.broken("calls.s3_secret_key_file", "excludes calls.s3_secret_key");
    }
    rules.range("calls.max_inline_bytes", calls.max_inline_bytes, 0, 960 << 10);
    rules.range("calls.record_sync_percent", calls.record_sync_percent, 0, 100);
    rules.range("calls.idempotency_window_h", calls.idempotency_window_h, 1, 24 * 365);
    rules.range("calls.max_depth", calls.max_depth, 0, 1000);
}

fn listeners(settings: &Settings, rules: &mut Rules) {
    let listeners = &settings.listeners;
    let unix = [("api", &listeners.api.unix), ("functions", &listeners.functions.unix)];
    for (face, socket) in unix {
        unix_socket(&format!("listeners.{face}.unix"), socket, rules);
    }
    if unix[0].1.path.is_some() && unix[0].1.path == unix[1].1.path {
        rules.broken("listeners.functions.unix.path", "is the same as listeners.api.unix.path");
    }
    for (face, settings, socket) in [
        ("api", &listeners.api.tls, Some(&listeners.api.unix)),
        ("functions", &listeners.functions.tls, Some(&listeners.functions.unix)),
        ("iron", &listeners.iron.tls, None),
        ("admin", &listeners.admin.tls, None),
    ] {
        tls(&format!("listeners.{face}.tls"), settings, socket, rules);
    }
    let openstack = !settings.server.standalone;
    let on_port = |socket: &UnixSocket| openstack && socket.path.is_none();
    let all = [
        ("listeners.api.port", listeners.api.address(), on_port(&listeners.api.unix)),
        ("listeners.functions.port", listeners.functions.address(), on_port(&listeners.functions.unix)),
        ("listeners.iron.port", listeners.iron.address(), settings.serves_iron()),
        ("listeners.admin.port", listeners.admin.address(), true),
    ];
    let all: Vec<_> = all.iter().filter(|(.., used)| *used).map(|(name, at, _)| (*name, *at)).collect();
    for (index, (setting, address)) in all.iter().enumerate() {
        for (other, taken) in &all[..index] {
            let same_host =
                address.ip() == taken.ip() || address.ip().is_unspecified() || taken.ip().is_unspecified();
            if address.port() != 0 && address.port() == taken.port() && same_host {
                rules.broken(*setting, format!("is the same as {other}"));
            }
        }
    }
    rules.range("listeners.api.max_body_bytes", listeners.api.max_body_bytes, 1024, 64 * 1024 * 1024);
    rules.range("listeners.api.body_timeout_s", listeners.api.body_timeout_s, 1, 3600);
    rules.range("listeners.api.header_timeout_s", listeners.api.header_timeout_s, 1, 300);
    rules.range("listeners.api.max_connections", listeners.api.max_connections, 1, 1_000_000);
    rules.range("server.shutdown_grace_s", settings.server.shutdown_grace_s, 0, 3600);
    if settings.server.user.is_empty() || settings.server.user == "root" {
        rules.hinted(
            "server.user",
            "must be a user without rights of its own, not root",
            "`useradd --system picasso` makes one",
        );
    }
}

fn tls(section: &str, tls: &Tls, unix: Option<&UnixSocket>, rules: &mut Rules) {
    match (&tls.certificate_file, &tls.key_file) {
        (Some(_), None) => rules.broken(format!("{section}.key_file"), "is required beside certificate_file"),
        (None, Some(_)) => {
            rules.broken(format!("{section}.certificate_file"), "is required beside key_file");
        }
        (Some(_), Some(_)) if unix.is_some_and(|unix| unix.path.is_some()) => rules.broken(
            format!("{section}.certificate_file"),
            "excludes unix.path: a Unix socket has no TLS, its proxy has",
        ),
        _ => {}
    }
}

fn unix_socket(section: &str, unix: &UnixSocket, rules: &mut Rules) {
    // What sockaddr_un holds beside its NUL byte.
    const LONGEST: usize = 107;
    if unix.mode_bits().is_none() {
        let told = format!("must be permissions in octal like \"0660\", not {:?}", unix.mode);
        rules.broken(format!("{section}.mode"), told);
    }
    if let Some(path) = &unix.path
        && (!path.is_absolute() || path.as_os_str().len() > LONGEST)
    {
        rules.broken(
            format!("{section}.path"),
            format!("must be an absolute path of at most {LONGEST} bytes"),
        );
    }
}

fn images(settings: &Settings, rules: &mut Rules) {
    let images = &settings.images;
    rules.range("images.max_layers", images.max_layers, 1, 128);
    rules.range("images.max_parallel", images.max_parallel, 1, 64);
    for (setting, seconds) in [
        ("images.unpack_timeout_s", images.unpack_timeout_s),
        ("images.pull_timeout_s", images.pull_timeout_s),
        ("images.idle_timeout_s", images.idle_timeout_s),
        ("images.collect_grace_s", images.collect_grace_s),
    ] {
        rules.range(setting, seconds, 1, 86_400);
    }
    for (index, registry) in images.registries.iter().enumerate() {
        let at = format!("images.registries[{index}]");
        let as_image = format!("{}/x", registry.host);
        if !picasso_types::ImageRef::parse(&as_image)
            .is_ok_and(|image| image.registry() == Some(registry.host.as_str()))
        {
            rules.broken(
                format!("{at}.host"),
                "must be a host name with a dot or a port, like \"registry.example.org:5000\"",
            );
        }
        if images.registries[..index].iter().any(|other| other.host == registry.host) {
            rules.broken(format!("{at}.host"), format!("lists {:?} twice", registry.host));
        }
        for (index, credential) in registry.credentials.iter().enumerate() {
            let at = format!("{at}.credentials[{index}]");
            if credential.project != "*" && picasso_types::ProjectId::stored(&credential.project).is_err() {
                rules.broken(format!("{at}.project"), "must be a Keystone project id, or \"*\" for all");
            }
            if credential.username.is_empty() {
                rules.broken(format!("{at}.username"), "is required");
            }
            if credential.password.is_some() == credential.password_file.is_some() {
                rules.broken(format!("{at}.password"), "is required: either password or password_file");
            }
        }
    }
}

fn sandbox(settings: &Settings, rules: &mut Rules) {
    let sandbox = &settings.sandbox;
    rules.range("sandbox.pids", sandbox.pids, 1, 32_768);
    rules.range("sandbox.tmp_mb", sandbox.tmp_mb, 1, 1024 * 1024);
    rules.range("sandbox.tmp_inodes", sandbox.tmp_inodes, 16, 10_000_000);
    rules.range("sandbox.nofile", sandbox.nofile, 16, 1_048_576);
    rules.range("sandbox.cpu_millis", sandbox.cpu_millis, 10, 1_024_000);
    rules.range("sandbox.ready_slots", sandbox.ready_slots, 0, 256);
    rules.range("sandbox.ready_egress_slots", sandbox.ready_egress_slots, 0, 64);
    rules.range("sandbox.max_slots", sandbox.max_slots, 1, 4096);
    let slots =
        u32::from(sandbox.max_slots) + u32::from(sandbox.ready_slots) + u32::from(sandbox.ready_egress_slots);
    if slots > 4096 {
        rules.broken(
            "sandbox.max_slots",
            format!("makes {slots} slots with the ready ones; at most 4096 fit"),
        );
    }
    let egress = &settings.egress;
    if egress.subnet.is_some_and(|subnet| !(8..=29).contains(&subnet.prefix_len())) {
        rules.broken("egress.subnet", "must be an IPv4 network of /8 to /29");
    }
    for (setting, list) in [("egress.allow", &egress.allow), ("egress.deny", &egress.deny)] {
        if list.len() > 512 {
            rules.broken(setting, format!("must be at most 512 destinations, not {}", list.len()));
        }
    }
    if egress.dns.len() > 3 {
        rules.broken("egress.dns", "must be at most 3 addresses; a resolv.conf holds no more");
    }
    rules.range("egress.max_connections", egress.max_connections, 1, 1_000_000);
    rules.range("egress.bandwidth_mbit", egress.bandwidth_mbit, 1, 100_000);
}

fn engine(settings: &Settings, rules: &mut Rules) {
    let engine = &settings.engine;
    if let Some(memory) = engine.memory_mb {
        rules.range("engine.memory_mb", memory, 64, 1 << 30);
    }
    rules.range("engine.memory_overcommit", engine.memory_overcommit, 0.1, 100.0);
    rules.range("engine.cpu_overcommit", engine.cpu_overcommit, 0.1, 1000.0);
    rules.range("engine.project_share_percent", engine.project_share_percent, 1, 100);
    rules.range("engine.max_buffered_body_bytes", engine.max_buffered_body_bytes, 1024, 1 << 30);
    rules.range("engine.max_streamed_body_bytes", engine.max_streamed_body_bytes, 1024, 1 << 40);
    rules.range("engine.max_result_bytes", engine.max_result_bytes, 1024, 1 << 30);
    rules.range("engine.max_output_bytes", engine.max_output_bytes, 1024, 1 << 40);
    rules.range("engine.max_log_bytes", engine.max_log_bytes, 0, 1 << 30);
    rules.range("engine.max_waiting_calls", engine.max_waiting_calls, 0, 1_000_000);
    if settings.queue.url.is_some() && settings.queue.url_file.is_some() {
        rules.broken("queue.url_file", "excludes queue.url");
    }
    rules.range("queue.workers", settings.queue.workers, 1, 10_000);
    rules.range("queue.async_share_percent", settings.queue.async_share_percent, 1, 100);
    rules.range("queue.max_calls", settings.queue.max_calls, 1, 1_000_000_000);
    rules.range("queue.lease_s", settings.queue.lease_s, 5, 3600);
    rules.range("queue.retry_delay_s", settings.queue.retry_delay_s, 1, 3600);
    rules.range("queue.max_age_s", settings.queue.max_age_s, 1, 30 * 86_400);
    rules.range("queue.max_lost_runs", settings.queue.max_lost_runs, 1, 1000);
}

fn bounds(settings: &Settings, rules: &mut Rules) {
    let bounds = &settings.bounds;
    rules.range("bounds.min_memory_mb", bounds.min_memory_mb, 4, bounds.max_memory_mb);
    rules.range(
        "bounds.default_memory_mb",
        bounds.default_memory_mb,
        bounds.min_memory_mb,
        bounds.max_memory_mb,
    );
    rules.range("bounds.default_timeout_s", bounds.default_timeout_s, 1, bounds.max_timeout_s);
    rules.range("bounds.max_concurrency", bounds.max_concurrency, 1, 100_000);
    rules.range("bounds.max_sandbox_concurrency", bounds.max_sandbox_concurrency, 1, 100_000);
    rules.range(
        "bounds.default_sandbox_concurrency",
        bounds.default_sandbox_concurrency,
        1,
        bounds.max_sandbox_concurrency,
    );
    rules.range("bounds.max_idle_timeout_s", bounds.max_idle_timeout_s, 0, 30 * 86_400);
    rules.range("bounds.default_idle_timeout_s", bounds.default_idle_timeout_s, 0, bounds.max_idle_timeout_s);
    rules.range("bounds.max_min_instances", bounds.max_min_instances, 0, 100_000);
    rules.range("bounds.max_retry_attempts", bounds.max_retry_attempts, 1, 1_000);
    rules.range("bounds.max_retry_backoff_s", bounds.max_retry_backoff_s, 1, 30 * 86_400);
    rules.range("bounds.max_call_age_s", bounds.max_call_age_s, 1, 365 * 86_400);
    rules.range("bounds.max_delay_s", bounds.max_delay_s, 0, 365 * 86_400);
    rules.range(
        "bounds.default_queue_timeout_s",
        bounds.default_queue_timeout_s,
        0,
        bounds.max_queue_timeout_s,
    );
    rules.range("bounds.max_aliases_per_route", bounds.max_aliases_per_route, 0, 1000);
    rules.range("bounds.max_kept_versions", bounds.max_kept_versions, 1, 10_000);
}
