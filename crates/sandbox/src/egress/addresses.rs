//! Which address a sandbox gets.
//!
//! One after the other through the whole subnet, so that an address rests for as long as it can
//! before the next sandbox gets it: packets that are still on their way to the one before, and
//! what the host remembers of its connections, find nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::settings::EgressSettings;

/// The addresses of one network.
#[derive(Debug)]
pub(super) struct Addresses {
    first: u32,
    count: u32,
    next: u32,
    by_slot: BTreeMap<u32, u32>,
    taken: BTreeSet<u32>,
}

impl Addresses {
    /// All but the network's, the gateway's and the broadcast address.
    pub(super) fn of(settings: &EgressSettings) -> Self {
        let first = settings.gateway().to_bits() + 1;
        let count = settings.subnet.broadcast().to_bits().saturating_sub(first);
        Self { first, count, next: 0, by_slot: BTreeMap::new(), taken: BTreeSet::new() }
    }

    /// An address for a slot, which loses the one it had; `None` when all are taken.
    pub(super) fn take(&mut self, slot: u32) -> Option<Ipv4Addr> {
        self.give_back(slot);
        if self.taken.len() >= self.count as usize {
            return None;
        }
        while self.taken.contains(&self.next) {
            self.next = (self.next + 1) % self.count;
        }
        let taken = self.next;
        self.next = (self.next + 1) % self.count;
        self.taken.insert(taken);
        self.by_slot.insert(slot, taken);
        Some(Ipv4Addr::from_bits(self.first + taken))
    }

    /// Takes a slot's address back; whether it had one.
    pub(super) fn give_back(&mut self, slot: u32) -> bool {
        let Some(address) = self.by_slot.remove(&slot) else { return false };
        self.taken.remove(&address);
        true
    }
}

/// The hardware address that goes with an address. Always the same one, because the host goes on
/// using the one it knows for a while.
pub(super) fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:70:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

#[cfg(test)]
mod tests {
    use super::{Addresses, EgressSettings, Ipv4Addr, mac};

    fn addresses() -> Addresses {
        Addresses::of(&EgressSettings {
            instance: "0a1b2c3d".to_owned(),
            subnet: "10.0.0.0/29".parse().unwrap(),
            dns: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            max_connections: 1,
            bytes_per_second: 1,
        })
    }

    #[test]
    fn an_address_is_used_again_only_after_all_others() {
        let mut addresses = addresses();
        let taken: Vec<Ipv4Addr> = (0..6)
            .map(|_| {
                let address = addresses.take(1).unwrap();
                addresses.give_back(1);
                address
            })
            .collect();
        let expected = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"];
        assert_eq!(taken, expected.map(|text| text.parse::<Ipv4Addr>().unwrap()));
    }

    #[test]
    fn no_two_slots_share_an_address_and_the_last_one_is_the_end() {
        let mut addresses = addresses();
        let taken: std::collections::BTreeSet<_> = (0..5).map(|slot| addresses.take(slot).unwrap()).collect();
        assert_eq!(taken.len(), 5);
        assert_eq!(addresses.take(9), None);
        assert!(addresses.give_back(3));
        assert!(!addresses.give_back(3));
        assert_eq!(addresses.take(9), Some(Ipv4Addr::new(10, 0, 0, 5)));
    }

    #[test]
    fn hardware_addresses_follow_addresses() {
        assert_eq!(mac(Ipv4Addr::new(10, 201, 0, 255)), "02:70:0a:c9:00:ff");
    }
}
