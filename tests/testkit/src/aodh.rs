//! A real Aodh: its API, and the listener and notifier of event alarms, over SQLite and RabbitMQ, with
//! a Keystone of the tests in front. No evaluator: event alarms need none.

use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use crate::broker::{Broker, Kind};
use crate::keystone::{Keystone, root, services_venv};
use crate::oslo::{Notification, notify};
use crate::place::Place;
use crate::process::{Process, ProcessError, TestDir, run};
use crate::saved::{restore, saved};

/// Python takes its time where the machine is busy.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// The database is in the folder that everything is started in.
const CONFIG: &str = "[DEFAULT]\nlog_dir =\nuse_stderr = true\n\
     [database]\nconnection = sqlite:///aodh.db\n";

/// How many workers `serve_events.py` has.
const WORKERS: usize = 2;

/// A running Aodh; ends when dropped.
#[derive(Debug)]
pub struct Aodh {
    // Before the folder, so that they end first.
    api: Process,
    _events: Process,
    _dir: TestDir,
    place: Place,
    port: u16,
    broker_url: String,
}

impl Aodh {
    /// Why it cannot run here; `None` when it can. For [`crate::process::require`].
    pub fn missing() -> Option<String> {
        Keystone::missing().or_else(|| Broker::missing(Kind::RabbitMq))
    }

    /// Starts one and waits until its API answers and it listens for events. It acts as a service user of
    /// its own, which trusts are made to (`trust+http`).
    pub async fn start(place: &Place, keystone: &Keystone, broker: &Broker) -> Result<Self, ProcessError> {
        let dir = TestDir::new("aodh").map_err(cannot)?;
        let prepared = tokio::task::spawn_blocking(|| saved("aodh", CONFIG, prepare));
        let prepared = prepared.await.map_err(|error| cannot(std::io::Error::other(error)))?.map_err(told)?;
        restore(&prepared, dir.path()).map_err(cannot)?;
        let user =
            keystone.create_user("service", &["service"]).await.map_err(|error| told(error.to_string()))?;
        let broker_url = broker.url();
        configure(dir.path(), keystone, &user.name, &broker_url).map_err(cannot)?;
        let port = place.port(8042).map_err(cannot)?;
        let venv = services_venv().map_err(told)?;
        let mut command = place.command(venv.join("bin/gunicorn"));
        command
            .args(["--bind", &format!("{}:{port}", place.address()), "--no-control-socket"])
            .args(["--workers", "1", "--worker-class", "gthread", "--threads", "2"])
            .args(["--graceful-timeout", "1", "--chdir"])
            .arg(dir.path())
            .arg("aodh_wsgi:application")
            .env("PYTHONPATH", root().join("scripts/aodh"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let api = Process::spawn("aodh-api", dir.path(), command)?;
        let mut command = place.command(venv.join("bin/python"));
        command.arg(root().join("scripts/aodh/serve_events.py")).current_dir(dir.path());
        let mut events = Process::spawn("aodh-events", dir.path(), command)?;
        let log = events.log().to_owned();
        let listen = || async {
            std::fs::read_to_string(&log).is_ok_and(|text| text.matches("LISTENING ").count() == WORKERS)
        };
        events.ready(READY_WITHIN, "its listener and notifier", listen).await?;
        let mut aodh = Self { api, _events: events, _dir: dir, place: place.clone(), port, broker_url };
        let (url, http) = (format!("{}/healthcheck", aodh.url()), Client::new());
        let answers =
            || async { http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
        aodh.api.ready(READY_WITHIN, "an answer to /healthcheck", answers).await?;
        Ok(aodh)
    }

    /// Where it is, without a path; catalogs have the same.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.place.address(), self.port)
    }

    /// Makes an event alarm that calls `action` for each event of this type; its id. `query` is as
    /// `openstack alarm create --query` has it, in JSON.
    pub async fn event_alarm(
        &self,
        token: &str,
        event_type: &str,
        query: Value,
        action: &str,
    ) -> Result<String, ProcessError> {
        let body = json!({
            "name": format!("alarm-{}", picasso_types::random::uuid()), "type": "event",
            "event_rule": {"event_type": event_type, "query": query},
            "alarm_actions": [action], "repeat_actions": true,
        });
        let request = Client::new().post(format!("{}/v2/alarms", self.url())).header("x-auth-token", token);
        let answer = request.json(&body).send().await.map_err(|error| told(error.to_string()))?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        let made: Value = serde_json::from_str(&text).unwrap_or_default();
        let id = made["alarm_id"].as_str().map(str::to_owned);
        id.ok_or_else(|| told(format!("no alarm was made: {status}: {text}")))
    }

    /// Publishes an event of a project as Ceilometer does, with these traits (all text).
    pub async fn event(
        &self,
        project_id: &str,
        event_type: &str,
        traits: &[(&str, &str)],
    ) -> Result<(), ProcessError> {
        let text = |name: &str, value: &str| json!([name, 1, value]);
        let mut all = vec![text("project_id", project_id)];
        all.extend(traits.iter().map(|(name, value)| text(name, value)));
        let event = json!({
            "message_id": picasso_types::random::uuid(), "event_type": event_type,
            "generated": "2026-11-23T12:00:00.000000", "traits": all, "raw": {}, "message_signature": "",
        });
        let notification = Notification {
            publisher_id: "telemetry.publisher.tests",
            event_type: "event",
            priority: "sample",
            topic: "alarm.all",
            payload: json!([event]),
            ..Notification::default()
        };
        notify(&self.broker_url, &[notification]).await
    }
}

fn prepare(folder: &Path) -> Result<(), String> {
    let venv = services_venv()?;
    let written = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::write(folder.join("aodh.conf"), CONFIG).map_err(written)?;
    let program = venv.join("bin/aodh-dbsync").display().to_string();
    run("env", ["--chdir", &folder.display().to_string(), &program, "--config-file", "aodh.conf"])?;
    // Each part of the pipeline reads the system's configuration, unless it is told which file to read.
    let python = venv.join("bin/python").display().to_string();
    let where_is = "import os, aodh.api; print(os.path.dirname(aodh.api.__file__))";
    let found = run(&python, ["-W", "ignore", "-c", where_is])?;
    let paste = Path::new(found.trim()).join("api-paste.ini");
    let text = std::fs::read_to_string(&paste).map_err(|error| format!("{}: {error}", paste.display()))?;
    let project = "oslo_config_project = aodh\n";
    let text = text.replace(project, &format!("{project}oslo_config_file = aodh.conf\n"));
    std::fs::write(folder.join("api-paste.ini"), text).map_err(written)
}

fn configure(dir: &Path, keystone: &Keystone, user: &str, broker_url: &str) -> std::io::Result<()> {
    let (_, address) = broker_url.split_once("://").unwrap_or(("", broker_url));
    let login = keystone.authtoken(user);
    let credentials = login.replace("[keystone_authtoken]", "[service_credentials]");
    let text = CONFIG.replacen(
        "[DEFAULT]\n",
        // A new alarm is seen by the next event.
        &format!("[DEFAULT]\ntransport_url = rabbit://{address}/\nevent_alarm_cache_ttl = 0\n"),
        1,
    );
    let paste = dir.join("api-paste.ini");
    let text = format!(
        "{text}[api]\npaste_config = {}\nauth_mode = keystone\n\
         [listener]\nbatch_size = 1\nworkers = 1\n[notifier]\nbatch_size = 1\nworkers = 1\n\
         {login}{credentials}region_name = RegionOne\n",
        paste.display()
    );
    std::fs::write(dir.join("aodh.conf"), text)
}

fn cannot(source: std::io::Error) -> ProcessError {
    ProcessError::Start { program: "aodh".to_owned(), source }
}

fn told(error: String) -> ProcessError {
    cannot(std::io::Error::other(error))
}
