//! `POST /v1/udfs/{name}/activate` and `/rollback`: another version of a UDF takes over at a barrier, while the stream
//! runs; the answer comes once that is committed.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::error::Failure;
use super::super::read_body;
use super::Shared;
use super::access::Caller;
use super::audit::What;

/// The longest request.
const LONGEST: usize = 64 << 10;

/// Has other versions of UDFs take over.
pub trait Activating: Send + Sync {
    /// Has a version take over: a name, a digest, or the beginning of one.
    fn activate(
        &self,
        udf: String,
        version: String,
        by: String,
        why: String,
    ) -> BoxFuture<'_, Result<ActivateReport, Refused>>;

    /// Has the version before take over again.
    fn rollback(&self, udf: String, by: String, why: String) -> BoxFuture<'_, Result<ActivateReport, Refused>>;
}

/// Why nothing was activated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such UDF, or no such version of it.
    #[error("{0}")]
    Unknown(String),
    /// The version does not fit.
    #[error("{0}")]
    Unfit(String),
    /// Not as things are now.
    #[error("{0}")]
    Conflict(String),
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// The version: its name, its digest, or at least six digits of that.
    pub version: String,
    /// What for.
    #[serde(default)]
    pub why: String,
}

/// What is asked for of a roll-back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RollbackRequest {
    /// What for.
    pub why: String,
}

/// What was activated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActivateReport {
    /// The UDF.
    pub udf: String,
    /// The digest of the version that runs now.
    pub digest: String,
    /// The one that ran before.
    pub former: String,
    /// The epoch at whose barrier it took over.
    pub epoch: u64,
    /// How long that took, from the barrier's beginning until it was committed.
    pub milliseconds: f64,
    /// Whether it ran already, so that nothing was done.
    pub already: bool,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown(message) => Self::not_found("no-such-version", message, "version"),
            Refused::Unfit(message) => Self::unprocessable("version-does-not-fit", message, "version"),
            Refused::Conflict(message) => Self::other(StatusCode::CONFLICT, "not-now", message, "version"),
        }
    }
}

/// Has a version take over.
#[utoipa::path(
    post, path = "/v1/udfs/{name}/activate", tag = "versions", summary = "Has another version of a UDF take over",
    description = "At the next epoch's barrier; the answer comes once that is committed.",
    params(("name" = String, Path, description = "The UDF, as the project file names it")),
    request_body = ActivateRequest,
    responses(
        (status = 200, body = ActivateReport),
        (status = 404, body = super::document::Error, description = "no such UDF, or no such version of it"),
        (status = 409, body = super::document::Error, description = "not as things are now"),
        (status = 422, body = super::document::Error, description = "the version does not fit"),
    )
)]
pub(super) async fn activate(
    State(shared): State<Arc<Shared>>,
    Path(udf): Path<String>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let body = read_body(body, LONGEST)?;
    let ActivateRequest { version, why } = read(&body)?;
    let activated = shared.admin.activating.activate(udf, version, caller.name, why).await?;
    Ok(answer(activated))
}

/// Has the version before take over again.
#[utoipa::path(
    post, path = "/v1/udfs/{name}/rollback", tag = "versions", summary = "Has the version before take over again",
    params(("name" = String, Path, description = "The UDF, as the project file names it")),
    request_body = Option<RollbackRequest>,
    responses(
        (status = 200, body = ActivateReport),
        (status = 404, body = super::document::Error, description = "no such UDF"),
        (status = 409, body = super::document::Error, description = "there is none before, or not as things are now"),
        (status = 422, body = super::document::Error, description = "it does not fit any more"),
    )
)]
pub(super) async fn rollback(
    State(shared): State<Arc<Shared>>,
    Path(udf): Path<String>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let body = read_body(body, LONGEST)?;
    let RollbackRequest { why } = if body.is_empty() { RollbackRequest::default() } else { read(&body)? };
    let activated = shared.admin.activating.rollback(udf, caller.name, why).await?;
    Ok(answer(activated))
}

/// The answer, with what stands in the audit log.
fn answer(report: ActivateReport) -> Response {
    let ActivateReport { udf, digest, epoch, already, .. } = &report;
    let what = match already {
        true => format!("{digest:.12} of UDF {udf} runs already"),
        false => format!("{digest:.12} of UDF {udf} runs from epoch {epoch}"),
    };
    let mut response = Json(report).into_response();
    response.extensions_mut().insert(What(what));
    response
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::unprocessable("bad-request", error.to_string(), "body"))
}
