//! A spawner whose engine misbehaves: it believes nothing.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::{Duration, Instant};

use picasso_sandbox::supervisor::{self, NativeSettings};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::kit::{cgroups_of, private_dir, root};

/// A spawner driven by raw bytes.
struct Raw {
    child: Child,
    socket: OwnedFd,
    instance: String,
    dir: std::path::PathBuf,
}

impl Raw {
    fn start() -> Self {
        let (dir, instance) = (private_dir(), picasso_types::random::short_id());
        let settings = NativeSettings { ready_slots: 1, ready_egress_slots: 0, max_slots: 4, runtime: None };
        let program = std::path::Path::new("/proc/self/exe");
        let spawned = supervisor::spawn_native(program, dir.clone(), &instance, settings, None).unwrap();
        let hello = Self::receive_from(&spawned.socket);
        assert_eq!(hello, [1, 0]);
        Self { child: spawned.child, socket: spawned.socket, instance, dir }
    }

    fn receive_from(socket: &OwnedFd) -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        let (n, _) = rustix::net::recv(socket, &mut bytes[..], rustix::net::RecvFlags::empty()).unwrap();
        bytes.truncate(n);
        bytes
    }

    fn send(&self, bytes: &[u8]) {
        let mut none = SendAncillaryBuffer::default();
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut none, SendFlags::NOSIGNAL).unwrap();
    }

    fn ends_with_failure(mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the spawner did not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(!status.success());
        assert!(cgroups_of(&self.instance).is_empty());
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

#[test]
fn a_message_that_is_none_ends_the_spawner_and_all_it_has() {
    if !root() {
        return;
    }
    for bytes in [&b"GET / HTTP/1.1"[..], &[1, 0, 0, 0, 0], &[99; 60], &[2; 5000]] {
        let raw = Raw::start();
        raw.send(bytes);
        raw.ends_with_failure();
    }
}

#[test]
fn a_packet_longer_than_any_message_ends_it_too() {
    if !root() {
        return;
    }
    let raw = Raw::start();
    raw.send(&vec![5; 20_000]);
    raw.ends_with_failure();
}
