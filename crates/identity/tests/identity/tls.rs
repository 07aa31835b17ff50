//! Whose certificates are believed.

use std::sync::Arc;

use picasso_identity::KeystoneSettings;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use crate::support::{Fault, FaultServer, check, is_unavailable, settings_at, token_document, validator};

/// A certificate authority, and a server with a certificate of it for `name`.
struct Site {
    authority: String,
    acceptor: TlsAcceptor,
}

impl Site {
    fn named(name: &str) -> Self {
        picasso_testkit::keystone::install_tls_provider();
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        Self { authority: authority_pem, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    async fn start(&self) -> FaultServer {
        let body = token_document().to_string().into_bytes();
        FaultServer::start_with_tls(Fault::Answer("200 OK", "", body), self.acceptor.clone()).await
    }
}

/// Whether a validator that trusts `authority` believes `server`.
async fn is_believed(server: &FaultServer, authority: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let settings =
        KeystoneSettings { ca_file: Some(file), retries: 0, ..settings_at(&server.auth_url, "any") };
    let answer = check(&validator(settings), &"t".repeat(64)).await;
    assert!(answer.is_ok() || is_unavailable(&answer), "{answer:?}");
    answer.is_ok()
}

#[tokio::test]
async fn a_certificate_of_the_configured_authority_is_believed_and_of_another_one_not() {
    let site = Site::named("127.0.0.1");
    let server = site.start().await;
    assert!(is_believed(&server, &site.authority).await);
    assert!(!is_believed(&server, &Site::named("127.0.0.1").authority).await);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_believed() {
    let site = Site::named("keystone.example.org");
    let server = site.start().await;
    assert!(!is_believed(&server, &site.authority).await);
    assert_eq!(server.requests(), 0);
}
