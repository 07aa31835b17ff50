//! Named places at which a test ends this process as a power cut would: SIGKILL, nothing written out.
//!
//! Built with the feature `failpoints` only, which the tests switch on and a release cannot be built
//! with; everywhere else [`reached`] is nothing. A process looks at the places whose environment names a
//! file in [`FILE_VARIABLE`]: the first that comes to the place whose name is in it removes the file
//! and ends. So a test arms a running server, and a restarted one goes on.
//!
//! The file is read at each place instead of once at the start (which is what the crate `fail` offers),
//! so that one server is killed at every place without a start of its own for each.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests: a release would let its environment end it");

/// Names the file that arms a place.
pub const FILE_VARIABLE: &str = "FAILPOINT_FILE";

/// The call is committed with its outbox entry; its caller has no answer, no queue has its id.
pub const COMMITTED: &str = "after-commit-before-answer";
/// Entries were taken from the outbox; the queue has not seen them.
pub const TAKEN: &str = "after-commit-before-publish";
/// The queue has confirmed the ids; nothing else knows of it.
pub const PUBLISHED: &str = "after-publish";
/// Ids came out of the queue and are in their lines, in memory; the queue waits for their
/// acknowledgement.
pub const RECEIVED: &str = "after-receive-before-ack";
/// The queue has forgotten the ids; no call of theirs is claimed.
pub const ACKED: &str = "after-ack-before-claim";
/// The call is claimed, its outbox entry gone; its function has not begun.
pub const CLAIMED: &str = "after-claim-before-run";
/// The function has ended; how it ended is in memory only.
pub const RAN: &str = "after-run-before-record";
/// The call's end is committed with what it has to send; nothing of that was sent.
pub const RECORDED: &str = "after-record-before-send";
/// A receiver has taken a delivery; the store does not know.
pub const SENT: &str = "after-send-before-record";

/// All places, in the order in which a call comes to them.
pub const ALL: [&str; 9] = [COMMITTED, TAKEN, PUBLISHED, RECEIVED, ACKED, CLAIMED, RAN, RECORDED, SENT];

/// Ends this process here if a test has armed the place.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(place: &str) {
    use std::path::PathBuf;
    use std::sync::LazyLock;

    use rustix::process::{Signal, getpid, kill_process};

    static FILE: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os(FILE_VARIABLE).map(Into::into));
    let Some(file) = &*FILE else { return };
    let is_armed = std::fs::read_to_string(file).is_ok_and(|armed| armed.trim() == place);
    // Of several threads one removes it.
    if is_armed && std::fs::remove_file(file).is_ok() {
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Nothing: this build has no failpoints.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn reached(_place: &str) {}
