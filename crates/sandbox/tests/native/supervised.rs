//! The supervisor with real children: this binary plays the engine, too.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use picasso_sandbox::supervisor::{self, EngineSide, NativeSettings, SupervisorSettings};
use picasso_sandbox::{ProcessSpec, Sandbox, SlotSpec};
use picasso_types::NetworkMode;

use crate::kit::{cgroups_of, guest_layer, guest_process, limits, pids_of, read_all, root, rootfs};

/// What the test binary is started as to be a supervisor.
pub const SUPERVISE: &str = "test-supervisor";

/// The supervisor's entry: the data directory is its only argument.
pub fn supervise(data_dir: &str) -> ExitCode {
    supervisor::run(&SupervisorSettings {
        data_dir: data_dir.into(),
        user: "nobody".to_owned(),
        native: Some(NativeSettings { ready_slots: 1, ready_egress_slots: 0, max_slots: 16, runtime: None }),
        egress: None,
        docker: false,
        unix_sockets: Vec::new(),
        json_logs: true,
        engine: b"the engine's settings".to_vec(),
    })
}

/// The engine's entry: starts a sleeping function, then answers each line of its command file.
/// It talks through files of the data directory, as its stdin is closed.
pub fn engine(args: &[std::ffi::OsString]) -> ExitCode {
    let side = EngineSide::take(args).unwrap();
    assert_eq!(side.settings, b"the engine's settings");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let instance = side.instance.clone();
        let control = side.connect().await.unwrap();
        let native = control.native().unwrap();
        assert!(control.unpacker().is_some());
        say(&format!("instance {instance} {}", rustix::process::geteuid().as_raw()));
        let layer = std::env::var("TEST_LAYER").unwrap();
        let image = rootfs(vec![picasso_types::Digest::parse(&layer).unwrap()]);
        let spec = SlotSpec { limits: limits(), network: NetworkMode::None };
        loop {
            let hello = async {
                let slot = native.make_slot(&spec).await?;
                // Written by this process, which has no rights at all.
                let folder = native.make_identity_folder().await?;
                folder.replace(&[("token".to_owned(), b"hello".to_vec())]).unwrap();
                let process = ProcessSpec {
                    identity: Some(folder.id()),
                    ..guest_process(&["cat", "/run/picasso/identity/token"])
                };
                let io = native.start(slot, &image, &process).await?;
                let text = read_all(io, b"").await.0;
                native.remove(slot).await?;
                let slot = native.make_slot(&spec).await?;
                let io = native.start(slot, &image, &guest_process(&["sleep"])).await?;
                Ok::<_, picasso_sandbox::SandboxError>((text, slot, io))
            };
            match hello.await {
                Ok((text, slot, _io)) => {
                    say(&format!("function {}", text.trim()));
                    let end = native.wait(slot).await;
                    say(&format!("lost {}", end.is_err()));
                }
                Err(e) => say(&format!("error {e}")),
            }
        }
    })
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}

struct Server {
    supervisor: Child,
    lines: std::sync::mpsc::Receiver<String>,
    dir: PathBuf,
    instance: String,
}

impl Server {
    fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("picasso-sup-{}", picasso_types::random::short_id()));
        // The layer is laid where the supervisor will look for it.
        fs::create_dir_all(dir.join("layers")).unwrap();
        fs::write(dir.join("lock"), "").unwrap();
        fs::set_permissions(dir.join("layers"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let layer = guest_layer(&dir);
        let mut supervisor = Command::new("/proc/self/exe")
            .args([SUPERVISE, dir.to_str().unwrap()])
            .env("TEST_LAYER", layer.as_str())
            .env("PICASSO_SECRET", "kept back")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(supervisor.stdout.take().unwrap());
        let (say, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).for_each(|line| drop(say.send(line)));
        });
        let mut server = Self { supervisor, lines, dir, instance: String::new() };
        let first = server.line();
        let (instance, uid) = first.strip_prefix("instance ").unwrap().split_once(' ').unwrap();
        assert_eq!(uid, "65534", "the engine runs as nobody");
        instance.clone_into(&mut server.instance);
        assert_eq!(server.line(), "function hello");
        server
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("the engine says something")
    }

    /// The pid of the child that was started under a subcommand.
    fn child(&self, subcommand: &str) -> u32 {
        let found = self.children(subcommand);
        assert_eq!(found.len(), 1, "{subcommand}");
        found[0]
    }

    fn children(&self, subcommand: &str) -> Vec<u32> {
        let children = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()?;
            let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            (parent == self.supervisor.id() && line.contains(subcommand)).then_some(pid)
        });
        children.collect()
    }

    fn kill(pid: u32, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn wait(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.supervisor.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the supervisor did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn nothing_is_left(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !cgroups_of(&self.instance).is_empty() {
            assert!(Instant::now() < deadline, "cgroups are left");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(pids_of(&self.instance), [0; 0]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

use rustix::process::Signal;

#[test]
fn a_killed_spawner_is_replaced_and_the_engine_goes_on() {
    if !root() {
        return;
    }
    let mut server = Server::start();
    let (first, before) = (server.child(supervisor::SPAWNER_COMMAND), pids_of(&server.instance));
    assert_eq!(before.len(), 1);
    Server::kill(first, Signal::KILL);
    assert_eq!(server.line(), "lost true");
    assert_eq!(server.line(), "function hello");
    assert_ne!(server.child(supervisor::SPAWNER_COMMAND), first);
    let after = pids_of(&server.instance);
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    Server::kill(server.child(supervisor::ENGINE_COMMAND), Signal::KILL);
    assert_eq!(server.wait().code(), Some(128 + 9));
    server.nothing_is_left();
}

#[test]
fn a_killed_unpacker_is_replaced() {
    if !root() {
        return;
    }
    let mut server = Server::start();
    let first = server.child(supervisor::UNPACKER_COMMAND);
    Server::kill(first, Signal::KILL);
    let deadline = Instant::now() + Duration::from_secs(20);
    // Gone, and another one in its place.
    while !matches!(server.children(supervisor::UNPACKER_COMMAND)[..], [next] if next != first) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    Server::kill(server.supervisor.id(), Signal::TERM);
    server.wait();
    server.nothing_is_left();
}

#[test]
fn sigterm_reaches_the_engine_and_all_ends_with_it() {
    if !root() {
        return;
    }
    let mut server = Server::start();
    Server::kill(server.supervisor.id(), Signal::TERM);
    // This engine does not handle SIGTERM, so the signal ends it.
    assert_eq!(server.wait().code(), Some(128 + 15));
    server.nothing_is_left();
}

#[test]
fn when_the_supervisor_is_killed_nothing_survives_it() {
    if !root() {
        return;
    }
    let mut server = Server::start();
    let pids = [supervisor::ENGINE_COMMAND, supervisor::SPAWNER_COMMAND, supervisor::UNPACKER_COMMAND]
        .map(|command| server.child(command));
    Server::kill(server.supervisor.id(), Signal::KILL);
    server.wait();
    let deadline = Instant::now() + Duration::from_secs(20);
    let gone = |pid: &u32| {
        // An orphan waits for init to bury it.
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|s| s.trim().starts_with('Z')))
    };
    while !pids.iter().all(gone) {
        assert!(Instant::now() < deadline, "a process outlived the supervisor");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.nothing_is_left();
}

#[test]
fn the_engine_has_no_privileges_and_sees_no_secret_variables() {
    if !root() {
        return;
    }
    let server = Server::start();
    let engine = server.child(supervisor::ENGINE_COMMAND);
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(crate::kit::status_field(engine, set), "0000000000000000", "{set}");
    }
    assert_eq!(crate::kit::status_field(engine, "NoNewPrivs"), "1");
    assert_eq!(crate::kit::status_field(engine, "Groups"), "");
    let environment = fs::read_to_string(format!("/proc/{engine}/environ")).unwrap();
    assert!(!environment.contains("PICASSO_SECRET"), "{environment}");
    // Two servers never share a data directory.
    let second =
        Command::new("/proc/self/exe").args([SUPERVISE, server.dir.to_str().unwrap()]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("in use by another server"), "{text}");
}
