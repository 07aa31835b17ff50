//! What the spawner tells the engine, kept where the engine does not read at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;

use super::serve::{SOCKET, Spawner};
use crate::native::packet;
use crate::native::protocol::{RefusalKind, Report};

/// Reports that may wait for an engine that does not read.
const MAX_UNSENT: usize = 65_536;

impl Spawner {
    pub(super) fn refuse(&mut self, id: u32, kind: RefusalKind, text: &str) {
        self.report(&Report::Refused { id, kind, text: text.to_owned() });
    }

    pub(super) fn report(&mut self, report: &Report) {
        self.report_with(report, Vec::new());
    }

    /// A report with the descriptors that travel with it.
    pub(super) fn report_with(&mut self, report: &Report, fds: Vec<OwnedFd>) {
        self.unsent.push_back((report.encode(), fds));
        // A socket that is broken shows itself to the loop.
        let _ = self.send_unsent();
    }

    pub(super) fn send_unsent(&mut self) -> Result<(), String> {
        let waited = self.socket_is_full;
        while let Some((bytes, fds)) = self.unsent.front() {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match packet::send(self.socket.as_fd(), bytes, &fds) {
                Ok(()) => {
                    self.unsent.pop_front();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // The engine is gone; reading the socket tells.
                Err(_) => self.unsent.clear(),
            }
        }
        if self.unsent.len() > MAX_UNSENT {
            return Err("the engine does not read".to_owned());
        }
        self.socket_is_full = !self.unsent.is_empty();
        if self.socket_is_full == waited {
            return Ok(());
        }
        let mut events = epoll::EventFlags::IN;
        events.set(epoll::EventFlags::OUT, self.socket_is_full);
        let data = epoll::EventData::new_u64(SOCKET);
        epoll::modify(&self.epoll, &self.socket, data, events).map_err(|e| format!("epoll: {e}"))
    }
}
