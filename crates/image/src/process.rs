//! What an image runs, read from its configuration (OCI image-spec 1.1, config.md) and bounded.

use crate::documents::{ImageConfig, host_architecture};
use crate::users::{Accounts, resolve_user};
use crate::{ImageError, ImageProcess};

const MAX_ITEMS: usize = 1024;
const MAX_TEXT: usize = 128 * 1024;

/// Checks that this machine can run the image at all.
pub(crate) fn check_platform(config: &ImageConfig) -> Result<(), ImageError> {
    let host = host_architecture();
    if config.os != "linux" || config.architecture != host {
        return invalid(format!(
            "the image is for {}/{}, this cloud runs linux/{host}",
            shorten(&config.os),
            shorten(&config.architecture)
        ));
    }
    if config.rootfs.kind != "layers" {
        return invalid("the image's configuration has no list of layers".to_owned());
    }
    Ok(())
}

/// The image's process, its user looked up in its own account files.
pub(crate) fn process_of(config: &ImageConfig, accounts: &Accounts) -> Result<ImageProcess, ImageError> {
    let run = &config.config;
    let argv: Vec<String> = run.entrypoint.iter().chain(&run.cmd).cloned().collect();
    if argv.first().is_none_or(String::is_empty) {
        return invalid("the image names nothing to run; give it an entry point or a command".to_owned());
    }
    let length = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    if argv.len() > MAX_ITEMS || length(&argv) > MAX_TEXT {
        return invalid("the image's entry point and command are longer than 128 KiB".to_owned());
    }
    if run.env.len() > MAX_ITEMS || length(&run.env) > MAX_TEXT {
        return invalid("the image's environment is longer than 128 KiB".to_owned());
    }
    let has_nul = |text: &String| text.contains('\0');
    if argv.iter().any(has_nul) || run.env.iter().any(has_nul) || has_nul(&run.working_dir) {
        return invalid("the image's configuration has a NUL in a text".to_owned());
    }
    let cwd = match run.working_dir.as_str() {
        "" => "/",
        path if path.starts_with('/') && path.len() < 4096 => path,
        _ => return invalid("the image's working directory is not an absolute path".to_owned()),
    };
    let user = resolve_user(&run.user, accounts)?;
    Ok(ImageProcess {
        argv,
        env: run.env.iter().filter_map(|pair| split_pair(pair)).collect(),
        cwd: cwd.to_owned(),
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
    })
}

/// An entry without `=` sets nothing, as in Docker.
fn split_pair(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=')?;
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
}

fn shorten(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(32).collect()
}

fn invalid<T>(reason: String) -> Result<T, ImageError> {
    Err(ImageError::Invalid(reason))
}
