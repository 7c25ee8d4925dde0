//! `/v1/udfs` and `/v1/udfs/{name}/versions`: the project's UDFs, the versions of each in the registry, and new ones.
//!
//! Always true: a component goes to a file while it comes, never to memory as a whole until it has all come; it is in
//! the registry once it was found to be one of the contract's that fits wherever the project uses it, and not before.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::super::catalog::shown;
use super::super::error::Failure;
use super::access::Caller;
use super::audit::What;
use super::{Admin, Shared};
use crate::store::registry::{Activation, Entry, Incoming, MOST_BYTES, Registry, RegistryError, Version};
use crate::suggest::suggestion;
use crate::time::rfc3339;

/// How many bytes are collected before they are written.
const PIECE: usize = 1 << 20;

/// How long an upload may stand still, and how long it may take.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);

/// What the project makes of UDFs and views; implemented where wasmtime and the plan are known.
pub trait Inventory: Send + Sync {
    /// The UDFs of the project, in its order.
    fn udfs(&self) -> Vec<UdfUse>;

    /// The views of the project, in its order.
    fn views(&self) -> Vec<ViewDetail>;

    /// Judges whether a component may become a version of a UDF: it is loaded, and bound wherever the project uses it.
    /// Takes its time.
    ///
    /// # Errors
    /// It may not, for this reason.
    fn judge(&self, udf: &str, component: &std::path::Path) -> Result<Judged, String>;
}

/// A UDF as the project has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdfUse {
    /// Its name.
    pub name: String,
    /// What the project file names as its component.
    pub component: String,
    /// The digest of the component that runs, where it is known.
    pub digest: Option<String>,
    /// The views and sources that use it.
    pub used_by: Vec<String>,
    /// What it is allowed, for people.
    pub limits: String,
}

/// What a component was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What it takes and gives, for people.
    pub signature: String,
    /// What it is allowed, for people.
    pub limits: String,
}

/// A UDF of the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UdfNode {
    /// Its name.
    pub name: String,
    /// What the project file names as its component.
    pub component: String,
    /// The digest of the component that runs, where it is known.
    pub digest: Option<String>,
    /// The name of that version, if it has one.
    pub version: Option<String>,
    /// How many versions the registry holds.
    pub versions: usize,
    /// The views and sources that use it.
    pub used_by: Vec<String>,
    /// What it is allowed.
    pub limits: String,
}

/// The UDFs of the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UdfList {
    /// In the order of the project file.
    pub udfs: Vec<UdfNode>,
}

/// A version of a UDF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// The UDF.
    pub udf: String,
    /// The SHA-256 of its component.
    pub digest: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Who put it in: a token's name, or `operator`.
    pub who: String,
    /// When.
    pub when: String,
    /// Why.
    pub why: String,
    /// The component's length in bytes.
    pub size: u64,
    /// What it takes and gives.
    pub signature: String,
    /// What it was allowed when it was put in.
    pub limits: String,
    /// Whether it is the one that runs.
    pub active: bool,
}

/// A version became the one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivationView {
    /// The UDF.
    pub udf: String,
    /// The version that runs from there on.
    pub digest: String,
    /// The one that ran before, if one did.
    pub from: Option<String>,
    /// The epoch at whose barrier it took over.
    pub epoch: u64,
    /// Who wanted it.
    pub who: String,
    /// When.
    pub when: String,
    /// Why.
    pub why: String,
}

/// The versions of a UDF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionList {
    /// The UDF.
    pub udf: String,
    /// What the registry holds, the oldest first.
    pub versions: Vec<VersionView>,
    /// Which became the one that runs, the oldest first.
    pub activations: Vec<ActivationView>,
}

/// A view of the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewDetail {
    /// Its name.
    pub name: String,
    /// Its entity, if it has one.
    pub entity: Option<String>,
    /// Its columns and their types: keys, event timestamp, features.
    pub columns: Vec<ColumnDetail>,
    /// Whether its rows go to the online store.
    pub online: bool,
    /// Whether its rows go to the offline log.
    pub offline: bool,
    /// The hash of its definition.
    pub version: String,
    /// The digests of its UDFs.
    pub digests: Vec<String>,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ColumnDetail {
    /// Its name.
    pub name: String,
    /// Its type, as in the project file.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The views of the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewList {
    /// In the order of the project file.
    pub views: Vec<ViewDetail>,
}

impl VersionList {
    /// The versions of a UDF as they are shown; `active` is the digest of the one that runs.
    pub fn new(registry: &Registry, udf: &str, active: Option<&str>) -> Self {
        let versions = registry.versions(udf).into_iter().map(|version| VersionView::new(version, active)).collect();
        let of_udf = registry.activations().into_iter().filter(|activation| activation.udf == udf);
        Self { udf: udf.to_owned(), versions, activations: of_udf.map(ActivationView::from).collect() }
    }
}

impl VersionView {
    /// A version as it is shown; `active` is the digest of the one that runs.
    pub fn new(version: Version, active: Option<&str>) -> Self {
        let Version { digest, udf, name, who, when, why, size, signature, limits } = version;
        let active = active.is_some_and(|active| active == digest.as_str());
        Self { udf, digest: digest.into(), name, who, when: rfc3339(when), why, size, signature, limits, active }
    }
}

impl From<Activation> for ActivationView {
    fn from(activation: Activation) -> Self {
        let Activation { udf, digest, from, epoch, who, when, why } = activation;
        Self { udf, digest: digest.into(), from: from.map(String::from), epoch, who, when: rfc3339(when), why }
    }
}

/// The UDFs.
#[utoipa::path(
    get, path = "/v1/udfs", tag = "versions", summary = "The UDFs of the project, and which version of each runs",
    responses((status = 200, body = UdfList))
)]
pub(super) async fn udfs(State(shared): State<Arc<Shared>>) -> Response {
    let registry = &shared.admin.registry;
    let node = |udf: UdfUse| {
        let versions = registry.versions(&udf.name);
        let active = versions.iter().filter(|version| udf.digest.as_deref() == Some(version.digest.as_str()));
        let version = active.filter_map(|version| version.name.clone()).next_back();
        let UdfUse { name, component, digest, used_by, limits } = udf;
        UdfNode { name, component, digest, version, versions: versions.len(), used_by, limits }
    };
    Json(UdfList { udfs: shared.admin.inventory.udfs().into_iter().map(node).collect() }).into_response()
}

/// The views.
#[utoipa::path(
    get, path = "/v1/views", tag = "project", summary = "The views, with their columns, versions and UDFs",
    responses((status = 200, body = ViewList))
)]
pub(super) async fn views(State(shared): State<Arc<Shared>>) -> Response {
    Json(ViewList { views: shared.admin.inventory.views() }).into_response()
}

/// The versions of one.
#[utoipa::path(
    get, path = "/v1/udfs/{name}/versions", tag = "versions", summary = "The versions of a UDF, and their activations",
    params(("name" = String, Path, description = "The UDF, as the project file names it")),
    responses((status = 200, body = VersionList), (status = 404, body = super::document::Error, description = "no such UDF"))
)]
pub(super) async fn versions(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Result<Response, Failure> {
    let udf = known(&shared, &name)?;
    Ok(Json(VersionList::new(&shared.admin.registry, &name, udf.digest.as_deref())).into_response())
}

/// Puts one in.
#[utoipa::path(
    post, path = "/v1/udfs/{name}/versions", tag = "versions", summary = "Puts a version of a UDF into the registry",
    description = "The body is the component. It is loaded, and bound wherever the project uses the UDF; it does not run \
        until it is activated. The same bytes under the same name are answered 200, and nothing happens.",
    params(
        ("name" = String, Path, description = "The UDF, as the project file names it"),
        ("name" = Option<String>, Query, description = "A name for the version, unique within the UDF, such as v2"),
        ("why" = Option<String>, Query, description = "Why; it stands in the registry's journal"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, body = VersionView, description = "it is in"),
        (status = 200, body = VersionView, description = "it was in"),
        (status = 404, body = super::document::Error, description = "no such UDF"),
        (status = 408, body = super::document::Error, description = "no byte came for 30 s"),
        (status = 409, body = super::document::Error, description = "another version has that name"),
        (status = 413, body = super::document::Error, description = "more than 256 MiB"),
        (status = 422, body = super::document::Error, description = "not a component that may be one"),
        (status = 503, body = super::document::Error, description = "the disk is full, or fails"),
    )
)]
pub(super) async fn upload(
    State(shared): State<Arc<Shared>>,
    Path(udf): Path<String>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    known(&shared, &udf)?;
    let (name, why) = said(&uri)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MOST_BYTES) {
        return Err(failed(RegistryError::TooLarge { most: MOST_BYTES }));
    }
    // Never closed.
    let _place = shared.uploading.acquire().await;
    if let Some(full) = shared.admin.room.as_ref().and_then(|room| room.ask(PIECE).err()) {
        return Err(Failure::unavailable("no-room", "the disk is full", &full, "registry"));
    }
    let slow = |message: String| Failure::other(StatusCode::REQUEST_TIMEOUT, "time-out", message, "body");
    let incoming = timeout(LONGEST, receive(&shared, body)).await;
    let incoming = incoming.map_err(|_| slow(format!("the component did not come within {LONGEST:?}")))??;
    let entry = Entry { udf, name, who: caller.name, why, ..Entry::default() };
    // One at a time: a component that is compiled takes memory and processors from the stream.
    let judging = shared.judging.clone().lock_owned().await;
    let work = shared.clone();
    let put = spawn_blocking(move || {
        let _one = judging;
        put(&work, incoming, entry)
    });
    let (version, new) = put.await.map_err(|error| Failure::internal(&error, "registry"))??;
    let what = format!("version {} of UDF {}, {}", version.name.as_deref().unwrap_or("-"), version.udf, version.digest);
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = (status, Json(version)).into_response();
    response.extensions_mut().insert(What(what));
    Ok(response)
}

/// The UDF of that name.
fn known(shared: &Shared, name: &str) -> Result<UdfUse, Failure> {
    let mut udfs = shared.admin.inventory.udfs();
    match udfs.iter().position(|udf| udf.name == name) {
        Some(index) => Ok(udfs.swap_remove(index)),
        None => {
            let hint = suggestion(&shown(name), udfs.iter().map(|udf| udf.name.as_str()));
            let message = format!("the project has no UDF {}{hint}", shown(name));
            Err(Failure::not_found("no-such-udf", message, "path"))
        }
    }
}

/// The version's name, and why it is there.
fn said(uri: &Uri) -> Result<(Option<String>, String), Failure> {
    let (mut version, mut why) = (None, String::new());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "name" => version = Some(value.into_owned()),
            "why" => why = value.into_owned(),
            _ => {
                let message = format!("there is no parameter {}; there are name and why", shown(&name));
                return Err(Failure::unprocessable("bad-version", message, "query"));
            }
        }
    }
    Ok((version, why))
}

/// Takes the body into a file.
async fn receive(shared: &Shared, mut body: Body) -> Result<Incoming, Failure> {
    let registry = shared.admin.registry.clone();
    let mut incoming = working(move || registry.incoming()).await?;
    let mut piece = Vec::new();
    loop {
        let frame = timeout(PATIENCE, body.frame()).await.map_err(|_| {
            let message = format!("no byte of the component came for {PATIENCE:?}");
            Failure::other(StatusCode::REQUEST_TIMEOUT, "time-out", message, "body")
        })?;
        let ended = frame.is_none();
        if let Some(frame) = frame {
            let broken = |_| Failure::other(StatusCode::BAD_REQUEST, "bad-body", "the body broke off", "body");
            piece.extend_from_slice(frame.map_err(broken)?.data_ref().map(|data| &**data).unwrap_or_default());
        }
        if piece.len() >= PIECE || (ended && !piece.is_empty()) {
            let full = std::mem::take(&mut piece);
            incoming = working(move || incoming.write(&full).map(|()| incoming)).await?;
        }
        if ended {
            return Ok(incoming);
        }
    }
}

/// Works on files where that holds no other request up.
async fn working<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|error| Failure::internal(&error, "registry"))?.map_err(failed)
}

/// Judges what has come, and puts it in; says whether it is new.
fn put(shared: &Shared, incoming: Incoming, entry: Entry) -> Result<(VersionView, bool), Failure> {
    let Admin { registry, inventory, clock, .. } = &shared.admin;
    let refuse = |message: String| Failure::unprocessable("bad-component", message, "body");
    let Judged { signature, limits } = inventory.judge(&entry.udf, incoming.path()).map_err(refuse)?;
    let (udf, name) = (entry.udf.clone(), entry.name.clone());
    let before = registry.versions(&udf).len();
    let entry = Entry { when: clock.now(), signature, limits, ..entry };
    let digest = registry.keep(incoming, entry).map_err(failed)?;
    let versions = registry.versions(&udf);
    let new = versions.len() > before;
    let matches = |version: &&Version| version.digest == digest && (name.is_none() || version.name == name);
    let Some(version) = versions.iter().find(matches) else {
        return Err(Failure::internal(&"a version went while it came", "registry"));
    };
    let active = inventory.udfs().into_iter().find(|known| known.name == udf).and_then(|known| known.digest);
    Ok((VersionView::new(version.clone(), active.as_deref()), new))
}

/// What a client hears of a registry that did not do it.
pub(super) fn failed(error: RegistryError) -> Failure {
    match &error {
        RegistryError::TooLarge { .. } => Failure::too_large(error.to_string(), "body"),
        RegistryError::BadEntry(_) => Failure::unprocessable("bad-version", error.to_string(), "query"),
        RegistryError::NameTaken { .. } => {
            Failure::other(StatusCode::CONFLICT, "name-taken", error.to_string(), "query")
        }
        RegistryError::Unknown(_) => Failure::not_found("no-such-version", error.to_string(), "path"),
        RegistryError::Ambiguous { .. } => Failure::other(StatusCode::CONFLICT, "ambiguous", error.to_string(), "path"),
        RegistryError::Unusable { .. } => {
            Failure::unavailable("registry-unavailable", "the registry's disk fails", &error, "registry")
        }
        RegistryError::Damaged { .. } => Failure::internal(&error, "registry"),
    }
}
