//! What a container is created with.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use picasso_types::NetworkMode;

use super::{DockerSettings, network};
use crate::seccomp::profile::profile;
use crate::{ProcessSpec, SlotSpec};

/// The label that says whose a container, network or image is.
pub(super) const INSTANCE_LABEL: &str = "org.openstack.picasso.instance";

/// Parts of `/proc` and `/sys` that say something of the host, shown empty.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// Parts of `/proc` that would change the host.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Under memory pressure of the whole machine its own services outlive sandboxes.
const OOM_SCORE: i64 = 500;

/// The labels of what this server makes.
pub(super) fn labels(instance: &str) -> HashMap<String, String> {
    HashMap::from([(INSTANCE_LABEL.to_owned(), instance.to_owned())])
}

/// The whole description of a sandbox's container.
pub(super) fn body(
    settings: &DockerSettings,
    spec: &SlotSpec,
    image: String,
    process: &ProcessSpec,
    core_limit: i64,
) -> ContainerCreateBody {
    let strings = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    ContainerCreateBody {
        image: Some(image),
        hostname: Some("sandbox".to_owned()),
        user: Some(format!("{}:{}", process.uid, process.gid)),
        entrypoint: Some(process.argv.clone()),
        cmd: Some(Vec::new()),
        env: Some(process.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        working_dir: Some(process.cwd.clone()),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        healthcheck: Some(HealthConfig { test: strings(&["NONE"]), ..HealthConfig::default() }),
        labels: Some(labels(&settings.instance)),
        host_config: Some(HostConfig {
            masked_paths: strings(&MASKED),
            readonly_paths: strings(&READ_ONLY),
            ..host_config(settings, spec, process, core_limit)
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(
    settings: &DockerSettings,
    spec: &SlotSpec,
    process: &ProcessSpec,
    core_limit: i64,
) -> HostConfig {
    let limits = &spec.limits;
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let memory = signed(limits.memory_bytes);
    let tmp =
        format!("rw,exec,nosuid,nodev,mode=1777,size={},nr_inodes={}", limits.tmp_bytes, limits.tmp_inodes);
    HostConfig {
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(limits.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(limits.pids)),
        ulimits: Some(ulimits(signed(limits.nofile), core_limit)),
        oom_score_adj: Some(OOM_SCORE),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmp)])),
        shm_size: Some(signed(limits.tmp_bytes)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        privileged: Some(false),
        security_opt: Some(vec!["no-new-privileges:true".to_owned(), format!("seccomp={}", profile())]),
        group_add: Some(process.groups.iter().map(u32::to_string).collect()),
        ipc_mode: Some("private".to_owned()),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        init: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        network_mode: Some(match spec.network {
            NetworkMode::None => "none".to_owned(),
            NetworkMode::Egress => network::name(&settings.instance),
        }),
        dns: Some(name_servers(settings, spec)),
        dns_search: Some(vec![".".to_owned()]),
        ..HostConfig::default()
    }
}

/// The name servers; where there are none an address at which none answers, because Docker would
/// copy the host's own.
fn name_servers(settings: &DockerSettings, spec: &SlotSpec) -> Vec<String> {
    let configured = match (&settings.egress, spec.network) {
        (Some(egress), NetworkMode::Egress) => egress.dns.as_slice(),
        _ => &[],
    };
    if configured.is_empty() {
        return vec!["127.0.0.1".to_owned()];
    }
    configured.iter().map(ToString::to_string).collect()
}

fn ulimits(nofile: i64, core: i64) -> Vec<ResourcesUlimits> {
    [("nofile", nofile), ("core", core), ("msgqueue", 0), ("memlock", 65_536)]
        .into_iter()
        .map(|(name, value)| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(value),
            hard: Some(value),
        })
        .collect()
}
