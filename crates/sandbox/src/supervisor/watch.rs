//! The supervisor's own life: start the three processes, pass signals on, restart a helper that
//! died, end when the engine has ended.

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::children::{self, Role, StartedSpawner};
use super::control::{Handover, SPAWNER, UNPACKER};
use super::data_dir::DataDir;
use super::host::Host;
use super::sockets::{ListeningSocket, SocketFiles, Sockets};
use super::user::User;
use super::{ENGINE_COMMAND, SupervisorSettings, UNPACKER_COMMAND};
use crate::native::spawner::{Level, log};
use crate::native::{raw, sealed, send};

/// The own binary, whatever it is called and even where it was replaced on disk meanwhile.
const OURSELVES: &str = "/proc/self/exe";
/// How long helpers may take to end after the engine.
const FAREWELL: Duration = Duration::from_secs(20);
/// How long a dead spawner's own helpers may take to end.
const ORPHANS: Duration = Duration::from_secs(10);
/// Waits between restarts: doubled up to the longest while a helper keeps dying young.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Age from which a helper's death is not held against the next one.
const GROWN_UP: Duration = Duration::from_secs(30);

/// A helper process and when to start it again.
#[derive(Debug)]
struct Helper {
    name: &'static str,
    pid: Option<u32>,
    started: Instant,
    wait: Duration,
    restart_at: Option<Instant>,
}

impl Helper {
    fn new(name: &'static str) -> Self {
        let now = Instant::now();
        Self { name, pid: None, started: now, wait: SHORTEST_WAIT, restart_at: Some(now) }
    }

    fn began(&mut self, pid: u32) {
        self.pid = Some(pid);
        self.started = Instant::now();
        self.restart_at = None;
    }

    /// Plans the restart of a helper that died or could not be started.
    fn died(&mut self, level: Level, how: &str) {
        if self.pid.is_some() && self.started.elapsed() > GROWN_UP {
            self.wait = SHORTEST_WAIT;
        }
        let text = format!("the {} {how}; starting it again in {:?}", self.name, self.wait);
        log(level, "supervisor", &text);
        self.pid = None;
        self.restart_at = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}

/// The supervisor process.
#[derive(Debug)]
pub(super) struct Supervisor {
    data_dir: DataDir,
    /// Removed at the end.
    _socket_files: SocketFiles,
    /// Started from a terminal, whose end is told by SIGHUP.
    at_terminal: bool,
    host: Option<Host>,
    signals: OwnedFd,
    control: OwnedFd,
    engine: u32,
    spawner: Option<Helper>,
    /// Hangs up when the spawner and all its own helpers are gone.
    life: Option<OwnedFd>,
    unpacker: Option<Helper>,
}

impl Supervisor {
    /// Prepares the host and starts the processes.
    pub(super) fn start(settings: &SupervisorSettings) -> Result<Self, Vec<String>> {
        let one = |fault: String| vec![fault];
        let root = rustix::process::geteuid().is_root();
        let user = if root { Some(User::find(&settings.user, settings.docker).map_err(one)?) } else { None };
        let data_dir = DataDir::open(&settings.data_dir, user.as_ref()).map_err(one)?;
        let Sockets { listening, files } = Sockets::open(&settings.unix_sockets).map_err(one)?;
        raise_open_files();
        // What a dying spawner leaves comes to us, to be reaped.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let host = if root {
            let engine = user.as_ref().map_or((0, 0), |user| (user.uid, user.gid));
            Some(Host::prepare(settings, &data_dir, engine)?)
        } else {
            let text = "not started as root: the engine runs as this user, without the native \
                        sandbox driver and without egress filters; start as root for those";
            log(Level::Warn, "supervisor", text);
            None
        };
        let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD];
        let signals = raw::signal_fd(&signals).map_err(|e| one(format!("signals: {e}")))?;
        let native = root && settings.native.is_some();
        let sockets = listening.iter().map(|socket| socket.name.clone()).collect();
        let handover = Handover { instance: data_dir.instance.clone(), native, unpacker: root, sockets };
        let (control, engine) = start_engine(&handover, &settings.engine, listening, user.as_ref())
            .map_err(|e| one(format!("starting the engine: {e}")))?;
        let mut supervisor = Self {
            data_dir,
            _socket_files: files,
            at_terminal: std::io::stderr().is_terminal(),
            host,
            signals,
            control,
            engine,
            spawner: native.then(|| Helper::new("spawner")),
            life: None,
            unpacker: root.then(|| Helper::new("unpacker")),
        };
        supervisor.restart_due();
        Ok(supervisor)
    }

    /// Watches until the engine has ended; the exit code.
    pub(super) fn watch(mut self) -> u8 {
        let code = loop {
            self.restart_due();
            self.wait_for_signal(self.next_restart());
            while let Some(signal) = raw::next_signal(self.signals.as_fd()) {
                match signal {
                    libc::SIGCHLD => {}
                    libc::SIGHUP if !self.at_terminal => self.tell_engine(Signal::HUP),
                    _ => self.tell_engine(Signal::TERM),
                }
            }
            if let Some(code) = self.collect() {
                break code;
            }
        };
        self.end();
        code
    }

    fn wait_for_signal(&self, until: Option<Instant>) {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(&self.signals, PollFlags::IN)];
        // Interrupted or not, what there is to do is looked for afterwards.
        let _ = poll(&mut fds, limit.as_ref());
    }

    fn helpers(&mut self) -> impl Iterator<Item = &mut Helper> {
        self.spawner.iter_mut().chain(&mut self.unpacker)
    }

    fn next_restart(&self) -> Option<Instant> {
        self.spawner.iter().chain(&self.unpacker).filter_map(|helper| helper.restart_at).min()
    }

    fn restart_due(&mut self) {
        let now = Instant::now();
        let due = |helper: &Option<Helper>| {
            helper.as_ref().is_some_and(|h| h.restart_at.is_some_and(|at| at <= now))
        };
        if due(&self.spawner) {
            let result = self.start_spawner();
            note(&mut self.spawner, result);
        }
        if due(&self.unpacker) {
            let result = self.start_unpacker();
            note(&mut self.unpacker, result);
        }
    }

    fn start_spawner(&mut self) -> std::io::Result<u32> {
        let Some((settings, ids)) = self.host.as_mut().and_then(|h| h.spawner(&self.data_dir)) else {
            return Err(std::io::ErrorKind::Unsupported.into());
        };
        let StartedSpawner { child, socket, life } =
            children::start_spawner(Path::new(OURSELVES), &settings, ids)?;
        send(self.control.as_fd(), &[SPAWNER], &[socket.as_fd()])?;
        self.life = Some(life);
        Ok(child.id())
    }

    fn start_unpacker(&mut self) -> std::io::Result<u32> {
        let (ours, theirs) = children::pair()?;
        let layers = self.data_dir.path.join("layers");
        let (program, fds) = (Path::new(OURSELVES), [&theirs]);
        let child = children::start(program, UNPACKER_COMMAND, &fds, Some(&layers), &Role::Helper)?;
        send(self.control.as_fd(), &[UNPACKER], &[ours.as_fd()])?;
        Ok(child.id())
    }

    fn tell_engine(&self, signal: Signal) {
        if let Some(pid) = pid(self.engine) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Reaps every child that ended; the exit code once the engine did.
    fn collect(&mut self) -> Option<u8> {
        let mut code = None;
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get().cast_unsigned();
            if pid == self.engine {
                if let Some(signal) = status.terminating_signal() {
                    let how =
                        format!("the engine was ended by signal {signal}; everything of it is removed now");
                    log(Level::Error, "supervisor", &how);
                }
                code = Some(exit_code(status));
            } else if self.spawner.as_ref().is_some_and(|h| h.pid == Some(pid)) {
                self.clean_up_after_spawner();
                note_death(&mut self.spawner, status);
            } else if self.unpacker.as_ref().is_some_and(|h| h.pid == Some(pid)) {
                note_death(&mut self.unpacker, status);
            }
        }
        code
    }

    fn clean_up_after_spawner(&mut self) {
        if let Some(life) = self.life.take() {
            let limit = Timespec { tv_sec: ORPHANS.as_secs().cast_signed(), tv_nsec: 0 };
            let mut fds = [PollFd::new(&life, PollFlags::empty())];
            if !matches!(poll(&mut fds, Some(&limit)), Ok(1)) {
                log(Level::Error, "supervisor", "a process of the dead spawner does not end");
            }
        }
        if let Some(host) = &self.host {
            host.clean_up_after_spawner();
        }
    }

    /// The engine is gone, its sockets are closed: the helpers end by themselves.
    fn end(mut self) {
        let deadline = Instant::now() + FAREWELL;
        while self.helpers().any(|helper| helper.pid.is_some()) {
            if Instant::now() > deadline {
                for helper in self.helpers() {
                    if let Some(pid) = helper.pid.take().and_then(pid) {
                        log(Level::Error, "supervisor", &format!("killing the {}", helper.name));
                        let _ = rustix::process::kill_process(pid, Signal::KILL);
                    }
                }
            }
            self.wait_for_signal(Some(deadline + Duration::from_millis(1)));
            while raw::next_signal(self.signals.as_fd()).is_some() {}
            while let Ok(Some((ended, _))) = rustix::process::wait(WaitOptions::NOHANG) {
                for helper in self.helpers() {
                    helper.pid = helper.pid.filter(|h| pid(*h) != Some(ended));
                }
            }
        }
        if let Some(host) = &self.host {
            host.leave();
        }
    }
}

/// Connections, pipes and slots are descriptors: all three processes get as many as the hard limit
/// allows. A function's own limit is its slot's.
fn raise_open_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is refused the soft limit stays; nothing depends on the number.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
}

fn start_engine(
    handover: &Handover,
    settings: &[u8],
    sockets: Vec<ListeningSocket>,
    user: Option<&User>,
) -> std::io::Result<(OwnedFd, u32)> {
    let (ours, theirs) = children::pair()?;
    let handover = sealed(&serde_json::to_vec(handover)?)?;
    let settings = sealed(settings)?;
    let mut fds = vec![&theirs, &handover, &settings];
    fds.extend(sockets.iter().map(|each| &each.socket));
    let role = Role::Engine(user);
    let child = children::start(Path::new(OURSELVES), ENGINE_COMMAND, &fds, None, &role)?;
    // The engine alone keeps them open: when it stops listening, clients are to notice.
    drop(sockets);
    Ok((ours, child.id()))
}

fn note(helper: &mut Option<Helper>, result: std::io::Result<u32>) {
    if let Some(helper) = helper {
        match result {
            Ok(pid) => helper.began(pid),
            Err(e) => helper.died(Level::Error, &format!("could not be started ({e})")),
        }
    }
}

fn note_death(helper: &mut Option<Helper>, status: WaitStatus) {
    if let Some(helper) = helper {
        let (level, how) = match (status.exit_status(), status.terminating_signal()) {
            // Its socket closed: most likely the engine is ending, and we hear of it next.
            (Some(0), _) => (Level::Info, "ended with its socket".to_owned()),
            (Some(code), _) => (Level::Error, format!("exited with code {code}")),
            (None, Some(signal)) => (Level::Error, format!("was ended by signal {signal}")),
            (None, None) => (Level::Error, "ended".to_owned()),
        };
        helper.died(level, &how);
    }
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(number.cast_signed())
}

fn exit_code(status: WaitStatus) -> u8 {
    let number = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(number & 0xff).unwrap_or(1)
}
