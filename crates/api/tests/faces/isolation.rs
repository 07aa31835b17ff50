//! Two projects on one server: whatever one of them does, the other gets the answers that it would
//! get alone.
//!
//! Random requests of two members, at their own things and at each other's, are made on one server;
//! then those of each member once more in a new project, as if the other did not exist. Every
//! answer has to be the same but for ids and times. So nothing of one project is read, changed, run
//! or even noticed by the other, and no model of the service has to be written down for it.

use std::sync::Arc;

use async_trait::async_trait;
use picasso_identity::{AuthError, Caller, Presented, Project, Scope, TokenValidator};
use picasso_store::{MariaDbSettings, MariaDbStore, PostgresSettings, PostgresStore, Store};
use picasso_testkit::database::{Database, Kind};
use picasso_testkit::process::require;
use picasso_types::{CallId, ProjectId, SystemClock, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{Options, Server, key};

/// A token is the id of the project whose member shows it.
#[derive(Debug)]
struct Members;

#[async_trait]
impl TokenValidator for Members {
    async fn validate(&self, request: &Presented) -> Result<Arc<Caller>, AuthError> {
        let project = request.user_token().expose_secret();
        Ok(Arc::new(Caller {
            user_id: format!("user-of-{project}"),
            user_name: "member".to_owned(),
            user_domain: None,
            scope: Scope::Project(Project {
                id: ProjectId::parse(project).unwrap(),
                name: project.to_owned(),
                domain: None,
            }),
            roles: vec!["member".to_owned(), "reader".to_owned()],
            expires_at: Timestamp(i64::MAX),
            trust: None,
            application_credential: None,
            service: None,
        }))
    }

    fn auth_uri(&self) -> &'static str {
        "http://keystone.example.org/v3"
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Others,
}

/// How an app is named.
#[derive(Debug, Clone, Copy)]
struct AppName {
    number: u8,
    /// The short name, or the full one of this project's app.
    full: Option<Whose>,
}

/// Which image a route is to run.
#[derive(Debug, Clone, Copy)]
enum Image {
    Own,
    Shared,
    /// By the digest of the image that the other project may have loaded.
    OthersDigest,
}

#[derive(Debug, Clone)]
enum Act {
    CreateApp(u8),
    GetApp(AppName),
    ListApps,
    UpdateApp(AppName, u8),
    DeleteApp(AppName),
    RotateKey(AppName),
    CreateRoute(AppName, u8, Image),
    GetRoute(AppName, u8),
    ListRoutes(AppName),
    UpdateRoute(AppName, u8, Image),
    DeleteRoute(AppName, u8),
    RotateWebhookSecret(Whose, usize),
    DeleteWebhookSecret(Whose, usize),
    LoadImage,
    DeleteImage,
    ListImages,
    Run(AppName, u8),
    Call(AppName, u8),
    CallPublicly(AppName, u8),
    Accept(AppName, u8),
    ListQueued,
    ListCancelled,
    GetCall(Whose, usize),
    CancelCall(Whose, usize),
    GetResult(Whose, usize),
    GetLog(Whose, usize),
    RetryOthersCall(usize),
    RetryCalls,
    ListVersions(Whose, usize),
    GetVersion(Whose, usize, u32),
    RollBack(Whose, usize, u32),
    ListAliases(Whose, usize),
    CreateAlias(Whose, usize, u8, u32),
    GetAlias(Whose, usize, u8),
    UpdateAlias(Whose, usize, u8, u32),
    DeleteAlias(Whose, usize, u8),
    CallAlias(AppName, u8, u8),
    CallAliasPublicly(AppName, u8, u8),
    CallVersion(AppName, u8, u32),
    GetLimits,
}

/// One request: who makes it, in whose project's URL, and what it is.
#[derive(Debug, Clone)]
struct Step {
    actor: usize,
    project: Whose,
    act: Act,
}

fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![6 => Just(Whose::Own), 1 => Just(Whose::Others)]
}

fn app() -> impl Strategy<Value = AppName> {
    (0..2_u8, prop::option::weighted(0.4, prop_oneof![Just(Whose::Own), Just(Whose::Others)]))
        .prop_map(|(number, full)| AppName { number, full })
}

fn image() -> impl Strategy<Value = Image> {
    prop_oneof![1 => Just(Image::Own), 2 => Just(Image::Shared), 1 => Just(Image::OthersDigest)]
}

fn act() -> impl Strategy<Value = Act> {
    // Of the calls accepted so far; any is as good as another.
    let index = || 0..16_usize;
    let of_apps = prop_oneof![
        3 => (0..2_u8).prop_map(Act::CreateApp),
        1 => app().prop_map(Act::GetApp),
        1 => Just(Act::ListApps),
        1 => (app(), any::<u8>()).prop_map(|(app, value)| Act::UpdateApp(app, value)),
        1 => app().prop_map(Act::DeleteApp),
        1 => app().prop_map(Act::RotateKey),
    ];
    let of_routes = prop_oneof![
        3 => (app(), 0..2_u8, image()).prop_map(|(app, route, image)| Act::CreateRoute(app, route, image)),
        1 => (app(), 0..2_u8).prop_map(|(app, route)| Act::GetRoute(app, route)),
        1 => app().prop_map(Act::ListRoutes),
        1 => (app(), 0..2_u8, image()).prop_map(|(app, route, image)| Act::UpdateRoute(app, route, image)),
        1 => (app(), 0..2_u8).prop_map(|(app, route)| Act::DeleteRoute(app, route)),
        1 => (whose(), 0..4_usize).prop_map(|(whose, at)| Act::RotateWebhookSecret(whose, at)),
        1 => (whose(), 0..4_usize).prop_map(|(whose, at)| Act::DeleteWebhookSecret(whose, at)),
    ];
    let of_images =
        prop_oneof![2 => Just(Act::LoadImage), 1 => Just(Act::DeleteImage), 1 => Just(Act::ListImages)];
    let of_runs = prop_oneof![
        1 => (app(), 0..2_u8).prop_map(|(app, route)| Act::Run(app, route)),
        1 => (app(), 0..2_u8).prop_map(|(app, route)| Act::Call(app, route)),
        1 => (app(), 0..2_u8).prop_map(|(app, route)| Act::CallPublicly(app, route)),
    ];
    let of_calls = prop_oneof![
        3 => (app(), 0..2_u8).prop_map(|(app, route)| Act::Accept(app, route)),
        1 => Just(Act::ListQueued),
        1 => Just(Act::ListCancelled),
        1 => (whose(), index()).prop_map(|(whose, at)| Act::GetCall(whose, at)),
        1 => (whose(), index()).prop_map(|(whose, at)| Act::CancelCall(whose, at)),
        1 => (whose(), index()).prop_map(|(whose, at)| Act::GetResult(whose, at)),
        1 => (whose(), index()).prop_map(|(whose, at)| Act::GetLog(whose, at)),
        1 => index().prop_map(Act::RetryOthersCall),
        1 => Just(Act::RetryCalls),
    ];
    let number = || 1..4_u32;
    let alias = || 0..2_u8;
    // Its routes come and go; any of the first is as good as another.
    let route_of = || 0..4_usize;
    let of_versions = prop_oneof![
        1 => (whose(), route_of()).prop_map(|(whose, at)| Act::ListVersions(whose, at)),
        1 => (whose(), route_of(), number()).prop_map(|(whose, at, n)| Act::GetVersion(whose, at, n)),
        1 => (whose(), route_of(), number()).prop_map(|(whose, at, n)| Act::RollBack(whose, at, n)),
        1 => (app(), 0..2_u8, number()).prop_map(|(app, route, n)| Act::CallVersion(app, route, n)),
    ];
    let of_aliases = prop_oneof![
        1 => (whose(), route_of()).prop_map(|(whose, at)| Act::ListAliases(whose, at)),
        3 => (whose(), route_of(), alias(), number()).prop_map(|(whose, at, a, n)| Act::CreateAlias(whose, at, a, n)),
        1 => (whose(), route_of(), alias()).prop_map(|(whose, at, a)| Act::GetAlias(whose, at, a)),
        1 => (whose(), route_of(), alias(), number()).prop_map(|(whose, at, a, n)| Act::UpdateAlias(whose, at, a, n)),
        1 => (whose(), route_of(), alias()).prop_map(|(whose, at, a)| Act::DeleteAlias(whose, at, a)),
        2 => (app(), 0..2_u8, alias()).prop_map(|(app, route, a)| Act::CallAlias(app, route, a)),
        2 => (app(), 0..2_u8, alias()).prop_map(|(app, route, a)| Act::CallAliasPublicly(app, route, a)),
    ];
    prop_oneof![
        3 => of_apps,
        4 => of_routes,
        1 => of_images,
        2 => of_runs,
        3 => of_calls,
        2 => of_versions,
        3 => of_aliases,
        1 => Just(Act::GetLimits),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (0..2_usize, whose(), act()).prop_map(|(actor, project, act)| Step { actor, project, act })
}

/// What both do first, so that there is something to look at, change and run. Everything is done
/// here once with success: what the random steps meet is chance, and a sequence in which nothing
/// ever succeeds would hold for a service that does nothing.
fn beginning() -> impl Iterator<Item = Step> {
    let app = AppName { number: 0, full: None };
    let acts = [
        Act::LoadImage,
        Act::ListImages,
        Act::CreateApp(0),
        Act::GetApp(app),
        Act::UpdateApp(app, 1),
        Act::ListApps,
        Act::CreateRoute(app, 0, Image::Shared),
        Act::CreateRoute(app, 1, Image::Own),
        Act::GetRoute(app, 0),
        Act::ListRoutes(app),
        Act::Run(app, 0),
        Act::Call(app, 1),
        Act::Accept(app, 0),
        Act::GetCall(Whose::Own, 0),
        Act::CancelCall(Whose::Own, 0),
        Act::Accept(app, 0),
        Act::ListQueued,
        Act::UpdateRoute(app, 0, Image::Shared),
        Act::GetVersion(Whose::Own, 0, 2),
        Act::ListVersions(Whose::Own, 0),
        Act::CallVersion(app, 0, 1),
        Act::RollBack(Whose::Own, 0, 1),
        Act::CreateAlias(Whose::Own, 0, 0, 1),
        Act::UpdateAlias(Whose::Own, 0, 0, 2),
        Act::GetAlias(Whose::Own, 0, 0),
        Act::CallAlias(app, 0, 0),
        Act::GetLimits,
    ];
    let of_both = |act: Act| [0, 1].map(|actor| Step { actor, project: Whose::Own, act: act.clone() });
    acts.into_iter().flat_map(of_both)
}

/// The images of the two members, and their digests.
struct Images {
    tars: [Vec<u8>; 2],
    digests: [String; 2],
}

/// Two projects as one run of steps sees them.
struct World<'a> {
    server: &'a Server,
    images: &'a Images,
    projects: [String; 2],
    /// The calls that each had accepted.
    calls: [Vec<String>; 2],
    /// The ids of the routes that each made.
    routes: [Vec<String>; 2],
}

impl<'a> World<'a> {
    fn new(server: &'a Server, images: &'a Images) -> Self {
        // What Keystone's ids look like: 32 random hexadecimal digits.
        let project = || {
            let id = CallId::generate().to_string().replace('-', "");
            id.chars().rev().collect()
        };
        Self {
            server,
            images,
            projects: [project(), project()],
            calls: Default::default(),
            routes: Default::default(),
        }
    }

    /// The answer, without what differs from one world to another.
    async fn take(&mut self, step: &Step) -> String {
        let reply = self.request(step).await;
        let call = reply.headers.get("picasso-call-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        if let (Act::Accept(..), Some(id)) = (&step.act, call) {
            self.calls[step.actor].push(id);
        }
        if let (Act::CreateRoute(..), 200) = (&step.act, reply.status) {
            self.routes[step.actor].push(reply.json()["route"]["id"].as_str().unwrap().to_owned());
        }
        self.shown(step.actor, &reply)
    }

    #[expect(clippy::too_many_lines, reason = "one request for each act")]
    async fn request(&self, step: &Step) -> Reply {
        let own = &self.projects[step.actor];
        let others = &self.projects[1 - step.actor];
        let project = if step.project == Whose::Own { own } else { others };
        let root = format!("/v1/{project}");
        let of_app = |app: &AppName| format!("{root}/apps/{}", self.app(step.actor, *app));
        let of_route = |app: &AppName, route: u8| format!("{}/routes/r{route}", of_app(app));
        let name = |app: &AppName| self.app(step.actor, *app);
        let of_call = |whose, at: &usize| {
            let owner = if whose == Whose::Own { step.actor } else { 1 - step.actor };
            let calls = &self.calls[owner];
            let id = if calls.is_empty() {
                CallId::generate().to_string()
            } else {
                calls[at % calls.len()].clone()
            };
            format!("{root}/calls/{id}")
        };
        let by_id = |whose, at: &usize| {
            let owner = if whose == Whose::Own { step.actor } else { 1 - step.actor };
            let routes = &self.routes[owner];
            let id = if routes.is_empty() {
                CallId::generate().to_string()
            } else {
                routes[at % routes.len()].clone()
            };
            format!("{root}/routes/{id}")
        };
        let webhook_secret = |whose, at: &usize| format!("{}/webhook-secrets/path", by_id(whose, at));
        let of_alias = |whose, at, alias: u8| format!("{}/aliases/a{alias}", by_id(whose, at));
        let shares = |number: u32| json!([{ "version": number }]);
        let api = &self.server.api;
        let functions = &self.server.functions;
        let token = [("x-auth-token", own.as_str())];
        match &step.act {
            Act::CreateApp(number) => {
                api.post(&format!("{root}/apps"), own, &json!({"app": {"name": format!("app{number}")}}))
                    .await
            }
            Act::GetApp(app) => api.get(&of_app(app), own).await,
            Act::ListApps => api.get(&format!("{root}/apps"), own).await,
            Act::UpdateApp(app, value) => {
                api.put(&of_app(app), own, &json!({"config": {"VALUE": value.to_string()}, "secrets": {"SECRET": value.to_string()}})).await
            }
            Act::DeleteApp(app) => api.delete(&of_app(app), own).await,
            Act::RotateKey(app) => api.post(&format!("{}/signing-key", of_app(app)), own, &json!({})).await,
            Act::CreateRoute(app, route, image) => {
                let route = json!({"path": format!("/r{route}"), "image": self.image(step.actor, *image),
                    "invoke": ["sync", "async"]});
                api.post(&format!("{}/routes", of_app(app)), own, &json!({ "route": route })).await
            }
            Act::GetRoute(app, route) => api.get(&of_route(app, *route), own).await,
            Act::ListRoutes(app) => api.get(&format!("{}/routes", of_app(app)), own).await,
            Act::UpdateRoute(app, route, image) => {
                let change = json!({"image": self.image(step.actor, *image), "timeout": 7});
                api.put(&of_route(app, *route), own, &change).await
            }
            Act::DeleteRoute(app, route) => api.delete(&of_route(app, *route), own).await,
            Act::RotateWebhookSecret(whose, at) => {
                api.post(&webhook_secret(*whose, at), own, &json!({})).await
            }
            Act::DeleteWebhookSecret(whose, at) => api.delete(&webhook_secret(*whose, at), own).await,
            Act::LoadImage => {
                let tar = self.images.tars[step.actor].clone();
                api.send("PUT", &format!("{root}/images/own:1"), &token, tar).await
            }
            Act::DeleteImage => api.delete(&format!("{root}/images/own:1"), own).await,
            Act::ListImages => api.get(&format!("{root}/images"), own).await,
            Act::Run(app, route) => {
                let url = format!("/v1/r/{project}/{}/r{route}", name(app));
                api.post(&url, own, &json!({})).await
            }
            Act::Call(app, route) => {
                functions.send("GET", &format!("/v1/f/{project}/{}/r{route}", name(app)), &token, "").await
            }
            Act::CallPublicly(app, route) => {
                functions.send("GET", &format!("/f/{}/r{route}", name(app)), &token, "").await
            }
            Act::Accept(app, route) => {
                let headers = [token[0], ("x-picasso-invoke", "async"), ("x-picasso-delay", "3600")];
                let url = format!("/v1/f/{project}/{}/r{route}", name(app));
                functions.send("POST", &url, &headers, "x").await
            }
            Act::ListQueued => api.get(&format!("{root}/calls?status=queued"), own).await,
            Act::ListCancelled => api.get(&format!("{root}/calls?status=cancelled"), own).await,
            Act::GetCall(whose, at) => api.get(&of_call(*whose, at), own).await,
            Act::CancelCall(whose, at) => {
                api.post(&format!("{}/cancel", of_call(*whose, at)), own, &json!({})).await
            }
            Act::GetResult(whose, at) => api.get(&format!("{}/result", of_call(*whose, at)), own).await,
            Act::GetLog(whose, at) => api.get(&format!("{}/log", of_call(*whose, at)), own).await,
            Act::RetryOthersCall(at) => {
                api.post(&format!("{}/retry", of_call(Whose::Others, at)), own, &json!({})).await
            }
            // Of those that failed there are none: what runs here ends well.
            Act::RetryCalls => api.post(&format!("{root}/calls/retry?status=failed"), own, &json!({})).await,
            Act::ListVersions(whose, at) => api.get(&format!("{}/versions", by_id(*whose, at)), own).await,
            Act::GetVersion(whose, at, number) => {
                api.get(&format!("{}/versions/{number}", by_id(*whose, at)), own).await
            }
            Act::RollBack(whose, at, number) => {
                let url = format!("{}/rollback", by_id(*whose, at));
                api.post(&url, own, &json!({ "version": number })).await
            }
            Act::ListAliases(whose, at) => api.get(&format!("{}/aliases", by_id(*whose, at)), own).await,
            Act::CreateAlias(whose, at, alias, number) => {
                let alias = json!({"name": format!("a{alias}"), "versions": shares(*number)});
                api.post(&format!("{}/aliases", by_id(*whose, at)), own, &json!({ "alias": alias })).await
            }
            Act::GetAlias(whose, at, alias) => api.get(&of_alias(*whose, at, *alias), own).await,
            Act::UpdateAlias(whose, at, alias, number) => {
                api.put(&of_alias(*whose, at, *alias), own, &json!({ "versions": shares(*number) })).await
            }
            Act::DeleteAlias(whose, at, alias) => api.delete(&of_alias(*whose, at, *alias), own).await,
            Act::CallAlias(app, route, alias) => {
                let url = format!("/v1/f/{project}/{}@a{alias}/r{route}", name(app));
                functions.send("GET", &url, &token, "").await
            }
            Act::CallAliasPublicly(app, route, alias) => {
                functions.send("GET", &format!("/f/{}@a{alias}/r{route}", name(app)), &token, "").await
            }
            Act::CallVersion(app, route, number) => {
                let url = format!("/v1/f/{project}/{}@{number}/r{route}", name(app));
                functions.send("GET", &url, &token, "").await
            }
            Act::GetLimits => api.get(&format!("{root}/limits"), own).await,
        }
    }

    fn app(&self, actor: usize, app: AppName) -> String {
        let owner = match app.full {
            None => return format!("app{}", app.number),
            Some(Whose::Own) => actor,
            Some(Whose::Others) => 1 - actor,
        };
        format!("app{}-{}", app.number, prefix(&self.projects[owner]))
    }

    fn image(&self, actor: usize, image: Image) -> String {
        match image {
            Image::Own => "own:1".to_owned(),
            Image::Shared => "shared:1".to_owned(),
            Image::OthersDigest => format!("own:1@{}", self.images.digests[1 - actor]),
        }
    }

    fn shown(&self, actor: usize, reply: &Reply) -> String {
        let mut headers: Vec<String> = reply
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "date" | "content-length" | "etag"))
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        let mut body = serde_json::from_slice(&reply.body).unwrap_or(Value::String(reply.text()));
        without_times(&mut body);
        let mut text = format!("{}\n{}\n{body}", reply.status, headers.join("\n"));
        for (project, name) in [(&self.projects[actor], "own"), (&self.projects[1 - actor], "others")] {
            text = text.replace(project.as_str(), name).replace(prefix(project), name);
        }
        for address in [self.server.api_address, self.server.functions_address] {
            text = text.replace(&address.to_string(), "server");
        }
        without_ids(&text)
    }
}

/// What of a project's id stands in the full names of its apps, which all have four letters.
fn prefix(project: &str) -> &str {
    &project[..25]
}

/// Times, and keys that are made anew each time.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if (name.ends_with("_at")
                    || matches!(name.as_str(), "not_before" | "signing_key" | "webhook_secret" | "url_path"))
                    && field.is_string()
                {
                    *field = Value::String(name.clone());
                } else {
                    without_times(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// `text` with `ID` for every UUID.
fn without_ids(text: &str) -> String {
    let is_id = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let bytes = text.as_bytes();
    let mut shown = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes.get(at..at + 36).is_some_and(is_id) {
            shown.extend_from_slice(b"ID");
            at += 36;
        } else {
            shown.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&shown).into_owned()
}

async fn hold(server: &Server, images: &Images, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut together = World::new(server, images);
    let mut answers = Vec::new();
    for step in steps {
        let answer = together.take(step).await;
        prop_assert!(!answer.starts_with('5'), "{step:?}: {answer}");
        answers.push(answer);
    }
    for (step, answer) in beginning().zip(&answers) {
        prop_assert!(answer.starts_with('2'), "{step:?}: {answer}");
    }
    for actor in 0..2 {
        let mut alone = World::new(server, images);
        for (step, answer) in steps.iter().zip(&answers).filter(|(step, _)| step.actor == actor) {
            prop_assert_eq!(&alone.take(step).await, answer, "{:?}", step);
        }
    }
    Ok(())
}

async fn images(server: &Server) -> Images {
    server.image("shared:1", "cat; printf shared").await;
    let mut tars = [vec![], vec![]];
    let mut digests = [String::new(), String::new()];
    for (at, script) in ["cat; printf one", "cat; printf two"].into_iter().enumerate() {
        tars[at] = server.image_tar(script);
        let project = "f".repeat(31) + &at.to_string();
        let headers = [("x-auth-token", project.as_str())];
        let url = format!("/v1/{project}/images/own:1");
        let loaded = server.api.send("PUT", &url, &headers, tars[at].clone()).await;
        loaded.json()["image"]["digest"].as_str().unwrap().clone_into(&mut digests[at]);
    }
    Images { tars, digests }
}

/// Runs `cases` random sequences on a server with this store.
fn nobody_notices_the_other(open: impl AsyncFnOnce() -> Option<(Option<Arc<dyn Store>>, Option<Database>)>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let Some((server, images, _database)) = runtime.block_on(async {
        let (store, database) = open().await?;
        let server =
            Server::start_with(Options { tokens: Arc::new(Members), store, ..Options::default() }).await;
        let images = images(&server).await;
        Some((server, images, database))
    }) else {
        return;
    };
    let config = Config { cases: 16, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(step(), 20..100)
        .prop_map(|random| beginning().chain(random).collect::<Vec<_>>());
    TestRunner::new(config).run(&steps, |steps| runtime.block_on(hold(&server, &images, &steps))).unwrap();
}

#[test]
fn two_projects_on_sqlite_do_not_notice_each_other() {
    nobody_notices_the_other(async || Some((None, None)));
}

#[test]
fn two_projects_on_postgres_do_not_notice_each_other() {
    nobody_notices_the_other(async || {
        if !require("PostgreSQL", Database::missing(Kind::Postgres).as_deref()) {
            return None;
        }
        let (database, url) = Database::start(Kind::Postgres).await.unwrap();
        let settings = PostgresSettings::at(url);
        let store = PostgresStore::connect(&settings, key(), Arc::new(SystemClock)).await.unwrap();
        store.upgrade().await.unwrap();
        Some((Some(Arc::new(store) as Arc<dyn Store>), Some(database)))
    });
}

#[test]
fn two_projects_on_mariadb_do_not_notice_each_other() {
    nobody_notices_the_other(async || {
        if !require("MariaDB", Database::missing(Kind::MariaDb).as_deref()) {
            return None;
        }
        let (database, url) = Database::start(Kind::MariaDb).await.unwrap();
        let settings = MariaDbSettings::at(url);
        let store = MariaDbStore::connect(&settings, key(), Arc::new(SystemClock)).await.unwrap();
        store.upgrade().await.unwrap();
        Some((Some(Arc::new(store) as Arc<dyn Store>), Some(database)))
    });
}
