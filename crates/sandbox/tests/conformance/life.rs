//! From start to removal.

use std::sync::Arc;
use std::time::Duration;

use picasso_sandbox::{EndedBy, SandboxError, SlotId};
use picasso_testkit::process::wait_until;

use crate::bed::{Bed, DEADLINE, Started, line, probe, spec, within};
use crate::machine::{Marked, mark};

pub async fn exit_codes_are_told(bed: Arc<Bed>) {
    for code in [0, 1, 3, 100] {
        let run = bed.check(&["exit", &code.to_string()]).await;
        assert_eq!(run.ended.by, EndedBy::Exit(code));
        assert!(!run.ended.out_of_memory);
    }
}

pub async fn a_fatal_signal_is_told(bed: Arc<Bed>) {
    assert_eq!(bed.check(&["crash"]).await.ended.by, EndedBy::Signal(11));
}

pub async fn arguments_environment_and_folder_are_the_ones_given(bed: Arc<Bed>) {
    let mut process = probe(&["identity"]);
    "probe".clone_into(&mut process.argv[0]);
    "/work".clone_into(&mut process.cwd);
    process.env.push(("WITH SPACE".to_owned(), "a=b c\u{e9}".to_owned()));
    let run = bed.run_with(&spec(), &process, b"").await;
    assert_eq!(run.after("cwd"), "/work");
    assert_eq!(run.after("env WITH SPACE="), "a=b c\u{e9}");
    let unasked = run
        .lines()
        .into_iter()
        .filter_map(|line| line.strip_prefix("env ")?.split_once('='))
        // Runtimes set these by themselves.
        .filter(|(name, _)| bed.driver == "native" || !["HOME", "HOSTNAME"].contains(name))
        .filter(|(name, _)| !["PATH", "WITH SPACE"].contains(name))
        .collect::<Vec<_>>();
    assert!(unasked.is_empty(), "{unasked:?}");
}

pub async fn ids_are_the_ones_given(bed: Arc<Bed>) {
    let mut process = probe(&["identity"]);
    (process.uid, process.gid, process.groups) = (1234, 4321, vec![77, 99]);
    let run = bed.run_with(&spec(), &process, b"").await;
    assert_eq!(run.after("Uid:"), "1234 1234 1234 1234");
    assert_eq!(run.after("Gid:"), "4321 4321 4321 4321");
    let mut groups: Vec<&str> = run.after("Groups:").split(' ').collect();
    groups.retain(|group| *group != "4321");
    assert_eq!(groups, ["77", "99"]);
}

pub async fn a_program_that_is_missing_is_the_images_fault(bed: Arc<Bed>) {
    for program in ["/bin/missing", "missing", "/etc/passwd", "/work"] {
        let mut process = probe(&[]);
        program.clone_into(&mut process.argv[0]);
        let error = bed.start(&spec(), &process).await.map(|_| ()).unwrap_err();
        assert!(matches!(&error, SandboxError::CannotStart(text) if text.contains(program)), "{error:?}");
    }
}

pub async fn kill_ends_a_function_that_ignores_signals(bed: Arc<Bed>) {
    let Started { slot, mut io } = bed.start(&spec(), &probe(&["ignore-term"])).await.unwrap();
    assert_eq!(line(&mut io.stdout).await, "ready");
    bed.sandbox.kill(slot).await.unwrap();
    let ended = bed.wait(slot).await;
    assert_eq!(ended.by, EndedBy::Signal(9));
    assert!(!ended.out_of_memory);
    bed.sandbox.kill(slot).await.unwrap();
    bed.remove(slot).await;
}

pub async fn sigterm_reaches_a_function_that_handles_it(bed: Arc<Bed>) {
    let Started { slot, mut io } = bed.start(&spec(), &probe(&["end-on-term", "7"])).await.unwrap();
    assert_eq!(line(&mut io.stdout).await, "ready");
    bed.sandbox.terminate(slot).await.unwrap();
    assert_eq!(bed.wait(slot).await.by, EndedBy::Exit(7));
    bed.sandbox.terminate(slot).await.unwrap();
    bed.remove(slot).await;
}

pub async fn removing_a_running_sandbox_ends_it(bed: Arc<Bed>) {
    let (mark, process) = mark(&["ignore-term"]);
    let Started { slot, mut io } = bed.start(&spec(), &process).await.unwrap();
    assert_eq!(line(&mut io.stdout).await, "ready");
    assert_eq!(mark.processes().len(), 1);
    bed.remove(slot).await;
    gone(&mark).await;
}

pub async fn processes_left_behind_end_with_the_function(bed: Arc<Bed>) {
    let (mark, process) = mark(&["orphan"]);
    let run = bed.run_with(&spec(), &process, b"").await;
    assert!(run.stdout.starts_with("left "), "{run:?}");
    gone(&mark).await;
}

async fn gone(mark: &Marked) {
    wait_until(DEADLINE, "the end of a sandbox's processes", async || mark.processes().is_empty())
        .await
        .unwrap();
}

pub async fn a_slot_is_used_once(bed: Arc<Bed>) {
    let Started { slot, io } = bed.start(&spec(), &probe(&["exit", "0"])).await.unwrap();
    let again = bed.sandbox.start(slot, &bed.rootfs, &probe(&["exit", "0"])).await.map(|_| ());
    assert!(matches!(again, Err(SandboxError::Slot(_))), "{again:?}");
    drop(io);
    bed.wait(slot).await;
    let again = bed.sandbox.start(slot, &bed.rootfs, &probe(&["exit", "0"])).await.map(|_| ());
    assert!(matches!(again, Err(SandboxError::Slot(_))), "{again:?}");
    bed.remove(slot).await;
}

pub async fn unknown_slots_are_refused(bed: Arc<Bed>) {
    let unused = bed.sandbox.make_slot(&spec()).await.unwrap();
    assert!(bed.sandbox.wait(unused).await.is_err(), "a slot that was not started has no end");
    bed.remove(unused).await;
    for slot in [unused, SlotId(u64::MAX)] {
        let start = bed.sandbox.start(slot, &bed.rootfs, &probe(&["exit", "0"])).await.map(|_| ());
        assert!(start.is_err(), "{start:?}");
        assert!(bed.sandbox.wait(slot).await.is_err());
    }
}

pub async fn many_sandboxes_run_side_by_side(bed: Arc<Bed>) {
    let runs = (0..12).map(|number| {
        let bed = Arc::clone(&bed);
        tokio::spawn(async move {
            let text = format!("number {number}");
            let run = bed.run_with(&spec(), &probe(&["echo"]), text.as_bytes()).await;
            assert_eq!(run.stdout, text);
        })
    });
    for run in runs.collect::<Vec<_>>() {
        within("a parallel run", run).await.unwrap();
    }
}

pub async fn a_restart_reaps_what_was_left(bed: Arc<Bed>) {
    let (mark, process) = mark(&["sleep", "1000"]);
    within("a restart", (bed.restart)(Arc::clone(&bed), process)).await;
    wait_until(Duration::from_secs(30), "the end of what was left", async || mark.processes().is_empty())
        .await
        .unwrap();
}
