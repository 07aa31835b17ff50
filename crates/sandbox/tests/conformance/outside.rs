//! The world outside the machine: a network namespace that plays the internet, the operator's
//! private networks and the cloud's metadata service, joined to the machine by one cable.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use picasso_testkit::process::{Process, run, wait_until};

/// Addresses that answer on ports 25, 80 and 8080 (port 90 sends a lot): two public ones, two of
/// a private network, the metadata service, the router's own.
const ADDRESSES: [&str; 7] = [
    "192.175.48.77/32",
    "192.175.48.78/32",
    "10.99.0.5/32",
    "10.99.0.6/32",
    "10.99.0.53/32",
    "169.254.169.254/32",
    "192.0.2.2/24",
];

pub struct Outside {
    _services: Vec<Process>,
}

impl Outside {
    pub async fn start(probe: &Path, dir: &Path) -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--"]).arg(probe).args(["sleep", "100000"]);
        let holder = Process::spawn("outside", dir, holder).unwrap();
        let pid = holder.pid().to_string();
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        wait_until(Duration::from_secs(10), "a network namespace", async || {
            std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|theirs| theirs != ours)
        })
        .await
        .unwrap();
        ip(&["link", "add", "out0", "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        for arguments in [
            "address add 192.0.2.1/24 dev out0",
            "address add 2001:db8::1/64 dev out0 nodad",
            "link set dev out0 up",
            "route add default via 192.0.2.2",
        ] {
            ip(&arguments.split(' ').collect::<Vec<_>>());
        }
        let there = |arguments: &str| {
            let words = ["--net", "-t", &pid, "ip"].into_iter().chain(arguments.split(' '));
            run("nsenter", words).unwrap();
        };
        there("link set dev lo up");
        for address in ADDRESSES {
            there(&format!("address add {address} dev eth0"));
        }
        there("address add 2001:db8::2/64 dev eth0 nodad");
        there("link set dev eth0 up");
        there("route add default via 192.0.2.1");
        let mut services = vec![holder];
        for (port, bytes) in [("25", "0"), ("80", "0"), ("8080", "0"), ("90", "100000000")] {
            let mut service = Command::new("nsenter");
            service.args(["--net", "-t", &pid]).arg(probe).args(["serve", port, bytes]);
            services.push(Process::spawn(&format!("outside-{port}"), dir, service).unwrap());
        }
        let mut names = Command::new("nsenter");
        names.args(["--net", "-t", &pid]).arg(probe).args(["serve-names", "10.99.0.53:53"]);
        services.push(Process::spawn("outside-names", dir, names).unwrap());
        let mut own = Command::new(probe);
        own.args(["serve", "80", "0"]);
        services.push(Process::spawn("host-80", dir, own).unwrap());
        for address in
            ["192.175.48.77:80", "10.99.0.6:8080", "192.175.48.77:25", "169.254.169.254:80", "127.0.0.1:80"]
        {
            wait_until(Duration::from_secs(10), address, async || {
                tokio::net::TcpStream::connect(address).await.is_ok()
            })
            .await
            .unwrap();
        }
        Self { _services: services }
    }
}

fn ip(arguments: &[&str]) {
    run("ip", arguments.iter().copied()).unwrap();
}
