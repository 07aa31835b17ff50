//! Measures native cold starts on this machine: from `make_slot` and from `start` to the first
//! byte a static program prints; and of 8 starts at once, until the last has printed it.
//!
//! ```text
//! cargo run -p picasso-sandbox --release --example cold_start -- PROGRAM [COUNT] [PAUSE_MS] [READY] [identity]
//! ```
//! `PROGRAM` is a static binary that prints at least one byte. 150 ms between starts, the default,
//! is what a real cold start looks like; 0 hides costs. `READY` slots are kept ready, 8 unless said. With
//! `identity` every second of the single starts has the folder of an identity, and is told apart.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool that prints what it measured")]

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use picasso_image::{ImageProcess, RootFs};
use picasso_sandbox::native::NativeSandbox;
use picasso_sandbox::supervisor::{self, NativeSettings, SpawnedNative};
use picasso_sandbox::{ProcessSpec, Sandbox, SlotId, SlotLimits, SlotSpec};
use picasso_types::{Digest, NetworkMode};
use tokio::io::AsyncReadExt;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|arg| arg == supervisor::SPAWNER_COMMAND) {
        return supervisor::spawner_main(&args[1..]);
    }
    match measure(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &[OsString]) -> Result<(), Box<dyn Error>> {
    let number = |at: usize, default: u64| -> Result<u64, Box<dyn Error>> {
        args.get(at).map_or(Ok(default), |arg| Ok(arg.to_string_lossy().parse()?))
    };
    let program =
        PathBuf::from(args.first().ok_or("usage: cold_start PROGRAM [COUNT] [PAUSE_MS] [READY] [identity]")?);
    let (count, pause) = (number(1, 100)?, Duration::from_millis(number(2, 150)?));
    let dir = std::env::temp_dir().join(format!("picasso-bench-{}", std::process::id()));
    let image = lay(&dir, &program)?;
    let ready_slots = u16::try_from(number(3, 8)?)?;
    let settings = NativeSettings { ready_slots, ready_egress_slots: 0, max_slots: 64, runtime: None };
    let instance = picasso_types::random::short_id();
    let ourselves = Path::new("/proc/self/exe");
    let spawned = supervisor::spawn_native(ourselves, dir.clone(), &instance, settings, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let identity = args.get(4).is_some_and(|arg| arg == "identity");
    let mut child = runtime.block_on(start_all(spawned, &image, count, pause, identity))?;
    drop(runtime);
    child.wait()?;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

async fn start_all(
    spawned: SpawnedNative,
    image: &RootFs,
    count: u64,
    pause: Duration,
    identity: bool,
) -> Result<std::process::Child, Box<dyn Error>> {
    let (sockets, received) = tokio::sync::mpsc::channel(1);
    sockets.send(spawned.socket).await?;
    let sandbox = NativeSandbox::new(received);
    sandbox.ready(Duration::from_secs(20)).await?;
    let limits = SlotLimits {
        memory_bytes: 128 << 20,
        cpu_millis: 1000,
        pids: 64,
        tmp_bytes: 64 << 20,
        tmp_inodes: 10_000,
        nofile: 1024,
    };
    let spec = SlotSpec { limits, network: NetworkMode::None };
    let process = ProcessSpec {
        argv: vec!["/program".to_owned()],
        env: vec![("PATH".to_owned(), "/".to_owned())],
        cwd: "/".to_owned(),
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
        channel: picasso_sandbox::Channel::Streams,
        files: Vec::new(),
        identity: None,
    };
    let (mut slots, mut starts, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    let mut with_identity = Vec::new();
    for number in 0..count {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        if identity && number % 2 == 1 {
            let folder = sandbox.make_identity_folder().await?;
            folder.replace(&[("token".to_owned(), vec![b'x'; 200])])?;
            let process = ProcessSpec { identity: Some(folder.id()), ..process.clone() };
            let (slot, _) = start_one(&sandbox, &spec, image, &process).await?;
            with_identity.push(began.elapsed());
            sandbox.wait(slot).await?;
            sandbox.remove(slot).await?;
            continue;
        }
        let (slot, made) = start_one(&sandbox, &spec, image, &process).await?;
        let answered = Instant::now();
        sandbox.wait(slot).await?;
        sandbox.remove(slot).await?;
        slots.push(made - began);
        starts.push(answered - made);
        whole.push(answered - began);
    }
    let mut bursts = Vec::new();
    for _ in 0..count.div_ceil(8) {
        tokio::time::sleep(pause.max(Duration::from_millis(150))).await;
        let began = Instant::now();
        let all = (0..8).map(|_| start_one(&sandbox, &spec, image, &process));
        let all = futures_util::future::try_join_all(all).await?;
        bursts.push(began.elapsed());
        for (slot, _) in all {
            sandbox.remove(slot).await?;
        }
    }
    println!("{count} starts, {} ms apart", pause.as_millis());
    for (name, times) in [
        ("make_slot", slots),
        ("start to first byte", starts),
        ("both", whole),
        ("both with identity", with_identity),
        ("8 at once, the last", bursts),
    ] {
        report(name, times);
    }
    Ok(spawned.child)
}

/// Starts the program and waits for its first byte; when its slot was made.
async fn start_one(
    sandbox: &NativeSandbox,
    spec: &SlotSpec,
    image: &RootFs,
    process: &ProcessSpec,
) -> Result<(SlotId, Instant), Box<dyn Error>> {
    let slot = sandbox.make_slot(spec).await?;
    let made = Instant::now();
    let mut io = sandbox.start(slot, image, process).await?;
    io.stdout.read_u8().await?;
    Ok((slot, made))
}

fn report(name: &str, mut times: Vec<Duration>) {
    if times.is_empty() {
        return;
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!("{name:20} p50 {:6.3} ms  p95 {:6.3} ms  max {:6.3} ms", at(50), at(95), at(100));
}

fn lay(dir: &Path, program: &Path) -> Result<RootFs, Box<dyn Error>> {
    let bytes = std::fs::read(program)?;
    let digest = Digest::of(&bytes);
    let layers = dir.join("layers");
    let layer = layers.join(digest.hex());
    std::fs::create_dir_all(&layer)?;
    std::fs::set_permissions(&layers, PermissionsExt::from_mode(0o700))?;
    std::fs::write(layer.join("program"), bytes)?;
    std::fs::set_permissions(layer.join("program"), PermissionsExt::from_mode(0o755))?;
    Ok(RootFs {
        digest: digest.clone(),
        config: digest.clone(),
        layers: vec![digest],
        process: ImageProcess {
            argv: vec!["/program".to_owned()],
            env: Vec::new(),
            cwd: "/".to_owned(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        },
    })
}
