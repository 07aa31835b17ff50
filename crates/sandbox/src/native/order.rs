//! What the spawner tells a seated process to become: the engine's start, and the slot's limits.
//!
//! Fixed bytes over the line between the two; the descriptors of the start travel with them.

use picasso_types::NetworkMode;

use super::protocol::{Reader, Start};
use crate::SlotLimits;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) network: NetworkMode,
    pub(crate) limits: SlotLimits,
    pub(crate) start: Start,
}

impl Order {
    /// The message's bytes.
    pub(crate) fn encode(network: NetworkMode, limits: &SlotLimits, start: &Start) -> Vec<u8> {
        let mut w = Vec::with_capacity(128);
        w.push(u8::from(network == NetworkMode::Egress));
        limits.put(&mut w);
        start.put(&mut w);
        w
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let r = &mut Reader(bytes);
        let network = if r.flag()? { NetworkMode::Egress } else { NetworkMode::None };
        let limits = SlotLimits::take(r)?;
        let start = Start::take(r)?;
        r.is_empty().then_some(Self { network, limits, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Channel;
    use crate::native::mounts::MAX_LAYERS;
    use crate::native::packet::MAX_MESSAGE;
    use crate::native::protocol::MAX_GROUPS;

    #[test]
    fn an_order_is_read_as_it_was_written_and_the_longest_fits_a_packet() {
        let limits = SlotLimits {
            memory_bytes: 1 << 30,
            cpu_millis: 1,
            pids: 2,
            tmp_bytes: 1 << 20,
            tmp_inodes: 4,
            nofile: 50,
        };
        let start = Start {
            slot: 1,
            uid: 2,
            gid: 3,
            groups: vec![4; MAX_GROUPS],
            layers: vec![[5; 32]; MAX_LAYERS],
            channel: Channel::Port { port: 6 },
            files: true,
            identity: crate::IdentityFolderId::from_number(7),
        };
        let bytes = Order::encode(NetworkMode::Egress, &limits, &start);
        assert!(bytes.len() <= MAX_MESSAGE);
        let order = Order { network: NetworkMode::Egress, limits, start };
        assert_eq!(Order::decode(&bytes), Some(order));
        assert_eq!(Order::decode(&bytes[1..]), None);
    }
}
