//! `GET` and `POST /v1/online/rebuild`: the online store is filled from the offline log, while all goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::error::Failure;
use super::super::read_body;
use super::Shared;

/// Rebuilds the online store.
pub trait Rebuilding: Send + Sync {
    /// Has a view rebuilt, or all that can be, and gives the rebuild's number.
    ///
    /// # Errors
    /// It cannot be, for this reason.
    fn ask(&self, view: Option<&str>) -> Result<u64, String>;

    /// How far things are.
    fn report(&self) -> RebuildReport;
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RebuildRequest {
    /// Only this view.
    pub view: Option<String>,
}

/// How far rebuilds are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RebuildReport {
    /// The number of the newest that was asked for; of an answer to a request, its own.
    pub asked: u64,
    /// The number of the last that is over.
    pub over: u64,
    /// The views of the one at work, or of the last.
    pub views: BTreeMap<String, ViewReport>,
    /// Why the last one failed.
    pub failed: Option<String>,
}

/// How far a view is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewReport {
    /// Chunks of the log that have been read.
    pub done: u64,
    /// Chunks of the log.
    pub chunks: u64,
    /// Rows written.
    pub rows: u64,
}

/// Says how far things are.
#[utoipa::path(
    get, path = "/v1/online/rebuild", tag = "online store", summary = "How far the online store's rebuilding is",
    responses((status = 200, body = RebuildReport))
)]
pub(super) async fn progress(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.admin.online.report()).into_response()
}

/// Begins one, and answers at once.
#[utoipa::path(
    post, path = "/v1/online/rebuild", tag = "online store", summary = "Has the online store filled from the offline log",
    request_body = Option<RebuildRequest>,
    responses(
        (status = 200, body = RebuildReport),
        (status = 422, body = super::document::Error, description = "it cannot be rebuilt"),
    )
)]
pub(super) async fn rebuild(
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let body = read_body(body, 1 << 20)?;
    let refuse = |message: String| Failure::unprocessable("bad-rebuild", message, "body");
    let request: RebuildRequest = match body.is_empty() {
        true => RebuildRequest::default(),
        false => serde_json::from_slice(&body).map_err(|error| refuse(error.to_string()))?,
    };
    let asked = shared.admin.online.ask(request.view.as_deref()).map_err(refuse)?;
    Ok(Json(RebuildReport { asked, ..shared.admin.online.report() }).into_response())
}
