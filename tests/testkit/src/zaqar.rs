//! A real Zaqar over a Redis of its own, with a Keystone of the tests in front.
//!
//! Its messages outlive its process: a test may kill it and start it again, also with another key
//! for pre-signed URLs or none. Its notifier posts to subscribers that have confirmed. It keeps no
//! tokens: what is taken from somebody is noticed at once.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::broker::{Broker, Kind};
use crate::evidence::note_secret;
use crate::keystone::{Keystone, root, services_venv};
use crate::process::{Process, ProcessError, TestDir, free_port};

/// Python takes its time where the machine is busy.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// Whoever reads names itself otherwise than whoever posts: its own messages are not shown to it.
const READER: &str = "3381af92-2b9e-11e3-b191-71861300734c";
const WRITER: &str = "5b3b1d54-2b9e-11e3-8f0e-71861300734c";

/// A running Zaqar; killed when dropped.
#[derive(Debug)]
pub struct Zaqar {
    // Before the folder, so that it ends first.
    process: Process,
    redis: Broker,
    dir: TestDir,
    port: u16,
    keystone_url: String,
    service_password: String,
}

impl Zaqar {
    /// Why it cannot run here; `None` when it can. For [`crate::process::require`].
    pub fn missing() -> Option<String> {
        Keystone::missing().or_else(|| Broker::missing(Kind::ForgetfulRedis))
    }

    /// Starts one that signs with `key`, and waits until it answers.
    pub async fn start(keystone: &Keystone, key: &str) -> Result<Self, ProcessError> {
        let dir = TestDir::new("zaqar").map_err(cannot)?;
        let redis = Broker::start(Kind::ForgetfulRedis).await?;
        let port = free_port().map_err(cannot)?;
        let service_password = keystone.password("picasso");
        let keystone_url = keystone.auth_url();
        configure(dir.path(), &redis.url(), (&keystone_url, &service_password), Some(key)).map_err(cannot)?;
        let process = spawn(dir.path(), port)?;
        let mut zaqar = Self { process, redis, dir, port, keystone_url, service_password };
        zaqar.ready().await?;
        Ok(zaqar)
    }

    /// Its endpoint, as catalogs have it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it at once; its messages stay.
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        // Its master would start a worker again, and a worker ends without its master.
        self.process.signal(Signal::TERM);
        self.process.wait(READY_WITHIN).await.map(drop)
    }

    /// Starts it again after [`Zaqar::kill`], with this key for pre-signed URLs.
    pub async fn start_again(&mut self, key: Option<&str>) -> Result<(), ProcessError> {
        let keystone = (self.keystone_url.as_str(), self.service_password.as_str());
        configure(self.dir.path(), &self.redis.url(), keystone, key).map_err(cannot)?;
        self.process = spawn(self.dir.path(), self.port)?;
        self.ready().await
    }

    /// The bodies of the messages in a queue of the token's project that nobody has claimed, the oldest
    /// first; at most 20.
    pub async fn messages(&self, token: &str, queue: &str) -> Vec<Value> {
        let mut listed = self.read(token, queue, "messages?limit=20&echo=true").await;
        let messages = listed["messages"].as_array_mut().map(std::mem::take).unwrap_or_default();
        messages.into_iter().map(|mut message| message["body"].take()).collect()
    }

    /// How many messages a queue has, with those that are claimed; `None` where Zaqar does not say.
    pub async fn count(&self, token: &str, queue: &str) -> Option<u64> {
        self.read(token, queue, "stats").await["messages"]["total"].as_u64()
    }

    /// Posts messages with these bodies, in the name of a client of its own.
    pub async fn post(&self, token: &str, queue: &str, bodies: &[Value]) -> bool {
        let messages: Vec<_> = bodies.iter().map(|body| json!({"body": body, "ttl": 3600})).collect();
        self.write(token, queue, "messages", json!({"messages": messages})).await
    }

    /// Has the messages of a queue of the token's project posted to `url`, once that has confirmed it.
    pub async fn subscribe(&self, token: &str, queue: &str, url: &str) -> bool {
        self.write(token, queue, "subscriptions", json!({"subscriber": url, "ttl": 3600, "options": {}}))
            .await
    }

    /// The subscriptions of a queue of the token's project.
    pub async fn subscriptions(&self, token: &str, queue: &str) -> Vec<Value> {
        let mut listed = self.read(token, queue, "subscriptions").await;
        listed["subscriptions"].as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What Zaqar shows of a queue; `Null` where it shows nothing.
    async fn read(&self, token: &str, queue: &str, what: &str) -> Value {
        let url = format!("{}/v2/queues/{queue}/{what}", self.url());
        let request = Client::new().get(url).header("x-auth-token", token).header("client-id", READER);
        let Ok(answer) = request.send().await else { return Value::Null };
        serde_json::from_slice(&answer.bytes().await.unwrap_or_default()).unwrap_or_default()
    }

    async fn write(&self, token: &str, queue: &str, what: &str, body: Value) -> bool {
        let url = format!("{}/v2/queues/{queue}/{what}", self.url());
        let request = Client::new().post(url).header("x-auth-token", token).header("client-id", WRITER);
        request.json(&body).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    async fn ready(&mut self) -> Result<(), ProcessError> {
        let url = self.url();
        let http = Client::new();
        let answers = || async { http.get(&url).send().await.is_ok_and(|answer| answer.status() == 300) };
        self.process.ready(READY_WITHIN, "its list of versions", answers).await
    }
}

fn cannot(source: std::io::Error) -> ProcessError {
    ProcessError::Start { program: "zaqar".to_owned(), source }
}

fn configure(
    dir: &Path,
    redis: &str,
    (keystone, password): (&str, &str),
    key: Option<&str>,
) -> std::io::Result<()> {
    let signed = key.map_or_else(String::new, |key| {
        note_secret(key);
        format!("[signed_url]\nsecret_key = {key}\n")
    });
    let text = format!(
        "[DEFAULT]\nauth_strategy = keystone\nuse_stderr = true\nlog_dir =\n\
         [drivers]\ntransport = wsgi\nmessage_store = redis\nmanagement_store = redis\n\
         [drivers:message_store:redis]\nuri = {redis}\n\
         [drivers:management_store:redis]\nuri = {redis}\n{signed}\
         [storage]\nmessage_pipeline = zaqar.notification.notifier\n\
         [notification]\nrequire_confirmation = true\n\
         [keystone_authtoken]\nauth_type = password\nauth_url = {keystone}\n\
         www_authenticate_uri = {keystone}\nusername = picasso\npassword = {password}\n\
         project_name = service\nuser_domain_id = default\nproject_domain_id = default\n\
         token_cache_time = -1\n"
    );
    std::fs::write(dir.join("zaqar.conf"), text)
}

fn spawn(dir: &Path, port: u16) -> Result<Process, ProcessError> {
    let venv = services_venv().map_err(|error| cannot(std::io::Error::other(error)))?;
    let mut command = Command::new(venv.join("bin/gunicorn"));
    command
        .args(["--bind", &format!("127.0.0.1:{port}"), "--no-control-socket", "--workers", "1"])
        .args(["--graceful-timeout", "1", "--chdir"])
        .arg(dir)
        .arg("zaqar_wsgi:application")
        .env("HOME", dir)
        .env("PYTHONPATH", root().join("scripts/zaqar"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Process::spawn("zaqar", dir, command)
}
