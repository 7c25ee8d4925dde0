//! `WS /v1/subscribe?view=NAME` and `?service=NAME`: every row as it is given out, a JSON text frame each; with
//! `updates=true` provisional rows of a view too.
//!
//! What a subscriber says is not listened to. It is closed with 1000 when there are no more rows, 1001 when Millrace
//! stops, and 1008 when it does not keep up: nobody waits for it. One that is silent for twice [`Limits::quiet`], though
//! pinged, is given up.
//!
//! [`Limits::quiet`]: super::Limits::quiet

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::SinkExt;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::catalog::{did_you_mean, shown};
use super::error::Failure;
use super::{Shared, metrics};
use crate::sink::subscribers::{End, Frames, NoStream, StreamKind, Subscription};

const PATH: &str = "/v1/subscribe";

/// How long a subscriber that was cut off has to hear so.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is asked for.
struct Wanted {
    kind: StreamKind,
    name: String,
    updates: bool,
}

/// The endpoint.
pub(super) async fn subscribe(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Failure> {
    let (mut parts, _) = request.into_parts();
    let wanted = wanted(parts.uri.query().unwrap_or_default())?;
    let hub = shared.app.hub.clone();
    let subscribed = hub.subscribe(wanted.kind, &wanted.name, wanted.updates);
    let subscription = subscribed.map_err(|why| refused(&shared, &wanted, why))?;
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        let message = format!("{PATH} gives rows over a WebSocket: connect with ws:// to it");
        let refusal = Failure::other(StatusCode::UPGRADE_REQUIRED, "websocket-only", message, PATH);
        let mut response = refusal.into_response();
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return Ok(response);
    };
    let Ok(permit) = shared.subscribers.clone().try_acquire_owned() else {
        let message = format!("there are {} subscribers, the most there may be", shared.app.limits.subscribers);
        return Err(Failure::other(StatusCode::SERVICE_UNAVAILABLE, "too-many-connections", message, PATH));
    };
    // Subscribers have nothing to say.
    let upgrade = upgrade.max_message_size(4 << 10).max_frame_size(4 << 10);
    Ok(upgrade.on_upgrade(move |socket| connection(shared, wanted, subscription, socket, permit)))
}

fn wanted(query: &str) -> Result<Wanted, Failure> {
    let refuse = |message: String| Failure::unprocessable("bad-subscription", message, PATH);
    let (mut streams, mut updates) = (Vec::new(), false);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("view", view) => streams.push((StreamKind::View, view.to_owned())),
            ("service", service) => streams.push((StreamKind::Service, service.to_owned())),
            ("updates", "true") => updates = true,
            ("updates", "false") => updates = false,
            ("updates", other) => return Err(refuse(format!("updates={} is neither true nor false", shown(other)))),
            (other, _) => {
                return Err(refuse(format!(
                    "there is no parameter {}; use view or service, and updates",
                    shown(other)
                )));
            }
        }
    }
    match (streams.pop(), streams.is_empty()) {
        (Some((StreamKind::Service, _)), true) if updates => {
            Err(refuse("a service has no provisional rows: leave updates out, or subscribe to its views".to_owned()))
        }
        (Some((kind, name)), true) => Ok(Wanted { kind, name, updates }),
        (Some(_), false) => Err(refuse("one view or one service at a time: open a connection for each".to_owned())),
        (None, _) => Err(refuse("say what to listen to: ?view=NAME or ?service=NAME".to_owned())),
    }
}

fn refused(shared: &Shared, wanted: &Wanted, why: NoStream) -> Failure {
    let (kind, name) = (wanted.kind.name(), shown(&wanted.name));
    match why {
        NoStream::Unknown => {
            let hint = did_you_mean(&wanted.name, shared.app.hub.names(wanted.kind));
            Failure::not_found("unknown-stream", format!("there is no {kind} {name}{hint}"), PATH)
        }
        NoStream::Off => {
            let message = format!(
                "{kind} {name} cannot be listened to: add output = {{ type = \"websocket\" }} to [{kind}s.{name}]"
            );
            Failure::unprocessable("not-listened-to", message, PATH)
        }
    }
}

async fn connection(
    shared: Arc<Shared>,
    wanted: Wanted,
    mut subscription: Subscription,
    mut socket: WebSocket,
    _permit: OwnedSemaphorePermit,
) {
    let (kind, name) = (wanted.kind.name(), wanted.name.as_str());
    let _open = metrics::subscriber(kind, name);
    let Some(end) = serve(&shared, &wanted, &mut subscription, &mut socket).await else { return };
    let (code, reason) = match end {
        Farewell::Stopped => (close_code::AWAY, "Millrace stops"),
        Farewell::Over(End::Finished) => (close_code::NORMAL, "there are no more rows"),
        Farewell::Over(End::CutOff) => {
            metrics::subscriber_cut_off(kind, name);
            tracing::info!(kind, name, "a subscriber that does not keep up is cut off");
            (close_code::POLICY, "cut off: too slow for these rows, which nobody holds back")
        }
    };
    drop(subscription);
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    // The peer may be gone, or not be reading.
    if let Ok(Err(error)) = timeout(FAREWELL, socket.send(Message::Close(Some(frame)))).await {
        tracing::debug!(kind, name, %error, "no farewell");
    }
}

/// Why a connection ends, as the peer is told.
enum Farewell {
    Stopped,
    Over(End),
}

/// Sends rows until there is a reason not to; none where the peer has gone.
async fn serve(
    shared: &Shared,
    wanted: &Wanted,
    subscription: &mut Subscription,
    socket: &mut WebSocket,
) -> Option<Farewell> {
    let quiet = shared.app.limits.quiet;
    let mut stop = shared.stop.clone();
    let mut pinged = false;
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return Some(Farewell::Stopped),
            frames = subscription.next() => {
                let frames = match frames {
                    Ok(frames) => frames,
                    Err(end) => return Some(Farewell::Over(end)),
                };
                tokio::select! {
                    biased;
                    () = subscription.cut_off() => return Some(Farewell::Over(End::CutOff)),
                    () = stopped(&mut stop) => return Some(Farewell::Stopped),
                    sent = send(socket, &frames) => sent.ok()?,
                }
                metrics::subscriber_rows(wanted.kind.name(), &wanted.name, frames.rows().len());
            }
            heard = timeout(quiet, socket.recv()) => match heard {
                Ok(Some(Ok(Message::Close(_)))) | Ok(None) => return None,
                Ok(Some(Ok(_))) => pinged = false,
                Ok(Some(Err(error))) => {
                    tracing::debug!(name = wanted.name, %error, "a subscriber's connection broke off");
                    return None;
                }
                Err(_) if pinged => {
                    tracing::info!(name = wanted.name, "a silent subscriber is given up");
                    return None;
                }
                Err(_) => {
                    pinged = true;
                    timeout(quiet, socket.send(Message::Ping(Bytes::new()))).await.ok()?.ok()?;
                }
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

async fn send(socket: &mut WebSocket, frames: &Frames) -> Result<(), axum::Error> {
    for row in frames.rows() {
        // JSON is UTF-8.
        let Ok(text) = Utf8Bytes::try_from(row.clone()) else { continue };
        socket.feed(Message::Text(text)).await?;
    }
    socket.flush().await
}
