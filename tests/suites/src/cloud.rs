//! A small cloud: a real Keystone and the real `picasso serve`, with a function whose program is
//! a shell script that the route's configuration holds.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what a test cannot set up fails the test, saying what it was"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use picasso_testkit::evidence;
use picasso_testkit::guest::{example_image, static_binary};
use picasso_testkit::keystone::{Keystone, install_tls_provider};
use picasso_testkit::picasso::{Picasso, PicassoOptions};
use picasso_testkit::process::{TestDir, require, run};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The image whose program runs the script in the variable `SCRIPT`.
pub const SHELL_IMAGE: &str = "shell:1";

/// A Keystone, a Picasso, and an HTTP client.
#[derive(Debug)]
pub struct Cloud {
    /// The identity service.
    pub keystone: Arc<Keystone>,
    /// The server under test.
    pub picasso: Picasso,
    /// A client without redirects.
    pub http: reqwest::Client,
    dir: TestDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `Null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Whether this machine has what the suites need; a missing thing fails in CI.
pub fn ready() -> bool {
    require("Keystone", Keystone::missing().as_deref())
        && require("the picasso binary", Picasso::missing().as_deref())
        && require(
            "busybox-static",
            (!Path::new("/bin/busybox").exists()).then_some("/bin/busybox is not there"),
        )
}

impl Cloud {
    /// Starts both with default options and loads [`SHELL_IMAGE`].
    pub async fn start() -> Self {
        Self::start_with(PicassoOptions::default()).await
    }

    /// Starts both and loads [`SHELL_IMAGE`].
    pub async fn start_with(options: PicassoOptions) -> Self {
        install_tls_provider();
        Self::start_on(Keystone::shared().await.expect("Keystone starts"), options).await
    }

    /// The same on a Keystone of the test's own.
    pub async fn start_on(keystone: Arc<Keystone>, options: PicassoOptions) -> Self {
        install_tls_provider();
        let picasso = Picasso::start_with(&keystone, options).await.expect("picasso serve starts");
        let dir = TestDir::new("cloud").expect("a folder");
        let archive = shell_image(dir.path(), &[]);
        picasso.load_image(&archive, SHELL_IMAGE).await.expect("the image loads");
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_mins(2))
            .build()
            .expect("a client");
        Self { keystone, picasso, http, dir }
    }

    /// A token of `demo1-member`, `demo1-reader`, … for its own project.
    pub async fn token(&self, user: &str) -> String {
        let project = user.split('-').next().unwrap_or_default();
        self.keystone.token(user, project).await.expect("a token")
    }

    /// The id of the project of that name.
    pub async fn project(&self, name: &str) -> String {
        self.keystone.project_id(name).await.expect("the project")
    }

    /// Runs `openstack … -f json` as `demo1-member`; what it prints.
    pub async fn openstack(&self, arguments: &str) -> Value {
        let words: Vec<&str> = arguments.split(' ').chain(["-f", "json"]).collect();
        let output = self.keystone.openstack("demo1-member", "demo1", &words).await.expect("openstack runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openstack {arguments}: {complaint}");
        serde_json::from_slice(&output.stdout).expect("openstack prints JSON")
    }

    /// Sends a request and reads the answer whole; echoes are kept as evidence.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.expect("a whole answer").to_vec();
        evidence::note_echo(&bytes);
        Answer { status, headers, bytes }
    }

    /// A JSON request to the API.
    pub async fn api(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.picasso.api_url()));
        if let Some(token) = token {
            request = request.header("X-Auth-Token", token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.send(request).await
    }

    /// Makes an app in demo1; its full name.
    pub async fn app(&self, token: &str, name: &str) -> String {
        let project = self.project("demo1").await;
        let path = format!("/v1/{project}/apps");
        let answer = self.api(Method::POST, &path, Some(token), Some(json!({"app": {"name": name}}))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["app"]["name"].as_str().expect("a name").to_owned()
    }

    /// Makes a route of [`SHELL_IMAGE`] in demo1 that runs `script`; `more` adds or replaces fields.
    pub async fn route(&self, token: &str, app: &str, path: &str, script: &str, more: Value) {
        let mut route = json!({
            "path": path, "image": SHELL_IMAGE, "type": "sync", "is_public": "true",
            "memory": 64, "timeout": 30, "config": {"SCRIPT": script},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            route[key] = value.clone();
        }
        let project = self.project("demo1").await;
        let url = format!("/v1/{project}/apps/{app}/routes");
        let answer = self.api(Method::POST, &url, Some(token), Some(json!({"route": route}))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }

    /// Loads the image of an example in Python or Node.js (`python-json`); its name for routes.
    pub async fn load_example(&self, example: &str) -> String {
        let name = example.to_owned();
        let archive = tokio::task::spawn_blocking(move || example_image(&name)).await;
        let archive = archive.expect("scripts/example-image runs").expect("the image is made");
        let image = format!("{example}:1");
        self.picasso.load_image(&archive, &image).await.expect("the image loads");
        image
    }

    /// Loads a static example (`stream-hello`) as an image of one file; its name for routes.
    pub async fn load_static(&self, example: &str) -> String {
        let package = format!("picasso-example-{example}");
        let program = tokio::task::spawn_blocking(move || static_binary(&package)).await;
        let program = program.expect("cargo runs").expect("the example builds");
        let archive = self.dir.path().join(format!("{example}.tar"));
        let words = [
            "image".to_owned(),
            "build".to_owned(),
            "--file".to_owned(),
            format!("{}:/function", program.display()),
            "--entrypoint".to_owned(),
            "/function".to_owned(),
            "--output".to_owned(),
            archive.display().to_string(),
        ];
        run(&Picasso::binary().display().to_string(), words).expect("picasso image build");
        let image = format!("{example}:1");
        self.picasso.load_image(&archive, &image).await.expect("the image loads");
        image
    }

    /// Changes fields of a route in demo1.
    pub async fn change(&self, token: &str, app: &str, path: &str, fields: Value) {
        let project = self.project("demo1").await;
        let url = format!("/v1/{project}/apps/{app}/routes{path}");
        let answer = self.api(Method::PUT, &url, Some(token), Some(fields)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }

    /// A metric's value by its name with labels (`picasso_evictions_total`); 0 where it has not
    /// been set yet.
    pub async fn metric(&self, name: &str) -> f64 {
        value_in(&self.metrics().await, name)
    }

    /// Hot sandboxes in whatever state, at one moment.
    pub async fn hot_sandboxes(&self) -> u64 {
        let text = self.metrics().await;
        let states = ["starting", "idle", "busy", "frozen"];
        let count = |state| value_in(&text, &format!("picasso_hot_sandboxes{{state=\"{state}\"}}"));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let all = states.map(count).iter().sum::<f64>() as u64;
        all
    }

    async fn metrics(&self) -> String {
        self.send(self.http.get(format!("{}/metrics", self.picasso.admin_url()))).await.text()
    }

    /// Loads [`SHELL_IMAGE`]'s program with another file beside it: the same function, another
    /// digest.
    pub async fn load_other_shell(&self, name: &str) {
        let archive = shell_image(self.dir.path(), &["/etc/hostname:/other"]);
        self.picasso.load_image(&archive, name).await.expect("the image loads");
    }

    /// An OCI layout of [`SHELL_IMAGE`]'s program with another file beside it, loaded nowhere.
    pub fn unknown_shell(&self) -> PathBuf {
        shell_image(self.dir.path(), &["/etc/hostname:/other"])
    }

    /// The URL of a public function.
    pub fn function_url(&self, app: &str, path: &str) -> String {
        format!("{}/f/{app}{path}", self.picasso.functions_url())
    }
}

fn value_in(metrics: &str, name: &str) -> f64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

/// Builds the image with the command line under test.
fn shell_image(dir: &Path, more_files: &[&str]) -> PathBuf {
    let archive = dir.join(format!("shell-{}.tar", more_files.len()));
    // `b sleep 1` runs an applet; what the shell has built in needs no `b`.
    let program = ["/bin/busybox", "sh", "-c", "b() { /bin/busybox \"$@\"; }; eval \"$SCRIPT\""];
    let mut all: Vec<String> =
        ["image", "build", "--file", "/bin/busybox:/bin/busybox"].map(str::to_owned).into();
    let probe = static_binary("picasso-example-probe").expect("the probe builds");
    all.extend(["--file".to_owned(), format!("{}:/bin/probe", probe.display())]);
    for file in more_files {
        all.extend(["--file".to_owned(), (*file).to_owned()]);
    }
    for word in program {
        all.extend(["--entrypoint".to_owned(), word.to_owned()]);
    }
    all.extend(["--output".to_owned(), archive.display().to_string()]);
    run(&Picasso::binary().display().to_string(), &all).expect("picasso image build");
    archive
}
