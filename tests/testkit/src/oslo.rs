//! A real listener and a real notifier of oslo.messaging, and pycadf's judgement on what was heard.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::broker::{Broker, Kind};
use crate::keystone::{Keystone, venv};
use crate::process::{Process, ProcessError, TestDir, run, wait_until};
use crate::tls::Certificates;

/// Python takes its time where the machine is busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// A process that listens for notifications as any service of OpenStack does; ends when dropped.
#[derive(Debug)]
pub struct OsloListener {
    process: Process,
    _dir: TestDir,
}

impl OsloListener {
    /// Why it cannot run here; `None` when it can. For [`crate::process::require`].
    pub fn missing() -> Option<String> {
        Keystone::missing().or_else(|| Broker::missing(Kind::RabbitMq))
    }

    /// Listens for topic `notifications` of `exchange`; returns when it does.
    pub async fn start(broker: &Broker, exchange: &str) -> Result<Self, ProcessError> {
        Self::start_as(broker, exchange, None).await
    }

    /// The same for a broker that speaks TLS and has its certificate from this authority.
    pub async fn start_with_tls(
        broker: &Broker,
        exchange: &str,
        certificates: &Certificates,
    ) -> Result<Self, ProcessError> {
        Self::start_as(broker, exchange, Some(certificates)).await
    }

    async fn start_as(
        broker: &Broker,
        exchange: &str,
        certificates: Option<&Certificates>,
    ) -> Result<Self, ProcessError> {
        let cannot = |source| ProcessError::Start { program: "a listener".to_owned(), source };
        let dir = TestDir::new("oslo").map_err(cannot)?;
        let mut command = python("listener.py", LISTENER, dir.path()).map_err(cannot)?;
        let url = broker.url();
        let (_, address) = url.split_once("://").unwrap_or(("", &url));
        command.env("TRANSPORT_URL", format!("rabbit://{address}/"));
        command.env("EXCHANGE", exchange);
        if let Some(certificates) = certificates {
            command.env("AUTHORITY", certificates.authority());
        }
        let process = Process::spawn("listener", dir.path(), command)?;
        let mut listener = Self { process, _dir: dir };
        let log = listener.process.log().to_owned();
        let listens = || async { std::fs::read_to_string(&log).is_ok_and(|text| text.contains("LISTENING")) };
        listener.process.ready(PATIENCE, "listening", listens).await?;
        Ok(listener)
    }

    /// What it has heard so far: `priority`, `context`, `publisher_id`, `event_type`, `payload` and
    /// `metadata` as oslo.messaging hands them to endpoints.
    pub fn heard(&self) -> Vec<Value> {
        let output = self.process.output();
        output.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("HEARD ")?).ok()).collect()
    }

    /// What it has heard when something of it is as wanted.
    pub async fn heard_until(
        &self,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>, ProcessError> {
        wait_until(PATIENCE, what, || async { self.heard().iter().any(&wanted) }).await?;
        Ok(self.heard())
    }
}

/// A notification as a service sends it.
#[derive(Debug, Clone, Serialize)]
pub struct Notification<'a> {
    /// The exchange; empty for oslo.messaging's default, `openstack`.
    pub exchange: &'a str,
    /// The topic: the routing key without its priority.
    pub topic: &'a str,
    /// `messagingv2`, or `messaging` for the envelope of before 2013.
    pub driver: &'a str,
    /// `info`, `error`, `sample`, …
    pub priority: &'a str,
    /// `compute.host1`, for one.
    pub publisher_id: &'a str,
    /// `compute.instance.create.end`, for one.
    pub event_type: &'a str,
    /// The request context, `project_id` in it where there is one.
    pub context: Value,
    /// The payload.
    pub payload: Value,
}

impl Default for Notification<'_> {
    fn default() -> Self {
        Self {
            exchange: "",
            topic: "notifications",
            driver: "messagingv2",
            priority: "info",
            publisher_id: "tests.host",
            event_type: "",
            context: json!({}),
            payload: json!({}),
        }
    }
}

/// Sends notifications, in this order.
pub async fn notify(broker_url: &str, notifications: &[Notification<'_>]) -> Result<(), ProcessError> {
    let cannot = |source| ProcessError::Start { program: "a notifier".to_owned(), source };
    let dir = TestDir::new("oslo").map_err(cannot)?;
    let file = dir.path().join("notifications.json");
    std::fs::write(&file, json!(notifications).to_string()).map_err(cannot)?;
    let mut command =
        tokio::process::Command::from(python("notifier.py", NOTIFIER, dir.path()).map_err(cannot)?);
    let (_, address) = broker_url.split_once("://").unwrap_or(("", broker_url));
    command.arg(&file).env("TRANSPORT_URL", format!("rabbit://{address}/")).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .map_err(|_| ProcessError::Deadline { what: "the end of a notifier".to_owned(), waited: PATIENCE })?
        .map_err(cannot)?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    // A message that could not be sent is logged only.
    if output.status.success() && !complaint.contains("Could not send notification") {
        return Ok(());
    }
    Err(cannot(std::io::Error::other(complaint)))
}

/// What pycadf finds wrong with these events; empty when nothing.
pub fn pycadf_faults(events: &[&Value]) -> Result<String, String> {
    judged(VALIDATOR, &Value::from(events.iter().map(|event| (*event).clone()).collect::<Vec<_>>()))
}

/// The events that keystonemiddleware's audit filter sends for a request: `method`, `path`, `status`
/// and `environ` (WSGI's, with the headers that auth_token adds), `audit_map` is its map file's text.
pub fn keystonemiddleware_events(request: &Value) -> Result<Vec<Value>, String> {
    let told = judged(FILTER, request)?;
    told.lines()
        .filter_map(|line| line.strip_prefix("EVENT "))
        .map(|line| serde_json::from_str(line).map_err(|error| error.to_string()))
        .collect()
}

/// What a script prints about `input`.
fn judged(script: &str, input: &Value) -> Result<String, String> {
    let dir = TestDir::new("pycadf").map_err(|error| error.to_string())?;
    let file = dir.path().join("input.json");
    std::fs::write(&file, input.to_string()).map_err(|error| error.to_string())?;
    let python = venv()?.join("bin/python");
    run(&python.to_string_lossy(), ["-W", "ignore", "-c", script, &file.to_string_lossy()])
}

fn python(name: &str, script: &str, dir: &Path) -> std::io::Result<Command> {
    let path = dir.join(name);
    std::fs::write(&path, script)?;
    let mut command = Command::new(venv().map_err(std::io::Error::other)?.join("bin/python"));
    command.arg(path).stdin(Stdio::null());
    Ok(command)
}

const NOTIFIER: &str = include_str!("oslo/notifier.py");
const LISTENER: &str = include_str!("oslo/listener.py");
const VALIDATOR: &str = include_str!("oslo/validator.py");
const FILTER: &str = include_str!("oslo/filter.py");
