//! What operators ask and do, at an address of its own: how far everything has come, and the dead letters.
//!
//! ```text
//! GET  /v1/graph                  sources, views, services, and what reads what       graph
//! GET  /v1/dead-letters           those that are asked for, the oldest first          letters
//! GET  /v1/dead-letters/{id}      one of them, with the next thing to try             letters
//! POST /v1/dead-letters/replay    hands their events in again                         replay
//! GET  /v1/online/rebuild         how far the online store's rebuilding is            rebuild
//! POST /v1/online/rebuild         has it rebuilt from the offline log                 rebuild
//! POST /v1/udfs/{name}/activate   has another version of a UDF take over              activate
//! POST /v1/udfs/{name}/rollback   has the version before take over again              activate
//! ```
//! Always true: nobody is asked who he is, so only this machine is answered, at a loopback address and under a local
//! name (`local`): a page in a browser that means this machine by another name gets nothing.

mod activate;
pub mod graph;
mod letters;
mod local;
mod rebuild;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::sleep;
use tower_http::catch_panic::CatchPanicLayer;

use super::error::Failure;
use super::{Limits, ServeError, catalog, panicked, wrong_method};
use crate::source::replay::ReplayHandle;
use crate::store::dead_letter::DeadLetterReader;
use crate::time::{Clock, Micros};
pub use activate::{ActivateReport, ActivateRequest, Activating, Refused, RollbackRequest};
use graph::Graph;
pub use letters::{BadSelection, LetterPage, LetterView, SelectionText, choose};
pub use rebuild::{RebuildReport, RebuildRequest, Rebuilding, ViewReport};
pub use replay::{Left, ReplayReport, ReplayRequest};

/// The port that operators expect.
pub const PORT: u16 = 6567;

/// The paths.
const ROUTES: [&str; 7] = [
    "/v1/graph",
    "/v1/dead-letters",
    "/v1/dead-letters/{id}",
    "/v1/dead-letters/replay",
    "/v1/online/rebuild",
    "/v1/udfs/{name}/activate",
    "/v1/udfs/{name}/rollback",
];

/// Looks through the letters at once; more wait.
const READERS: usize = 4;

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
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// What all handlers share.
struct Shared {
    admin: Admin,
    /// One replay at a time, so that two of them do not choose the same letters.
    replaying: Mutex<()>,
    readers: Semaphore,
}

/// Listens on a loopback address; on another port where `usual` is and it is taken.
///
/// # Errors
/// The address is not loopback, or cannot be listened on.
pub async fn bind(address: SocketAddr, usual: bool) -> Result<TcpListener, ServeError> {
    debug_assert!(address.ip().is_loopback(), "the project file was checked");
    match super::bind("serve.admin", &address.to_string()).await {
        Err(ServeError::Bind { cause, .. }) if usual && cause.kind() == std::io::ErrorKind::AddrInUse => {
            super::bind("serve.admin", &SocketAddr::new(address.ip(), 0).to_string()).await
        }
        bound => bound,
    }
}

/// Answers until `stop` is true or its sender gone.
///
/// # Errors
/// The listener failed.
pub async fn run(listener: TcpListener, admin: Admin, mut stop: watch::Receiver<bool>) -> Result<(), ServeError> {
    let stopped = {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    };
    let serve = axum::serve(listener, router(admin)).with_graceful_shutdown(stopped);
    let grace = Limits::default().grace;
    tokio::select! {
        ended = async { serve.await } => Ok(ended?),
        () = async { drop(stop.wait_for(|stop| *stop).await); sleep(grace).await } => Ok(()),
    }
}

fn router(admin: Admin) -> Router {
    let shared = Arc::new(Shared { admin, replaying: Mutex::new(()), readers: Semaphore::new(READERS) });
    Router::new()
        .route("/v1/graph", get(graph))
        .route("/v1/dead-letters", get(letters::list))
        .route("/v1/dead-letters/{id}", get(letters::show))
        .route("/v1/dead-letters/replay", post(replay::replay))
        .route("/v1/online/rebuild", get(rebuild::progress).post(rebuild::rebuild))
        .route("/v1/udfs/{name}/activate", post(activate::activate))
        .route("/v1/udfs/{name}/rollback", post(activate::rollback))
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(1 << 20))
        .layer(from_fn(local::only))
        .layer(from_fn_with_state(shared.clone(), measured))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(shared)
}

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
