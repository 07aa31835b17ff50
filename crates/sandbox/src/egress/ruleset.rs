//! The packet filter of sandboxes with network access, as text for `nft -f`. Pure.
//!
//! Destinations are judged before any address translation of the host's (a port that Docker
//! publishes is reached by DNAT), so that "an address of this host" means what the sandbox asked
//! for; what arrives at the host itself is judged again after it.

use std::fmt::Write as _;

use ipnet::IpNet;
use picasso_types::network::Destination;

use super::settings::EgressSettings;

/// What is denied unless listed: this network, private, shared, loopback, link-local (with the
/// metadata service), protocol assignments, documentation, 6to4 relays, benchmarks, multicast and
/// reserved (IANA special-purpose registry, RFC 6890).
const RESERVED: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// Fails the connection at once instead of letting it time out.
const REJECT: &str = "reject with icmp type admin-prohibited";

/// The whole table `table` for the sandboxes behind `bridge`; replaces an earlier one in one
/// transaction.
pub(crate) fn ruleset(settings: &EgressSettings, table: &str, bridge: &str) -> String {
    let mut text = String::new();
    let subnet = settings.subnet.trunc();
    let rate = settings.bytes_per_second;
    // The kernel's bucket holds one second's worth and the burst.
    let burst = (rate / 10).max(1);
    let limit = format!("limit rate over {rate} bytes/second burst {burst} bytes");
    let connections = settings.max_connections;
    let reserved = RESERVED.join(", ");
    let everywhere = rules(settings, |_| true);
    let on_this_host = rules(settings, |net| net.prefix_len() == net.max_prefix_len());
    let _ = write!(
        text,
        r#"table inet {table}
delete table inet {table}
table inet {table} {{
    set reserved {{ type ipv4_addr; flags interval; elements = {{ {reserved} }}; }}
    set sending {{ type ipv4_addr; size 65535; flags dynamic,timeout; timeout 1m; }}
    set receiving {{ type ipv4_addr; size 65535; flags dynamic,timeout; timeout 1m; }}
    set connected {{ type ipv4_addr; size 65535; flags dynamic; }}

    chain listed {{
{everywhere}    }}

    chain listed_of_host {{
{on_this_host}        {REJECT}
    }}

    chain from_sandbox {{
        meta nfproto ipv6 drop
        ip saddr != {subnet} drop
        update @sending {{ ip saddr {limit} }} drop
        ct state invalid drop
        ct state established,related accept
        meta l4proto != {{ tcp, udp }} drop
        add @connected {{ ip saddr ct count over {connections} }} {REJECT}
        fib daddr type local goto listed_of_host
        fib daddr type != unicast drop
        jump listed
        tcp dport 25 {REJECT}
        ip daddr @reserved {REJECT}
        accept
    }}

    chain prerouting {{
        type filter hook prerouting priority mangle; policy accept;
        iifname "{bridge}" goto from_sandbox
    }}

    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "{bridge}" ct state established,related accept
        iifname "{bridge}" meta nfproto ipv4 goto listed_of_host
        iifname "{bridge}" drop
    }}

    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "{bridge}" oifname "{bridge}" drop
        iifname "{bridge}" accept
        oifname "{bridge}" update @receiving {{ ip daddr {limit} }} drop
        oifname "{bridge}" ct state established,related accept
        oifname "{bridge}" drop
    }}

    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifname != "{bridge}" masquerade
    }}
}}
"#
    );
    text
}

/// The operator's lists as rules: what is denied first, then name servers, then what is allowed.
fn rules(settings: &EgressSettings, counts: impl Fn(&IpNet) -> bool) -> String {
    let mut text = String::new();
    for destination in &settings.deny {
        let _ = rule(&mut text, destination, REJECT);
    }
    let name_servers =
        settings.dns.iter().map(|server| Destination { net: IpNet::from(*server), port: Some(53) });
    let name_servers: Vec<_> = name_servers.collect();
    for destination in name_servers.iter().chain(&settings.allow) {
        if counts(&destination.net) {
            let _ = rule(&mut text, destination, "accept");
        }
    }
    text
}

/// One line; nothing for IPv6, of which no packet passes.
fn rule(text: &mut String, destination: &Destination, verdict: &str) -> std::fmt::Result {
    let IpNet::V4(net) = destination.net else { return Ok(()) };
    match destination.port {
        Some(port) => writeln!(text, "        ip daddr {net} th dport {port} {verdict}"),
        None => writeln!(text, "        ip daddr {net} {verdict}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{EgressSettings, ruleset};

    fn settings() -> EgressSettings {
        EgressSettings {
            instance: "0a1b2c3d".to_owned(),
            subnet: "10.201.0.0/16".parse().unwrap(),
            dns: vec!["192.0.2.53".parse().unwrap()],
            allow: vec!["10.9.8.0/24:443".parse().unwrap(), "10.9.9.1".parse().unwrap()],
            deny: vec!["10.9.8.7".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            max_connections: 256,
            bytes_per_second: 12_500_000,
        }
    }

    #[test]
    fn the_ruleset_is_the_reviewed_one() {
        insta::assert_snapshot!(ruleset(&settings(), "picasso_0a1b2c3d", "pcs0a1b2c3d"));
    }

    #[test]
    fn a_network_in_the_allow_list_does_not_open_this_host() {
        let text = ruleset(&settings(), "t", "b");
        let host = text.split("chain listed_of_host").nth(1).unwrap();
        let host = &host[..host.find('}').unwrap()];
        assert!(host.contains("10.9.9.1/32 accept"), "{host}");
        assert!(!host.contains("10.9.8.0/24"), "{host}");
    }
}
