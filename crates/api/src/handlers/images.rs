//! Images of a project: `/v1/{project_id}/images`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::Uri;
use picasso_identity::policy::defaults as rule;
use picasso_image::{ImageError, ImageInfo, Scope};
use picasso_types::{FieldFault, ImageRef};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::deleted;
use crate::error::{ApiError, ErrorView};
use crate::link_view::LinkView;
use crate::microversion::Microversion;
use crate::request::auth::Allowed;
use crate::request::listing::{Field, Listed, Of};
use crate::request::origin::Origin;
use crate::request::path::ImagePath;
use crate::request::upload::Upload;
use crate::state::ApiState;
use crate::views::{Done, iso8601};

/// An image that routes of the project may name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageView {
    /// Its name with tag, as routes write it.
    #[schema(example = "hello:1")]
    name: String,
    /// The manifest's digest.
    digest: String,
    /// Bytes of its blobs.
    size_bytes: u64,
    /// Whether it is the operator's, for every project.
    shared: bool,
    /// What it runs.
    argv: Vec<String>,
    /// When it was loaded, UTC.
    created_at: String,
}

impl From<&ImageInfo> for ImageView {
    fn from(info: &ImageInfo) -> Self {
        Self {
            name: info.name.to_string(),
            digest: info.digest.to_string(),
            size_bytes: info.size_bytes,
            shared: info.shared,
            argv: info.argv.clone(),
            created_at: iso8601(info.created_at),
        }
    }
}

/// One image.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageAnswer {
    pub(crate) image: ImageView,
    /// What was done.
    pub(crate) message: &'static str,
}

/// Images that may be run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImagesAnswer {
    pub(crate) images: Vec<ImageView>,
    /// `next`, where there is more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) images_links: Vec<LinkView>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// Images in lists. A project may have an image of the name that a shared one has, too; local names
/// have no `@`.
const IMAGES: Listed<ImageInfo> = Listed {
    fields: &[
        Field { name: "name", of: Of::Text(|image| image.name.to_string().into()) },
        Field { name: "digest", of: Of::Text(|image| image.digest.to_string().into()) },
        Field { name: "size_bytes", of: Of::Number(|image| image.size_bytes.try_into().unwrap_or(i64::MAX)) },
        Field { name: "shared", of: Of::Flag(|image| image.shared) },
        Field { name: "created_at", of: Of::Time(|image| image.created_at) },
    ],
    marker: |image| format!("{}{}", if image.shared { "shared@" } else { "" }, image.name),
};

/// List the project's images and those the operator shares.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/images",
    tag = "images",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("limit" = Option<u32>, Query, description = "Most entries of the page, 1 to 1000"),
        ("marker" = Option<String>, Query, description = "The name of the last image of the page before, behind `shared@` where it is shared"),
        ("sort" = Option<String>, Query, description = "Fields and directions, `created_at:desc,name:asc`"),
        ("name" = Option<String>, Query, description = "Only images with this name; filters may begin with `in:` `nin:` `eq:` `neq:` `gt:` `gte:` `lt:` or `lte:`"),
        ("digest" = Option<String>, Query, description = "Only images with this digest"),
        ("size_bytes" = Option<String>, Query, description = "Only images of this size"),
        ("shared" = Option<bool>, Query, description = "Only shared images, or only the project's own"),
        ("created_at" = Option<String>, Query, description = "Only images loaded at this time"),
    ),
    responses(
        (status = 200, description = "The project's images, then the shared ones unless `sort` says otherwise, and where the next page is", body = ImagesAnswer),
        (status = 400, description = "A parameter is refused; the message names it", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:image:list"]))
)]
pub(crate) async fn list_images(
    Allowed(auth, ..): Allowed<rule::ListImages>,
    State(state): State<ApiState>,
    uri: Uri,
    version: Microversion,
    origin: Origin,
) -> Result<Json<ImagesAnswer>, ApiError> {
    let url = format!("{}/v1/{}/images", origin.base(state.settings.api_base.as_deref()), auth.project);
    let mut images = list(&state, &Scope::Project(auth.project)).await?;
    images.extend(list(&state, &Scope::Shared).await?);
    let page = IMAGES.page(images, uri.query(), version, &url)?;
    Ok(Json(ImagesAnswer {
        images: page.entries.iter().map(ImageView::from).collect(),
        images_links: page.links,
        message: "Successfully listed images",
    }))
}

/// Load an image from a tar: an OCI image layout or the output of `docker save`.
#[utoipa::path(
    put,
    path = "/v1/{project_id}/images/{*name}",
    tag = "images",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("name" = String, Path, description = "The image's name, like `hello:1` or `team/hello:1`"),
    ),
    request_body(
        description = "The tar, plain or gzip", content_type = "application/x-tar", content = Vec<u8>
    ),
    responses(
        (status = 200, description = "The image; one of the same name is replaced", body = ImageAnswer),
        (status = 400, description = "The name or the image is refused", body = ErrorView),
        (status = 403, description = "The project's images would pass its limit", body = ErrorView),
        (status = 413, description = "The upload or the unpacked image is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:image:load"]))
)]
pub(crate) async fn load_image(
    Allowed(auth, ..): Allowed<rule::LoadImage>,
    State(state): State<ApiState>,
    ImagePath(name): ImagePath,
    upload: Upload,
) -> Result<Json<ImageAnswer>, ApiError> {
    load(&state, &Scope::Project(auth.project.clone()), &name, upload, |image| auth.about(image)).await
}

/// Remove an image's name; versions that use the image keep it.
#[utoipa::path(
    delete,
    path = "/v1/{project_id}/images/{*name}",
    tag = "images",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("name" = String, Path, description = "The image's name, like `hello:1` or `team/hello:1`"),
    ),
    responses(
        (status = 200, description = "The name is gone", body = Done),
        (status = 204, description = "The same, from version 1.1 on"),
        (status = 404, description = "The project has no such image", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:image:delete"]))
)]
pub(crate) async fn delete_image(
    Allowed(auth, ..): Allowed<rule::DeleteImage>,
    State(state): State<ApiState>,
    ImagePath(name): ImagePath,
    version: Microversion,
) -> Result<Response, ApiError> {
    Ok(deleted(version, remove(&state, &Scope::Project(auth.project), &name).await?))
}

/// The images of one scope.
pub(super) async fn list(state: &ApiState, scope: &Scope) -> Result<Vec<ImageInfo>, ApiError> {
    state.images.list(scope).await.map_err(image_error)
}

/// Streams an upload into the store; `loaded` sees the image.
pub(super) async fn load(
    state: &ApiState,
    scope: &Scope,
    name: &str,
    mut upload: Upload,
    loaded: impl FnOnce(&ImageInfo),
) -> Result<Json<ImageAnswer>, ApiError> {
    let name = local_name(name)?;
    let imported = state.images.import(scope, &name, upload.reader()).await;
    match imported {
        Ok(info) => {
            loaded(&info);
            Ok(Json(ImageAnswer { image: ImageView::from(&info), message: "Image successfully loaded" }))
        }
        // A broken upload looks like a broken image to the store.
        Err(error) => Err(upload.fault().unwrap_or_else(|| image_error(error))),
    }
}

/// Forgets a name.
pub(super) async fn remove(state: &ApiState, scope: &Scope, name: &str) -> Result<Done, ApiError> {
    let Ok(image) = local_name(name) else {
        return Err(ApiError::ImageNotFound(name.to_owned()));
    };
    state.images.remove(scope, &image).await.map_err(|error| match error {
        ImageError::NotFound(_) => ApiError::ImageNotFound(name.to_owned()),
        other => image_error(other),
    })?;
    Ok(Done { message: "Image successfully deleted" })
}

fn local_name(name: &str) -> Result<ImageRef, ApiError> {
    let image = ImageRef::parse(name).map_err(|fault| FieldFault { field: "name".to_owned(), ..fault })?;
    if image.registry().is_some() || image.digest().is_some() {
        let message = "must be a name without registry and digest, like \"hello:1\" or \"team/hello:1\"";
        return Err(FieldFault::new("name", message).into());
    }
    Ok(image)
}

fn image_error(error: ImageError) -> ApiError {
    match error {
        ImageError::NotFound(name) => ApiError::ImageNotFound(name.to_string()),
        error @ (ImageError::RegistryNotAllowed { .. }
        | ImageError::Invalid(_)
        | ImageError::Registry { .. }) => ApiError::InvalidImage(error.to_string()),
        error @ ImageError::TooLarge(_) => ApiError::ImageTooLarge(error.to_string()),
        ImageError::OverLimit(over) => ApiError::OverLimit(over),
        error @ (ImageError::Failed { .. } | ImageError::Unavailable(_)) => {
            ApiError::internal("using the image store", error)
        }
    }
}
