//! A certificate authority of a test's own, and a certificate of it for servers on this machine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::process::TestDir;

/// Files of a certificate authority and of a server; removed when dropped.
#[derive(Debug)]
pub struct Certificates {
    dir: TestDir,
}

impl Certificates {
    /// Makes an authority, and a certificate of it for 127.0.0.1.
    pub fn new() -> io::Result<Self> {
        let failed = io::Error::other::<rcgen::Error>;
        let authority_key = KeyPair::generate().map_err(failed)?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of another name than the server: OpenSSL takes what is its own issuer for self-signed.
        authority.distinguished_name.push(DnType::CommonName, "Authority of a test");
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority_pem = authority.self_signed(&authority_key).map_err(failed)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().map_err(failed)?;
        let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).map_err(failed)?;
        server.use_authority_key_identifier_extension = true;
        let server = server.signed_by(&key, &issuer).map_err(failed)?;
        let dir = TestDir::new("tls")?;
        let files = Self { dir };
        // Servers that run as users of their own read them.
        std::fs::set_permissions(files.dir.path(), PermissionsExt::from_mode(0o755))?;
        for (path, text) in [
            (files.authority(), authority_pem),
            (files.certificate(), server.pem()),
            (files.key(), key.serialize_pem()),
        ] {
            std::fs::write(&path, text)?;
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o644))?;
        }
        Ok(files)
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("authority.pem")
    }

    /// The server's certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("server.pem")
    }

    /// The server's key, PEM.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("server.key")
    }
}
