//! Settings become the constructor arguments of the other crates. Nowhere else are the two met.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use picasso_api::{ApiSettings, IronSettings};
use picasso_config::Settings;
use picasso_config::settings::RemoteContentType;
use picasso_engine::{CallKeeping, DeliverySettings, EngineSettings};
use picasso_identity::policy::{PolicyFiles, RemoteFormat, RemoteSettings};
use picasso_identity::{KeystoneSettings, ServiceCredentials, SharedCacheSettings};
use picasso_image::{ImageSettings, RegistryCredential, RegistrySettings};
use picasso_outbound::{ClientSettings, Guard, GuardedClient};
use picasso_sandbox::egress::EgressSettings;
use picasso_sandbox::supervisor::{NativeSettings, UnixSocketSettings};
use picasso_types::{Bounds, Limits, ProjectId};

use crate::failure::ServerFailure;

/// Left to the system and to ourselves when the memory for functions is not set, MiB.
const RESERVED_MB: u64 = 512;
/// What a message to Zaqar has around the report, bytes, rounded up.
const MESSAGE_FRAME: u32 = 64;

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// `runtime` is the OCI runtime's program, where one is to start the functions.
pub(crate) fn native(settings: &Settings, runtime: Option<PathBuf>) -> NativeSettings {
    let sandbox = &settings.sandbox;
    NativeSettings {
        ready_slots: sandbox.ready_slots,
        ready_egress_slots: sandbox.ready_egress_slots,
        max_slots: sandbox.max_slots,
        runtime,
    }
}

/// `None` where no subnet is set: routes cannot ask for egress then.
pub(crate) fn egress(settings: &Settings, instance: &str) -> Option<EgressSettings> {
    let egress = &settings.egress;
    Some(EgressSettings {
        instance: instance.to_owned(),
        subnet: egress.subnet?,
        dns: egress.dns.clone(),
        allow: egress.allow.clone(),
        deny: egress.deny.clone(),
        max_connections: egress.max_connections,
        bytes_per_second: u64::from(egress.bandwidth_mbit) * 125_000,
    })
}

pub(crate) fn keystone(settings: &Settings) -> Result<KeystoneSettings, ServerFailure> {
    let keystone = &settings.keystone;
    let missing = |what| ServerFailure::new(format!("keystone.{what} is missing"));
    let auth_url = keystone.auth_url.as_ref().ok_or_else(|| missing("auth_url"))?;
    let credentials = match (&keystone.username, &keystone.application_credential_id) {
        (Some(username), _) => ServiceCredentials::Password {
            username: username.clone(),
            user_domain: keystone.user_domain.clone(),
            password: keystone.password.clone().ok_or_else(|| missing("password"))?,
            project: keystone.project.clone(),
            project_domain: keystone.project_domain.clone(),
        },
        (None, Some(id)) => ServiceCredentials::ApplicationCredential {
            id: id.clone(),
            secret: keystone
                .application_credential_secret
                .clone()
                .ok_or_else(|| missing("application_credential_secret"))?,
        },
        (None, None) => return Err(missing("username")),
    };
    let request_timeout = seconds(keystone.timeout_s);
    let defaults = KeystoneSettings::new(auth_url.as_str().trim_end_matches('/'), credentials);
    Ok(KeystoneSettings {
        public_auth_url: keystone.auth_uri.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        service_type: keystone.service_type.clone(),
        service_token_roles: keystone.service_token_roles.clone(),
        service_token_roles_required: keystone.service_token_roles_required,
        ca_file: keystone.ca_file.clone(),
        cache_time: KeystoneSettings::cache_time_of(keystone.cache_s),
        shared_cache: keystone.memcached_key.as_ref().map(|key| SharedCacheSettings {
            timeout: Duration::from_millis(keystone.memcached_timeout_ms.into()),
            ..SharedCacheSettings::new(keystone.memcached_servers.clone(), key.clone())
        }),
        cache_capacity: keystone.max_cached_tokens.into(),
        max_parallel: keystone.max_parallel_requests as usize,
        connect_timeout: defaults.connect_timeout.min(request_timeout),
        request_timeout,
        total_timeout: request_timeout * 2,
        ..defaults
    })
}

/// `limits` say how much disk projects may use.
pub(crate) fn images(settings: &Settings, limits: Arc<dyn Limits>) -> Result<ImageSettings, ServerFailure> {
    let images = &settings.images;
    let registries = images.registries.iter().map(registry).collect::<Result<_, _>>()?;
    Ok(ImageSettings {
        max_archive_bytes: images.max_archive_bytes,
        max_layers: images.max_layers as usize,
        max_unpacked_bytes: images.max_unpacked_bytes,
        max_inodes: images.max_inodes,
        unpack_timeout: seconds(images.unpack_timeout_s),
        pull_timeout: seconds(images.pull_timeout_s),
        idle_timeout: seconds(images.idle_timeout_s),
        limits,
        max_names: images.max_names as usize,
        max_parallel: images.max_parallel as usize,
        collect_grace: seconds(images.collect_grace_s),
        registries,
        guard: guard(settings),
        ..ImageSettings::default()
    })
}

/// What requests that tenants can aim may reach.
pub(crate) fn guard(settings: &Settings) -> Guard {
    Guard::new(settings.outbound.allow.clone(), settings.outbound.deny.clone())
}

/// Where rules are that take the place of the defaults.
pub(crate) fn policy_files(settings: &Settings) -> PolicyFiles {
    let (file, is_required) = settings.policy_file();
    PolicyFiles { file, is_required, dirs: settings.policy.dirs.clone() }
}

/// How policy servers are asked.
pub(crate) fn policy_remote(settings: &Settings) -> RemoteSettings {
    let format = match settings.policy.remote_content_type {
        RemoteContentType::Form => RemoteFormat::Form,
        RemoteContentType::Json => RemoteFormat::Json,
    };
    RemoteSettings { format, timeout: seconds(settings.policy.remote_timeout_s) }
}

/// A client for policy servers: their URLs hold values that tenants choose.
pub(crate) fn policy_client(settings: &Settings) -> Result<GuardedClient, ServerFailure> {
    let policy = &settings.policy;
    let timeout = seconds(policy.remote_timeout_s);
    let ca_pem = policy.remote_ca_file.as_ref().map(|path| ca_pem(path, "policy.remote_ca_file"));
    GuardedClient::new(&ClientSettings {
        guard: Guard::new(policy.remote_allow.clone(), settings.outbound.deny.clone()),
        connect_timeout: timeout.min(seconds(settings.outbound.connect_timeout_s)),
        head_timeout: timeout,
        read_timeout: timeout,
        ca_pem: ca_pem.transpose()?,
        ..ClientSettings::default()
    })
    .map_err(|error| ServerFailure::new("policy.remote_ca_file cannot be used").because(error))
}

/// Certificates of a file that `setting` names.
fn ca_pem(path: &Path, setting: &str) -> Result<Vec<u8>, ServerFailure> {
    std::fs::read(path).map_err(|error| {
        ServerFailure::new(format!("cannot read {}", path.display()))
            .because(error)
            .hint(format!("{setting} names it"))
    })
}

/// A client for what ended calls send.
pub(crate) fn client(settings: &Settings, guard: Guard) -> Result<GuardedClient, ServerFailure> {
    let outbound = &settings.outbound;
    let ca_pem = outbound.ca_file.as_ref().map(|path| ca_pem(path, "outbound.ca_file"));
    GuardedClient::new(&ClientSettings {
        guard,
        connect_timeout: seconds(outbound.connect_timeout_s),
        head_timeout: seconds(outbound.timeout_s),
        read_timeout: seconds(outbound.timeout_s),
        ca_pem: ca_pem.transpose()?,
        ..ClientSettings::default()
    })
    .map_err(|error| ServerFailure::new("outbound.ca_file cannot be used").because(error))
}

fn registry(registry: &picasso_config::settings::Registry) -> Result<RegistrySettings, ServerFailure> {
    let ca_pem = registry
        .ca_file
        .as_ref()
        .map(|path| {
            std::fs::read(path).map_err(|error| {
                ServerFailure::new(format!("cannot read {}", path.display()))
                    .because(error)
                    .hint(format!("ca_file of the registry {} names it", registry.host))
            })
        })
        .transpose()?;
    let credentials = registry.credentials.iter().filter_map(|credential| {
        Some(RegistryCredential {
            project: match credential.project.as_str() {
                "*" => None,
                id => Some(ProjectId::stored(id).ok()?),
            },
            username: credential.username.clone(),
            password: credential.password.clone()?,
        })
    });
    Ok(RegistrySettings {
        host: registry.host.clone(),
        insecure: registry.insecure_http,
        allow_private: registry.allow_private,
        also_hosts: registry.also_hosts.clone(),
        ca_pem,
        credentials: credentials.collect(),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "memory and CPU times a bounded, positive factor; a fraction of one MiB does not matter"
)]
pub(crate) fn engine(settings: &Settings) -> EngineSettings {
    let (engine, sandbox) = (&settings.engine, &settings.sandbox);
    let (queue, calls, outbound) = (&settings.queue, &settings.calls, &settings.outbound);
    let messaging = &settings.messaging;
    let memory = engine.memory_mb.unwrap_or_else(|| machine_memory_mb().saturating_sub(RESERVED_MB).max(64));
    let memory_mb = (memory as f64 * engine.memory_overcommit) as u64;
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let cpu_millis = (cpus as f64 * 1000.0 * engine.cpu_overcommit) as u64;
    let running =
        cpu_millis * u64::from(queue.async_share_percent) / 100 / u64::from(sandbox.cpu_millis.max(1));
    let places = usize::try_from(running).unwrap_or(usize::MAX).clamp(1, (queue.workers as usize).max(1));
    EngineSettings {
        memory_mb,
        project_memory_mb: (memory_mb * u64::from(engine.project_share_percent) / 100).max(1),
        cpu_millis,
        call_cpu_millis: sandbox.cpu_millis,
        max_waiting_calls: engine.max_waiting_calls as usize,
        pids: sandbox.pids,
        tmp_mb: sandbox.tmp_mb.into(),
        tmp_inodes: sandbox.tmp_inodes,
        nofile: sandbox.nofile,
        max_output_bytes: engine.max_output_bytes,
        max_async_body_bytes: engine.max_buffered_body_bytes,
        max_log_bytes: engine.max_log_bytes,
        start_timeout: seconds(engine.start_timeout_s),
        freeze_after: Duration::from_millis(engine.freeze_after_ms.into()),
        stop_grace: seconds(engine.stop_grace_s),
        async_places: places,
        async_project_places: (places * engine.project_share_percent as usize / 100).max(1),
        async_cpu_percent: queue.async_share_percent,
        max_queued: queue.max_calls,
        lease: seconds(queue.lease_s),
        async_retry_delay: seconds(queue.retry_delay_s),
        async_max_age: seconds(queue.max_age_s),
        async_max_lost_runs: queue.max_lost_runs,
        max_call_depth: calls.max_depth,
        retention_interval: Duration::from_mins(1),
        max_kept_versions: settings.bounds.max_kept_versions,
        deliveries: DeliverySettings {
            timeout: seconds(outbound.timeout_s),
            max_answer_bytes: outbound.max_answer_bytes as usize,
            max_payload_bytes: outbound.max_payload_bytes as usize,
            max_message_bytes: (messaging.max_message_bytes - MESSAGE_FRAME) as usize,
            grant_for: seconds(messaging.grant_s),
            max_parallel: outbound.max_parallel,
            max_parallel_per_project: outbound.max_parallel_per_project,
            max_parallel_per_host: outbound.max_parallel_per_host,
            max_attempts: outbound.max_attempts,
            max_age: seconds(outbound.max_age_s),
            retry_initial: seconds(outbound.retry_initial_s),
            retry_max: seconds(outbound.retry_max_s),
            signing_key_overlap: seconds(outbound.signing_key_overlap_s),
        },
        calls: CallKeeping {
            keep: Duration::from_secs(u64::from(calls.keep_days) * 86_400),
            max_per_project: calls.max_per_project,
            max_inline_bytes: calls.max_inline_bytes as usize,
            max_result_bytes: calls.max_result_bytes as usize,
            max_log_bytes: calls.max_log_bytes as usize,
            record_sync_percent: if calls.record_sync { calls.record_sync_percent } else { 0 },
            idempotency_window: Duration::from_secs(u64::from(calls.idempotency_window_h) * 3600),
        },
    }
}

/// How long a route may be served from memory while the database is away.
pub(crate) fn cached_routes(settings: &Settings) -> Duration {
    seconds(settings.database.serve_cached_s)
}

/// The machine's memory, or what the cgroup that this process was started in may use of it, MiB.
fn machine_memory_mb() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.saturating_mul(info.mem_unit.into());
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let read = |path: &str| std::fs::read_to_string(path).ok();
    machine.min(cgroup_memory_bytes(&groups, read).unwrap_or(u64::MAX)) >> 20
}

/// The smallest memory limit of the cgroups that `/proc/self/cgroup` names and of those above
/// them (cgroups(7)); `None` without any.
fn cgroup_memory_bytes(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let counts = controllers.is_empty() || controllers.split(',').any(|name| name == "memory");
        // In a container the path may be one of the host's; the container's own is then the root.
        let above = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path.trim_end_matches('/')]);
        above.filter(|_| counts).map(|group| format!("{root}{group}/{file}")).collect::<Vec<_>>()
    });
    limits.filter_map(|path| read(&path)?.trim().parse().ok()).min()
}

/// The Unix sockets that the engine inherits.
pub(crate) fn unix_sockets(settings: &Settings) -> Vec<UnixSocketSettings> {
    // Without Keystone neither is served.
    if settings.server.standalone {
        return Vec::new();
    }
    let listeners = &settings.listeners;
    let all = [("api", &listeners.api.unix), ("functions", &listeners.functions.unix)];
    let wanted = all.into_iter().filter_map(|(name, unix)| {
        Some(UnixSocketSettings {
            name: name.to_owned(),
            path: unix.path.clone()?,
            mode: unix.mode_bits()?,
            owner: unix.owner.clone(),
        })
    });
    wanted.collect()
}

pub(crate) fn api(settings: &Settings) -> ApiSettings {
    let (api, functions, engine) = (&settings.listeners.api, &settings.listeners.functions, &settings.engine);
    let base = |url: &Option<url::Url>| url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    ApiSettings {
        bounds: Bounds::from(&settings.bounds),
        hide_private_routes: api.hide_private_routes,
        api_base: base(&api.public_url),
        functions_base: base(&functions.public_url),
        functions_port: functions.port,
        hears_notifications: settings.events.enabled,
        least_schedule_interval_s: settings.triggers.schedule_least_interval_s.into(),
        trusted_proxies: settings.listeners.trusted_proxies.clone(),
        health_sources: settings.listeners.healthcheck.allowed_source_ranges.clone(),
        drain_file: settings.listeners.healthcheck.disable_by_file.clone(),
        max_api_body_bytes: api.max_body_bytes,
        max_run_body_bytes: engine.max_buffered_body_bytes,
        max_function_body_bytes: engine.max_streamed_body_bytes,
        max_result_bytes: engine.max_result_bytes,
        max_image_bytes: settings.images.max_archive_bytes,
        body_timeout: seconds(api.body_timeout_s),
        ..ApiSettings::default()
    }
}

/// The IronFunctions face, which listens on `bound`: its default hosts have those ports.
pub(crate) fn iron(settings: &Settings, bound: &[SocketAddr]) -> IronSettings {
    let listener = &settings.listeners.iron;
    let mut allowed_hosts = listener.allowed_hosts.clone();
    for address in bound {
        let port = address.port();
        allowed_hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}")));
        if !address.ip().is_unspecified() {
            allowed_hosts.push(address.to_string());
        }
    }
    let public = listener.public_url.as_ref().and_then(url::Url::host_str);
    allowed_hosts.extend(public.map(str::to_owned));
    IronSettings {
        allowed_hosts,
        service_key: settings.iron.jwt_auth_key.clone(),
        base: listener.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_cgroup_above_this_process_bounds_its_memory() {
        let files = |files: &'static [(&str, &str)]| {
            move |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        let v2 = files(&[
            ("/sys/fs/cgroup/a/memory.max", "1048576\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
        ]);
        assert_eq!(cgroup_memory_bytes("0::/a/b\n", v2), Some(1 << 20));
        let v1 = files(&[
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "2097152\n"),
        ]);
        assert_eq!(cgroup_memory_bytes("5:cpu:/c\n4:memory:/docker/x\n0::/\n", v1), Some(2 << 20));
        assert_eq!(cgroup_memory_bytes("0::/\n", |_| None), None);
    }
}
