//! The IronFunctions face of a real `picasso serve --standalone`: without Keystone, as the
//! documentation's first five minutes show it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use picasso_testkit::keystone::install_tls_provider;
use picasso_testkit::picasso::Picasso;
use picasso_testkit::process::{Process, TestDir, free_port, require, run, wait_until};
use ring::hmac;
use rustix::process::Signal;
use serde_json::{Value, json};

const START: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_secs(30);

fn ready() -> bool {
    let busybox = !Path::new("/bin/busybox").exists();
    require("the picasso binary", Picasso::missing().as_deref())
        && require("busybox-static", busybox.then_some("/bin/busybox is not there"))
}

/// A server without Keystone.
struct Standalone {
    process: Process,
    variables: Vec<(&'static str, String)>,
    http: reqwest::Client,
    url: String,
    dir: TestDir,
}

impl Standalone {
    /// Starts one and waits until it answers.
    async fn start(more: &[(&'static str, String)]) -> Self {
        install_tls_provider();
        let dir = TestDir::new("standalone").unwrap();
        run("chmod", ["711", &dir.path().display().to_string()]).unwrap();
        let (port, admin) = (free_port().unwrap(), free_port().unwrap());
        let mut variables = vec![
            ("PICASSO_SERVER__DATA_DIR", dir.path().join("data").display().to_string()),
            ("PICASSO_LISTENERS__IRON__PORT", port.to_string()),
            ("PICASSO_LISTENERS__ADMIN__PORT", admin.to_string()),
        ];
        variables.extend(more.iter().cloned());
        let mut command = with(&variables, &Picasso::binary().display().to_string());
        command.args(["serve", "--standalone"]);
        let process = Process::spawn("picasso", dir.path(), command).unwrap();
        let process = process.stop_with(Signal::TERM, Duration::from_secs(20));
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut server = Self { process, variables, http, url, dir };
        let health = server.http.get(format!("http://127.0.0.1:{admin}/healthcheck"));
        let answers = || {
            let request = health.try_clone().unwrap().timeout(Duration::from_secs(2)).send();
            async move { request.await.is_ok_and(|answer| answer.status().is_success()) }
        };
        server.process.ready(START, "an answer to /healthcheck", answers).await.unwrap();
        server
    }

    /// Runs a script in a shell that finds `picasso`; what it printed.
    async fn shell(&self, script: &str) -> String {
        let binary = Picasso::binary();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", binary.parent().unwrap().display());
        let mut command = with(&self.variables, "bash");
        command.args(["-euc", script]).env("PATH", path);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Loads an image whose program is a shell that runs `script`.
    async fn image(&self, name: &str, script: &str) {
        let tar = self.dir.path().join("image.tar").display().to_string();
        let words = ["/bin/busybox", "sh", "-c", script].map(|word| format!("--entrypoint {}", quoted(word)));
        self.shell(&format!(
            "picasso image build --file /bin/busybox:/bin/busybox {} --output {tar}; \
             picasso image load {tar} --name {name}",
            words.join(" ")
        ))
        .await;
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> (u16, String) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.send(method, path, &[], body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A command without this test's own settings.
fn with(variables: &[(&'static str, String)], program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("PICASSO_") || name == "JWT_AUTH_KEY" {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    command
}

/// The blocks of commands under a heading of the documentation.
fn commands(heading: &str) -> Vec<String> {
    let text = include_str!("../../../docs/ironfunctions.md");
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_five_minutes_without_openstack_are_as_documented() {
    if !ready() {
        return;
    }
    let blocks = commands("Five minutes");
    assert!(blocks[0].contains("picasso serve --standalone"), "{blocks:?}");
    let server = Standalone::start(&[]).await;
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    let tar = server.dir.path().join("hello.tar").display().to_string();
    let mut printed = String::new();
    for block in &blocks[1..] {
        let block = block.replace("localhost:8080", &format!("localhost:{port}"));
        printed = server.shell(&block.replace("/tmp/hello.tar", &tar)).await;
    }
    assert!(printed.ends_with("Hello, world\n"), "{printed}");
    assert!(printed.contains("App successfully created") && printed.contains("Route successfully created"));
    let log = server.process.output();
    assert!(log.contains("IronFunctions http://127.0.0.1:") && !log.contains("function URLs http"), "{log}");
}

/// Answers every request with its number in this process.
const HOT: &str = r#"cr=$(printf '\r'); n=0
while read -r first; do
  while read -r line && [ "${line%"$cr"}" != "" ]; do :; done
  n=$((n+1)); printf 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%s' "$n"
done"#;

#[tokio::test(flavor = "multi_thread")]
async fn hot_and_asynchronous_functions_run_in_real_sandboxes_without_keystone() {
    if !ready() {
        return;
    }
    let server = Standalone::start(&[]).await;
    server.image("hot:1", HOT).await;
    server.image("fails:1", "exit 7").await;
    for route in [
        json!({"path": "/hot", "image": "hot:1", "format": "http", "memory": 32, "headers": {"X-A": ["1"]}}),
        json!({"path": "/later", "image": "fails:1", "type": "async", "memory": 32}),
        json!({"path": "/fails", "image": "fails:1", "memory": 32}),
    ] {
        let (status, answer) = server.json("POST", "/v1/apps/app/routes", &json!({"route": route})).await;
        assert_eq!(status, 200, "{answer}");
    }
    for n in ["1", "2", "3"] {
        assert_eq!(server.send("GET", "/r/app/hot", &[], String::new()).await, (200, n.to_owned()));
    }
    let (status, answer) = server.json("GET", "/r/app/fails", &json!(null)).await;
    assert_eq!((status, &answer["error"]["message"]), (500, &json!("exit code 7")));
    let (status, answer) = server.json("POST", "/r/app/later", &json!({})).await;
    assert!(status == 202 && answer["call_id"].is_string(), "{answer}");
    // Three hot ones, one that failed, one that nobody waited for.
    let ended = || async {
        server.json("GET", "/stats", &json!(null)).await.1 == json!({"Queue": 0, "Running": 0, "Complete": 5})
    };
    wait_until(SOON, "the end of the asynchronous call", ended).await.unwrap();
}

fn token(alg: &str, algorithm: hmac::Algorithm, key: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": alg, "typ": "JWT"})), part(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), signed.as_bytes());
    format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_variable_sets_the_key_and_only_its_tokens_and_known_hosts_get_in() {
    if !ready() {
        return;
    }
    let key = "a key that only this test knows";
    let server = Standalone::start(&[("JWT_AUTH_KEY", key.to_owned())]).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let times = json!({"exp": now + 600, "iat": now, "nbf": now - 60});
    let status = async |token: &str| {
        server.send("GET", "/v1/apps", &[("authorization", token)], String::new()).await.0
    };
    let all = [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];
    for (alg, algorithm) in all {
        assert_eq!(status(&token(alg, algorithm, key, &times)).await, 200, "{alg}");
        assert_eq!(status(&token(alg, algorithm, "another", &times)).await, 401, "{alg}");
    }
    let sha256 = hmac::HMAC_SHA256;
    for bad in [
        token("none", sha256, key, &times),
        token("RS256", sha256, key, &times),
        token("HS256", sha256, key, &json!({"exp": now - 10})),
        token("HS256", sha256, key, &json!({"nbf": now + 600})),
        String::new(),
    ] {
        assert_eq!(status(&bad).await, 401, "{bad}");
    }
    let good = token("HS256", sha256, key, &times);
    let rebound = [("authorization", good.as_str()), ("host", "rebound.example")];
    assert_eq!(server.send("GET", "/v1/apps", &rebound, String::new()).await.0, 421);
    let tasks = [("authorization", good.as_str())];
    assert_eq!(server.send("GET", "/tasks", &tasks, String::new()).await, (202, "null".to_owned()));
    assert!(!server.process.output().contains(key), "the key is in the log");
}

#[test]
fn an_open_listener_without_a_key_does_not_start() {
    if !ready() {
        return;
    }
    let dir = TestDir::new("open").unwrap();
    let data = ("PICASSO_SERVER__DATA_DIR", dir.path().join("data").display().to_string());
    let host = ("PICASSO_LISTENERS__IRON__HOST", "0.0.0.0".to_owned());
    for more in [None, Some(("JWT_AUTH_KEY", String::new()))] {
        let variables: Vec<_> = [data.clone(), host.clone()].into_iter().chain(more).collect();
        let mut command = with(&variables, &Picasso::binary().display().to_string());
        let output = command.args(["serve", "--standalone"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains("iron.jwt_auth_key"), "{told}");
    }
}
