//! What operators ask and do, at an address of its own: how far everything has come, the dead letters, the versions of
//! UDFs.
//!
//! ```text
//! GET  /v1/graph                  sources, views, services, and what reads what       graph
//! GET  /v1/views                  the views, with columns and versions                versions
//! GET  /v1/udfs                   the UDFs, and which version of each runs            versions
//! GET  /v1/udfs/{name}/versions   the versions of one, and their activations          versions
//! POST /v1/udfs/{name}/versions   puts another one into the registry                  versions
//! GET  /v1/dead-letters           those that are asked for, the oldest first          letters
//! GET  /v1/dead-letters/{id}      one of them, with the next thing to try             letters
//! POST /v1/dead-letters/replay    hands their events in again                         replay
//! GET  /v1/online/rebuild         how far the online store's rebuilding is            rebuild
//! POST /v1/online/rebuild         has it rebuilt from the offline log                 rebuild
//! POST /v1/udfs/{name}/activate   has another version of a UDF take over              activate
//! POST /v1/udfs/{name}/rollback   has the version before take over again              activate
//! GET  /openapi.json              all of this for machines                            document
//! ```
//! Always true: without tokens only this machine is answered, at a loopback address and under a local name (`local`): a
//! page in a browser that means this machine by another name gets nothing; with tokens nobody is answered who has none
//! (`access`). What changes something, and who was refused, is written down (`audit`). Where there is a certificate, all
//! of it is TLS (`tls`).

mod access;
mod activate;
mod audit;
mod document;
pub mod graph;
mod letters;
mod local;
mod rebuild;
mod replay;
#[cfg(test)]
mod tests;
mod tls;
mod versions;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::sleep;
use tower_http::catch_panic::CatchPanicLayer;

use super::error::Failure;
use super::{Limits, ServeError, catalog, panicked, wrong_method};
use crate::config::project::{AdminToken, Tls};
use crate::room::Room;
use crate::source::replay::ReplayHandle;
use crate::store::dead_letter::DeadLetterReader;
use crate::store::registry::Registry;
use crate::time::{Clock, Micros};
pub use access::Caller;
pub use activate::{ActivateReport, ActivateRequest, Activating, Refused, RollbackRequest};
pub use audit::Audit;
pub use document::document;
use graph::Graph;
pub use letters::{BadSelection, LetterPage, LetterView, SelectionText, choose};
pub use rebuild::{RebuildReport, RebuildRequest, Rebuilding, ViewReport};
pub use replay::{Left, ReplayReport, ReplayRequest};
pub use versions::{
    ActivationView, ColumnDetail, Inventory, Judged, UdfList, UdfNode, UdfUse, VersionList, VersionView, ViewDetail,
    ViewList,
};

/// The port that operators expect.
pub const PORT: u16 = 6567;

/// The paths.
const ROUTES: [&str; 11] = [
    "/v1/graph",
    "/v1/views",
    "/v1/udfs",
    "/v1/udfs/{name}/versions",
    "/v1/udfs/{name}/activate",
    "/v1/udfs/{name}/rollback",
    "/v1/dead-letters",
    "/v1/dead-letters/{id}",
    "/v1/dead-letters/replay",
    "/v1/online/rebuild",
    "/openapi.json",
];

/// Looks through the letters at once; more wait.
const READERS: usize = 4;

/// Takes in so many components at once, each of which may be 256 MiB long on disk; more wait.
const UPLOADS: usize = 4;

/// Judges the name of a source, a partition of it and a position in that.
pub type Reads = dyn Fn(&str, u32, i64) -> bool + Send + Sync;

/// What operators are told of, and can change.
#[derive(Clone)]
pub struct Admin {
    /// The dead letters.
    pub letters: DeadLetterReader,
    /// Where events of each source are read anew.
    pub replays: BTreeMap<String, ReplayHandle>,
    /// When the run began.
    pub started: Micros,
    /// Whether the run itself reads, or has read, the event at a source's partition and position.
    pub reads: Arc<Reads>,
    /// The views' names, by index.
    pub views: Vec<String>,
    /// How far everything has come.
    pub graph: Arc<dyn Fn() -> Graph + Send + Sync>,
    /// Rebuilds the online store.
    pub online: Arc<dyn Rebuilding>,
    /// Has other versions of UDFs take over.
    pub activating: Arc<dyn Activating>,
    /// What the project makes of UDFs and views.
    pub inventory: Arc<dyn Inventory>,
    /// The versions of UDFs.
    pub registry: Registry,
    /// The disk of the registry; none: it always has room.
    pub room: Option<Room>,
    /// Who may ask; empty: this machine.
    pub tokens: Vec<AdminToken>,
    /// Where it is written down who changes what; none: nowhere.
    pub audit: Option<Audit>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// What all handlers share.
struct Shared {
    admin: Admin,
    /// One replay at a time, so that two of them do not choose the same letters.
    replaying: Mutex<()>,
    readers: Semaphore,
    /// Takes in so many components at once; and judges one.
    uploading: Semaphore,
    judging: Arc<Mutex<()>>,
}

/// A listener whose certificate, if it has one, is in order.
pub struct Listening {
    listener: TcpListener,
    identity: Option<tls::Identity>,
}

impl Listening {
    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The certificate that it shows, in DER; none where it speaks plain HTTP.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.identity.as_ref().map(|identity| identity.certificate.as_slice())
    }
}

/// Listens; on another port where `usual` is and the port is taken. With `tls` under its certificate.
///
/// # Errors
/// The address cannot be listened on, or the certificate or its key is not in order.
pub async fn bind(address: SocketAddr, usual: bool, tls: Option<&Tls>) -> Result<Listening, ServeError> {
    let identity = tls.map(tls::load).transpose()?;
    let bound = match super::bind("serve.admin", &address.to_string()).await {
        Err(ServeError::Bind { cause, .. }) if usual && cause.kind() == std::io::ErrorKind::AddrInUse => {
            super::bind("serve.admin", &SocketAddr::new(address.ip(), 0).to_string()).await
        }
        bound => bound,
    };
    Ok(Listening { listener: bound?, identity })
}

/// Answers until `stop` is true or its sender gone.
///
/// # Errors
/// The listener failed.
pub async fn run(listening: Listening, admin: Admin, stop: watch::Receiver<bool>) -> Result<(), ServeError> {
    let Listening { listener, identity } = listening;
    match identity {
        None => answer(listener, router(admin), stop).await,
        Some(identity) => answer(tls::TlsListener::new(listener, &identity)?, router(admin), stop).await,
    }
}

async fn answer<L>(listener: L, router: Router, mut stop: watch::Receiver<bool>) -> Result<(), ServeError>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let stopped = {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    };
    let serve = axum::serve(listener, router).with_graceful_shutdown(stopped);
    let grace = Limits::default().grace;
    tokio::select! {
        ended = async { serve.await } => Ok(ended?),
        () = async { drop(stop.wait_for(|stop| *stop).await); sleep(grace).await } => Ok(()),
    }
}

fn router(admin: Admin) -> Router {
    let shared = Arc::new(Shared {
        admin,
        replaying: Mutex::new(()),
        readers: Semaphore::new(READERS),
        uploading: Semaphore::new(UPLOADS),
        judging: Arc::default(),
    });
    Router::new()
        .route("/v1/graph", get(graph))
        .route("/v1/views", get(versions::views))
        .route("/v1/udfs", get(versions::udfs))
        .route("/v1/udfs/{name}/versions", get(versions::versions).post(versions::upload))
        .route("/v1/dead-letters", get(letters::list))
        .route("/v1/dead-letters/{id}", get(letters::show))
        .route("/v1/dead-letters/replay", post(replay::replay))
        .route("/v1/online/rebuild", get(rebuild::progress).post(rebuild::rebuild))
        .route("/v1/udfs/{name}/activate", post(activate::activate))
        .route("/v1/udfs/{name}/rollback", post(activate::rollback))
        .route("/openapi.json", get(document::openapi))
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(1 << 20))
        .layer(from_fn_with_state(shared.clone(), access::admitted))
        .layer(from_fn_with_state(shared.clone(), measured))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(shared)
}

#[utoipa::path(
    get, path = "/v1/graph", tag = "project", summary = "What reads what, and how far each has come",
    responses((status = 200, body = Graph))
)]
async fn graph(State(shared): State<Arc<Shared>>) -> Response {
    Json((shared.admin.graph)()).into_response()
}

/// Counts requests and their time, all under one route.
async fn measured(State(_): State<Arc<Shared>>, request: Request, next: axum::middleware::Next) -> Response {
    let start = tokio::time::Instant::now();
    let response = next.run(request).await;
    super::metrics::answered("admin", response.status(), start.elapsed());
    response
}

async fn elsewhere(request: Request) -> Response {
    let path = catalog::shown(request.uri().path()).into_owned();
    let message = format!("nothing is at {path}; there are {}", ROUTES.join(", "));
    Failure::not_found("no-such-route", message, path).into_response()
}
