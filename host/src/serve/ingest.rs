//! The WebSocket endpoint of a source with `listen = "/ingest/x"`: whoever connects feeds the source.
//!
//! A message, text or binary, is one event, or several as lines. Messages that have arrived together go on together,
//! and no more are read until the source has taken them: a slow pipeline slows the sender down through TCP. Nothing is
//! answered. A connection is closed with 1001 when Millrace stops, 1008 for a message that is too large or no
//! WebSocket message at all, 1013 when the source takes no events; one that is silent for twice [`Limits::quiet`], though
//! pinged, is given up.
//!
//! [`Limits::quiet`]: super::Limits::quiet

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::error::Failure;
use super::{PushError, PushTarget, Shared, metrics};

/// When gathering ends, though more messages are there.
const MOST_EVENTS: usize = 4_096;
const MOST_BYTES: usize = 1 << 20;

/// How often a source that has no room is asked again.
const LOOK: Duration = Duration::from_millis(200);

/// Why a connection ends, as the peer is told.
type Farewell = Option<(u16, &'static str)>;

/// Takes a connection over.
pub(super) async fn accept(
    shared: Arc<Shared>,
    path: String,
    target: Arc<dyn PushTarget>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        let message = format!("{path} takes WebSocket connections: connect with ws:// to it");
        let mut response =
            Failure::other(StatusCode::UPGRADE_REQUIRED, "websocket-only", message, path).into_response();
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    let Ok(permit) = shared.sockets.clone().try_acquire_owned() else {
        let message = format!("there are {} connections, the most there may be", shared.app.limits.sockets);
        return Failure::other(StatusCode::SERVICE_UNAVAILABLE, "too-many-connections", message, path).into_response();
    };
    let most = shared.app.limits.message;
    upgrade
        .max_message_size(most)
        .max_frame_size(most)
        .on_upgrade(move |socket| connection(shared, path, target, socket, permit))
}

async fn connection(
    shared: Arc<Shared>,
    path: String,
    target: Arc<dyn PushTarget>,
    mut socket: WebSocket,
    _permit: OwnedSemaphorePermit,
) {
    let _open = metrics::connection(&path);
    let farewell = feed(&shared, &path, &*target, &mut socket).await;
    if let Some((code, reason)) = farewell {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        // The peer may be gone already; bounded, because it may also have stopped reading.
        if let Ok(Err(error)) = timeout(shared.app.limits.quiet, socket.send(Message::Close(Some(frame)))).await {
            tracing::debug!(path, %error, "no farewell");
        }
    }
}

async fn feed(shared: &Shared, path: &str, target: &dyn PushTarget, socket: &mut WebSocket) -> Farewell {
    let mut stop = shared.stop.clone();
    let mut silent = false;
    loop {
        let received = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Some((close_code::AWAY, "Millrace stops")),
            received = timeout(shared.app.limits.quiet, socket.recv()) => received,
        };
        let Ok(mut received) = received else {
            if silent || socket.send(Message::Ping(Bytes::new())).await.is_err() {
                tracing::info!(path, "a silent connection is given up");
                return None;
            }
            silent = true;
            continue;
        };
        silent = false;
        let mut events = Vec::new();
        let mut bytes = 0;
        let ended = loop {
            match received {
                None | Some(Ok(Message::Close(_))) => break Some(None),
                Some(Err(error)) => {
                    tracing::info!(path, %error, "a connection broke off");
                    break Some(Some((close_code::POLICY, "a message is too large, or none of WebSocket's")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let data = message.into_data();
                    bytes += data.len();
                    events.extend(target.events(&data));
                }
            }
            if events.len() >= MOST_EVENTS || bytes >= MOST_BYTES {
                break None;
            }
            match socket.recv().now_or_never() {
                Some(next) => received = next,
                None => break None,
            }
        };
        if !events.is_empty() {
            let count = events.len();
            let mut pushed = target.push(events.clone()).await;
            // Its peer keeps nothing either: it is read no further until there is room.
            while matches!(pushed, Err(PushError::Full { .. })) {
                let stopped = tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => true,
                    () = sleep(LOOK) => false,
                };
                if stopped {
                    return Some((close_code::AGAIN, "Millrace has no room for events"));
                }
                pushed = target.push(events.clone()).await;
            }
            if let Err(error) = pushed {
                tracing::warn!(path, %error, "events of a WebSocket were not taken");
                return Some((close_code::AGAIN, "the source takes no events now"));
            }
            metrics::ingested(path, count);
        }
        if let Some(farewell) = ended {
            return farewell;
        }
    }
}
