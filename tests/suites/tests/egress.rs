//! Egress through the whole: a route that asks for it reaches what the operator's list allows, and
//! one that does not reaches nothing. The host that is reached is one of the test's own.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::process::Command;
use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_suites::host;
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{Process, TestDir, run, wait_until};
use reqwest::StatusCode;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

/// A host in a network namespace of its own with a server that greets; gone when dropped.
struct TestHost {
    namespace: String,
    _server: Process,
    _dir: TestDir,
}

impl TestHost {
    /// `address` is the host's, `ours` this machine's end of the wire to it.
    async fn start(address: &str, ours: &str) -> Self {
        let namespace = format!("pcstest{}", std::process::id());
        let [near, far] = ["a", "b"].map(|end| format!("pct{}{end}", std::process::id()));
        let ip = |arguments: &str| run("ip", arguments.split(' ')).unwrap();
        ip(&format!("netns add {namespace}"));
        ip(&format!("link add {near} type veth peer name {far} netns {namespace}"));
        ip(&format!("addr add {ours}/30 dev {near}"));
        ip(&format!("link set {near} up"));
        ip(&format!("-n {namespace} addr add {address}/30 dev {far}"));
        ip(&format!("-n {namespace} link set {far} up"));
        ip(&format!("-n {namespace} route add default via {ours}"));
        let dir = TestDir::new("egress-host").unwrap();
        let program = format!(
            "import socket\ns = socket.create_server((\"{address}\", 8080))\nwhile True:\n    c, _ = s.accept()\n    c.sendall(b\"reached\\n\")\n    c.close()"
        );
        let mut greeter = Command::new("ip");
        greeter.args(["netns", "exec", &namespace, "python3", "-c", &program]);
        let mut server = Process::spawn("greeter", dir.path(), greeter).unwrap();
        let address = format!("{address}:8080");
        let listens = || async { tokio::net::TcpStream::connect(&address).await.is_ok() };
        server.ready(SOON, "the test host answers", listens).await.unwrap();
        Self { namespace, _server: server, _dir: dir }
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        // The wire goes with the namespace.
        let _ = run("ip", ["netns", "del", &self.namespace]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_with_egress_reaches_what_is_allowed_and_no_other_does() {
    if !ready() {
        return;
    }
    let _host = TestHost::start("198.18.77.2", "198.18.77.1").await;
    let more_config = "[egress]\nsubnet = \"198.18.80.0/24\"\nallow = [\"198.18.77.2/32:8080\"]\n".to_owned();
    let cloud =
        Cloud::start_with(PicassoOptions { more_config, all_addresses: true, ..PicassoOptions::default() })
            .await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "egress").await;
    let allowed = "/bin/probe connect 198.18.77.2:8080";
    cloud.route(&token, &app, "/with", allowed, json!({"network": "egress"})).await;
    cloud.route(&token, &app, "/without", allowed, json!({})).await;
    // An address of the host that is on no list, with the API of this very server behind it.
    let own = format!("/bin/probe connect 198.18.77.1:{}", cloud.picasso.api_port());
    cloud.route(&token, &app, "/own", &own, json!({"network": "egress"})).await;

    let answer = cloud.send(cloud.http.get(cloud.function_url(&app, "/with"))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.text(), "198.18.77.2:8080: connected reached\n");
    for path in ["/without", "/own"] {
        let answer = cloud.send(cloud.http.get(cloud.function_url(&app, path))).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.text().contains("connected"), "{path}: {}", answer.text());
    }

    let instance = cloud.picasso.instance();
    assert!(!host::traces_of(&instance).is_empty(), "bridge and cgroups are there while it runs");
    drop(cloud);
    let gone = || async { host::traces_of(&instance).is_empty() };
    wait_until(SOON, "bridge and interfaces are gone", gone).await.unwrap();
}
