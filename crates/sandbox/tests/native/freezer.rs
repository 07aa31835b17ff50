//! Freezing, thawing, SIGTERM, and that nothing frozen outlives its sandbox.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use picasso_sandbox::{EndedBy, Sandbox, SandboxIo};
use tokio::io::AsyncReadExt;

use crate::kit::{Native, guest_process, pids_of, root, started_line, until};

/// Reads what there is of a ticking function's output until there is no more.
async fn drained(io: &mut SandboxIo) {
    let mut bytes = [0; 4096];
    let quiet = std::time::Duration::from_millis(50);
    while let Ok(read) = tokio::time::timeout(quiet, io.stdout.read(&mut bytes)).await {
        assert!(read.unwrap() > 0, "it ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_sandbox_stands_still_and_goes_on_when_thawed() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, mut io) = native.started(&["tick"]).await;
    let freezer = io.freezer.take().expect("this host has a freezer");
    for _ in 0..3 {
        freezer.freeze().unwrap();
        drained(&mut io).await;
        freezer.thaw().unwrap();
        assert_eq!(io.stdout.read_u8().await.unwrap(), b'.');
    }
    native.sandbox().remove(slot).await.unwrap();
    // Freezing what is gone does nothing to anybody.
    let late = freezer.freeze().unwrap_err();
    assert!(
        matches!(late.kind(), ErrorKind::NotFound | ErrorKind::Other) || late.raw_os_error() == Some(19),
        "{late}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_sandbox_can_be_killed_and_removed() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    let (slot, io) = native.started(&["stubborn"]).await;
    until("all four processes run", || pids_of(&native.instance).len() == 4).await;
    io.freezer.as_ref().unwrap().freeze().unwrap();
    native.sandbox().kill(slot).await.unwrap();
    assert_eq!(native.sandbox().wait(slot).await.unwrap().by, EndedBy::Signal(9));
    native.sandbox().remove(slot).await.unwrap();
    let (slot, io) = native.started(&["stubborn"]).await;
    io.freezer.as_ref().unwrap().freeze().unwrap();
    native.sandbox().remove(slot).await.unwrap();
    assert_eq!(pids_of(&native.instance), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn freezing_again_and_again_while_it_is_killed_does_not_keep_a_sandbox_alive() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    for round in 0..10 {
        let (slot, io) = native.started(&["stubborn"]).await;
        let freezer = io.freezer.unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let freezing = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = freezer.freeze();
            }
        });
        let sandbox = native.sandbox();
        let ending = async {
            if round % 2 == 0 {
                sandbox.kill(slot).await.unwrap();
                assert_eq!(sandbox.wait(slot).await.unwrap().by, EndedBy::Signal(9));
            }
            sandbox.remove(slot).await.unwrap();
        };
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), ending).await;
        over.store(true, Ordering::Relaxed);
        freezing.join().unwrap();
        ended.expect("a freeze kept the sandbox alive");
    }
    assert_eq!(pids_of(&native.instance), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_reaches_the_first_process_even_when_it_is_frozen() {
    if !root() {
        return;
    }
    let native = Native::start().await;
    for freeze in [false, true] {
        let (slot, mut io) = native.started(&["term"]).await;
        if freeze {
            io.freezer.as_ref().unwrap().freeze().unwrap();
        }
        native.sandbox().terminate(slot).await.unwrap();
        assert_eq!(started_line(&mut io).await, "term");
        assert_eq!(native.sandbox().wait(slot).await.unwrap().by, EndedBy::Exit(7));
        // An ended one, and one that is gone, cannot be told.
        native.sandbox().terminate(slot).await.unwrap();
        native.sandbox().remove(slot).await.unwrap();
        native.sandbox().terminate(slot).await.unwrap();
    }
    let unstarted = native.slot().await;
    native.sandbox().terminate(unstarted).await.unwrap();
    let io = native.sandbox().start(unstarted, &native.rootfs, &guest_process(&["hello"])).await.unwrap();
    assert_eq!(crate::kit::read_all(io, b"").await.0, "hello\n");
    native.sandbox().remove(unstarted).await.unwrap();
}
