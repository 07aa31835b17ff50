//! The faces over real listeners: what old clients and strangers send, and what they get.

mod admin;
mod function_urls;
mod images;
mod requests;
mod resources;
mod runs;
mod support;
mod tenant_matrix;
mod tenants;
mod wire;
