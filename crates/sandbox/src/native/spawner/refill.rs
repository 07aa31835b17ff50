//! Making parts ahead while nothing else is to do, and hearing of networks that were attached.

use picasso_types::NetworkMode;
use rustix::event::epoll;

use super::network::Attachment;
use super::serve::Spawner;
use super::slot::State;
use super::{Level, log};
use crate::native::protocol::RefusalKind;

impl Spawner {
    pub(super) fn refill(&mut self) {
        // A start that is under way is somebody's call.
        if self.slots.values().any(|slot| matches!(slot.state, State::Starting { .. })) {
            return;
        }
        match self.pool.shortage() {
            None => {}
            Some(NetworkMode::Egress) => self.attach_one(),
            Some(NetworkMode::None) => match self.make_parts() {
                Ok(parts) => self.pool.put_back(parts),
                Err(reason) => {
                    self.pool.pause();
                    log(Level::Error, "spawner", &format!("making a slot: {reason}"));
                }
            },
        }
    }

    pub(super) fn attach_one(&mut self) {
        if self.network.is_none() {
            return;
        }
        match self.take_parts() {
            Ok(parts) => {
                if let Some(link) = &mut self.network {
                    self.pool.attaching(1);
                    link.attach(parts);
                }
            }
            Err(reason) => {
                self.pool.pause();
                if let Some((id, _)) = self.waiting.pop_front() {
                    self.refuse(id, RefusalKind::Failed, &reason);
                }
            }
        }
    }

    pub(super) fn hear_network(&mut self) {
        let Some(link) = &mut self.network else { return };
        let attachments = match link.receive() {
            Ok(attachments) => attachments,
            Err(reason) => {
                log(Level::Error, "spawner", &reason);
                let _ = epoll::delete(&self.epoll, link.socket());
                let mut lost = link.take_waiting();
                self.network = None;
                self.pool.attaching(-lost.len().cast_signed());
                lost.extend(self.pool.without_egress());
                for parts in lost {
                    self.discard(parts);
                }
                for (id, _) in std::mem::take(&mut self.waiting) {
                    self.refuse(id, RefusalKind::Failed, "the egress network is not available");
                }
                return;
            }
        };
        for Attachment { parts, result } in attachments {
            self.pool.attaching(-1);
            match (result, self.waiting.pop_front()) {
                (Ok(()), Some((id, limits))) => self.hand_out(id, limits, parts),
                (Ok(()), None) => self.pool.put_back(parts),
                (Err(reason), waiting) => {
                    self.pool.pause();
                    log(Level::Error, "spawner", &reason);
                    self.discard(parts);
                    if let Some((id, _)) = waiting {
                        self.refuse(id, RefusalKind::Failed, &reason);
                    }
                }
            }
        }
    }
}
