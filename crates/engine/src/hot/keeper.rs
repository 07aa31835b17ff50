//! Keeps one hot sandbox: a task from the wish for it until nothing of it is left.
//!
//! The task is never cancelled in the middle, whoever asked for the sandbox and left: that is
//! what leaves nothing behind.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use picasso_image::RootFs;
use picasso_sandbox::{Ended, EndedBy, Freezer, ProcessSpec, Sandbox, SandboxError, SandboxIo, SlotId};
use picasso_types::Failure;
use tokio::io::AsyncRead;
use tokio::sync::{SetOnce, watch};
use tokio::time::Instant;

use super::instance::{Instance, Obituary, Stop};
use super::link::Started;
use super::pool::Pool;
use crate::admission::{NotAdmitted, Room};
use crate::call_events::End;
use crate::carried;
use crate::function_log::{FunctionLog, LogStream};
use crate::identity_folders::{HeldIdentity, SandboxIdentity};
use crate::secrets::OpenSecrets;
use crate::slot;

/// How long a process that broke its exchange off may take to end by itself, and how long one
/// whose format gave up is watched for an end that explains it.
const LAST_MOMENT: Duration = Duration::from_millis(20);
/// How long the rest of stderr is read after the process is gone.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why a sandbox is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Calls wait for it.
    Calls,
    /// It is to be kept warm.
    Warmth,
}

/// Starts a sandbox for the pool, whose book has it as starting already.
pub(super) fn spawn(pool: Arc<Pool>, cause: Cause) {
    let keepers = pool.hot.keepers.clone();
    keepers.spawn(async move {
        if let Some(room) = room(&pool, cause).await {
            pool.hot.show_memory();
            keep(&pool, &Arc::new(room)).await;
            pool.hot.show_memory();
        }
    });
}

/// Memory for the sandbox; `None` when there is none, which the pool has been told.
async fn room(pool: &Arc<Pool>, cause: Cause) -> Option<Room> {
    let hot = &pool.hot;
    if cause == Cause::Warmth {
        let room = hot.admission.free_room(&pool.gates, pool.spec());
        if room.is_none() {
            pool.no_spare_room();
        }
        return room;
    }
    let project = &pool.target.app.project_id;
    let mut room = pin!(hot.admission.room(project, &pool.gates, pool.spec(), pool.id, &**hot));
    let admitted = match futures_util::poll!(&mut room) {
        Poll::Ready(admitted) => admitted,
        Poll::Pending => {
            pool.blocked(true);
            let waited = wanted_room(pool, room).await;
            pool.blocked(false);
            waited?
        }
    };
    match admitted {
        Ok(room) => Some(room),
        Err(refused) => {
            pool.failed(&slot::end_of_refused(refused, pool.spec()));
            None
        }
    }
}

/// Waits for memory as long as any call waits for the sandbox.
async fn wanted_room(
    pool: &Arc<Pool>,
    mut room: Pin<&mut impl Future<Output = Result<Room, NotAdmitted>>>,
) -> Option<Result<Room, NotAdmitted>> {
    loop {
        let mut withdrawn = pin!(pool.withdraw.notified());
        withdrawn.as_mut().enable();
        if pool.calls_off() {
            return None;
        }
        tokio::select! {
            biased;
            admitted = &mut room => return Some(admitted),
            () = withdrawn => {}
        }
    }
}

/// The driver lost the process: nobody knows how it ended.
#[derive(Debug, Clone, Copy)]
struct Lost;

/// A started process: its end and what it says until then.
struct Process<'a> {
    wait: Pin<Box<dyn Future<Output = Result<Ended, SandboxError>> + Send + 'a>>,
    stderr: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    logged: bool,
    /// Once it has.
    ended: Option<Result<Ended, Lost>>,
}

impl<'a> Process<'a> {
    fn new(
        sandbox: &'a dyn Sandbox,
        slot: SlotId,
        log: &'a FunctionLog,
        stderr: Pin<Box<dyn AsyncRead + Send>>,
    ) -> Self {
        Self {
            wait: sandbox.wait(slot),
            stderr: Box::pin(log.follow(stderr, LogStream::Stderr)),
            logged: false,
            ended: None,
        }
    }

    /// Logs until the process has ended; `None` when the driver lost it. Fine to drop and call
    /// again.
    async fn ended(&mut self) -> Option<Ended> {
        let ended = loop {
            if let Some(ended) = self.ended {
                break ended.ok();
            }
            tokio::select! {
                ended = &mut self.wait => {
                    let told = ended.inspect_err(|error| tracing::warn!(%error, "the driver lost a sandbox"));
                    self.ended = Some(told.map_err(|_| Lost));
                }
                () = &mut self.stderr, if !self.logged => self.logged = true,
            }
        };
        if !self.logged {
            // Everything that could write is gone with the process.
            let _ = tokio::time::timeout(LAST_WORDS, &mut self.stderr).await;
            self.logged = true;
        }
        ended
    }

    /// Ends it and waits for that.
    async fn kill(&mut self, sandbox: &dyn Sandbox, slot: SlotId) -> Option<Ended> {
        if let Err(error) = sandbox.kill(slot).await {
            tracing::error!(slot = slot.0, %error, "a sandbox could not be ended");
        }
        self.ended().await
    }
}

/// Starts, keeps and removes one sandbox, whose memory is held until then.
async fn keep(pool: &Arc<Pool>, room: &Arc<Room>) {
    let sandbox = &*pool.hot.parts.sandbox;
    let began = Instant::now();
    if pool.hot.closing.is_cancelled() {
        return pool.failed(&End { may_repeat: true, ..End::of(Failure::NoCapacity) });
    }
    let had_identity = pool.has_identity();
    let started = match slot_of(pool).await {
        Ok(started) => started,
        Err(end) => return pool.failed(&end),
    };
    let Prepared { slot, rootfs, secrets, identity } = started;
    let process = ProcessSpec {
        argv: rootfs.process.argv.clone(),
        env: pool.format.environment(&rootfs.process, &pool.target, &secrets),
        cwd: rootfs.process.cwd.clone(),
        uid: rootfs.process.uid,
        gid: rootfs.process.gid,
        groups: rootfs.process.groups.clone(),
        channel: pool.format.channel(),
        files: secrets.into_files(),
        identity: identity.as_ref().map(|held| held.folder()),
    };
    match sandbox.start(slot, &rootfs, &process).await {
        Ok(io) => {
            let identity = Identity { held: identity.as_deref(), had: had_identity };
            run(pool, room, slot, io, began, identity).await;
        }
        Err(error) => pool.failed(&slot::end_of_driver_error(&error, &pool.version.id)),
    }
    if let Err(error) = sandbox.remove(slot).await {
        tracing::warn!(version = %pool.version.id, slot = slot.0, %error, "a sandbox was not removed cleanly");
    }
}

/// What a process is started in and with.
struct Prepared {
    slot: SlotId,
    rootfs: Arc<RootFs>,
    /// And the variables of its identity.
    secrets: OpenSecrets,
    /// Held until the sandbox is gone.
    identity: Option<Arc<HeldIdentity>>,
}

/// A slot for the version, the root filesystem to start in it, and the secrets and the identity that it
/// gets.
async fn slot_of(pool: &Pool) -> Result<Prepared, End> {
    let parts = &pool.hot.parts;
    // The route may have been stored while the node had another runtime.
    let sandbox = &parts.sandbox;
    if let Err(refused) = carried::check(sandbox.name(), sandbox.features(), pool.version.spec.format) {
        return Err(End::of(Failure::CannotStart { reason: refused.to_string() }));
    }
    let rootfs = slot::rootfs(parts, &pool.target.app.project_id, &pool.version).await?;
    let secrets = OpenSecrets::of_version(&*parts.store, &pool.target.app.id, &pool.version)?;
    let identity = if pool.has_identity() {
        tokio::select! {
            identity = pool.hot.identities.of_sandbox(&pool.target) => identity?,
            () = pool.hot.closing.cancelled() => {
                return Err(End { may_repeat: true, ..End::of(Failure::NoCapacity) });
            }
        }
    } else {
        None
    };
    let (secrets, identity) = match identity {
        Some(SandboxIdentity { env, held }) => (secrets.with_identity(env), Some(held)),
        None => (secrets, None),
    };
    let slot = slot::make(&parts.sandbox, &parts.settings, &pool.version)
        .await
        .map_err(|error| slot::end_of_driver_error(&error, &pool.version.id))?;
    Ok(Prepared { slot, rootfs, secrets, identity })
}

/// The identity that a sandbox was started with.
#[derive(Clone, Copy)]
struct Identity<'a> {
    held: Option<&'a HeldIdentity>,
    /// Whether its route had one.
    had: bool,
}

impl Identity<'_> {
    /// Whether it does not hold any more, or the route has one since.
    fn is_outdated(self, pool: &Pool) -> bool {
        match self.held {
            Some(held) => held.is_withdrawn(),
            None => pool.has_identity() && !self.had,
        }
    }
}

/// Opens the process, serves calls with it, waits for its end.
async fn run(
    pool: &Arc<Pool>,
    room: &Arc<Room>,
    slot: SlotId,
    io: SandboxIo,
    began: Instant,
    identity: Identity<'_>,
) {
    let hot = &pool.hot;
    let sandbox = &*hot.parts.sandbox;
    let SandboxIo { stdin, stdout, stderr, endpoint, freezer, fence } = io;
    let log = Arc::new(FunctionLog::new(pool.target.clone(), hot.parts.settings.max_log_bytes));
    let start_timeout = hot.parts.settings.start_timeout;
    let started = Started {
        stdin,
        stdout,
        endpoint,
        fence,
        log: log.clone(),
        target: pool.target.clone(),
        conduct: pool.conduct.clone(),
        start_timeout,
        max_buffered_body_bytes: hot.parts.settings.max_async_body_bytes,
    };
    let mut process = Process::new(sandbox, slot, &log, stderr);
    let opened = tokio::select! {
        biased;
        opened = pool.format.open(started) => opened,
        ended = process.ended() => return pool.failed(&end_of_start(pool, ended, &log)),
        () = tokio::time::sleep(start_timeout) => Err(Failure::InitFailed {
            reason: format!("it was not ready for a call within {} s", start_timeout.as_secs()),
        }),
        () = hot.closing.cancelled() => Err(Failure::Internal),
    };
    let link = match opened {
        Ok(link) => link,
        Err(failure) => {
            let end = failed_start(pool, &mut process, slot, failure, &log).await;
            return pool.failed(&end);
        }
    };
    if identity.is_outdated(pool) {
        process.kill(sandbox, slot).await;
        let reason = "it changed while the function was being started".to_owned();
        return pool.failed(&End { may_repeat: true, ..End::of(Failure::IdentityUnavailable { reason }) });
    }
    let (stop, stopped) = watch::channel(Stop::No);
    let instance = pool.ready(began.elapsed(), |key| {
        Arc::new(Instance {
            pool: pool.clone(),
            key,
            link,
            log: log.clone(),
            ready_at: Instant::now(),
            freezer,
            room: Arc::downgrade(room),
            cpu: Mutex::default(),
            stop,
            ended: SetOnce::new(),
        })
    });
    let ready = Instant::now();
    let (ended, ours) = tokio::select! {
        end = until_end(&instance, &mut process, slot, stopped) => end,
        never = out_of_use(&instance, identity) => match never {},
    };
    // Fails only if set before, which only happens here.
    let _ = instance.ended.set(Obituary { ended, ours, stderr_tail: log.tail() });
    instance.link.ended();
    if !ours {
        tracing::info!(
            version = %pool.version.id,
            app = %pool.target.app.full_name,
            route = %pool.target.route.pattern,
            ended = ?ended.map(|ended| ended.by),
            out_of_memory = ended.is_some_and(|ended| ended.out_of_memory),
            "a hot sandbox ended by itself"
        );
    }
    pool.gone(&instance, ready.elapsed());
}

/// Takes a sandbox out of use when its identity does not hold any more, or when its route has one since
/// it was started.
async fn out_of_use(instance: &Instance, identity: Identity<'_>) -> Infallible {
    let pool = &instance.pool;
    match identity.held {
        Some(held) => held.withdrawn().await,
        None if identity.is_outdated(pool) => {}
        None => return std::future::pending().await,
    }
    pool.condemn(instance.key);
    std::future::pending().await
}

/// Waits until the process has ended, by itself or because it was asked to.
async fn until_end(
    instance: &Instance,
    process: &mut Process<'_>,
    slot: SlotId,
    mut stopped: watch::Receiver<Stop>,
) -> (Option<Ended>, bool) {
    let sandbox = &*instance.pool.hot.parts.sandbox;
    // The sender is in `instance`.
    let mut stop = tokio::select! {
        biased;
        ended = process.ended() => return (ended, false),
        Ok(stop) = stopped.wait_for(|stop| *stop != Stop::No) => *stop,
    };
    thaw(instance.freezer.as_ref());
    let mut asked = false;
    loop {
        let patience = match stop {
            Stop::Kill | Stop::No => return (process.kill(sandbox, slot).await, true),
            Stop::Soon => LAST_MOMENT,
            Stop::Gently(grace) => {
                if !asked {
                    instance.link.close();
                    if let Err(error) = sandbox.terminate(slot).await {
                        tracing::debug!(slot = slot.0, %error, "a sandbox could not be asked to end");
                    }
                }
                asked = true;
                grace
            }
        };
        stop = tokio::select! {
            biased;
            // One that was asked to end and does so ended because of us.
            ended = process.ended() => return (ended, asked),
            () = tokio::time::sleep(patience) => Stop::Kill,
            Ok(stronger) = stopped.wait_for(|now| *now > stop) => *stronger,
        };
    }
}

fn thaw(freezer: Option<&Freezer>) {
    if let Some(freezer) = freezer
        && let Err(error) = freezer.thaw()
    {
        tracing::debug!(%error, "a sandbox that ends could not be thawed; its driver will");
    }
}

/// The end of a start whose format gave up: the way the process ended tells more than that it
/// fell silent.
async fn failed_start(
    pool: &Pool,
    process: &mut Process<'_>,
    slot: SlotId,
    failure: Failure,
    log: &FunctionLog,
) -> End {
    let sandbox = &*pool.hot.parts.sandbox;
    if pool.hot.closing.is_cancelled() {
        process.kill(sandbox, slot).await;
        return End { may_repeat: true, ..End::of(Failure::NoCapacity) };
    }
    let told = matches!(failure, Failure::InitFailed { .. } | Failure::FunctionError { .. });
    let ended = match tokio::time::timeout(LAST_MOMENT, process.ended()).await {
        Ok(ended) => ended,
        Err(_) => {
            process.kill(sandbox, slot).await;
            None
        }
    };
    let memory = ended.is_some_and(|ended| ended.out_of_memory);
    if ended.is_some() && (!told || memory) {
        return end_of_start(pool, ended, log);
    }
    if failure == Failure::Internal {
        tracing::error!(version = %pool.version.id, "a hot sandbox could not be opened");
    }
    let may_repeat = failure == Failure::Internal;
    End { stderr_tail: log.tail(), may_repeat, ..End::of(failure) }
}

/// The end of a start whose process ended before it was ready.
fn end_of_start(pool: &Pool, ended: Option<Ended>, log: &FunctionLog) -> End {
    let Some(ended) = ended else {
        return End { may_repeat: true, ..End::of(Failure::Internal) };
    };
    let (failure, exit_code) = match ended.by {
        EndedBy::Exit(code) if !ended.out_of_memory && code != 0 => (Failure::Exit { code }, Some(code)),
        _ if ended.out_of_memory => (Failure::OutOfMemory { limit_mb: pool.spec().memory_mb }, None),
        EndedBy::Signal(signal) => (Failure::Signal { signal }, None),
        EndedBy::Exit(code) => {
            let reason = "it ended before it took a call".to_owned();
            (Failure::InitFailed { reason }, Some(code))
        }
    };
    End { stderr_tail: log.tail(), exit_code, memory_peak_bytes: ended.memory_peak_bytes, ..End::of(failure) }
}
