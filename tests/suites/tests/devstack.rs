//! The DevStack plug-in, run as `stack.sh`, `unstack.sh` and `clean.sh` run it: its harness stands in for
//! DevStack's functions, Keystone, MariaDB and RabbitMQ are real, and so is the Picasso that it starts.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use picasso_suites::cloud::ready;
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::evidence::note_secret;
use picasso_testkit::guest::workspace;
use picasso_testkit::keystone::{Keystone, Scope, python};
use picasso_testkit::mariadb::MariaDbServer;
use picasso_testkit::picasso::Picasso;
use picasso_testkit::process::{Process, TestDir, free_port, require, run, wait_until};
use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::{Value, json};

const STACK: [&str; 5] =
    ["stack pre-install", "stack install", "stack post-config", "stack extra", "stack test-config"];
const SYSTEMD: &str = "/lib/systemd/systemd";
const CONFIG: &str = "/etc/picasso/picasso.toml";
const SERVICE_PASSWORD: &str = "service-password-of-devstack";
const DATABASE_PASSWORD: &str = "database-password-of-devstack";
const SOON: Duration = Duration::from_secs(30);

/// A machine on which the plug-in runs, and the folder that holds its local.conf and logs.
struct Stack {
    // Before the folder, so that it ends first.
    machine: Process,
    dir: TestDir,
    ports: [u16; 3],
}

impl Stack {
    /// `more` are lines of the localrc.
    async fn new(keystone: &Keystone, more: &str) -> Self {
        let dir = TestDir::new("devstack").unwrap();
        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        for password in [SERVICE_PASSWORD, DATABASE_PASSWORD] {
            note_secret(password);
        }
        let ports = [(); 3].map(|()| free_port().unwrap());
        let mut localrc = format!(
            "KEYSTONE_SERVICE_URI={}\nSERVICE_PASSWORD={SERVICE_PASSWORD}\nPICASSO_BINARY={}\n",
            keystone.url(),
            Picasso::binary().display()
        );
        for (name, port) in ["SERVICE", "FUNCTIONS", "ADMIN"].into_iter().zip(ports) {
            writeln!(localrc, "PICASSO_{name}_PORT={port}").unwrap();
        }
        std::fs::write(etc.join("localrc"), localrc + more).unwrap();
        let token = keystone.scoped_token("admin", Scope::System).await.unwrap();
        std::fs::write(etc.join("admin-token"), format!("header = \"X-Auth-Token: {token}\"\n")).unwrap();
        let cloud = |scope: Value| {
            let mut auth = json!({
                "auth_url": keystone.auth_url(), "username": "admin", "user_domain_name": "Default",
                "password": keystone.password("admin"),
            });
            auth.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
            json!({"auth": auth, "region_name": "RegionOne", "identity_api_version": "3"})
        };
        // JSON is YAML.
        let clouds = json!({"clouds": {
            "devstack-admin": cloud(json!({"project_name": "admin", "project_domain_name": "Default"})),
            "devstack-system-admin": cloud(json!({"system_scope": "all"})),
        }});
        std::fs::write(etc.join("clouds.yaml"), clouds.to_string()).unwrap();
        let mut command = Command::new(workspace().join("devstack/tests/machine"));
        command.arg(dir.path());
        let machine = Process::spawn("machine", dir.path(), command)
            .unwrap()
            .stop_with(Signal::TERM, Duration::from_secs(20));
        let mut stack = Self { machine, dir, ports };
        let pid = stack.path("pid");
        stack.machine.ready(SOON, "its first process", || async { pid.exists() }).await.unwrap();
        wait_until(SOON, "systemd", || async { stack.systemctl("show-environment") }).await.unwrap();
        stack
    }

    /// In the folder of this test, seen from everywhere.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the machine, looked at from outside.
    fn inside(&self, path: &str) -> PathBuf {
        let pid = std::fs::read_to_string(self.path("pid")).unwrap();
        PathBuf::from(format!("/proc/{}/root{path}", pid.trim()))
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.inside(path)).unwrap()
    }

    /// A command that runs in the machine.
    fn enter(&self, program: &str) -> Command {
        let pid = std::fs::read_to_string(self.path("pid")).unwrap();
        let mut command = Command::new("nsenter");
        command.args(["--target", pid.trim(), "--mount", "--pid", "--", program]).stdin(Stdio::null());
        command
    }

    fn systemctl(&self, words: &str) -> bool {
        self.enter("systemctl").args(words.split(' ')).output().unwrap().status.success()
    }

    /// Runs the `picasso` that the plug-in installed.
    fn picasso(&self, words: &[&str]) -> String {
        let output = self.enter("/usr/local/bin/picasso").args(words).output().unwrap();
        assert!(output.status.success(), "picasso {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// A program that stands before the machine's own of that name.
    fn fake(&self, name: &str, script: &str) {
        std::fs::create_dir_all(self.path("fakes")).unwrap();
        let path = self.path("fakes").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        run("chmod", ["+x", &path.display().to_string()]).unwrap();
    }

    /// Runs phases, as one run of one of DevStack's scripts; whether it went well, and all it said.
    async fn tries(&self, phases: &[&str]) -> (bool, String) {
        let tools = python().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{path}", self.path("fakes").display(), tools.parent().unwrap().display());
        let mut command = self.enter(&workspace().join("devstack/tests/harness").display().to_string());
        command
            .arg(self.dir.path())
            .args(phases)
            .env("PATH", path)
            .env("OS_CLIENT_CONFIG_FILE", self.path("etc/clouds.yaml"));
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.join("\n--- stderr\n");
        for password in [SERVICE_PASSWORD, DATABASE_PASSWORD] {
            assert!(!text.contains(password), "DevStack's log shows a password:\n{text}");
        }
        assert!(!text.contains("declare -x"), "DevStack's log shows the environment:\n{text}");
        (output.status.success(), text)
    }

    async fn runs(&self, phases: &[&str]) {
        let (went_well, text) = self.tries(phases).await;
        let unit = std::fs::read_to_string(self.path("log/picasso.log")).unwrap_or_default();
        assert!(went_well, "{phases:?}:\n{text}\n--- the unit\n{unit}");
    }

    /// What the plug-in asked DevStack for.
    fn calls(&self) -> String {
        std::fs::read_to_string(self.path("calls")).unwrap_or_default()
    }
}

fn has_services() -> bool {
    let systemd = (!Path::new(SYSTEMD).exists()).then(|| format!("no {SYSTEMD} (apt-get install systemd)"));
    let clients = run("mysql", ["--version"]).err();
    ready()
        && require("RabbitMQ", Broker::missing(Kind::RabbitMq).as_deref())
        && require("MariaDB", MariaDbServer::missing().as_deref())
        && require("systemd", systemd.as_deref())
        && require("the client of MariaDB", clients.as_deref())
}

/// Keystone as DevStack has it before any plug-in: without us.
async fn keystone_without_picasso() -> Keystone {
    let keystone = Keystone::start().await.unwrap();
    keystone.delete_service("picasso").await.unwrap();
    keystone.delete_user("picasso").await.unwrap();
    keystone
}

/// The answer to a request with a token; its body where it is a success.
async fn ask(http: &Client, method: Method, url: String, token: &str, body: Option<Value>) -> Value {
    let mut request = http.request(method, &url).header("X-Auth-Token", token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{url}: {status}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// The URLs of `functions` in the catalog of a token, one for each interface.
async fn catalog(http: &Client, keystone: &Keystone, token: &str) -> Vec<(String, String)> {
    let url = format!("{}/auth/catalog", keystone.auth_url());
    let listed = ask(http, Method::GET, url, token, None).await;
    let services = listed["catalog"].as_array().unwrap();
    let ours = services.iter().filter(|service| service["type"] == "functions").collect::<Vec<_>>();
    assert_eq!(ours.len(), 1, "{listed}");
    assert_eq!(ours[0]["name"], "picasso");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let endpoints = ours[0]["endpoints"].as_array().unwrap().iter();
    let mut endpoints: Vec<_> = endpoints.map(|e| (text(&e["interface"]), text(&e["url"]))).collect();
    endpoints.sort();
    endpoints
}

#[tokio::test(flavor = "multi_thread")]
async fn devstack_stacks_twice_a_function_is_called_through_the_catalog_and_clean_leaves_nothing() {
    if !has_services() {
        return;
    }
    let (keystone, mariadb, rabbit) =
        tokio::join!(keystone_without_picasso(), MariaDbServer::start(), Broker::start(Kind::RabbitMq));
    let (mariadb, rabbit) = (mariadb.unwrap(), rabbit.unwrap());
    mariadb
        .run(&format!(
            "CREATE USER stack@'%' IDENTIFIED BY '{DATABASE_PASSWORD}'; GRANT ALL PRIVILEGES ON *.* TO stack@'%'"
        ))
        .unwrap();
    let port_of = |url: String| url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    let database = port_of(mariadb.url("x"));
    let stack = Stack::new(
        &keystone,
        &format!(
            "DATABASE_TYPE=mysql\nDATABASE_HOST=127.0.0.1\nDATABASE_USER=stack\n\
             DATABASE_PASSWORD={DATABASE_PASSWORD}\nMYSQL_TCP_PORT={database}\n\
             BASE_SQL_CONN=mysql+pymysql://stack:{DATABASE_PASSWORD}@127.0.0.1:{database}\n\
             RABBIT_HOST=127.0.0.1\nRABBIT_USERID=picasso\nRABBIT_PASSWORD={}\nRABBIT_PORT={}\n\
             KEYSTONE_CONF=$HARNESS_FOLDER/etc/keystone.conf\n\
             PICASSO_EGRESS_SUBNET=198.18.83.0/24\nPICASSO_QUEUE__WORKERS=3\n",
            rabbit.password(),
            port_of(rabbit.url())
        ),
    )
    .await;
    std::fs::write(stack.path("etc/keystone.conf"), "[DEFAULT]\n").unwrap();
    let (home, mapper, node) = rabbit.node();
    let node = format!("HOME={}\nERL_EPMD_PORT={mapper}\nNODE={node}\n", home.display());
    std::fs::write(stack.path("etc/rabbitmq-node"), node).unwrap();

    stack.runs(&STACK).await;
    let http = Client::new();
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let endpoints = catalog(&http, &keystone, &token).await;
    let everywhere = ["admin", "internal", "public"].map(|face| (face.to_owned(), stack.url()));
    assert_eq!(endpoints, everywhere);
    is_called_through_the_catalog(&stack, &keystone, &endpoints[2].1).await;
    // The tables are in the server, calls are carried by RabbitMQ, Keystone tells its events.
    mariadb.run("SELECT 1 FROM picasso.routes LIMIT 1").unwrap();
    let keystone_conf = std::fs::read_to_string(stack.path("etc/keystone.conf")).unwrap();
    assert!(keystone_conf.contains("[oslo_messaging_notifications]\n"), "{keystone_conf}");
    assert!(keystone_conf.contains("driver = messagingv2\n"), "{keystone_conf}");
    // The unit as it is in the repository, bounded by systemd: root without what sandboxes do not need.
    assert!(stack.systemctl("is-enabled picasso.service"));
    let (status, environment) = main_process(&stack);
    assert!(environment.split('\0').any(|variable| variable == "PICASSO_QUEUE__WORKERS=3"), "{environment}");
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1", "0"), "{status}");
    let bounding = u64::from_str_radix(field("CapBnd:"), 16).unwrap();
    for (capability, is_there) in [(16, false), (22, false), (25, false), (21, true)] {
        assert_eq!(bounding & (1 << capability) != 0, is_there, "capability {capability}: {status}");
    }

    // stack.sh without unstack.sh before: everything is found, and the data is made anew.
    stack.runs(&STACK).await;
    assert_eq!(catalog(&http, &keystone, &token).await, everywhere);
    let project = keystone.project_id("demo1").await.unwrap();
    let apps = ask(&http, Method::GET, format!("{}/v1/{project}/apps", stack.url()), &token, None).await;
    assert_eq!(apps["apps"], json!([]), "data of the first run");
    is_called_through_the_catalog(&stack, &keystone, &stack.url()).await;
    let limits = ask(&http, Method::GET, format!("{}/v1/{project}/limits", stack.url()), &token, None).await;
    assert_eq!(limits["limits"]["functions_apps"]["source"], "keystone", "{limits}");

    stack.runs(&["unstack"]).await;
    assert!(!stack.systemctl("is-active picasso.service"));
    assert!(http.get(format!("{}/healthcheck", stack.url())).send().await.is_err());
    starts_with_the_first_request(&stack, &http).await;
    stack.runs(&["unstack", "clean"]).await;
    for gone in [
        "/usr/local/bin/picasso",
        "/etc/picasso",
        "/opt/stack/data/picasso",
        "/etc/systemd/system/picasso.service",
        "/etc/systemd/system/picasso.service.d",
        "/etc/systemd/system/multi-user.target.wants/picasso.service",
    ] {
        assert!(stack.inside(gone).symlink_metadata().is_err(), "{gone} is left");
    }
    assert!(mariadb.run("SELECT 1 FROM picasso.routes LIMIT 1").is_err(), "the database is left");
    // After a clean one there is nothing to do, and DevStack may call it all the same.
    stack.runs(&["unstack", "clean"]).await;
}

/// With the socket units of the repository, which an operator may install.
async fn starts_with_the_first_request(stack: &Stack, http: &Client) {
    for (name, port) in ["api", "functions"].into_iter().zip(stack.ports) {
        let unit = format!("picasso-{name}.socket");
        let folder = stack.inside("/etc/systemd/system");
        std::fs::copy(workspace().join("deploy/systemd").join(&unit), folder.join(&unit)).unwrap();
        let drop_in = folder.join(format!("{unit}.d"));
        std::fs::create_dir(&drop_in).unwrap();
        let text = format!("[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n");
        std::fs::write(drop_in.join("port.conf"), text).unwrap();
    }
    assert!(stack.systemctl("daemon-reload"));
    assert!(stack.systemctl("start picasso-api.socket picasso-functions.socket"));
    let answer = http.get(format!("{}/healthcheck", stack.url())).timeout(SOON).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(stack.systemctl("is-active picasso.service"));
    assert!(stack.systemctl("stop picasso-api.socket picasso-functions.socket"));
}

/// What the kernel says of the first process of the unit, and its environment.
fn main_process(stack: &Stack) -> (String, String) {
    let shown =
        stack.enter("systemctl").args(["show", "--property", "MainPID", "picasso.service"]).output().unwrap();
    let pid = String::from_utf8_lossy(&shown.stdout).trim().replace("MainPID=", "");
    (stack.text(&format!("/proc/{pid}/status")), stack.text(&format!("/proc/{pid}/environ")))
}

/// Loads an image as an operator does, makes a function with a member's token and calls it at once and later.
async fn is_called_through_the_catalog(stack: &Stack, keystone: &Keystone, url: &str) {
    let archive = stack.path("said.tar").display().to_string();
    let build = "image build --file /bin/busybox:/bin/busybox --entrypoint /bin/busybox --entrypoint echo \
                 --entrypoint stacked --output";
    let words: Vec<&str> = build.split_whitespace().chain([archive.as_str()]).collect();
    stack.picasso(&words);
    stack.picasso(&["image", "load", &archive, "--name", "said:1", "--config", CONFIG]);

    let http = Client::new();
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let project = keystone.project_id("demo1").await.unwrap();
    let apps = format!("{url}/v1/{project}/apps");
    let made =
        ask(&http, Method::POST, apps.clone(), &token, Some(json!({"app": {"name": "stacked"}}))).await;
    let app = made["app"]["name"].as_str().unwrap();
    let routes = [("/now", "sync", "none"), ("/out", "sync", "egress"), ("/later", "async", "none")];
    for (path, kind, network) in routes {
        let route = json!({"route": {
            "path": path, "type": kind, "image": "said:1", "memory": 32, "network": network,
        }});
        ask(&http, Method::POST, format!("{apps}/{app}/routes"), &token, Some(route)).await;
    }
    let run = format!("{url}/v1/r/{project}/{app}");
    for path in ["/now", "/out"] {
        let answer = ask(&http, Method::POST, format!("{run}{path}"), &token, Some(json!({}))).await;
        assert_eq!(answer["result"], "stacked\n", "{path}: {answer}");
    }
    // Through database and RabbitMQ.
    let answer = ask(&http, Method::POST, format!("{run}/later"), &token, Some(json!({}))).await;
    let call = answer["call_id"].as_str().unwrap();
    let record = format!("{url}/v1/{project}/calls/{call}");
    let done = async || {
        let shown = ask(&http, Method::GET, record.clone(), &token, None).await;
        shown["call"]["status"] == "succeeded"
    };
    wait_until(SOON, format!("the end of call {call}"), done).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn devstack_configures_picasso_for_every_database_for_tls_and_for_local_settings() {
    if !has_services() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let to_configuration = &STACK[..3];
    let of = |kind: &str| {
        format!(
            "DATABASE_TYPE={kind}\nDATABASE_HOST=127.0.0.1\nDATABASE_USER=stack\nDATABASE_PASSWORD={DATABASE_PASSWORD}\n"
        )
    };

    // PostgreSQL behind the TLS of DevStack's Apache.
    let more = of("postgresql")
        + &format!("BASE_SQL_CONN=postgresql+psycopg2://stack:{DATABASE_PASSWORD}@127.0.0.1\n")
        + "ENABLED_SERVICES=keystone,postgresql,tls-proxy,s-proxy\nSERVICE_PROTOCOL=https\n\
           SSL_BUNDLE_FILE=/etc/ssl/certs/ca-certificates.crt\nPICASSO_SERVICE_PORT=10001\n\
           PICASSO_EGRESS_SUBNET=10.99.0.0/24\nPICASSO_EGRESS_ALLOW=127.0.0.1,10.0.0.0/8:443\n";
    let stack = Stack::new(&keystone, &more).await;
    std::fs::create_dir(stack.inside("/etc/swift")).unwrap();
    let pipeline =
        "[pipeline:main]\npipeline = cache authtoken keystoneauth formpost copy slo dlo proxy-server\n";
    std::fs::write(stack.inside("/etc/swift/proxy-server.conf"), pipeline).unwrap();
    stack.runs(to_configuration).await;
    stack.runs(to_configuration).await;
    let swift = stack.text("/etc/swift/proxy-server.conf");
    let url = format!("https://127.0.0.1:{}", stack.ports[1]);
    for line in [
        "pipeline = cache authtoken keystoneauth formpost picasso copy slo dlo proxy-server".to_owned(),
        "use = egg:picasso-swift#picasso".to_owned(),
        "endpoint = https://127.0.0.1:10001".to_owned(),
        format!("function_url_endpoints = https://127.0.0.1:10001 {url}"),
        "cafile = /etc/ssl/certs/ca-certificates.crt".to_owned(),
        format!("password = {SERVICE_PASSWORD}"),
    ] {
        assert_eq!(swift.lines().filter(|other| **other == line).count(), 1, "{line}:\n{swift}");
    }
    for client in ["python-picassoclient", "swift-middleware"] {
        assert!(stack.calls().contains(&format!("/clients/{client}\n")), "{}", stack.calls());
    }
    let config = stack.text(CONFIG);
    for line in [
        format!("url = \"postgresql://stack:{DATABASE_PASSWORD}@127.0.0.1/picasso\""),
        "trusted_proxies = [\"127.0.0.1\"]".to_owned(),
        "host = \"127.0.0.1\"\nport = 20001\npublic_url = \"https://127.0.0.1:10001\"".to_owned(),
        "ca_file = \"/etc/ssl/certs/ca-certificates.crt\"".to_owned(),
        "subnet = \"10.99.0.0/24\"".to_owned(),
    ] {
        assert!(config.contains(&line), "{line} is not in\n{config}");
    }
    assert!(!config.contains("[queue]") && !config.contains("[notifications]"), "{config}");

    // The MySQL of Ubuntu, which Picasso cannot use, and settings of Picasso's own.
    let more = of("mysql")
        + "PICASSO_LOG__LEVEL='info,picasso_engine=debug'\nPICASSO_QUEUE__WORKERS=3\n\
         SERVICE_TIMEOUT=3\n";
    let stack = Stack::new(&keystone, &more).await;
    stack.fake("mysql", "echo 8.0.44-0ubuntu0.24.04.1\n");
    stack.runs(to_configuration).await;
    let config = stack.text(CONFIG);
    assert!(!config.contains("[database]"), "{config}");
    let environment = stack.text("/etc/picasso/environment");
    assert_eq!(
        environment,
        "PICASSO_LOG__LEVEL=\"info,picasso_engine=debug\"\nPICASSO_QUEUE__WORKERS=\"3\"\n"
    );
    // A server that does not come up ends the stack with its own last words.
    let taken = std::net::TcpListener::bind(("127.0.0.1", stack.ports[0])).unwrap();
    let (went_well, text) = stack.tries(&["stack extra"]).await;
    assert!(!went_well && text.contains("Picasso is not healthy"), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{}", stack.ports[0])), "{text}");
    drop(taken);
    stack.runs(&["unstack"]).await;
    let localrc = stack.path("etc/localrc");
    for (line, complaint) in [
        ("PICASSO_DATABASE=server", "Picasso can use PostgreSQL and MariaDB, but not MySQL 8.0.44"),
        ("PICASSO_DATABASE=oracle", "PICASSO_DATABASE is 'oracle'; it can be auto, server or sqlite"),
        ("PICASSO_QUEUE__WORKERS=many", "PICASSO_QUEUE__WORKERS"),
        ("PICASSO_BINARY=/nowhere", "There is no program '/nowhere' to install"),
    ] {
        let before = std::fs::read_to_string(&localrc).unwrap();
        std::fs::write(&localrc, format!("{before}{line}\n")).unwrap();
        let (went_well, text) = stack.tries(to_configuration).await;
        std::fs::write(&localrc, before).unwrap();
        assert!(!went_well && text.contains(complaint), "{line}: {complaint:?} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devstack_builds_picasso_where_no_program_is_named() {
    if !has_services() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let stack =
        Stack::new(&keystone, "PICASSO_BINARY=\nPICASSO_CARGO_ARGS='--profile dev'\nHOME=/nowhere\n").await;
    std::fs::create_dir(stack.path("built")).unwrap();
    std::os::unix::fs::symlink(Picasso::binary(), stack.path("built/picasso")).unwrap();
    // Cargo says what it has built as this one does; a build of the real one would take minutes.
    let cargo = |version: &str| {
        format!(
            "echo \"cargo $*\" >>\"$HARNESS_FOLDER/calls\"\n\
             [ \"$1\" = build ] || {{ echo 'cargo {version} (abc 2026-01-01)'; exit; }}\n\
             echo '{{\"reason\":\"compiler-artifact\",\"executable\":null}}'\n\
             echo '{{\"reason\":\"compiler-artifact\",\"executable\":\"{}\",\"fresh\":false}}'\n\
             echo '{{\"reason\":\"build-finished\",\"success\":true}}'\n",
            stack.path("built/picasso").display()
        )
    };
    stack.fake("cargo", &cargo("1.999.0"));
    stack.runs(&STACK[..2]).await;
    assert!(
        stack.calls().contains("cargo build --locked --package picasso --profile dev"),
        "{}",
        stack.calls()
    );
    assert!(!stack.calls().contains("install_package"), "{}", stack.calls());
    stack.picasso(&["--version"]);

    // One that is too old is replaced by rustup's, and a build that fails is told as that.
    stack.fake("cargo", &cargo("1.63.0"));
    stack.fake(
        "rustup",
        &format!("cat >\"$(dirname \"$0\")/cargo\" <<'END'\n#!/bin/sh\n{}END\n", cargo("1.999.0")),
    );
    stack.runs(&STACK[..1]).await;
    assert!(stack.calls().contains("install_package rustup"), "{}", stack.calls());
    stack.fake("cargo", "[ \"$1\" = build ] || { echo 'cargo 1.999.0'; exit; }\nexit 101\n");
    let (went_well, text) = stack.tries(&STACK[..2]).await;
    assert!(!went_well && text.contains("Picasso could not be built"), "{text}");
}
