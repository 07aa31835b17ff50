//! How many asynchronous calls a SQLite store accepts per second, each on disk when answered:
//! `cargo run --release -p picasso-store --example accept_bench [FOLDER]`.
//!
//! FOLDER (default: the current one) decides which disk is measured.
#![expect(clippy::print_stdout, reason = "a bench talks on stdout")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use picasso_store::{SecretKey, SqliteSettings, SqliteStore, Store};
use picasso_types::{
    App, AppName, Bounds, CallDelivery, CallId, Clock as _, Config, DeliveryOptions, Digest, Format,
    ImageRef, Methods, NetworkMode, NewApp, NewCall, NewRoute, ProjectId, RequestId, Route, RoutePattern,
    RouteType, SystemClock, Trigger, VersionSpec,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PAYLOAD_BYTES: usize = 1024;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let path = Path::new(&folder).join(format!("accept-bench-{}.db", std::process::id()));
    let measured = measure(&path).await;
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.clone().into_os_string();
        file.push(suffix);
        drop(std::fs::remove_file(file));
    }
    measured
}

async fn measure(path: &Path) -> Outcome<()> {
    let key = SecretKey::from_bytes(&[7; 32])?;
    let store = Arc::new(SqliteStore::connect(&SqliteSettings::at(path), key, Arc::new(SystemClock)).await?);
    store.upgrade().await?;
    let (app, route) = prepare(&store).await?;
    for (callers, calls) in [(1, 500), (64, 20_000)] {
        let (rate, p50, p99) = accept(&store, &app, &route, callers, calls).await?;
        println!(
            "accept_call: {callers:>2} callers, {calls:>5} calls of {PAYLOAD_BYTES} B: \
             {rate:>7.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms"
        );
    }
    Ok(())
}

async fn prepare(store: &Arc<SqliteStore>) -> Outcome<(App, Route)> {
    let bounds = Bounds::default();
    let (project, name) = (ProjectId::parse("bench")?, AppName::parse("bench")?);
    let app = NewApp::new(project, name, None, Config::parse(BTreeMap::new(), &bounds)?, &bounds)?;
    let app = store.create_app(&app, 1).await?;
    let new = NewRoute {
        pattern: RoutePattern::parse("/bench")?,
        methods: Methods::any(),
        route_type: RouteType::Async,
        is_public: false,
        delivery: DeliveryOptions::default(),
        spec: VersionSpec {
            image: ImageRef::parse("bench:1")?,
            format: Format::Default,
            config: Config::default(),
            memory_mb: 128,
            timeout_s: 30,
            max_concurrency: None,
            concurrency: 1,
            idle_timeout_s: 30,
            min_instances: 0,
            queue_timeout_s: 10,
            network: NetworkMode::None,
        },
        created_by: "bench".to_owned(),
    };
    let route = store.create_route(&app.id, &new, Some(&Digest::of(b"bench")), 1).await?;
    Ok((app, route))
}

/// Calls per second, median and 99th percentile in milliseconds.
async fn accept(
    store: &Arc<SqliteStore>,
    app: &App,
    route: &Route,
    callers: usize,
    calls: usize,
) -> Outcome<(f64, f64, f64)> {
    let version_id = route.latest.id.clone();
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let store = Arc::clone(store);
            let (app_id, project_id) = (app.id.clone(), app.project_id.clone());
            let (route_id, version_id) = (route.id.clone(), version_id.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                for _ in 0..calls / callers {
                    let call = NewCall {
                        id: CallId::generate(),
                        project_id: project_id.clone(),
                        app_id: app_id.clone(),
                        route_id: route_id.clone(),
                        version_id: version_id.clone(),
                        trigger: Trigger::Run,
                        call_type: RouteType::Async,
                        request_id: RequestId::generate(),
                        not_before: SystemClock.now(),
                        priority: 1,
                        delivery: CallDelivery::default(),
                        depth: 0,
                        idempotency: None,
                        envelope: vec![b'e'; 256],
                        payload: vec![b'p'; PAYLOAD_BYTES],
                    };
                    let began = Instant::now();
                    store.accept_call(&call).await?;
                    times.push(began.elapsed().as_secs_f64() * 1000.0);
                }
                Ok::<_, picasso_store::StoreError>(times)
            })
        })
        .collect();
    let mut times = Vec::with_capacity(calls);
    for task in tasks {
        times.extend(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let rate = times.len() as f64 / seconds;
    Ok((rate, times[times.len() / 2], times[times.len() * 99 / 100]))
}
