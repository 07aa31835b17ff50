//! Connections, and what a session and its server must be like.

use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions as _, Row as _};

use crate::StoreError;
use crate::error::Context as _;

/// Oldest version that has all that this driver's SQL needs (`SKIP LOCKED`).
const OLDEST: (u32, u32) = (10, 6);
/// What a packet holds beside a body or output: names, numbers, the tags of encryption, and the
/// envelope (a call's headers).
const PACKET_OVERHEAD: u64 = 1 << 20;

/// The options of `url`. What sqlx would set itself for each session is set in [`prepare`].
pub(super) fn options(url: &SecretString) -> Result<MySqlConnectOptions, StoreError> {
    Ok(MySqlConnectOptions::from_str(url.expose_secret())
        .context("reading the database's URL")?
        .set_names(false)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .disable_statement_logging())
}

/// A connection beside the pool, prepared as the pool's are.
pub(super) async fn connect(options: &MySqlConnectOptions) -> Result<MySqlConnection, StoreError> {
    let mut connection = options.connect().await.context("connecting")?;
    prepare(&mut connection).await.context("preparing a session")?;
    Ok(connection)
}

/// Whatever the server's defaults are: text as UTF-8 that compares like the columns, values that do
/// not fit refused instead of cut, checks on, no lock waited for longer than a method may take. And the
/// locks of a process whose network is cut in the middle of a transaction go long before TCP gives it
/// up: no transaction of ours lives on after `answer_timeout`.
pub(super) async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin, \
         SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
         ERROR_FOR_DIVISION_BY_ZERO', \
         SESSION autocommit = 1, SESSION foreign_key_checks = 1, SESSION unique_checks = 1, \
         SESSION check_constraint_checks = 1, SESSION innodb_lock_wait_timeout = 5, \
         SESSION idle_transaction_timeout = IF(@@idle_transaction_timeout = 0, 60, @@idle_transaction_timeout), \
         SESSION time_zone = '+00:00'; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// For a transaction that only holds a lock while another session works, however long.
pub(super) async fn may_idle(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    let asked = sqlx::raw_sql(
        "SET SESSION idle_transaction_timeout = 0, SESSION idle_write_transaction_timeout = 0, \
         SESSION idle_readonly_transaction_timeout = 0",
    );
    asked.execute(connection).await.context("preparing a session").map(drop)
}

/// `Database` where the server cannot hold what Picasso stores; a warning where a crash can lose
/// what was answered.
pub(super) async fn check_server(
    connection: &mut MySqlConnection,
    max_call_bytes: u64,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT VERSION() AS version, CAST(@@max_allowed_packet AS SIGNED) AS packet, \
         CAST(@@innodb_flush_log_at_trx_commit AS SIGNED) AS flush, CAST(@@log_bin AS SIGNED) AS log_bin, \
         CAST(@@sync_binlog AS SIGNED) AS sync_binlog, @@binlog_format AS binlog_format",
    )
    .fetch_one(connection)
    .await
    .context("asking for the server's settings")?;
    let number = |name: &str| row.try_get::<i64, _>(name).context("reading the server's settings");
    let version: String = row.try_get("version").context("reading the server's version")?;
    let binlog_format: String = row.try_get("binlog_format").context("reading the server's settings")?;
    check_version(&version)?;
    let packet = u64::try_from(number("packet")?).unwrap_or(0);
    let needed = max_call_bytes.saturating_add(PACKET_OVERHEAD);
    if packet < needed {
        return Err(refused(format!(
            "max_allowed_packet is {packet} bytes, calls as large as the settings allow need {needed}: \
             raise it on the server, or lower engine.max_buffered_body_bytes and listeners.api.max_body_bytes"
        )));
    }
    let has_binlog = number("log_bin")? != 0;
    if has_binlog && binlog_format.eq_ignore_ascii_case("STATEMENT") {
        return Err(refused(
            "its binary log has the format STATEMENT, which does not go with READ COMMITTED: \
             set binlog_format to ROW or MIXED"
                .to_owned(),
        ));
    }
    let flush = number("flush")?;
    if flush != 1 {
        tracing::warn!(
            "the MariaDB server runs with innodb_flush_log_at_trx_commit={flush}: a crash can lose accepted calls"
        );
    }
    let sync_binlog = number("sync_binlog")?;
    if has_binlog && sync_binlog != 1 {
        tracing::warn!(
            "the MariaDB server keeps a binary log with sync_binlog={sync_binlog}: a crash of its machine can lose \
             accepted calls"
        );
    }
    Ok(())
}

/// `10.11.6-MariaDB-log`; proxies put `5.5.5-` in front.
fn check_version(version: &str) -> Result<(), StoreError> {
    let numbers = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = numbers.split(['.', '-']).map_while(|number| number.parse().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version.contains("MariaDB") && found >= OLDEST {
        return Ok(());
    }
    let (major, minor) = OLDEST;
    Err(refused(format!("the server is {version}, needed is MariaDB {major}.{minor} or newer")))
}

fn refused(why: String) -> StoreError {
    StoreError::Database { context: "looking at the database", source: why.into() }
}

#[cfg(test)]
mod tests {
    use picasso_testkit::mariadb::MariaDbServer;
    use picasso_testkit::process::require;

    use super::*;

    #[tokio::test]
    async fn a_transaction_that_its_process_left_open_does_not_keep_its_locks() {
        if !require("MariaDB", MariaDbServer::missing().as_deref()) {
            return;
        }
        let server = MariaDbServer::start().await.unwrap();
        let options = options(&SecretString::from(server.create_database("idle").unwrap())).unwrap();
        let limit = async |session: &mut MySqlConnection| {
            let asked = sqlx::query_scalar::<_, i64>("SELECT CAST(@@idle_transaction_timeout AS SIGNED)");
            asked.fetch_one(session).await.unwrap()
        };
        let mut session = connect(&options).await.unwrap();
        assert_eq!(limit(&mut session).await, 60);
        may_idle(&mut session).await.unwrap();
        assert_eq!(limit(&mut session).await, 0);
        sqlx::raw_sql("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)")
            .execute(&mut session)
            .await
            .unwrap();

        // A limit of the server's own is kept.
        server.run("SET GLOBAL idle_transaction_timeout = 1").unwrap();
        let mut left = connect(&options).await.unwrap();
        assert_eq!(limit(&mut left).await, 1);
        let lock = "SELECT id FROM t WHERE id = 1 FOR UPDATE";
        sqlx::raw_sql("START TRANSACTION").execute(&mut left).await.unwrap();
        sqlx::query(lock).fetch_one(&mut left).await.unwrap();
        // Waits, and no longer than `innodb_lock_wait_timeout`.
        sqlx::query(lock).fetch_one(&mut session).await.unwrap();
        assert!(sqlx::query("SELECT 1").fetch_one(&mut left).await.is_err(), "the server ended it");
    }

    #[test]
    fn mariadb_from_10_6_is_taken_and_others_are_named_in_the_refusal() {
        for version in
            ["10.6.0-MariaDB", "10.11.19-MariaDB-0+deb12u1", "5.5.5-10.6.12-MariaDB-log", "11.4.2-MariaDB"]
        {
            assert!(check_version(version).is_ok(), "{version}");
        }
        for version in ["10.5.29-MariaDB", "8.0.36", "5.7.44-log", "9.1.0-MySQL", "MariaDB", ""] {
            let error = check_version(version).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(cause.contains(&format!("the server is {version}, needed is MariaDB 10.6")), "{cause}");
        }
    }
}
