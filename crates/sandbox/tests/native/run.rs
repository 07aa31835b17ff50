//! Starting functions: what they get, and what is said of those that cannot start.

use std::time::Duration;

use picasso_sandbox::{EndedBy, ProcessSpec, Sandbox, SandboxError};
use picasso_types::Digest;

use crate::kit::{Native, guest_process, lay, limits, read_all, root, rootfs};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_runs_and_its_output_and_exit_come_back() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let ran = native.guest(&["hello"]).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("hello\n", ""));
    assert_eq!(ran.ended.by, EndedBy::Exit(0));
    assert!(!ran.ended.out_of_memory);
    assert!(ran.ended.memory_peak_bytes.is_some_and(|n| n > 0 && n < 16 << 20), "{ran:?}");
    assert_eq!(native.guest(&["exit", "7"]).await.ended.by, EndedBy::Exit(7));
    assert!(native.guest(&["nonsense"]).await.stderr.contains("unknown: nonsense"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_reaches_the_function_and_its_end_is_seen() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let slot = native.slot().await;
    let io = native.sandbox().start(slot, &native.rootfs, &guest_process(&["cat"])).await.unwrap();
    let input = "ä".repeat(300_000);
    let (stdout, _) = read_all(io, input.as_bytes()).await;
    assert!(stdout == input, "{} bytes came back", stdout.len());
    assert_eq!(native.sandbox().wait(slot).await.unwrap().by, EndedBy::Exit(0));
    // An end can be asked for again, until the slot is removed.
    assert_eq!(native.sandbox().wait(slot).await.unwrap().by, EndedBy::Exit(0));
    native.sandbox().remove(slot).await.unwrap();
    assert!(matches!(native.sandbox().wait(slot).await, Err(SandboxError::Slot(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_is_as_it_was_asked_for() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let process = ProcessSpec {
        env: vec![("PATH".to_owned(), "/nowhere:/".to_owned()), ("GREETING".to_owned(), "a=b c".to_owned())],
        cwd: "/tmp".to_owned(),
        uid: 1234,
        gid: 56,
        groups: vec![7, 8],
        channel: picasso_sandbox::Channel::Streams,
        files: Vec::new(),
        identity: None,
        argv: ["guest", "who", "", "x y"].map(str::to_owned).to_vec(),
    };
    let ran = native.run(&process, limits()).await;
    assert_eq!(
        ran.stdout,
        "uid=1234 gid=56 pid=1 groups=7,8 cwd=/tmp\narg=\narg=x y\nenv=PATH=/nowhere:/\n\
         env=GREETING=a=b c\n"
    );
    let root = ProcessSpec { uid: 0, gid: 0, groups: vec![], ..process };
    assert!(native.run(&root, limits()).await.stdout.starts_with("uid=0 gid=0 pid=1 groups= "));
    assert_eq!(native.guest(&["stdout-again"]).await.stdout, "through /dev/stdout\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_start_is_told_in_a_sentence() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let layer = lay(
        &native.dir,
        &[
            ("data", b"not a program", 0o644),
            ("foreign", b"not a program either", 0o755),
            ("script", b"#!/no/interpreter\n", 0o755),
        ],
    );
    let mut image = native.rootfs.clone();
    image.layers.push(layer);
    let with = |argv: &[&str], cwd: &str| ProcessSpec {
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        cwd: cwd.to_owned(),
        ..guest_process(&[])
    };
    for (argv, cwd, part) in [
        (&["/missing"][..], "/", "\"/missing\", or the interpreter"),
        (&["missing"], "/", "\"missing\" is in no directory of PATH"),
        (&["/data"], "/", "is not a file that user 1000 may execute"),
        (&["/foreign"], "/", "is not in a format this machine runs"),
        (&["/script"], "/", "interpreter or loader it names, does not exist"),
        (&["/guest"], "/missing", "working directory \"/missing\" does not exist"),
        (&["/guest"], "/guest", "working directory \"/guest\" is not a directory"),
        (&[], "/", "names no program"),
        (&["/gu\0est"], "/", "NUL byte"),
    ] {
        let error = native.refused(&image, &with(argv, cwd)).await;
        let SandboxError::CannotStart(text) = &error else { panic!("{argv:?}: {error:?}") };
        assert!(text.contains(part), "{argv:?}: {text}");
    }
    let huge = ProcessSpec {
        argv: std::iter::once("/guest".to_owned()).chain([("x".repeat(200_000))]).collect(),
        ..guest_process(&[])
    };
    let error = native.refused(&image, &huge).await.to_string();
    assert!(error.contains("too long"), "{error}");
    let foreign = ProcessSpec { uid: 70_000, ..guest_process(&[]) };
    assert!(matches!(native.refused(&image, &foreign).await, SandboxError::CannotStart(_)));
    let none = rootfs(vec![]);
    assert!(matches!(native.refused(&none, &guest_process(&[])).await, SandboxError::CannotStart(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_layer_is_our_fault_and_not_the_functions() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let image = rootfs(vec![Digest::of(b"never unpacked")]);
    let error = native.refused(&image, &guest_process(&[])).await;
    assert!(matches!(&error, SandboxError::Failed { context, .. } if context.contains("Layer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_replaces_the_mount_points_by_links_still_runs_walled_off() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let evil = lay(&native.dir, &[("evil", b"", 0o644)]);
    let layer = native.dir.join("layers").join(evil.hex());
    for (name, target) in
        [("proc", "/tmp"), ("dev", "../../../dev"), ("tmp", "/etc"), ("etc", "/root"), ("sys", "/")]
    {
        std::os::unix::fs::symlink(target, layer.join(name)).unwrap();
    }
    let mut image = native.rootfs.clone();
    image.layers.push(evil);
    let slot = native.slot().await;
    let process = guest_process(&["cat", "/etc/hostname", "/proc/1/comm"]);
    let io = native.sandbox().start(slot, &image, &process).await.unwrap();
    assert_eq!(read_all(io, b"").await.0, "picasso\nguest\n");
    native.sandbox().remove(slot).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn upper_layers_hide_lower_ones_and_sixty_of_them_work() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let mut image = native.rootfs.clone();
    for number in 0..60 {
        let text = format!("layer {number}");
        image.layers.push(lay(&native.dir, &[("which", text.as_bytes(), 0o644)]));
    }
    let slot = native.slot().await;
    let process = guest_process(&["cat", "/which"]);
    let io = native.sandbox().start(slot, &image, &process).await.unwrap();
    assert_eq!(read_all(io, b"").await.0, "layer 59");
    native.sandbox().remove(slot).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_started_once_and_a_number_that_was_never_given_does_nothing() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, _io) = native.started(&["sleep"]).await;
    let again = native.sandbox().start(slot, &native.rootfs, &guest_process(&["hello"])).await;
    assert!(matches!(again, Err(SandboxError::Slot(_))), "{again:?}");
    let unknown = picasso_sandbox::SlotId(slot.0 + (1 << 12));
    let start = native.sandbox().start(unknown, &native.rootfs, &guest_process(&["hello"])).await;
    assert!(matches!(start, Err(SandboxError::Slot(_))), "{start:?}");
    native.sandbox().kill(unknown).await.unwrap();
    native.sandbox().remove(unknown).await.unwrap();
    native.sandbox().kill(slot).await.unwrap();
    native.sandbox().kill(slot).await.unwrap();
    assert_eq!(native.sandbox().wait(slot).await.unwrap().by, EndedBy::Signal(9));
    native.sandbox().kill(slot).await.unwrap();
    native.sandbox().remove(slot).await.unwrap();
    native.sandbox().remove(slot).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_stops_waiting_for_a_slot_leaves_none() {
    if !root() {
        return;
    }
    let settings = picasso_sandbox::supervisor::NativeSettings {
        ready_slots: 0,
        ready_egress_slots: 0,
        max_slots: 1,
        runtime: None,
    };
    let native = Native::with(settings).await;
    // Asked for once and left; where the answer was quicker than the leaving, again.
    loop {
        let mut asked = Box::pin(native.slot());
        match futures_util::poll!(&mut asked) {
            std::task::Poll::Pending => break,
            std::task::Poll::Ready(slot) => native.sandbox().remove(slot).await.unwrap(),
        }
    }
    // The only slot comes free again by itself.
    let spec = picasso_sandbox::SlotSpec { limits: limits(), network: picasso_types::NetworkMode::None };
    let slot = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match native.sandbox().make_slot(&spec).await {
                Ok(slot) => break slot,
                Err(SandboxError::Slot(_)) => tokio::task::yield_now().await,
                Err(e) => panic!("{e}"),
            }
        }
    })
    .await
    .unwrap();
    let full = native.sandbox().make_slot(&spec).await.unwrap_err();
    assert!(full.to_string().contains("every slot is in use"), "{full}");
    native.sandbox().remove(slot).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_without_a_network_is_refused_clearly() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    assert!(!native.sandbox().features().egress);
    let spec = picasso_sandbox::SlotSpec { limits: limits(), network: picasso_types::NetworkMode::Egress };
    let refused = native.sandbox().make_slot(&spec).await.unwrap_err();
    assert!(matches!(refused, SandboxError::Unsupported { .. }), "{refused}");
}
