//! A server that is killed at every place where a call changes hands, with every queue and every
//! database: an accepted call runs to its end, and what had ended does not run again.
//!
//! At each place one call, so that what must follow is known exactly: how often its function ran, how
//! often it was claimed, how often its report was sent. Its destination is a route of the same app,
//! which must run once, however often it was asked to.
//!
//! Four pairs of queue and database; every other one, too, with `PICASSO_FAILPOINTS=all`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails the test")]

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use picasso_engine::failpoints;
use picasso_suites::cloud::{Cloud, ready};
use picasso_suites::runs::runs;
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::database::{self, Database};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{require, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);

/// `None`: SQLite.
const DATABASES: [Option<database::Kind>; 3] =
    [None, Some(database::Kind::Postgres), Some(database::Kind::MariaDb)];
/// `None`: the node's own file.
const QUEUES: [Option<Kind>; 4] = [None, Some(Kind::RabbitMq), Some(Kind::Nats), Some(Kind::Redis)];
/// Each queue and each database at least once.
const ALWAYS: [(Option<database::Kind>, Option<Kind>); 4] = [
    (None, None),
    (Some(database::Kind::Postgres), Some(Kind::RabbitMq)),
    (Some(database::Kind::MariaDb), Some(Kind::Nats)),
    (None, Some(Kind::Redis)),
];

/// A server with its services; dropped in this order.
struct World {
    cloud: Cloud,
    _broker: Option<Broker>,
    _database: Option<Database>,
    token: String,
    project: String,
    app: String,
}

/// What must follow a death at a place.
struct Expected {
    /// How often the server logged that the function ended; a line that was just logged dies with it.
    runs: RangeInclusive<usize>,
    /// How often the call was claimed, and so at most how often its function was started; the claim
    /// races with the place where both are given.
    attempts: RangeInclusive<u64>,
    /// How often its report was sent.
    sent: u64,
}

fn expected(place: &str) -> Expected {
    let (runs, attempts, sent) = match place {
        failpoints::RECEIVED => (1..=1, 1..=2, 1),
        failpoints::CLAIMED => (1..=1, 2..=2, 1),
        // It had ended, but only in the memory of the process that is dead.
        failpoints::RAN => (1..=2, 2..=2, 1),
        failpoints::RECORDED => (0..=1, 1..=1, 1),
        failpoints::SENT => (0..=1, 1..=1, 2),
        _ => (1..=1, 1..=1, 1),
    };
    Expected { runs, attempts, sent }
}

impl World {
    async fn start(database: Option<database::Kind>, queue: Option<Kind>) -> Option<Self> {
        let missing = database.and_then(Database::missing);
        let no_broker = queue.and_then(Broker::missing);
        if !ready()
            || !require(&format!("{database:?}"), missing.as_deref())
            || !require(&format!("{queue:?}"), no_broker.as_deref())
        {
            return None;
        }
        // One place, so that a test can hold it.
        let mut more_config = "[queue]\nworkers = 1\n".to_owned();
        let mut broker = None;
        if let Some(kind) = queue {
            let mut service = Broker::start(kind).await.unwrap();
            if kind == Kind::RabbitMq {
                // A node that never stopped in order may forget its new queues' leaders.
                service.stop().await.unwrap();
                service.start_again().await.unwrap();
            }
            more_config = format!("{more_config}url = \"{}\"\n", service.url());
            broker = Some(service);
        }
        let mut service = None;
        if let Some(kind) = database {
            let (server, url) = Database::start(kind).await.unwrap();
            more_config = format!("{more_config}[database]\nurl = \"{url}\"\n");
            service = Some(server);
        }
        let cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
        let (token, project) = (cloud.token("demo1-member").await, cloud.project("demo1").await);
        let app = cloud.app(&token, "killed").await;
        let options = |more: Value| {
            let mut options = json!({"type": "async", "memory": 16, "is_public": "false"});
            options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            options
        };
        // Each run says something else, so that a second one shows in what is kept of the call, or in what
        // its destination was told of it.
        let script = "read id < /proc/sys/kernel/random/uuid; echo $id";
        cloud.route(&token, &app, "/then", &format!("b cat; {script}"), options(json!({}))).await;
        let then = json!({"on_success": format!("route:{app}/then")});
        cloud.route(&token, &app, "/work", script, options(then)).await;
        cloud.route(&token, &app, "/hold", "b sleep 2", options(json!({}))).await;
        Some(Self { cloud, _broker: broker, _database: service, token, project, app })
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/v1/{}/calls{path}", self.project);
        let answer = self.cloud.api(Method::GET, &path, Some(&self.token), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    /// All calls with their results, by id.
    async fn calls(&self) -> BTreeMap<String, (Value, Value)> {
        let mut all = BTreeMap::new();
        for call in self.get("?limit=1000").await["calls"].as_array().unwrap() {
            let id = call["id"].as_str().unwrap();
            let result = if call["status"] == "succeeded" {
                self.get(&format!("/{id}/result")).await
            } else {
                Value::Null
            };
            all.insert(id.to_owned(), (self.get(&format!("/{id}")).await["call"].clone(), result));
        }
        all
    }

    /// Asks for a call; its id where that was answered.
    async fn accept(&self, path: &str) -> Option<String> {
        let url = format!("{}/v1/r/{}/{}{path}", self.cloud.picasso.api_url(), self.project, self.app);
        let request = self.cloud.http.post(url).header("x-auth-token", &self.token).json(&json!({}));
        let answer = request.send().await.ok()?;
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.ok()?;
        Some(answer["call_id"].as_str().unwrap().to_owned())
    }

    /// Nothing waits, runs or is to be sent.
    async fn is_at_rest(&self) -> bool {
        let calls = self.calls().await;
        let of = |path: &str| calls.values().filter(|(call, _)| call["route"] == path).count();
        let sent = |delivery: &Value| delivery["state"] == "delivered";
        // One may have been listed before its report became a call of its own.
        of("/work") == of("/then")
            && calls.values().all(|(call, result)| {
                !result.is_null() && call["deliveries"].as_array().is_none_or(|all| all.iter().all(sent))
            })
    }

    /// Kills the server at the place, starts it again, and looks at what became of its calls.
    async fn dies_at(&mut self, place: &str) {
        let (before, runs_before) = (self.calls().await, runs(&self.cloud.picasso.log()));
        let mut held = None;
        if place == failpoints::ACKED {
            // Its place is taken, so that the next call waits in its line.
            let id = self.accept("/hold").await.unwrap();
            let path = format!("/{id}");
            let is_running = || async { self.get(&path).await["call"]["status"] == "running" };
            wait_until(SOON, "the place to be taken", is_running).await.unwrap();
            held = Some(id);
        }
        self.cloud.picasso.arm(place).unwrap();
        let answered = self.accept("/work").await;
        assert!(place != failpoints::COMMITTED || answered.is_none(), "it ended before it answered");
        self.cloud.picasso.start_again().await.unwrap();
        assert!(!self.cloud.picasso.is_armed(), "{place}: the server ended for another reason");
        wait_until(SOON, format!("{place}: the end of all calls"), || self.is_at_rest()).await.unwrap();

        let (mut after, runs) = (self.calls().await, runs(&self.cloud.picasso.log()));
        for (id, then) in before {
            assert_eq!(after.remove(&id), Some(then), "{place}: what had ended is as it was");
            assert_eq!(runs.get(&id), runs_before.get(&id), "{place}: {id} ran again");
        }
        if let Some(held) = held {
            assert!(after.remove(&held).is_some());
        }
        let one = |path: &str| {
            let mut found = after.iter().filter(|(_, (call, _))| call["route"] == path);
            let (id, (call, result)) = found.next().unwrap_or_else(|| panic!("{place}: no call of {path}"));
            assert!(found.next().is_none(), "{place}: {path} has one call");
            (id.clone(), call, result["result"].as_str().unwrap())
        };
        let ((id, call, result), (then, _, told)) = (one("/work"), one("/then"));
        assert!(answered.is_none_or(|answered| answered == id));
        assert!(told.contains(result.trim()), "{place}: another run was told: {result} {told}");
        let Expected { runs: ended, attempts, sent } = expected(place);
        let runs_of = |id: &str| runs.get(id).copied().unwrap_or_default();
        assert!(ended.contains(&runs_of(&id)), "{place}: {} runs of its function", runs_of(&id));
        assert_eq!(runs_of(&then), 1, "{place}: runs of its destination");
        assert!(attempts.contains(&call["attempt"].as_u64().unwrap()), "{place}: {call}");
        assert_eq!(call["deliveries"][0]["attempts"], sent, "{place}: {call}");
    }
}

#[expect(clippy::print_stdout, reason = "the suite says how long it takes")]
async fn every_place(database: Option<database::Kind>, queue: Option<Kind>) {
    let Some(mut world) = World::start(database, queue).await else { return };
    let began = Instant::now();
    for place in failpoints::ALL {
        world.dies_at(place).await;
    }
    println!("{database:?} with {queue:?}: {} deaths in {:?}", failpoints::ALL.len(), began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_and_repeats_nothing_on_sqlite_alone() {
    every_place(ALWAYS[0].0, ALWAYS[0].1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_and_repeats_nothing_on_postgresql_and_rabbitmq() {
    every_place(ALWAYS[1].0, ALWAYS[1].1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_and_repeats_nothing_on_mariadb_and_nats() {
    every_place(ALWAYS[2].0, ALWAYS[2].1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_and_repeats_nothing_on_sqlite_and_redis() {
    every_place(ALWAYS[3].0, ALWAYS[3].1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_its_server_again_and_again_is_given_up() {
    if !ready() {
        return;
    }
    let more_config = "[queue]\nmax_lost_runs = 2\n".to_owned();
    let mut cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "deadly").await;
    let options = json!({"type": "async", "memory": 16});
    cloud.route(&token, &app, "/work", "echo done", options).await;
    let accept = async |cloud: &Cloud| {
        let answer = cloud.send(cloud.http.post(cloud.function_url(&app, "/work"))).await;
        answer.json()["call_id"].as_str().unwrap().to_owned()
    };
    let call = async |cloud: &Cloud, id: &str| {
        let path = format!("/v1/{}/calls/{id}", cloud.project("demo1").await);
        cloud.api(Method::GET, &path, Some(&token), None).await.json()["call"].clone()
    };
    cloud.picasso.arm(failpoints::CLAIMED).unwrap();
    let id = accept(&cloud).await;
    cloud.picasso.wait(SOON).await.unwrap();
    assert!(!cloud.picasso.is_armed());
    cloud.picasso.arm(failpoints::CLAIMED).unwrap();
    // It may claim the call, and end, before it is healthy.
    let _ = cloud.picasso.start_again().await;
    cloud.picasso.wait(SOON).await.unwrap();
    assert!(!cloud.picasso.is_armed());
    cloud.picasso.start_again().await.unwrap();
    let dead = || async { call(&cloud, &id).await["status"] == "dead" };
    wait_until(SOON, "the call is given up", dead).await.unwrap();
    let given_up = call(&cloud, &id).await;
    assert_eq!(given_up["attempt"], 3, "{given_up}");
    assert_eq!(runs(&cloud.picasso.log()).get(&id), None, "its function never ran to an end");
    let next = accept(&cloud).await;
    let succeeded = || async { call(&cloud, &next).await["status"] == "succeeded" };
    wait_until(SOON, "the next call runs", succeeded).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_and_repeats_nothing_on_any_other_pair() {
    if std::env::var("PICASSO_FAILPOINTS").as_deref() != Ok("all") {
        eprintln!("skipped: takes minutes; PICASSO_FAILPOINTS=all");
        return;
    }
    for database in DATABASES {
        for queue in QUEUES {
            if !ALWAYS.contains(&(database, queue)) {
                every_place(database, queue).await;
            }
        }
    }
}
