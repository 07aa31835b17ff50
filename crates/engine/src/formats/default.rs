//! The `default` format: one fresh sandbox per call, body on stdin, answer on stdout.
//!
//! A call is one task that owns the slot from admission to removal. Whoever waits for the answer
//! holds its other end; when that is dropped the task sees it and ends the sandbox. The task
//! itself is never cancelled in the middle: that is what leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use picasso_image::RootFs;
use picasso_sandbox::{Channel, Ended, EndedBy, ProcessSpec, SandboxError, SlotId};
use picasso_types::{CallId, Failure, RouteVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::call_events::{End, Event};
use crate::environment;
use crate::function_log::{FunctionLog, LogStream};
use crate::identity_folders::{HeldIdentity, IdentityFolders, SandboxIdentity};
use crate::invocation::{Body, BodyError, Invocation};
use crate::parts::EngineParts;
use crate::secrets::OpenSecrets;
use crate::slot;
use crate::target::Target;

/// What a call finds around it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub parts: &'a EngineParts,
    pub identities: &'a Arc<IdentityFolders>,
    /// Running calls are ended when this is cancelled.
    pub ending: &'a CancellationToken,
}

/// Runs one admitted call to its end and removes its sandbox. Events go to `events`; a closed
/// receiver means the caller hung up and ends the call.
pub async fn run(
    Place { parts, identities, ending }: Place<'_>,
    rootfs: &RootFs,
    version: &RouteVersion,
    invocation: Invocation,
    events: &mpsc::Sender<Event>,
) -> End {
    let EngineParts { sandbox, settings, .. } = parts;
    let secrets = match OpenSecrets::of_version(&*parts.store, &invocation.target.app.id, version) {
        Ok(secrets) => secrets,
        Err(end) => return end,
    };
    // Held until the sandbox is gone.
    let (secrets, identity) = match identity(&invocation.target, identities, secrets, ending).await {
        Ok(got) => got,
        Err(end) => return end,
    };
    let slot = match slot::make(sandbox, settings, version).await {
        Ok(slot) => slot,
        Err(error) => return slot::end_of_driver_error(&error, &invocation.call_id),
    };
    let process = ProcessSpec {
        argv: rootfs.process.argv.clone(),
        env: environment::of_call(&rootfs.process, &version.merged_config, &secrets, &invocation),
        cwd: rootfs.process.cwd.clone(),
        uid: rootfs.process.uid,
        gid: rootfs.process.gid,
        groups: rootfs.process.groups.clone(),
        channel: Channel::Streams,
        files: secrets.into_files(),
        identity: identity.as_ref().map(|held| held.folder()),
    };
    let Invocation { body, call_id, target, kept, .. } = invocation;
    let log = FunctionLog::new(target, settings.max_log_bytes);
    log.begin(Some(call_id.clone()), kept.as_ref());
    let end = match sandbox.start(slot, rootfs, &process).await {
        Ok(io) => drive(parts, ending, version, &log, &call_id, slot, io, body, events).await,
        Err(error) => slot::end_of_driver_error(&error, &call_id),
    };
    if let Err(error) = sandbox.remove(slot).await {
        tracing::warn!(%call_id, slot = slot.0, %error, "a sandbox was not removed cleanly");
    }
    drop(identity);
    end
}

/// The route's identity, where it has one: its variables with the secrets, and its folder.
async fn identity(
    target: &Target,
    identities: &Arc<IdentityFolders>,
    secrets: OpenSecrets,
    ending: &CancellationToken,
) -> Result<(OpenSecrets, Option<Arc<HeldIdentity>>), End> {
    if target.route.identity.is_none() {
        return Ok((secrets, None));
    }
    let identity = tokio::select! {
        identity = identities.of_sandbox(target) => identity?,
        () = ending.cancelled() => return Err(End { may_repeat: true, ..End::of(Failure::NoCapacity) }),
    };
    Ok(match identity {
        Some(SandboxIdentity { env, held }) => (secrets.with_identity(env), Some(held)),
        None => (secrets, None),
    })
}

/// Why the function is being ended by us.
enum Stop {
    Failure(Failure),
    Shutdown,
    Body(BodyError),
}

#[expect(clippy::too_many_arguments, reason = "one call's parts, used in one place")]
async fn drive(
    parts: &EngineParts,
    ending: &CancellationToken,
    version: &RouteVersion,
    log: &FunctionLog,
    call_id: &CallId,
    slot: SlotId,
    io: picasso_sandbox::SandboxIo,
    body: Body,
    events: &mpsc::Sender<Event>,
) -> End {
    let EngineParts { sandbox, settings, .. } = parts;
    let limit = Duration::from_secs(u64::from(version.spec.timeout_s));
    let deadline = tokio::time::sleep(limit);
    let stderr = log.follow(io.stderr, LogStream::Stderr);
    let input = feed(body, io.stdin);
    let output = forward(io.stdout, settings.max_output_bytes, events);
    let ended = sandbox.wait(slot);
    tokio::pin!(deadline, stderr, input, output, ended);

    let (mut input_done, mut output_done, mut logged, mut exit) = (false, false, false, None);
    let mut stop: Option<Stop> = None;
    // Until process, stdout and stderr are all at their end. After a kill they get there at once,
    // because every process of the sandbox dies with the first.
    while !(output_done && logged && exit.is_some()) {
        let reason = tokio::select! {
            () = &mut stderr, if !logged => {
                logged = true;
                None
            }
            outcome = &mut output, if !output_done => {
                output_done = true;
                match outcome {
                    Forwarded::All => None,
                    Forwarded::TooLarge => Some(Stop::Failure(Failure::OutputTooLarge {
                        limit_bytes: settings.max_output_bytes,
                    })),
                    Forwarded::HungUp => Some(Stop::Failure(Failure::HungUp)),
                }
            }
            fed = &mut input, if !input_done => {
                input_done = true;
                fed.err().map(|error| match error {
                    BodyError::Aborted => Stop::Failure(Failure::HungUp),
                    too_large @ BodyError::TooLarge(_) => Stop::Body(too_large),
                })
            }
            outcome = &mut ended, if exit.is_none() => {
                exit = Some(outcome);
                None
            }
            () = &mut deadline, if stop.is_none() => Some(Stop::Failure(match exit {
                None => Failure::Timeout { limit_s: version.spec.timeout_s },
                // It finished in time; its caller does not take the answer.
                Some(_) => Failure::HungUp,
            })),
            () = ending.cancelled(), if stop.is_none() => Some(Stop::Shutdown),
            () = events.closed(), if stop.is_none() => Some(Stop::Failure(Failure::HungUp)),
        };
        if let Some(reason) = reason
            && stop.is_none()
        {
            stop = Some(reason);
            if exit.is_none()
                && let Err(error) = sandbox.kill(slot).await
            {
                tracing::error!(%call_id, %error, "a sandbox could not be ended");
            }
            // What it still writes is for nobody; a full channel must not hold the end up.
            output_done = true;
        }
    }
    conclude(version, call_id, stop, exit, log.tail())
}

fn conclude(
    version: &RouteVersion,
    call_id: &CallId,
    stop: Option<Stop>,
    exit: Option<Result<Ended, SandboxError>>,
    stderr_tail: Vec<u8>,
) -> End {
    let ended = match exit {
        Some(Ok(ended)) => ended,
        Some(Err(error)) if stop.is_none() => {
            return End { stderr_tail, ..slot::end_of_driver_error(&error, call_id) };
        }
        _ => Ended { by: EndedBy::Signal(9), out_of_memory: false, memory_peak_bytes: None },
    };
    let may_repeat = matches!(stop, Some(Stop::Shutdown));
    let (failure, body_error) = match stop {
        Some(Stop::Failure(failure)) => (Some(failure), None),
        Some(Stop::Shutdown) => (Some(Failure::Internal), None),
        Some(Stop::Body(error)) => (Some(Failure::HungUp), Some(error)),
        None => (failure_of(ended, version), None),
    };
    End {
        failure,
        status: None,
        body_error,
        stderr_tail,
        exit_code: match ended.by {
            EndedBy::Exit(code) => Some(code),
            EndedBy::Signal(_) => None,
        },
        memory_peak_bytes: ended.memory_peak_bytes,
        cold_start: Some(true),
        may_repeat,
    }
}

/// What the way a function ended means. A function that caught the death of a child at the
/// memory limit and still exited with 0 has succeeded.
fn failure_of(ended: Ended, version: &RouteVersion) -> Option<Failure> {
    match ended.by {
        EndedBy::Exit(0) => None,
        _ if ended.out_of_memory => Some(Failure::OutOfMemory { limit_mb: version.spec.memory_mb }),
        EndedBy::Exit(code) => Some(Failure::Exit { code }),
        EndedBy::Signal(signal) => Some(Failure::Signal { signal }),
    }
}

/// Copies the body to stdin and closes it. A function that does not read its input is fine.
async fn feed(mut body: Body, mut stdin: impl AsyncWrite + Unpin) -> Result<(), BodyError> {
    while let Some(chunk) = body.next().await {
        if stdin.write_all(&chunk?).await.is_err() {
            return Ok(());
        }
    }
    // The other end may be closed already, which is as good.
    let _ = stdin.shutdown().await;
    Ok(())
}

enum Forwarded {
    All,
    TooLarge,
    HungUp,
}

/// Copies stdout to the caller in chunks of at most 64 KiB.
async fn forward(
    mut stdout: impl AsyncRead + Unpin,
    max_bytes: u64,
    events: &mpsc::Sender<Event>,
) -> Forwarded {
    let mut total: u64 = 0;
    loop {
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        match stdout.read_buf(&mut buffer).await {
            // A read error is the end as well: the pipe belongs to a process that is gone.
            Ok(0) | Err(_) => return Forwarded::All,
            Ok(read) => total += read as u64,
        }
        if total > max_bytes {
            return Forwarded::TooLarge;
        }
        if events.send(Event::Output(buffer.freeze())).await.is_err() {
            return Forwarded::HungUp;
        }
    }
}
