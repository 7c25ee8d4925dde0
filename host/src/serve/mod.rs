//! HTTP: Feast's own surface, so that its SDKs and tools work unchanged, and what an operator asks.
//!
//! ```text
//! POST /get-online-features   the newest features of entities           features, catalog, keys, response
//! POST /push                  rows for a source of type push            push
//! WS   /ingest/…              events for a source with `listen`         ingest
//! WS   /v1/subscribe          rows of a view or a service               subscribe
//! GET  /health                200 while the process is alive
//! GET  /ready                 200, or 503 with what is waited for
//! GET  /metrics               Prometheus' text                          metrics (the names)
//! ```
//! and, at an address of its own, what operators ask and do: `admin`.
//!
//! Always true: every request is bounded in bytes, rows, values and time; a handler that panics answers 500 and harms
//! nobody else; an answer holds nothing of an internal error but the number under which the log has it. Request and
//! answer have the form of Feast 0.67's server.

pub mod admin;
mod catalog;
mod error;
mod features;
mod freshness;
mod ingest;
mod keys;
pub mod metrics;
mod push;
mod request;
mod response;
mod subscribe;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Router, serve};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::{Blame, Fault};
use crate::sink::subscribers::Hub;
use crate::store::online::OnlineReader;
pub use catalog::{Catalog, ServiceFeature};
use error::{Failure, json};
pub use freshness::{Freshness, Moment, WallClock};
pub use push::{PushError, PushSource, PushTarget};

/// How often histograms are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// What is served, and from where.
pub struct App {
    /// Views and services.
    pub catalog: Arc<Catalog>,
    /// The online store.
    pub reader: Arc<dyn OnlineReader>,
    /// What can be listened to.
    pub hub: Arc<Hub>,
    /// Sources of type `push`, by name.
    pub pushes: HashMap<String, PushSource>,
    /// WebSocket endpoints, by path.
    pub ingests: HashMap<String, Arc<dyn PushTarget>>,
    /// What a view's ttl is judged against.
    pub freshness: Arc<dyn Freshness>,
    /// What `/metrics` prints.
    pub metrics: PrometheusHandle,
    /// What is waited for before requests should come, in words; ready once there is nothing.
    pub ready: watch::Receiver<Vec<String>>,
    /// What a request may cost.
    pub limits: Limits,
}

/// What requests and connections may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Rows of a request.
    pub rows: usize,
    /// Values of an answer: rows × columns.
    pub cells: usize,
    /// Requests with a body that are in work at once; more wait.
    pub in_flight: usize,
    /// How long a request may take, the wait included.
    pub time: Duration,
    /// WebSocket connections that bring events, at once.
    pub sockets: usize,
    /// Subscribers at once.
    pub subscribers: usize,
    /// Bytes of a WebSocket message.
    pub message: usize,
    /// How long a WebSocket connection may be silent before it is pinged, and again before it is given up.
    pub quiet: Duration,
    /// How long requests in work have, once the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            rows: 100_000,
            cells: 1_000_000,
            in_flight: 128,
            time: Duration::from_secs(30),
            sockets: 256,
            subscribers: 256,
            message: 1 << 20,
            quiet: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("{key} = {address:?}: {cause}; {next}")]
    Bind {
        /// The key in the project file.
        key: &'static str,
        /// The address, as configured.
        address: String,
        /// What the system says.
        cause: io::Error,
        /// What to try.
        next: &'static str,
    },
    /// A WebSocket endpoint whose path is Feast's, or no path.
    #[error("listen = {path:?}: {cause}")]
    Path {
        /// The path, as configured.
        path: String,
        /// What is wrong with it, and what to try.
        cause: &'static str,
    },
    /// The certificate, or its key, is not in order.
    #[error("serve.tls: {}: {cause}", path.display())]
    Tls {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Views and services that do not hold together.
    #[error("the catalog does not hold together: {cause}")]
    Catalog {
        /// What is wrong.
        cause: String,
    },
    /// The listener failed.
    #[error("serving HTTP: {0}")]
    Listener(#[from] io::Error),
}

impl Blame for ServeError {
    fn fault(&self) -> Fault {
        match self {
            Self::Bind { .. } | Self::Path { .. } | Self::Tls { .. } => Fault::User,
            Self::Catalog { .. } => Fault::Internal,
            Self::Listener(_) => Fault::External,
        }
    }
}

/// What all handlers share.
struct Shared {
    app: App,
    stop: watch::Receiver<bool>,
    in_flight: Semaphore,
    sockets: Arc<Semaphore>,
    subscribers: Arc<Semaphore>,
}

/// Listens on the `address` of a `key` of the project file, `host:port`; port 0 takes a free one.
///
/// # Errors
/// The address is none, in use, or not this machine's.
pub async fn bind(key: &'static str, address: &str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|cause| {
        let next = match cause.kind() {
            io::ErrorKind::AddrInUse => "stop what listens there, or set another port, as \"127.0.0.1:0\"",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: set a higher one",
            io::ErrorKind::AddrNotAvailable => "it is no address of this machine: try \"127.0.0.1\" or \"0.0.0.0\"",
            _ => "give host:port, as \"127.0.0.1:6566\"",
        };
        ServeError::Bind { key, address: address.to_owned(), cause, next }
    })
}

/// Serves until `stop` is true or its sender gone; then no new connection is taken, and what is in work has
/// [`Limits::grace`] to end.
///
/// # Errors
/// A path of [`App::ingests`] cannot be served, or the listener fails.
pub async fn run(listener: TcpListener, app: App, mut stop: watch::Receiver<bool>) -> Result<(), ServeError> {
    let shared = share(app, stop.clone())?;
    let listener = listener.tap_io(|io| {
        if let Err(error) = io.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays with Nagle's delay");
        }
    });
    let stopped = {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    };
    let serve = serve(listener, router(shared.clone())).with_graceful_shutdown(stopped);
    let limits = &shared.app.limits;
    let all = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    let (all_sockets, all_subscribers) = (all(limits.sockets), all(limits.subscribers));
    let whole = async {
        serve.await?;
        // Connections that were upgraded are no longer the server's.
        drop(shared.sockets.acquire_many(all_sockets).await);
        drop(shared.subscribers.acquire_many(all_subscribers).await);
        Ok(())
    };
    let out_of_patience = async {
        drop(stop.wait_for(|stop| *stop).await);
        sleep(limits.grace).await;
    };
    tokio::select! {
        ended = whole => ended,
        () = out_of_patience => {
            tracing::warn!(grace = ?limits.grace, "HTTP requests are cut off");
            Ok(())
        }
        never = upkeep(&shared.app.metrics) => match never {},
    }
}

async fn upkeep(metrics: &PrometheusHandle) -> Infallible {
    loop {
        sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}

fn share(app: App, stop: watch::Receiver<bool>) -> Result<Arc<Shared>, ServeError> {
    for path in app.ingests.keys() {
        let broken = |cause| Err(ServeError::Path { path: path.clone(), cause });
        if metrics::ROUTES.contains(&path.as_str()) {
            return broken("the path is taken: try one below /ingest/");
        }
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%".contains(&byte)) {
            return broken("a path is plain ASCII from its first /, as \"/ingest/cards\"");
        }
    }
    let in_flight = Semaphore::new(app.limits.in_flight.min(Semaphore::MAX_PERMITS));
    let places = |limit: usize| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
    let (sockets, subscribers) = (places(app.limits.sockets), places(app.limits.subscribers));
    metrics::describe();
    Ok(Arc::new(Shared { app, stop, in_flight, sockets, subscribers }))
}

fn router(shared: Arc<Shared>) -> Router {
    let with_body = Router::new()
        .route("/get-online-features", post(features::get_online_features))
        .route("/push", post(push::push))
        .route_layer(from_fn_with_state(shared.clone(), bounded));
    Router::new()
        .merge(with_body)
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/ready", get(ready))
        .route("/metrics", get(render))
        .route("/v1/subscribe", get(subscribe::subscribe))
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(shared.app.limits.body))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(shared.clone(), measured))
        .with_state(shared)
}

/// Counts requests and their time.
async fn measured(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => metrics::ROUTES.into_iter().find(|route| *route == path.as_str()).unwrap_or("other"),
        None if shared.app.ingests.contains_key(request.uri().path()) => "ingest",
        None => "other",
    };
    let response = next.run(request).await;
    metrics::answered(route, response.status(), start.elapsed());
    response
}

/// Bounds how many requests are in work, and for how long each.
async fn bounded(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let limit = shared.app.limits.time;
    let work = async {
        // The semaphore is never closed.
        let _permit = shared.in_flight.acquire().await;
        next.run(request).await
    };
    match timeout(limit, work).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("not done after {limit:?}; try again, with fewer rows");
            Failure::other(StatusCode::GATEWAY_TIMEOUT, "time-out", message, "request").into_response()
        }
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let waiting = shared.app.ready.borrow().join(", ");
    match waiting.is_empty() {
        true => json(StatusCode::OK, r#"{"ready":true}"#),
        false => {
            let message = format!("waiting for {waiting}");
            Failure::other(StatusCode::SERVICE_UNAVAILABLE, "not-ready", message, "/ready").into_response()
        }
    }
}

async fn render(State(shared): State<Arc<Shared>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, shared.app.metrics.render()).into_response()
}

/// A WebSocket endpoint, or nothing.
async fn elsewhere(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path();
    if let Some((path, target)) = shared.app.ingests.get_key_value(path) {
        let (path, target) = (path.clone(), target.clone());
        return ingest::accept(shared, path, target, request).await;
    }
    let path = catalog::shown(path).into_owned();
    let message = format!("nothing is at {path}; there are {}", metrics::ROUTES.join(", "));
    Failure::not_found("no-such-route", message, path).into_response()
}

async fn wrong_method(method: Method, request: Request) -> Response {
    let path = request.uri().path();
    let message = format!("{path} does not take {}", catalog::shown(method.as_str()));
    Failure::other(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message, path).into_response()
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
    Failure::internal(&text, "request").into_response()
}

fn read_body(body: Result<Bytes, BytesRejection>, most: usize) -> Result<Bytes, Failure> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::too_large(format!("a body has at most {most} bytes"), "body"),
        _ => Failure::other(StatusCode::BAD_REQUEST, "bad-body", "the body broke off", "body"),
    })
}
