//! Database servers over TLS: a certificate of the authority that the URL names is believed, one of
//! another is not.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::sync::Arc;

use picasso_store::{
    MariaDbSettings, MariaDbStore, PostgresSettings, PostgresStore, SecretKey, Store as _, StoreError,
};
use picasso_testkit::keystone::install_tls_provider;
use picasso_testkit::mariadb::MariaDbServer;
use picasso_testkit::postgres::PostgresServer;
use picasso_testkit::process::require;
use picasso_testkit::tls::Certificates;
use picasso_types::SystemClock;

fn key() -> SecretKey {
    SecretKey::from_bytes(&[42; 32]).unwrap()
}

/// The error with its causes.
fn told(error: &StoreError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_postgresql_server_is_believed_by_the_authority_that_the_url_names() {
    if !require("PostgreSQL", PostgresServer::missing().as_deref()) {
        return;
    }
    install_tls_provider();
    let (ours, other) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let server = PostgresServer::start_with_tls(&ours).await.unwrap();
    let url = server.create_database("picasso").unwrap();
    let connect = async |authority: &Certificates, mode: &str| {
        let authority = authority.authority();
        let url = format!("{url}?sslmode={mode}&sslrootcert={}", authority.display());
        PostgresStore::connect(&PostgresSettings::at(url), key(), Arc::new(SystemClock)).await
    };
    for mode in ["verify-ca", "verify-full"] {
        connect(&ours, mode).await.unwrap().ping().await.unwrap();
        let refused = told(&connect(&other, mode).await.unwrap_err());
        assert!(refused.to_lowercase().contains("certificate"), "{refused}");
    }
    let plain = PostgresServer::start().await.unwrap();
    let url = plain.create_database("picasso").unwrap();
    let demanded = PostgresSettings::at(format!("{url}?sslmode=require"));
    let refused = PostgresStore::connect(&demanded, key(), Arc::new(SystemClock)).await;
    assert!(refused.is_err(), "a server without TLS is refused where it is demanded");
}

#[tokio::test]
async fn a_mariadb_server_is_believed_by_the_authority_that_the_url_names() {
    if !require("MariaDB", MariaDbServer::missing().as_deref()) {
        return;
    }
    install_tls_provider();
    let (ours, other) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let options = [
        format!("--ssl-cert={}", ours.certificate().display()),
        format!("--ssl-key={}", ours.key().display()),
    ];
    let server = MariaDbServer::start_with(&options.each_ref().map(String::as_str)).await.unwrap();
    let url = server.create_database("picasso").unwrap();
    let connect = async |authority: &Certificates, mode: &str| {
        let authority = authority.authority();
        let url = format!("{url}?ssl-mode={mode}&ssl-ca={}", authority.display());
        MariaDbStore::connect(&MariaDbSettings::at(url), key(), Arc::new(SystemClock)).await
    };
    for mode in ["verify_ca", "verify_identity"] {
        connect(&ours, mode).await.unwrap().ping().await.unwrap();
        let refused = told(&connect(&other, mode).await.unwrap_err());
        assert!(refused.to_lowercase().contains("certificate"), "{refused}");
    }
    let plain = MariaDbServer::start().await.unwrap();
    let url = plain.create_database("picasso").unwrap();
    let demanded = MariaDbSettings::at(format!("{url}?ssl-mode=required"));
    let refused = MariaDbStore::connect(&demanded, key(), Arc::new(SystemClock)).await;
    assert!(refused.is_err(), "a server without TLS is refused where it is demanded");
}
