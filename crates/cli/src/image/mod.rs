//! `picasso image`.

mod build;
mod list;
mod load;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Empty};

use crate::CliFailure;
use crate::admin::Admin;
use crate::args::{ImageCommand, RemoveArgs};
use crate::output::complain;

pub(crate) fn run(command: &ImageCommand) -> Result<(), CliFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliFailure::new(format!("cannot start: {error}")))?;
    match command {
        ImageCommand::Load(args) => runtime.block_on(load::run(args)),
        ImageCommand::List(args) => runtime.block_on(list::run(args)),
        ImageCommand::Rm(args) => runtime.block_on(remove(args)),
        ImageCommand::Build(args) => build::run(args),
    }
}

async fn remove(args: &RemoveArgs) -> Result<(), CliFailure> {
    let path = path_of(&args.name)?;
    Admin::at(args.server.socket_path()?).send(Method::DELETE, &path, nothing()).await?;
    complain(&format!("Removed {}", args.name));
    Ok(())
}

/// The admin path of an image; a malformed name is told before anything is sent.
fn path_of(name: &str) -> Result<String, CliFailure> {
    let image = picasso_types::ImageRef::parse(name)
        .map_err(|fault| CliFailure::new(format!("image name {name:?} {}", fault.message)))?;
    // Every byte of a name may stand in a path as it is.
    Ok(format!("/images/{image}"))
}

fn nothing() -> impl hyper::body::Body<Data = Bytes, Error = std::io::Error> + Send + 'static {
    Empty::new().map_err(|never| match never {})
}
