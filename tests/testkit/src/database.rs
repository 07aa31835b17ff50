//! Either database server, for what has to hold on both.

use crate::mariadb::MariaDbServer;
use crate::postgres::PostgresServer;
use crate::process::ProcessError;

/// Which database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// A running database server; stopped on drop, its folder removed.
#[derive(Debug)]
pub enum Database {
    /// PostgreSQL.
    Postgres(PostgresServer),
    /// MariaDB.
    MariaDb(MariaDbServer),
}

impl Database {
    /// Why this server cannot be started here; `None` when it can.
    pub fn missing(kind: Kind) -> Option<String> {
        match kind {
            Kind::Postgres => PostgresServer::missing(),
            Kind::MariaDb => MariaDbServer::missing(),
        }
    }

    /// Starts one with an empty database; the server and the database's URL.
    pub async fn start(kind: Kind) -> Result<(Self, String), ProcessError> {
        match kind {
            Kind::Postgres => {
                let server = PostgresServer::start().await?;
                let url = server.create_database("picasso")?;
                Ok((Self::Postgres(server), url))
            }
            Kind::MariaDb => {
                let server = MariaDbServer::start().await?;
                let url = server.create_database("picasso")?;
                Ok((Self::MariaDb(server), url))
            }
        }
    }

    /// Ends it as a power cut would: SIGKILL, nothing written out.
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        match self {
            Self::Postgres(server) => server.kill().await,
            Self::MariaDb(server) => server.kill().await,
        }
    }

    /// Starts it again on what it left, at the same port.
    pub async fn start_again(&mut self) -> Result<(), ProcessError> {
        match self {
            Self::Postgres(server) => server.start_again().await,
            Self::MariaDb(server) => server.start_again().await,
        }
    }
}
