//! A token for a command: from a file or the environment, never from the arguments, which every user
//! of the machine can read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use secrecy::SecretString;

use crate::CliFailure;

/// The variable that OpenStack's own clients take a token from.
const VARIABLE: &str = "OS_TOKEN";
/// The longest file that is read, bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The first line of `file` (`-`: of standard input), else the variable `OS_TOKEN`.
pub fn read_token(file: Option<&Path>) -> Result<SecretString, CliFailure> {
    let (text, place) = match file {
        None => (std::env::var(VARIABLE).unwrap_or_default(), VARIABLE.to_owned()),
        Some(path) => {
            let text = read(path).map_err(|error| {
                CliFailure::new(format!("cannot read a token from {}: {error}", path.display()))
            })?;
            (text, path.display().to_string())
        }
    };
    match text.lines().next().map(str::trim).filter(|token| !token.is_empty()) {
        Some(token) => Ok(token.into()),
        None => Err(CliFailure::new(format!("there is no token in {place}"))
            .hint("export OS_TOKEN=$(openstack token issue -f value -c id), or name a file by --token-file")),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text)?;
    } else {
        File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_token_is_the_first_line_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "  gAAAA-1 \nsomething else\n").unwrap();
        assert_eq!(read_token(Some(&file)).unwrap().expose_secret(), "gAAAA-1");
        std::fs::write(&file, "\n").unwrap();
        assert!(read_token(Some(&file)).unwrap_err().to_string().contains("there is no token in"));
        let told = read_token(Some(&folder.path().join("none"))).unwrap_err().to_string();
        assert!(told.contains("cannot read a token"), "{told}");
    }
}
