//! The bundle's `config.json` (OCI runtime specification 1.0.2): what of it we write, typed.
//!
//! No field for the out-of-memory score: lowering it needs a capability that many hosts' services
//! do not have, and runc fails without a word of it then.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::native::HOST_NAME;
use crate::{IDENTITY_FOLDER, SECRET_FOLDER, SlotLimits};

/// Length of a CPU period, microseconds; as the native driver's.
const PERIOD_US: u64 = 50_000;
/// The kernel's smallest quota, microseconds.
const MIN_QUOTA_US: u64 = 1_000;

/// What one sandbox's bundle is made of.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    /// The image's root filesystem, mounted.
    pub(super) root: &'a str,
    /// A file that is the network namespace.
    pub(super) netns: &'a str,
    pub(super) cgroup: &'a str,
    pub(super) limits: &'a SlotLimits,
    /// Whether this kernel counts swap, so that it can be limited.
    pub(super) swap: bool,
    /// Host id that is 0 inside; there are [`crate::native::IDS`] of them.
    pub(super) base_id: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: &'a [u32],
    pub(super) argv: &'a [String],
    pub(super) env: &'a [String],
    pub(super) cwd: &'a str,
    /// Parts of `/proc` to hide, absolute.
    pub(super) masked: &'a [String],
    /// Bytes and inodes of `/dev/shm`.
    pub(super) shm: (u64, u64),
    pub(super) rlimits: Vec<Rlimit>,
    pub(super) seccomp: &'a RawValue,
    /// The folder that the function sees as its secret files.
    pub(super) secrets: Option<&'static str>,
    /// The folder that it sees as its identity.
    pub(super) identity: Option<&'static str>,
}

/// A resource limit, hard and soft alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Rlimit {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) hard: u64,
    pub(super) soft: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    oci_version: &'static str,
    process: Process<'a>,
    root: Root<'a>,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    terminal: bool,
    user: User<'a>,
    args: &'a [String],
    env: &'a [String],
    cwd: &'a str,
    capabilities: Capabilities,
    rlimits: &'a [Rlimit],
    no_new_privileges: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'a> {
    uid: u32,
    gid: u32,
    umask: u32,
    additional_gids: &'a [u32],
}

/// None, written out: a runtime takes a missing list for its own default.
#[derive(Default, Serialize)]
struct Capabilities {
    bounding: [&'static str; 0],
    effective: [&'static str; 0],
    inheritable: [&'static str; 0],
    permitted: [&'static str; 0],
    ambient: [&'static str; 0],
}

#[derive(Serialize)]
struct Root<'a> {
    path: &'a str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'static str,
    options: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux<'a> {
    uid_mappings: [IdMapping; 1],
    gid_mappings: [IdMapping; 1],
    namespaces: [Namespace<'a>; 7],
    cgroups_path: &'a str,
    resources: Resources,
    masked_paths: &'a [String],
    readonly_paths: [&'static str; 0],
    seccomp: &'a RawValue,
}

#[derive(Clone, Copy, Serialize)]
struct IdMapping {
    #[serde(rename = "containerID")]
    container_id: u32,
    #[serde(rename = "hostID")]
    host_id: u32,
    size: u32,
}

#[derive(Serialize)]
struct Namespace<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
}

#[derive(Serialize)]
struct Resources {
    memory: Memory,
    cpu: Cpu,
    pids: Pids,
    devices: [DeviceRule; 1],
}

#[derive(Serialize)]
struct Memory {
    limit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<u64>,
}

#[derive(Serialize)]
struct Cpu {
    quota: u64,
    period: u64,
}

#[derive(Serialize)]
struct Pids {
    limit: u32,
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

fn options(fixed: &[&str], sized: Option<(u64, u64)>) -> Vec<String> {
    let bounds = sized.map(|(bytes, inodes)| [format!("size={bytes}"), format!("nr_inodes={inodes}")]);
    fixed.iter().map(|option| (*option).to_owned()).chain(bounds.into_iter().flatten()).collect()
}

fn namespace(kind: &'static str) -> Namespace<'static> {
    Namespace { kind, path: None }
}

impl Bundle<'_> {
    /// The bytes of `config.json`.
    pub(super) fn config(&self) -> serde_json::Result<Vec<u8>> {
        let SlotLimits { memory_bytes, cpu_millis, pids, tmp_bytes, tmp_inodes, .. } = *self.limits;
        let mapping = IdMapping { container_id: 0, host_id: self.base_id, size: crate::native::IDS };
        let mount = |destination, kind, options| Mount { destination, kind, source: kind, options };
        let scratch = ["nosuid", "nodev", "mode=1777"];
        let shown = |destination| {
            move |source| Mount {
                destination,
                kind: "bind",
                source,
                options: options(&["bind", "ro", "nosuid", "noexec", "nodev"], None),
            }
        };
        let secrets = self.secrets.map(shown(SECRET_FOLDER));
        let identity = self.identity.map(shown(IDENTITY_FOLDER));
        let mounts = [
            mount("/proc", "proc", options(&["nosuid", "noexec", "nodev", "ro"], None)),
            mount(
                "/dev",
                "tmpfs",
                options(&["nosuid", "noexec", "strictatime", "mode=755", "ro"], Some((64 << 10, 64))),
            ),
            mount("/dev/shm", "tmpfs", options(&scratch, Some(self.shm))),
            mount("/tmp", "tmpfs", options(&scratch, Some((tmp_bytes, tmp_inodes)))),
        ];
        serde_json::to_vec(&Config {
            oci_version: "1.0.2",
            process: Process {
                terminal: false,
                user: User { uid: self.uid, gid: self.gid, umask: 0o022, additional_gids: self.groups },
                args: self.argv,
                env: self.env,
                cwd: self.cwd,
                capabilities: Capabilities::default(),
                rlimits: &self.rlimits,
                no_new_privileges: true,
            },
            root: Root { path: self.root, readonly: true },
            hostname: HOST_NAME,
            mounts: mounts.into_iter().chain(secrets).chain(identity).collect(),
            linux: Linux {
                uid_mappings: [mapping],
                gid_mappings: [mapping],
                namespaces: [
                    namespace("pid"),
                    namespace("mount"),
                    namespace("ipc"),
                    namespace("uts"),
                    namespace("cgroup"),
                    namespace("user"),
                    Namespace { kind: "network", path: Some(self.netns) },
                ],
                cgroups_path: self.cgroup,
                resources: Resources {
                    memory: Memory { limit: memory_bytes, swap: self.swap.then_some(memory_bytes) },
                    cpu: Cpu {
                        quota: (u64::from(cpu_millis) * PERIOD_US / 1000).max(MIN_QUOTA_US),
                        period: PERIOD_US,
                    },
                    pids: Pids { limit: pids },
                    devices: [DeviceRule { allow: false, access: "rwm" }],
                },
                masked_paths: self.masked,
                readonly_paths: [],
                seccomp: self.seccomp,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn config(argv: &[String], env: &[String]) -> Value {
        let limits = SlotLimits {
            memory_bytes: 64 << 20,
            cpu_millis: 500,
            pids: 32,
            tmp_bytes: 8 << 20,
            tmp_inodes: 200,
            nofile: 128,
        };
        let seccomp = serde_json::value::to_raw_value(&crate::seccomp::profile::profile()).unwrap();
        let bundle = Bundle {
            root: "/mnt/rootfs",
            netns: "/mnt/net",
            cgroup: "/picasso-01234567/s5",
            limits: &limits,
            swap: true,
            base_id: 0x1005_0000,
            uid: 1000,
            gid: 100,
            groups: &[27],
            argv,
            env,
            cwd: "/srv",
            masked: &["/proc/kcore".to_owned()],
            shm: (1 << 20, 100),
            rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE", hard: 128, soft: 128 }],
            seccomp: &seccomp,
            secrets: None,
            identity: None,
        };
        serde_json::from_slice(&bundle.config().unwrap()).unwrap()
    }

    #[test]
    fn the_bundle_takes_every_right_and_sets_every_limit() {
        let mut config = config(&["/bin/hello".to_owned()], &["PATH=/bin".to_owned()]);
        assert_eq!(config["linux"]["seccomp"]["defaultErrnoRet"], libc::ENOSYS);
        config["linux"]["seccomp"] = "as reviewed in the table's own tests".into();
        insta::assert_json_snapshot!(config);
    }

    #[test]
    fn tenants_strings_stay_strings() {
        let hostile =
            "\"],\"capabilities\":{\"effective\":[\"CAP_SYS_ADMIN\"]},\"x\":[\"\u{0}\n\\".to_owned();
        let config = config(std::slice::from_ref(&hostile), std::slice::from_ref(&hostile));
        assert_eq!(config["process"]["args"], serde_json::json!([hostile]));
        assert_eq!(config["process"]["env"], serde_json::json!([hostile]));
        assert_eq!(config["process"]["capabilities"]["effective"], serde_json::json!([]));
    }
}
