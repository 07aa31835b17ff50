//! Batches of a real Zaqar's messages; the test plays the worker that ends the calls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_outbound::{
    ClientSettings, EndpointUnknown, Guard, GuardedClient, ServiceEndpoint, Zaqar as Client,
};
use picasso_testkit::keystone::{Keystone, install_tls_provider};
use picasso_testkit::process::require;
use picasso_testkit::zaqar::Zaqar;
use picasso_types::trigger::{Trigger, TriggerState, TriggerType};
use picasso_types::{Call, CallId, CallOutcome, CallOutput, CallState, Clock, InstanceId};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::reader::Reader;
use super::tokens::{TokenError, TriggerTokens};
use super::{News, Queues};
use crate::testing::{Process, World};

const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug)]
struct At(Url);

#[async_trait]
impl ServiceEndpoint for At {
    async fn endpoint(&self) -> Result<Option<Url>, EndpointUnknown> {
        Ok(Some(self.0.clone()))
    }
}

/// The token of a member, or the word of a Keystone that the trust is gone.
#[derive(Debug)]
struct Token(Result<SecretString, TokenError>);

#[async_trait]
impl TriggerTokens for Token {
    async fn token(&self, _: &Trigger) -> Result<SecretString, TokenError> {
        self.0.clone()
    }

    async fn forget(&self, _: &Trigger) {}
}

fn start(
    world: &World,
    process: Process,
    zaqar: &Url,
    token: Result<SecretString, TokenError>,
) -> JoinHandle<()> {
    let guard = Guard::default().allowing_private();
    let http = GuardedClient::new(&ClientSettings { guard, ..ClientSettings::default() }).unwrap();
    let reader = Reader {
        firer: process.firer,
        store: process.store,
        instance: process.instance,
        clock: world.clock.clone(),
        zaqar: Client::new(http, Arc::new(At(zaqar.clone()))),
        tokens: Arc::new(Token(token)),
    };
    let poll = Duration::from_millis(20);
    tokio::spawn(Queues::of(reader, News(None), poll).run(CancellationToken::new()))
}

/// Waits while the clock goes on, five times as fast as others.
async fn wait_until<F: Future<Output = bool>>(world: &World, what: &str, holds: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.clock.pass_micros(500_000);
    }
}

/// The calls that wait, with what their functions get.
async fn waiting(world: &World) -> Vec<Call> {
    world.calls().await.into_iter().filter(|call| call.state == CallState::Queued).collect()
}

/// Runs a call as a worker does; the messages that it got.
async fn run(world: &World, call: &CallId, state: CallState, answer: &Value) -> Vec<Value> {
    let owner = InstanceId::generate();
    let until = world.clock.now().plus(Duration::from_mins(1));
    let claimed = world.stores[0].claim_call(call, &owner, until).await.unwrap().unwrap();
    let got: Value = serde_json::from_slice(&claimed.payload).unwrap();
    let outcome = CallOutcome {
        state,
        failure: None,
        exit_code: Some(0),
        http_status: None,
        cold_start: None,
        memory_peak_bytes: None,
    };
    let body = answer.to_string();
    let head = json!({"content_type": null, "total_bytes": body.len()}).to_string();
    let result = [head.as_bytes(), b"\n", body.as_bytes()].concat();
    let output = CallOutput { result, ..CallOutput::default() };
    assert!(world.stores[0].finish_call(call, &owner, &outcome, &output, &[]).await.unwrap());
    got["messages"].as_array().unwrap().clone()
}

fn bodies(messages: &[Value]) -> Vec<Value> {
    let mut bodies: Vec<_> = messages.iter().map(|message| message["body"].clone()).collect();
    bodies.sort_by_key(Value::to_string);
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_deleted_when_their_call_succeeded_and_those_that_failed_come_again() {
    if !require("Zaqar", Zaqar::missing().as_deref()) {
        return;
    }
    install_tls_provider();
    let keystone = Keystone::shared().await.unwrap();
    let zaqar = Zaqar::start(&keystone, "signs nothing in this test").await.unwrap();
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let sent = [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})];
    assert!(zaqar.post(&token, "jobs", &sent).await);

    let world = World::sqlite().await;
    let now = world.clock.now();
    let options = json!({"queue": "jobs", "batch_size": 5});
    let trigger = world.trigger("jobs", TriggerType::Queue, options, now).await;
    let url = Url::parse(&zaqar.url()).unwrap();
    let reading = start(&world, world.process(0).await, &url, Ok(token.clone().into()));
    let one_waits = || async { waiting(&world).await.len() == 1 };
    wait_until(&world, "the first batch", one_waits).await;
    let first = waiting(&world).await.remove(0);
    // The process is killed while the call is under way; another one goes on with the batch.
    reading.abort();
    let _ = reading.await;
    let reading = start(&world, world.process(1).await, &url, Ok(token.clone().into()));

    // The function could not handle the second message.
    let all = run_naming(&world, &first.id, &json!({"n": 2})).await;
    assert_eq!(bodies(&all), sent);
    wait_until(&world, "the second batch", one_waits).await;
    let second = waiting(&world).await.remove(0);
    // This run fails as a whole.
    assert_eq!(bodies(&run(&world, &second.id, CallState::Failed, &json!({})).await), [json!({"n": 2})]);
    wait_until(&world, "the third batch", one_waits).await;
    let third = waiting(&world).await.remove(0);
    assert_eq!(
        bodies(&run(&world, &third.id, CallState::Succeeded, &json!("done")).await),
        [json!({"n": 2})]
    );
    wait_until(&world, "nothing is left", || async {
        let progress = world.read(&trigger).await.progress.unwrap_or_default();
        zaqar.messages(&token, "jobs").await.is_empty() && progress.contains("\"batch\":null")
    })
    .await;
    assert_eq!(world.calls().await.len(), 3);
    reading.abort();
}

/// Runs a call whose function names the message with this body as failed.
async fn run_naming(world: &World, call: &CallId, body: &Value) -> Vec<Value> {
    let owner = InstanceId::generate();
    // A look at what it gets; its lease ends, so that it can be claimed again.
    let now = world.clock.now();
    let claimed = world.stores[0].claim_call(call, &owner, now).await.unwrap().unwrap();
    let got: Value = serde_json::from_slice(&claimed.payload).unwrap();
    let of_body = |message: &&Value| message["body"] == *body;
    let id = got["messages"].as_array().unwrap().iter().find(of_body).unwrap()["id"].clone();
    let answer = json!({"batchItemFailures": [{"itemIdentifier": id}]});
    run(world, call, CallState::Succeeded, &answer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_whose_trust_is_gone_is_suspended_with_the_reason() {
    let world = World::sqlite().await;
    let trigger =
        world.trigger("jobs", TriggerType::Queue, json!({"queue": "jobs"}), world.clock.now()).await;
    let refused = Err(TokenError::Refused("the trust is gone".to_owned()));
    let url = Url::parse("http://127.0.0.1:9").unwrap();
    let reading = start(&world, world.process(0).await, &url, refused);
    let suspended = || async { world.read(&trigger).await.state == TriggerState::Suspended };
    wait_until(&world, "it is suspended", suspended).await;
    reading.abort();
    let read = world.read(&trigger).await;
    assert_eq!((read.state_reason.as_deref(), read.next_at), (Some("the trust is gone"), None));
}
