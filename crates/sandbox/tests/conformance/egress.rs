//! What sandboxes reach over the network. Every address used here answers (the suite connects to
//! each before it starts), so a refusal is the filter's.

use std::sync::Arc;

use crate::bed::{Bed, Started, egress, line, probe, spec};

const ALLOWED: [&str; 4] = [
    "192.175.48.77:80",          // public
    "10.99.0.5:80",              // private, listed with its port
    "192.0.2.2:80",              // reserved, in a listed network
    "[::ffff:192.175.48.77]:80", // public, written as IPv6
];

fn denied(bed: &Bed) -> Vec<String> {
    let mut addresses: Vec<String> = [
        "10.99.0.5:8080",     // listed, but for another port
        "10.99.0.6:80",       // private, not listed
        "192.175.48.78:80",   // public, but on the deny list
        "192.175.48.77:25",   // mail
        "169.254.169.254:80", // metadata
        "192.0.2.1:80",       // the host, although its network is listed
        "127.0.0.1:80",
        "[::1]:80",
        "[::ffff:10.99.0.6]:80",
        "[::ffff:169.254.169.254]:80",
        "[::ffff:192.0.2.1]:80",
        "[::ffff:127.0.0.1]:80",
        "[2001:db8::1]:80", // the host
        "[2001:db8::2]:80",
        "[fe80::1]:80",
        "[ff02::1]:80",
    ]
    .map(str::to_owned)
    .to_vec();
    addresses.push(format!("{}:80", bed.gateway));
    addresses
}

pub async fn without_egress_nothing_is_reached(bed: Arc<Bed>) {
    let denied = denied(&bed);
    let all: Vec<&str> = ALLOWED.iter().copied().chain(denied.iter().map(String::as_str)).collect();
    let run = bed.check(&[&["connect"][..], &all].concat()).await;
    let lines = run.lines();
    assert_eq!(lines.len(), all.len());
    for line in lines {
        assert!(!line.contains("connected"), "{line}");
    }
}

pub async fn egress_reaches_what_it_may_and_nothing_else(bed: Arc<Bed>) {
    let denied = denied(&bed);
    let denied: Vec<&str> = denied.iter().map(String::as_str).collect();
    let run = bed.run_with(&egress(), &probe(&[&["connect"][..], &ALLOWED].concat()), b"").await;
    for line in run.lines() {
        assert!(line.ends_with(": connected reached"), "{line}");
    }
    let run = bed.run_with(&egress(), &probe(&[&["connect"][..], &denied].concat()), b"").await;
    let lines = run.lines();
    assert_eq!(lines.len(), denied.len());
    for line in lines {
        assert!(!line.contains("connected"), "{line}");
    }
}

pub async fn sandboxes_do_not_reach_each_other(bed: Arc<Bed>) {
    let Started { slot, mut io } = bed.start(&egress(), &probe(&["listen", "8080"])).await.unwrap();
    let said = line(&mut io.stdout).await;
    let address = said.strip_prefix("listening ").unwrap();
    assert!(address.starts_with("10.20"), "{said}");
    let targets = [format!("{address}:8080"), format!("[::ffff:{address}]:8080")];
    let run = bed.run_with(&egress(), &probe(&["connect", &targets[0], &targets[1]]), b"").await;
    for line in run.lines() {
        assert!(!line.contains("connected"), "{line}");
    }
    // Not because nobody listens.
    let own = bed.run_with(&spec(), &probe(&["connect", &targets[0]]), b"").await;
    assert!(!own.stdout.contains("connected"), "{own:?}");
    drop(io.stdin);
    bed.wait(slot).await;
    bed.remove(slot).await;
}

pub async fn connections_are_capped(bed: Arc<Bed>) {
    let run = bed.run_with(&egress(), &probe(&["hold", "192.175.48.77:80", "30"]), b"").await;
    assert!(run.stdout.starts_with("held 16: "), "{run:?}");
}

pub async fn bandwidth_is_capped(bed: Arc<Bed>) {
    let run = bed.run_with(&egress(), &probe(&["fetch", "192.175.48.77:90", "4000000"]), b"").await;
    let words: Vec<u64> = run.lines()[0].split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(words[0] >= 4_000_000, "{run:?}");
    assert!(words[1] >= 2_000, "4 MB at 1 MB/s (with 1.1 MB at once) took {} ms", words[1]);
}

pub async fn names_are_asked_of_the_configured_servers(bed: Arc<Bed>) {
    let run = bed.run_with(&egress(), &probe(&["resolve", "name.example"]), b"").await;
    assert_eq!(run.lines(), ["address [192, 0, 2, 7]"]);
    let run = bed.check(&["resolve", "name.example"]).await;
    assert!(!run.stdout.contains("address"), "{run:?}");
    let run = bed.check(&["read", "/etc/resolv.conf"]).await;
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    for line in host.lines().filter(|line| line.starts_with("nameserver") || line.starts_with("search")) {
        assert!(!run.stdout.contains(line), "the host's own: {run:?}");
    }
}
