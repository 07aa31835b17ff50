//! Evidence for the last test of a run: which secrets the tests used, and what was written while
//! they ran.
//!
//! With `PICASSO_TEST_EVIDENCE` naming a folder (`make test` does), every [`TestDir`] lies there
//! and is kept, and every token and password is noted in `secrets`. At the end the suite `leaks`
//! searches all logs, databases and echoes for them.
//!
//! [`TestDir`]: crate::process::TestDir

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The folder of this run's evidence, where one is kept.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("PICASSO_TEST_EVIDENCE").map(PathBuf::from)
}

/// The file that lists the secrets, one a line.
pub fn secrets_file() -> Option<PathBuf> {
    folder().map(|folder| folder.join("secrets"))
}

/// Notes a token, password or key that a test uses. Shorter ones than eight characters could be
/// found by chance and are refused.
///
/// # Panics
/// When the secret is too short to be searched for, or the note cannot be written.
#[expect(clippy::expect_used, reason = "a test whose evidence is lost must fail")]
pub fn note_secret(secret: &str) {
    assert!(secret.len() >= 8, "a secret of a test needs at least eight characters");
    let Some(path) = secrets_file() else { return };
    let mut file = File::options().create(true).append(true).mode(0o600).open(path).expect("evidence folder");
    // One write, so that lines of parallel tests do not mix.
    file.write_all(format!("{secret}\n").as_bytes()).expect("evidence folder");
}

/// Keeps what a function answered, to be searched like a log.
///
/// # Panics
/// When it cannot be written.
#[expect(clippy::expect_used, reason = "a test whose evidence is lost must fail")]
pub fn note_echo(answer: &[u8]) {
    let Some(folder) = folder() else { return };
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(folder.join("function-echoes.log"))
        .expect("evidence folder");
    file.write_all(answer).expect("evidence folder");
}
