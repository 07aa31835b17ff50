//! `picasso image build`: an image out of local files, without Docker.

use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use picasso_image::{ImageBuilder, ImageError};

use crate::CliFailure;
use crate::args::BuildArgs;
use crate::output::{complain, print, size};

/// Deepest folder that is packed.
const MAX_DEPTH: usize = 64;

pub(crate) fn run(args: &BuildArgs) -> Result<(), CliFailure> {
    let mut image = ImageBuilder::new();
    for text in &args.files {
        let (source, target) = source_and_target(text)?;
        add(&mut image, &source, &target, 0)?;
    }
    image.entrypoint(args.entrypoint.iter().cloned()).workdir(&args.workdir).user(&args.user);
    for variable in &args.env {
        let (key, value) = variable
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| CliFailure::new(format!("--env {variable:?} is not KEY=VALUE")))?;
        image.env(key, value);
    }
    let digest = image.write(&args.output).map_err(|error| refused(&error))?;
    let bytes = fs::metadata(&args.output).map_or(0, |written| written.len());
    complain(&format!("Built {} ({})", args.output.display(), size(bytes)));
    print(&format!("{digest}\n"))
}

/// Splits `FILE[:PATH]`. Without a path the file keeps its name, in the image's root.
fn source_and_target(text: &str) -> Result<(PathBuf, String), CliFailure> {
    if let Some((source, target)) = text.rsplit_once(':')
        && target.starts_with('/')
    {
        return Ok((PathBuf::from(source), target.to_owned()));
    }
    let source = PathBuf::from(text);
    let name = source.file_name().and_then(|name| name.to_str()).map(|name| format!("/{name}"));
    let name = name.ok_or_else(|| {
        CliFailure::new(format!("--file {text:?} does not end in a name"))
            .hint("say where it goes in the image: --file FILE:/path/in/image")
    })?;
    Ok((source, name))
}

fn add(image: &mut ImageBuilder, source: &Path, target: &str, depth: usize) -> Result<(), CliFailure> {
    let cannot =
        |error: std::io::Error| CliFailure::new(format!("cannot read {}: {error}", source.display()));
    // The named file may be a link to what is meant; links inside a folder stay links.
    let found = if depth == 0 { fs::metadata(source) } else { fs::symlink_metadata(source) };
    let found: Metadata = found.map_err(cannot)?;
    let mode = found.permissions().mode();
    if found.is_symlink() {
        let to = fs::read_link(source).map_err(cannot)?;
        let to = to.to_str().ok_or_else(|| not_utf8(source))?;
        image.symlink(to, target).map_err(|error| refused(&error))?;
    } else if found.is_dir() {
        if depth >= MAX_DEPTH {
            return Err(CliFailure::new(format!(
                "{} lies more than {MAX_DEPTH} folders deep",
                source.display()
            )));
        }
        if target != "/" {
            image.directory(target, mode).map_err(|error| refused(&error))?;
        }
        for entry in fs::read_dir(source).map_err(cannot)? {
            let entry = entry.map_err(cannot)?.path();
            let name = entry.file_name().and_then(|name| name.to_str()).ok_or_else(|| not_utf8(&entry))?;
            add(image, &entry, &format!("{}/{name}", target.trim_end_matches('/')), depth + 1)?;
        }
    } else if found.is_file() {
        image.file(source, target, mode).map_err(|error| refused(&error))?;
    } else {
        return Err(CliFailure::new(format!("{} is no file, folder or link", source.display()))
            .hint("images hold no devices, sockets or pipes"));
    }
    Ok(())
}

fn not_utf8(path: &Path) -> CliFailure {
    CliFailure::new(format!("the name of {} is not UTF-8", path.display()))
}

fn refused(error: &ImageError) -> CliFailure {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    CliFailure::new(format!("{error}{cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_place_keeps_its_name() {
        let told =
            |text| source_and_target(text).map(|(source, target)| (source.display().to_string(), target));
        assert_eq!(told("a/b/hello").unwrap(), ("a/b/hello".to_owned(), "/hello".to_owned()));
        assert_eq!(told("a/b/hello:/bin/x").unwrap(), ("a/b/hello".to_owned(), "/bin/x".to_owned()));
        assert_eq!(told("odd:name").unwrap(), ("odd:name".to_owned(), "/odd:name".to_owned()));
        assert!(told("..").is_err());
    }
}
