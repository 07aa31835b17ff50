//! What operators ask: metrics over the admin listener, shared images over the admin socket.
//!
//! There are no tokens here. The listener is bound to an address of the operator's choice and
//! changes nothing; the socket takes connections of the server's own user and root only
//! ([`crate::serve_unix`]).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use picasso_identity::policy::{NamedRule as _, defaults as rule};
use picasso_image::Scope;

use super::images::{ImageAnswer, ImageView, ImagesAnswer, list, load, remove};
use crate::error::ApiError;
use crate::request::context::RequestContext;
use crate::request::path::ImagePath;
use crate::request::upload::Upload;
use crate::state::ApiState;
use crate::views::Done;

/// Renders all metrics in Prometheus' text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// `GET /metrics`.
pub(crate) async fn get_metrics(State(metrics): State<MetricsText>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics()).into_response()
}

/// `GET /images`: the shared images.
pub(crate) async fn list_shared_images(
    State(state): State<ApiState>,
) -> Result<Json<ImagesAnswer>, ApiError> {
    let images = list(&state, &Scope::Shared).await?;
    Ok(Json(ImagesAnswer {
        images: images.iter().map(ImageView::from).collect(),
        images_links: Vec::new(),
        message: "Successfully listed images",
    }))
}

/// `PUT /images/{name}`: loads an image for every project.
pub(crate) async fn load_shared_image(
    context: RequestContext,
    State(state): State<ApiState>,
    ImagePath(name): ImagePath,
    upload: Upload,
) -> Result<Json<ImageAnswer>, ApiError> {
    context.note_administrator(rule::LoadImage::RULE);
    load(&state, &Scope::Shared, &name, upload, |image| context.about(image)).await
}

/// `DELETE /images/{name}`.
pub(crate) async fn delete_shared_image(
    context: RequestContext,
    State(state): State<ApiState>,
    ImagePath(name): ImagePath,
) -> Result<Json<Done>, ApiError> {
    context.note_administrator(rule::DeleteImage::RULE);
    remove(&state, &Scope::Shared, &name).await.map(Json)
}
