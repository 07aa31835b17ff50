//! Accepting asynchronous calls: how many a second, each durable before its answer. The floor is how
//! often the disk can sync, in the same run. The calls are due in an hour, so nothing runs beside.

use picasso_testkit::broker::Kind;

use crate::http::Caller;
use crate::queued::{Backend, MUCH_LATER, call_all, number, syncs_per_second};
use crate::report::Report;
use crate::stage::Fault;

/// Callers at one time.
const CALLERS: u32 = 64;
/// Calls of one who is alone.
const ALONE: u32 = 500;

/// Measures and publishes `accept.json`. `BENCH_ACCEPT_CALLS`: calls of each caller, 300.
pub async fn measure() -> Result<(), Fault> {
    let each = number("BENCH_ACCEPT_CALLS", 300)?;
    let mut report = Report::new("accept");
    report.figure("4 KiB written and synced, one after the other", syncs_per_second()?, "a second");
    let backends = [
        Backend::sqlite(),
        Backend::postgres("PostgreSQL and RabbitMQ", Kind::RabbitMq).await?,
        Backend::postgres("PostgreSQL and NATS", Kind::Nats).await?,
    ];
    for backend in backends {
        let stage = backend.stage("").await?;
        let url = stage.public(MUCH_LATER);
        let alone = tokio::task::block_in_place(|| Caller::connect(&url, &[], "")?.latency(ALONE))?;
        tokio::task::block_in_place(|| call_all(&url, CALLERS, 20))?;
        let (crowd, took) = tokio::task::block_in_place(|| call_all(&url, CALLERS, each))?;
        report.row(&format!("{}, one caller", backend.name), alone);
        report.row(&format!("{}, 64 callers", backend.name), crowd);
        let rate = f64::from(CALLERS * each) / took.as_secs_f64();
        report.figure(format!("{}, 64 callers", backend.name), rate, "calls/s");
    }
    report.publish()?;
    Ok(())
}
