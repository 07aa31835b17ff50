//! How calls reach functions and answers come back: one module per format of the contract.

pub(crate) mod context;
pub(crate) mod default;
mod exchange;
mod http;
mod http_server;
pub(crate) mod http_stream;
pub(crate) mod json;
pub(crate) mod lambda;
#[cfg(test)]
mod pipe_kit;
mod pipes;

use std::sync::Arc;

use picasso_types::Format;

use crate::hot::link::HotFormat;

/// The hot format of that name; `None` for `default`, whose sandboxes serve one call.
pub(crate) fn hot(format: Format) -> Option<Arc<dyn HotFormat>> {
    Some(match format {
        Format::Default => return None,
        Format::Http => Arc::new(http::Http),
        Format::Json => Arc::new(json::Json),
        Format::HttpStream => Arc::new(http_stream::HttpStream),
        Format::Lambda => Arc::new(lambda::Lambda),
        Format::HttpServer => Arc::new(http_server::HttpServer),
    })
}
