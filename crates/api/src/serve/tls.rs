//! TLS of a listener: the certificate that new connections see, and its renewal while the server runs.
//!
//! Certificates are renewed by others (certbot, an operator's tool), which replace two files one
//! after the other. A pair that cannot be used changes nothing: connections go on with the one
//! before, and it is said what is wrong.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Longest file of a certificate or key, bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {wanted} in PEM form", .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        wanted: &'static str,
    },
    /// The two do not go together, or are of a kind that is not known.
    #[error("certificate and key cannot be used together")]
    Refused(#[source] rustls::Error),
}

/// The certificate of a listener.
#[derive(Debug)]
pub struct ServerTls {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
    /// The state of both files when they were read last, used or not.
    seen: Mutex<[Option<FileState>; 2]>,
}

/// What changes when a file is replaced, written or made readable.
type FileState = (u64, u64, u64, i64, i64, i64, i64);

impl ServerTls {
    /// Reads a certificate with those that lead to its authority, and its key, both PEM files.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsFault> {
        let seen = [state(&certificate), state(&key)];
        let current = ArcSwap::from_pointee(config(&certificate, &key)?);
        Ok(Self { certificate, key, current, seen: Mutex::new(seen) })
    }

    /// Reads both files again; new connections get what is in them.
    ///
    /// # Errors
    /// What is wrong with them; connections get what they got before.
    pub fn reload(&self) -> Result<(), TlsFault> {
        // Looked at first: a change while they are read is seen the next time.
        let seen = [state(&self.certificate), state(&self.key)];
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.current.store(Arc::new(config(&self.certificate, &self.key)?));
        Ok(())
    }

    /// Whether a file was changed since both were read last.
    pub fn has_changed(&self) -> bool {
        let now = [state(&self.certificate), state(&self.key)];
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != now
    }

    /// The file of the certificate.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// What takes the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn state(path: &Path) -> Option<FileState> {
    let of = |file: Metadata| {
        let (changed, written) = ((file.ctime(), file.ctime_nsec()), (file.mtime(), file.mtime_nsec()));
        (file.dev(), file.ino(), file.size(), changed.0, changed.1, written.0, written.1)
    };
    std::fs::metadata(path).ok().map(of)
}

fn config(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsFault> {
    let not_pem = |path: &Path, wanted| TlsFault::NotPem { path: path.to_owned(), wanted };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| not_pem(certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| not_pem(key, "private key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsFault::Refused)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsFault::Refused)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let unreadable = |source| TlsFault::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use picasso_testkit::tls::Certificates;

    use super::*;

    fn copied(folder: &Path, from: &Certificates) -> ServerTls {
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::copy(from.certificate(), &certificate).unwrap();
        std::fs::copy(from.key(), &key).unwrap();
        ServerTls::load(certificate, key).unwrap()
    }

    #[test]
    fn a_pair_that_does_not_go_together_keeps_the_one_before() {
        let (first, second) = (Certificates::new().unwrap(), Certificates::new().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let tls = copied(folder.path(), &first);
        let before = tls.current.load_full();
        assert!(!tls.has_changed());

        // The certificate is there, its key is still to come.
        std::fs::copy(second.certificate(), &tls.certificate).unwrap();
        assert!(tls.has_changed());
        assert!(matches!(tls.reload(), Err(TlsFault::Refused(_))));
        assert!(Arc::ptr_eq(&tls.current.load_full(), &before));
        assert!(!tls.has_changed(), "what was refused is not tried again as long as it is the same");

        std::fs::copy(second.key(), &tls.key).unwrap();
        assert!(tls.has_changed());
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&tls.current.load_full(), &before));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name() {
        let files = Certificates::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        let told = |certificate: &Path, key: &Path| {
            ServerTls::load(certificate.to_owned(), key.to_owned()).unwrap_err().to_string()
        };
        let gone = folder.path().join("gone");
        assert!(told(&gone, &files.key()).contains("/gone"));
        assert!(told(&empty, &files.key()).ends_with("/empty holds no certificate in PEM form"));
        assert!(told(&files.certificate(), &empty).ends_with("/empty holds no private key in PEM form"));
        // Swapped by mistake: the key is not quoted.
        let swapped = told(&files.key(), &files.certificate());
        assert!(swapped.ends_with("server.key holds no certificate in PEM form"), "{swapped}");
    }
}
