//! What the native driver's tests share: this test binary as its own spawner, a data directory
//! with an image laid by hand, and looks at the host.

#![expect(unsafe_code, reason = "a section attribute, so that code runs before libtest's threads")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use picasso_image::{ImageProcess, RootFs};
use picasso_sandbox::native::NativeSandbox;
use picasso_sandbox::supervisor::{self, NativeSettings, SpawnedNative};
use picasso_sandbox::{ProcessSpec, Sandbox, SandboxError, SandboxIo, SlotId, SlotLimits, SlotSpec};
use picasso_types::{Digest, NetworkMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs before `main` and before libtest starts its threads: the test binary, started again under
/// a hidden subcommand, is the spawner, which must have one thread only.
#[used]
#[unsafe(link_section = ".init_array")]
static BE_A_HELPER: extern "C" fn() = be_a_helper;

extern "C" fn be_a_helper() {
    let line = fs::read("/proc/self/cmdline").unwrap_or_default();
    let mut args = line.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned());
    let command = args.nth(1).unwrap_or_default();
    let rest: Vec<_> = args.filter(|a| !a.is_empty()).map(Into::into).collect();
    let code = match (command.as_str(), rest.as_slice()) {
        (supervisor::SPAWNER_COMMAND, args) => supervisor::spawner_main(args),
        (supervisor::UNPACKER_COMMAND, args) => supervisor::unpacker_main(args),
        (supervisor::ENGINE_COMMAND, args) => crate::supervised::engine(args),
        (crate::supervised::SUPERVISE, [dir]) => crate::supervised::supervise(&dir.to_string_lossy()),
        _ => return,
    };
    // ExitCode hides its number; `main` is what usually returns it.
    let number = format!("{code:?}");
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    std::process::exit(digits.parse().unwrap_or(1));
}

/// Whether the test can run: native sandboxes need root. Skips with a line, fails where
/// everything is required.
pub fn root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var("PICASSO_TEST_REQUIRE").as_deref() != Ok("all"),
        "native sandboxes are tested as root"
    );
    println!("skipped: native sandboxes are tested as root");
    false
}

/// A data directory with one image, and a spawner over it.
pub struct Native {
    pub dir: PathBuf,
    pub instance: String,
    pub sandbox: Option<NativeSandbox>,
    pub spawner: Child,
    pub rootfs: RootFs,
    _spawned: Vec<Box<dyn std::any::Any + Send>>,
}

/// The guest program, compiled once per test binary.
fn guest() -> &'static Path {
    static GUEST: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    GUEST.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native/guest.c");
        let out = std::env::temp_dir().join(format!("picasso-guest-{}", std::process::id()));
        let done = Command::new("cc")
            .args(["-static", "-O1", "-Wall", "-o"])
            .arg(&out)
            .arg(&source)
            .status()
            .expect("cc, of the Debian package gcc, compiles the guest");
        assert!(done.success());
        out
    })
}

/// Lays a layer folder of the given files (path, bytes, mode).
pub fn lay(dir: &Path, files: &[(&str, &[u8], u32)]) -> Digest {
    let mut text = Vec::new();
    for (path, bytes, mode) in files {
        text.extend_from_slice(format!("{path} {mode} {}\n", Digest::of(bytes)).as_bytes());
    }
    let digest = Digest::of(&text);
    let layer = dir.join("layers").join(digest.hex());
    if layer.exists() {
        return digest;
    }
    fs::create_dir_all(&layer).unwrap();
    fs::set_permissions(&layer, fs::Permissions::from_mode(0o755)).unwrap();
    for (path, bytes, mode) in files {
        let path = layer.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    digest
}

/// Lays the guest's image.
pub fn guest_layer(dir: &Path) -> Digest {
    lay(dir, &[("guest", &fs::read(guest()).unwrap(), 0o755)])
}

pub fn rootfs(layers: Vec<Digest>) -> RootFs {
    RootFs {
        digest: Digest::of(b"manifest"),
        config: Digest::of(b"config"),
        layers,
        process: ImageProcess {
            argv: vec!["/guest".to_owned()],
            env: Vec::new(),
            cwd: "/".to_owned(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        },
    }
}

pub fn limits() -> SlotLimits {
    SlotLimits {
        memory_bytes: 64 << 20,
        cpu_millis: 1000,
        pids: 32,
        tmp_bytes: 8 << 20,
        tmp_inodes: 1000,
        nofile: 256,
    }
}

pub fn guest_process(args: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: std::iter::once("/guest").chain(args.iter().copied()).map(str::to_owned).collect(),
        env: vec![("PATH".to_owned(), "/bin:/usr/bin".to_owned())],
        cwd: "/".to_owned(),
        uid: 1000,
        gid: 1000,
        groups: vec![],
        channel: picasso_sandbox::Channel::Streams,
        files: Vec::new(),
        identity: None,
    }
}

pub fn private_dir() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("picasso-native-{}", picasso_types::random::short_id()));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(dir.join("layers")).unwrap();
    fs::set_permissions(dir.join("layers"), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

impl Native {
    pub async fn start() -> Self {
        Self::with(NativeSettings { ready_slots: 2, ready_egress_slots: 1, max_slots: 64, runtime: None })
            .await
    }

    pub async fn with(settings: NativeSettings) -> Self {
        Self::over(private_dir(), &picasso_types::random::short_id(), settings).await
    }

    pub async fn over(dir: PathBuf, instance: &str, settings: NativeSettings) -> Self {
        let layer = guest_layer(&dir);
        let spawned = {
            // One at a time: a process started at the same moment would inherit descriptors.
            static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
            let _one = ONE.lock().unwrap();
            let program = Path::new("/proc/self/exe");
            supervisor::spawn_native(program, dir.clone(), instance, settings, None).unwrap()
        };
        let SpawnedNative { child, socket, ids } = spawned;
        let (sockets, received) = tokio::sync::mpsc::channel(1);
        sockets.send(socket).await.unwrap();
        let sandbox = NativeSandbox::new(received);
        sandbox.ready(Duration::from_secs(20)).await.unwrap();
        Self {
            dir,
            instance: instance.to_owned(),
            sandbox: Some(sandbox),
            spawner: child,
            rootfs: rootfs(vec![layer]),
            _spawned: vec![Box::new(ids), Box::new(sockets)],
        }
    }

    pub fn sandbox(&self) -> &NativeSandbox {
        self.sandbox.as_ref().unwrap()
    }

    pub async fn slot(&self) -> SlotId {
        self.slot_with(limits()).await
    }

    pub async fn slot_with(&self, limits: SlotLimits) -> SlotId {
        let spec = SlotSpec { limits, network: NetworkMode::None };
        self.sandbox().make_slot(&spec).await.unwrap()
    }

    /// Runs the guest to its end: what it printed on both streams, and how it ended.
    pub async fn run(&self, process: &ProcessSpec, limits: SlotLimits) -> Ran {
        let slot = self.slot_with(limits).await;
        let io = self.sandbox().start(slot, &self.rootfs, process).await.unwrap();
        let (stdout, stderr) = read_all(io, b"").await;
        let ended = self.sandbox().wait(slot).await.unwrap();
        self.sandbox().remove(slot).await.unwrap();
        Ran { stdout, stderr, ended }
    }

    pub async fn guest(&self, args: &[&str]) -> Ran {
        self.run(&guest_process(args), limits()).await
    }

    /// Starts a guest that says `ready` and stays.
    pub async fn started(&self, args: &[&str]) -> (SlotId, SandboxIo) {
        let slot = self.slot().await;
        let mut io = self.sandbox().start(slot, &self.rootfs, &guest_process(args)).await.unwrap();
        let mut ready = [0; 6];
        io.stdout.read_exact(&mut ready).await.unwrap();
        assert_eq!(&ready, b"ready\n");
        (slot, io)
    }

    /// The error of a start that is refused.
    pub async fn refused(&self, rootfs: &RootFs, process: &ProcessSpec) -> SandboxError {
        let slot = self.slot().await;
        let error = self.sandbox().start(slot, rootfs, process).await.unwrap_err();
        self.sandbox().remove(slot).await.unwrap();
        error
    }

    /// Goes away as an engine does that was killed: the socket closes.
    pub fn hang_up(&mut self) {
        self.sandbox = None;
    }

    pub async fn spawner_ended(&mut self) {
        until("the spawner ends", || matches!(self.spawner.try_wait(), Ok(Some(_)))).await;
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.sandbox = None;
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.spawner.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub ended: picasso_sandbox::Ended,
}

pub async fn read_all(mut io: SandboxIo, input: &[u8]) -> (String, String) {
    let write = async {
        let _ = io.stdin.write_all(input).await;
        let _ = io.stdin.shutdown().await;
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let all = async { tokio::join!(write, io.stdout.read_to_end(&mut out), io.stderr.read_to_end(&mut err)) };
    let ((), out_read, err_read) =
        tokio::time::timeout(Duration::from_mins(1), all).await.expect("the streams end");
    out_read.and(err_read).expect("the streams are read");
    (String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
}

/// The next line of a function's output, without its end.
pub async fn started_line(io: &mut SandboxIo) -> String {
    let mut line = Vec::new();
    let read = async {
        loop {
            match io.stdout.read_u8().await {
                Ok(b'\n') | Err(_) => break,
                Ok(byte) => line.push(byte),
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), read).await.expect("a line");
    String::from_utf8_lossy(&line).into_owned()
}

/// Waits for a condition, at most 20 seconds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every cgroup folder on this host that carries an instance's name.
pub fn cgroups_of(instance: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                if entry.file_name().to_string_lossy() == name {
                    found.push(entry.path());
                }
                walk(&entry.path(), name, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &format!("picasso-{instance}"), &mut found);
    found
}

/// Host pids of the functions' processes in an instance's cgroups.
pub fn pids_of(instance: &str) -> Vec<u32> {
    all_pids_of(instance).into_iter().filter(|pid| !is_seat(*pid)).collect()
}

/// Host pids of the processes that sit ready in an instance's cgroups.
pub fn seats_of(instance: &str) -> Vec<u32> {
    all_pids_of(instance).into_iter().filter(|pid| is_seat(*pid)).collect()
}

/// Whether a process is still a copy of the spawner, which is this program.
fn is_seat(pid: u32) -> bool {
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    program(&pid.to_string()) == program("self")
}

fn all_pids_of(instance: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    for base in cgroups_of(instance) {
        for entry in fs::read_dir(base).into_iter().flatten().flatten() {
            let procs = fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default();
            pids.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// A field of `/proc/<pid>/status`.
pub fn status_field(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}
