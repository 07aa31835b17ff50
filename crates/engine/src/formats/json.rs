//! The format `json`.

use std::sync::Arc;

use async_trait::async_trait;
use picasso_image::ImageProcess;
use picasso_sandbox::Channel;
use picasso_types::Failure;

use crate::catalog::Target;
use crate::hot::link::{HotFormat, Link, Started};

/// The format.
#[derive(Debug)]
pub(super) struct Json;

#[async_trait]
impl HotFormat for Json {
    fn channel(&self) -> Channel {
        Channel::Streams
    }

    fn environment(&self, _image: &ImageProcess, _target: &Target) -> Vec<(String, String)> {
        Vec::new()
    }

    async fn open(&self, _started: Started) -> Result<Arc<dyn Link>, Failure> {
        Err(Failure::Internal)
    }
}
