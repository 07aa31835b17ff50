//! Where a service of the cloud is, as whoever knows the catalog says.

use async_trait::async_trait;
use thiserror::Error;
use url::Url;

/// Who knows where one of this cloud's services is.
#[async_trait]
pub trait ServiceEndpoint: Send + Sync + std::fmt::Debug {
    /// Its URL as the catalog has it; `None` where the cloud has none.
    async fn endpoint(&self) -> Result<Option<Url>, EndpointUnknown>;
}

/// The catalog cannot be read now; the log has the reason.
#[derive(Debug, Clone, Copy, Error)]
#[error("the catalog of the identity service cannot be read now")]
pub struct EndpointUnknown;
